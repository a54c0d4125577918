//! Audits of a database: what the schema cannot guarantee by itself. They only read, and
//! may run alongside a scheduler: one snapshot, the state after some round.

use std::collections::BTreeMap;

use serde::Serialize;
use spotwise_model::ledger::LineKind;
use spotwise_model::{JobId, LedgerEntry};

use super::database::{Kind, Row, Statement, Transaction, Value};
use super::document::parse;
use super::occupancy::Machines;
use super::tables::{TABLES, Table};
use super::{
    Location, StoreError, attempts, events, instances, jobs, ledger, open, prices, spells,
};

/// Any further findings are only counted.
const LISTED: usize = 1_000;

/// Something that must not occur.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where.
    pub table: &'static str,
    /// Which row, by its key.
    pub row: String,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub remedy: &'static str,
}

/// The result of an audit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// The schema.
    pub schema: i64,
    /// Rows examined, by table.
    pub rows: BTreeMap<&'static str, u64>,
    /// The first findings.
    pub findings: Vec<Finding>,
    /// The total number of findings.
    pub found: u64,
}

const RESTORE: &str = "stop, and restore a backup into a new database";
const SET_ASIDE: &str = "it is set aside at every start: restore a backup, or remove the row";
const FORECAST: &str = "remove the row: only forecasts are made of it";
const PRICE: &str = "remove the row: the feed is asked again from there on";
const CANCEL: &str = "cancel the job and submit it again, and report it: two jobs may use one GPU";
const REPORT: &str = "keep a copy of the database and report it: sums of money may be wrong";

impl CheckReport {
    fn add(
        &mut self,
        table: &'static str,
        row: impl Into<String>,
        problem: impl Into<String>,
        remedy: &'static str,
    ) {
        self.found += 1;
        if self.findings.len() < LISTED {
            let (row, problem) = (row.into(), problem.into());
            self.findings.push(Finding { table, row, problem, remedy });
        }
    }
}

/// Checks everything.
pub async fn check(location: &Location) -> Result<CheckReport, StoreError> {
    let database = open::open_to_read(location).await?;
    let mut transaction = database.snapshot().await?;
    let mut report = CheckReport { schema: open::known(), ..CheckReport::default() };
    if database.kind() == Kind::Sqlite {
        pages(&mut transaction, &mut report).await?;
    }
    for (table, sql, problem, remedy) in QUESTIONS {
        for row in transaction.fetch(Statement::new(table, sql)).await? {
            report.add(table, row.text("key")?, problem, remedy);
        }
    }
    let mut machines = Machines::default();
    for table in &TABLES {
        rows(table, &mut transaction, &mut machines, &mut report).await?;
    }
    drop(transaction);
    database.close().await;
    Ok(report)
}

async fn pages(transaction: &mut Transaction, report: &mut CheckReport) -> Result<(), StoreError> {
    let sql = "SELECT integrity_check AS problem FROM pragma_integrity_check
               WHERE integrity_check <> 'ok'";
    for row in transaction.fetch(Statement::new("(pages)", sql)).await? {
        report.add("(pages)", "", row.text("problem")?, RESTORE);
    }
    Ok(())
}

/// Each query returns the keys of rows that must not exist.
const QUESTIONS: [(&str, &str, &str, &str); 12] = [
    (
        "job_tags",
        "SELECT CAST(job AS TEXT) AS key FROM job_tags
         WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = job_tags.job)",
        "its job does not exist",
        "remove the row",
    ),
    (
        "attempts",
        "SELECT CAST(job AS TEXT) AS key FROM attempts
         WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = attempts.job)",
        "its job does not exist",
        RESTORE,
    ),
    (
        "attempts",
        "SELECT CAST(job AS TEXT) AS key FROM attempts WHERE live = 1
         GROUP BY job HAVING COUNT(*) > 1",
        "the job has more than one live attempt",
        "stop the scheduler, end all but the newest attempt by hand, and restore a backup",
    ),
    (
        "ledger",
        "SELECT CAST(instance AS TEXT) || '/' || CAST(sequence AS TEXT) AS key FROM ledger
         WHERE NOT EXISTS (SELECT 1 FROM instances WHERE instances.id = ledger.instance)",
        "its machine does not exist",
        REPORT,
    ),
    (
        "ledger",
        "SELECT CAST(instance AS TEXT) || '/' || CAST(sequence AS TEXT) AS key FROM ledger
         WHERE job IS NOT NULL AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = ledger.job)",
        "its job does not exist",
        REPORT,
    ),
    (
        "instances",
        "SELECT CAST(id AS TEXT) AS key FROM instances WHERE settled = 0
         AND EXISTS (SELECT 1 FROM ledger WHERE ledger.instance = instances.id)",
        "it is charged and not settled: it would be charged again",
        REPORT,
    ),
    (
        "events",
        "SELECT CAST(number AS TEXT) AS key FROM events
         WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = events.job)",
        "its job does not exist",
        "remove the row",
    ),
    (
        "jobs",
        "SELECT CAST(jobs.id AS TEXT) AS key FROM jobs LEFT JOIN
             (SELECT job, SUM(amount_micros) AS total FROM ledger GROUP BY job) AS paid
             ON paid.job = jobs.id
         WHERE jobs.spent_micros <> COALESCE(paid.total, 0)",
        "what it has spent is not what the ledger says",
        REPORT,
    ),
    (
        "spells",
        "SELECT pool || '/' || zone || '/' || instance_type || '/' || CAST(at_us AS TEXT) AS key
         FROM spells WHERE at_us > (SELECT COALESCE(MAX(until_us), 0) FROM watches)",
        "it was seen when nobody looked",
        FORECAST,
    ),
    (
        "prices",
        "SELECT zone || '/' || instance_type || '/' || capacity_type || '/'
             || CAST(at_us AS TEXT) AS key
         FROM prices WHERE at_us > (SELECT COALESCE(MAX(until_us), 0) FROM price_feed)",
        "it was heard when nobody listened",
        PRICE,
    ),
    (
        "watches",
        "SELECT CAST(from_us AS TEXT) AS key FROM watches WHERE EXISTS
         (SELECT 1 FROM watches AS other WHERE other.from_us < watches.from_us
          AND other.until_us > watches.from_us)",
        "another watch has not ended when it begins",
        FORECAST,
    ),
    (
        "leader",
        "SELECT CAST(id AS TEXT) AS key FROM leader WHERE id <> 1 OR epoch < round_epoch",
        "a round was committed by a leadership that is yet to come",
        RESTORE,
    ),
];

/// Checks each row of a table.
async fn rows(
    table: &'static Table,
    transaction: &mut Transaction,
    machines: &mut Machines,
    report: &mut CheckReport,
) -> Result<(), StoreError> {
    let mut count = 0;
    let mut last: Option<Vec<Value>> = None;
    let mut machine = Vec::new();
    loop {
        let page = table.page(transaction, last.as_deref()).await?;
        for (values, row) in &page {
            count += 1;
            row_of(table, values, row, report)?;
            occupy(table, values, row, machines, report);
            if table.name == "ledger" {
                // One that does not decode has been reported already.
                let Ok(entry) = ledger::read(row) else { continue };
                if machine
                    .first()
                    .is_some_and(|first: &LedgerEntry| first.instance != entry.instance)
                {
                    audit(&std::mem::take(&mut machine), report);
                }
                machine.push(entry);
            }
        }
        match page.into_iter().last() {
            Some((values, _)) => last = Some(values),
            None => break,
        }
    }
    audit(&machine, report);
    report.rows.insert(table.name, count);
    Ok(())
}

/// Whether the document decodes, and the columns next to it agree with it.
fn row_of(
    table: &'static Table,
    values: &[Value],
    row: &Row,
    report: &mut CheckReport,
) -> Result<(), StoreError> {
    let expected = match table.name {
        "jobs" => jobs::read(row).and_then(|job| jobs::columns(&job)),
        "instances" => instances::read(row).and_then(|instance| instances::columns(&instance)),
        "attempts" => attempts::read(row).and_then(|attempt| attempts::columns(&attempt)),
        "ledger" => ledger::read(row).and_then(|entry| ledger::columns(&entry)),
        "events" => events::read(row).and_then(|event| events::columns(&event)),
        "submissions" => parse::<Vec<JobId>>("submissions", row.text("key")?, &row.text("jobs")?)
            .map(|_| values.to_vec()),
        "spells" => spells::read_count(row).and_then(|count| spells::columns(&count)),
        "prices" => prices::read(row).and_then(|price| prices::columns(&price)),
        "watches" => spells::read_watch(row).map(|watch| spells::watch_columns(&watch)),
        _ => return Ok(()),
    };
    let key = key(table, values);
    let expected = match expected {
        Ok(expected) => expected,
        Err(error) => {
            report.add(table.name, key, error.in_full(), SET_ASIDE);
            return Ok(());
        }
    };
    for ((column, found), expected) in table.columns.iter().zip(values).zip(&expected) {
        // Another version may write the same document in other words.
        if column.name() != "document" && found != expected {
            let problem = format!("column {} does not say what its document says", column.name());
            report.add(table.name, &key, problem, REPORT);
        }
    }
    Ok(())
}

/// Machines come before the attempts on them. What does not decode has already been
/// reported.
fn occupy(
    table: &Table,
    values: &[Value],
    row: &Row,
    machines: &mut Machines,
    report: &mut CheckReport,
) {
    let is = |column: &'static str, wanted: i64| row.int(column).is_ok_and(|found| found == wanted);
    if table.name == "instances"
        && is("settled", 0)
        && let Ok(instance) = instances::read(row)
    {
        machines.add(&instance);
    }
    if table.name == "attempts"
        && is("live", 1)
        && let Ok(attempt) = attempts::read(row)
        && let Some(problem) = machines.put(&attempt)
    {
        report.add(table.name, key(table, values), problem, CANCEL);
    }
}

fn key(table: &Table, values: &[Value]) -> String {
    let parts = values.iter().take(table.key).map(|value| match value {
        Value::Int(number) => number.unwrap_or_default().to_string(),
        Value::Text(text) => text.clone().unwrap_or_default(),
    });
    parts.collect::<Vec<_>>().join("/")
}

/// Audits the charges of one machine: numbered without gaps, one price at a time, no moment
/// unpaid, and adding up to the price of the time.
fn audit(entries: &[LedgerEntry], report: &mut CheckReport) {
    let Some(first) = entries.first() else { return };
    let mut wrong =
        |problem: &str| report.add("ledger", first.instance.to_string(), problem, REPORT);
    for (number, entry) in (0_u32..).zip(entries) {
        if entry.sequence != number {
            return wrong("its charges are not numbered one by one");
        }
        if entry.from > entry.to {
            return wrong("a charge ends before it begins");
        }
    }
    let time = [LineKind::Compute, LineKind::Startup, LineKind::LostWork, LineKind::Idle];
    let lines: Vec<&LedgerEntry> = entries.iter().filter(|e| time.contains(&e.kind)).collect();
    let mut cuts: Vec<_> = lines.iter().flat_map(|line| [line.from, line.to]).collect();
    cuts.sort_unstable();
    cuts.dedup();
    // Micro-dollars x 3,600 seconds.
    let mut due: i128 = 0;
    for (from, to) in cuts.iter().zip(cuts.iter().skip(1)) {
        let mut prices = lines.iter().filter(|l| l.from <= *from && *to <= l.to).map(|l| l.price);
        let Some(price) = prices.next() else {
            return wrong("there is a time between its charges that nobody paid");
        };
        if prices.any(|other| other != price) {
            return wrong("two prices are charged for the same time");
        }
        let seconds = i128::from(to.as_second() - from.as_second());
        due += i128::from(price.micros_per_hour()) * seconds;
    }
    let paid: i128 = lines.iter().map(|line| i128::from(line.amount.micros())).sum();
    // Each stretch of one price is rounded to a micro-dollar once.
    let tolerance = 3_600 * i128::try_from(cuts.len()).unwrap_or(i128::MAX / 3_600);
    if (paid * 3_600 - due).abs() > tolerance {
        wrong("its charges do not add up to its price and time");
    }
}
