//! The bill of a simulated account: what its own meter says of every machine that there
//! ever was, beside the account's journal. No ledger has a part in it.

use std::io;
use std::path::Path;

use serde::Serialize;
use spotwise_model::instance::EndedBy;
use spotwise_simulated_cloud::MeterLine;

#[derive(Serialize)]
struct Line<'a> {
    machine: &'a str,
    install: Option<&'a str>,
    pool: Option<&'a str>,
    market: String,
    from: jiff::Timestamp,
    to: jiff::Timestamp,
    /// `null` while it runs.
    ended_by: Option<EndedBy>,
    waived: bool,
    amount_micros: i64,
}

/// Replaces the bill. One that cannot be written is written with the next machine that ends.
pub(super) fn write(path: &Path, meter: &[MeterLine]) {
    let lines: Vec<Line<'_>> = meter.iter().map(line).collect();
    let written = serde_json::to_vec_pretty(&lines).map_err(io::Error::from).and_then(|text| {
        let beside = path.with_extension("tmp");
        std::fs::write(&beside, text)?;
        std::fs::rename(&beside, path)
    });
    if let Err(error) = written {
        tracing::warn!(%error, path = %path.display(), "a simulated bill is not written");
    }
}

fn line(line: &MeterLine) -> Line<'_> {
    let mark = line.mark.as_ref();
    Line {
        machine: line.machine.as_str(),
        install: mark.map(|mark| mark.install.as_str()),
        pool: mark.map(|mark| mark.pool.as_str()),
        market: line.market.to_string(),
        from: line.from,
        to: line.to,
        ended_by: line.ended_by,
        waived: line.waived,
        amount_micros: line.amount.micros(),
    }
}
