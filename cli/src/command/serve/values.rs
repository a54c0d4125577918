//! Values of the options of `serve`.

use std::time::Duration;

use spotwise_api::client::credentials::is_this_machine;
use spotwise_scheduler::config::DEFAULT_PORT;

use crate::exit::Failure;
use crate::format::duration;

pub(super) fn turbulence(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.01..=1_000.0).contains(&value) { Ok(value) } else { Err("from 0.01 to 1000".to_owned()) }
}

/// One scheduler's address; a list would be cut at its commas. Other machines are called
/// under TLS only.
pub(super) fn scheduler_url(flag: &str, url: &str) -> Result<(), Failure> {
    let host = |rest: &str| {
        let rest = rest.strip_suffix('/').unwrap_or(rest).to_owned();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
        (!rest.is_empty() && rest.bytes().all(plain)).then_some(rest)
    };
    let own = |rest: &String| {
        let host = rest.rsplit_once(':').map_or(rest.as_str(), |(host, _)| host);
        is_this_machine(host)
    };
    let good = match url.split_once("://") {
        Some(("https", rest)) => host(rest).is_some(),
        Some(("http", rest)) => host(rest).as_ref().is_some_and(own),
        _ => false,
    };
    if good {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{flag} {url}: write an address such as https://spotwise.example:{DEFAULT_PORT}, or for \
         this machine http://127.0.0.1:{DEFAULT_PORT}"
    )))
}

/// At least long enough for three renewals on a busy database.
pub(super) fn term(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_secs(1), Duration::from_secs(600))
}

pub(super) fn worker_lease(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_secs(5), Duration::from_secs(24 * 3_600))
}

fn within(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let value = duration(text)?;
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(format!("from {} s to {} s", least.as_secs(), most.as_secs()))
}

/// CPUs with at most three decimals, in thousandths.
pub(super) fn cpus(text: &str) -> Result<u64, String> {
    let wrong = || "write a number of CPUs such as 2 or 0.5".to_owned();
    let micros = text.parse::<spotwise_model::Money>().map_err(|_| wrong())?.micros();
    let milli = u64::try_from(micros / 1_000).map_err(|_| wrong())?;
    if milli > 0 && micros % 1_000 == 0 { Ok(milli) } else { Err(wrong()) }
}

const MIB: u64 = 1 << 20;

/// In whole MiB.
pub(super) fn memory(text: &str) -> Result<u64, String> {
    let bytes = bytes(text)?;
    if bytes >= MIB { Ok(bytes / MIB) } else { Err("write 1MiB or more".to_owned()) }
}

/// In bytes.
pub(super) fn log_size(text: &str) -> Result<u64, String> {
    let in_range = |bytes: &u64| (1_000_000..=16_000_000_000).contains(bytes);
    bytes(text).ok().filter(in_range).ok_or_else(|| "write a size from 1MB to 16GB".to_owned())
}

/// `8GB`, `8GiB`, `512MB` as in job files.
fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || "write a size such as 8GB, 8GiB or 512MB".to_owned();
    let units = [("GiB", 1024 * MIB), ("GB", 1_000_000_000), ("MiB", MIB), ("MB", 1_000_000)];
    let (number, factor) = units
        .iter()
        .find_map(|(unit, factor)| text.strip_suffix(unit).map(|number| (number, *factor)))
        .ok_or_else(wrong)?;
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(wrong)
}
