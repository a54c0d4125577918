//! Figures as people read them: money, times, durations, shares.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::time;
use spotwise_model::{InstanceState, Money};

/// `$12.35`; `$0.0042` below one cent.
pub(crate) fn dollars(micros: i64) -> String {
    Money::from_micros(micros).human()
}

/// `$1.2240/h`: prices differ in the fourth decimal.
pub(crate) fn hourly(micros: i64) -> String {
    let micros = micros.max(0);
    format!("${}.{:04}", micros / 1_000_000, micros % 1_000_000 / 100)
}

/// All six decimals, for sums that have to be exact.
pub(crate) fn exact(micros: i64) -> String {
    Money::from_micros(micros).to_string()
}

/// `85 %` of 0.85.
pub(crate) fn percent(share: f64) -> String {
    let share = if share.is_finite() { share } else { 0.0 };
    format!("{:.0} %", share * 100.0)
}

/// How much less `paid` is than `instead`: `-68 %`; empty where there is
/// nothing to compare with.
pub(crate) fn saving(paid: i64, instead: i64) -> String {
    if instead <= 0 {
        return String::new();
    }
    // Only a display figure: a float is fine.
    format!("{:+.0} %", (paid as f64 / instead as f64 - 1.0) * 100.0)
}

/// `2023-02-15 03:10Z` of an RFC 3339 time; `-` of an empty one; what was sent
/// where it is not a time.
pub(crate) fn moment(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    text.parse::<Timestamp>()
        .map_or_else(|_| text.to_owned(), |t| t.strftime("%Y-%m-%d %H:%MZ").to_string())
}

/// `03:10:05` of an RFC 3339 time.
pub(crate) fn clock(text: &str) -> String {
    text.parse::<Timestamp>()
        .map_or_else(|_| text.to_owned(), |t| t.strftime("%H:%M:%S").to_string())
}

/// `03:10Z` on the day of `now`, with the date on another.
pub(crate) fn moment_near(text: &str, now: Option<Timestamp>) -> String {
    match (text.parse::<Timestamp>(), now) {
        (Ok(t), Some(now))
            if t.as_second().div_euclid(86_400) == now.as_second().div_euclid(86_400) =>
        {
            t.strftime("%H:%MZ").to_string()
        }
        _ => moment(text),
    }
}

/// `2h 5m` between two RFC 3339 times; `-` where one is missing.
pub(crate) fn span(from: &str, to: &str) -> String {
    match (from.parse(), to.parse()) {
        (Ok(from), Ok(to)) => time::human(time::between(from, to)),
        _ => "-".to_owned(),
    }
}

/// `3d 4h`, or `-2h 5m` below zero.
pub(crate) fn seconds(seconds: i64) -> String {
    let text = time::human(Duration::from_secs(seconds.unsigned_abs()));
    if seconds < 0 { format!("-{text}") } else { text }
}

/// `64.0 GiB` of MiB.
pub(crate) fn memory(mib: u64) -> String {
    if mib < 1024 { format!("{mib} MiB") } else { format!("{:.0} GiB", mib as f64 / 1024.0) }
}

/// `[#####.....]` of a share.
pub(crate) fn bar(share: f64, width: usize) -> String {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let full = (share * width as f64).floor() as usize;
    format!("[{}{}]", "#".repeat(full), ".".repeat(width.saturating_sub(full)))
}

/// `1 job`, `2 jobs`.
pub(crate) fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// `2 booting`, `5 registered`: machines, in the order of their life.
pub(crate) fn by_state(machines: &BTreeMap<String, u32>) -> Vec<String> {
    let known = InstanceState::UNSETTLED;
    let count = |state: &&str| Some(format!("{} {state}", machines.get(*state)?));
    known.iter().filter_map(count).collect()
}

/// Reads `90s`, `15m`, `1h30m`.
pub(crate) fn duration(text: &str) -> Result<std::time::Duration, String> {
    spotwise_model::time::parse_duration(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money() {
        assert_eq!(dollars(48_004_000), "$48.00");
        assert_eq!(dollars(-1_500_000), "-$1.50");
        assert_eq!(hourly(1_224_050), "$1.2240");
        assert_eq!(exact(12), "0.000012");
        assert_eq!(saving(32, 100), "-68 %");
        assert_eq!(saving(120, 100), "+20 %");
        assert_eq!(saving(0, 0), "");
    }

    #[test]
    fn times() {
        assert_eq!(moment("2023-02-15T03:10:59Z"), "2023-02-15 03:10Z");
        assert_eq!(moment(""), "-");
        assert_eq!(moment("soon"), "soon");
        let now = "2023-02-15T23:00:00Z".parse().ok();
        assert_eq!(moment_near("2023-02-15T03:10:00Z", now), "03:10Z");
        assert_eq!(moment_near("2023-02-16T03:10:00Z", now), "2023-02-16 03:10Z");
        assert_eq!(span("2023-02-15T03:00:00Z", "2023-02-15T05:05:00Z"), "2h 5m");
        assert_eq!(span("", "2023-02-15T05:05:00Z"), "-");
        assert_eq!(seconds(-7_500), "-2h 5m");
    }

    #[test]
    fn shares() {
        assert_eq!(percent(0.854), "85 %");
        assert_eq!(percent(f64::NAN), "0 %");
        assert_eq!(bar(0.5, 4), "[##..]");
        assert_eq!(bar(7.0, 4), "[####]");
        assert_eq!(bar(0.999, 4), "[###.]", "full only when done");
    }
}
