//! Whether a cost report adds up: to the micro-dollar, or it is not shown as
//! one that does.

use spotwise_api::v1::{CostReport, CostRow};

/// Says where a report does not add up: parts of a row, or rows of the total.
pub(crate) fn audit(report: &CostReport) -> Result<(), String> {
    let Some(total) = &report.total else {
        return Err("the report has no total".to_owned());
    };
    for row in report.rows.iter().chain([total]) {
        let parts: i128 = parts(row).iter().map(|part| i128::from(part.1)).sum();
        if parts != i128::from(row.total_micros) {
            return Err(format!(
                "the parts of `{}` sum to {parts}, its total is {} micro-dollars",
                row.keys.join(" "),
                row.total_micros
            ));
        }
    }
    for row in report.rows.iter().chain([total]) {
        let states: i128 = states(row).iter().map(|part| i128::from(part.1)).sum();
        if states != i128::from(row.total_micros) {
            return Err(format!(
                "settled, accrued and late of `{}` sum to {states}, its total is {} \
                 micro-dollars",
                row.keys.join(" "),
                row.total_micros
            ));
        }
    }
    for (name, of) in COLUMNS {
        let sum: i128 = report.rows.iter().map(|row| i128::from(of(row))).sum();
        if sum != i128::from(of(total)) {
            return Err(format!(
                "the rows sum to {sum} in `{name}`, the total says {} micro-dollars",
                of(total)
            ));
        }
    }
    Ok(())
}

/// What a row is made of, in the order of reports, with its column's name.
pub(crate) fn parts(row: &CostRow) -> [(&'static str, i64); 7] {
    [
        ("COMPUTE", row.compute_micros),
        ("STARTUP", row.startup_micros),
        ("LOST WORK", row.lost_work_micros),
        ("IDLE", row.idle_micros),
        ("WAIVER", row.waiver_micros),
        ("STORAGE", row.storage_micros),
        ("NETWORK", row.network_micros),
    ]
}

/// How far the parts of a row are settled, with their columns' names.
pub(crate) fn states(row: &CostRow) -> [(&'static str, i64); 3] {
    [("SETTLED", row.settled_micros), ("ACCRUED", row.accrued_micros), ("LATE", row.late_micros)]
}

type Column = (&'static str, fn(&CostRow) -> i64);

const COLUMNS: [Column; 12] = [
    ("total", |row| row.total_micros),
    ("settled", |row| row.settled_micros),
    ("accrued", |row| row.accrued_micros),
    ("late", |row| row.late_micros),
    ("compute", |row| row.compute_micros),
    ("startup", |row| row.startup_micros),
    ("lost work", |row| row.lost_work_micros),
    ("idle", |row| row.idle_micros),
    ("waiver", |row| row.waiver_micros),
    ("storage", |row| row.storage_micros),
    ("network", |row| row.network_micros),
    ("on demand", |row| row.on_demand_micros),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, compute: i64, waiver: i64) -> CostRow {
        CostRow {
            keys: vec![key.to_owned()],
            total_micros: compute + waiver,
            compute_micros: compute,
            waiver_micros: waiver,
            settled_micros: compute,
            late_micros: waiver,
            ..CostRow::default()
        }
    }

    fn report() -> CostReport {
        CostReport {
            rows: vec![row("a", 10, -3), row("b", 5, 0)],
            total: Some(row("", 15, -3)),
            ..CostReport::default()
        }
    }

    #[test]
    fn one_micro_dollar_is_seen() {
        assert_eq!(audit(&report()), Ok(()));

        let mut parts = report();
        parts.rows[1].total_micros += 1;
        assert!(audit(&parts).unwrap_err().contains("the parts of `b`"));

        let mut rows = report();
        rows.rows[0].compute_micros += 1;
        rows.rows[0].total_micros += 1;
        rows.rows[0].accrued_micros += 1;
        assert!(audit(&rows).unwrap_err().contains("in `total`"));

        let mut states = report();
        states.rows[0].settled_micros += 1;
        assert!(audit(&states).unwrap_err().contains("late of `a`"));

        let mut on_demand = report();
        on_demand.rows[0].on_demand_micros = 1;
        assert!(audit(&on_demand).unwrap_err().contains("in `on demand`"));
        assert!(audit(&CostReport::default()).is_err());
    }
}
