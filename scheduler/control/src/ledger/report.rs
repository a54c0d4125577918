//! Consumption, added up by any dimension and period. Every row adds up to its total and
//! all rows to that of the report: [`CostReport::check`] proves it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use spotwise_model::ledger::LineKind;
use spotwise_model::{InstanceId, JobId, LedgerEntry, Money};

use super::period::{Every, Piece, piece};

/// What a report covers.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    /// The dimensions of its rows, which may include `hour`, `day` and `month`.
    pub group_by: &'a [String],
    /// From this time; `None` for the beginning.
    pub since: Option<Timestamp>,
    /// Before this time; `None` for no end.
    pub until: Option<Timestamp>,
    /// The zone of its hours, days and months.
    pub zone: &'a TimeZone,
    /// When the report is made (market time).
    pub now: Timestamp,
}

/// A report over ledger entries, and over what unsettled machines have cost up to now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CostReport {
    /// By period, then most expensive first.
    pub rows: Vec<Row>,
    /// All of it.
    pub total: Row,
}

/// The charges of one value of every dimension.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// A value for each dimension; empty if a charge has none.
    pub keys: Vec<String>,
    /// The period that the row covers, as far as it is bounded.
    pub period: (Option<Timestamp>, Option<Timestamp>),
    /// Its sums.
    pub sums: Sums,
    /// Machine-seconds: several charges of one machine and time count once.
    pub machine_seconds: u64,
    /// The jobs that are charged; includes `None` if some charge belongs to no job.
    pub jobs: BTreeSet<Option<JobId>>,
    /// Whether its period has ended and everything consumed in it is settled.
    pub closed: bool,
}

/// Sums over some charges.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sums {
    /// The sum of the next three.
    pub total: Money,
    /// In the ledger.
    pub settled: Money,
    /// Accrued on machines that are not settled, up to now.
    pub accrued: Money,
    /// Corrections made after the end of the row's period.
    pub late: Money,
    /// What the same shares of the same time would cost on demand.
    pub on_demand: Money,
    /// The total by kind.
    pub by_kind: BTreeMap<LineKind, Money>,
}

/// Parts that do not add up to their whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the parts of {whole} add up to {found}, not to {expected}")]
pub struct Unbalanced {
    /// What was added up.
    pub whole: String,
    /// The sum of the parts.
    pub found: Money,
    /// The whole.
    pub expected: Money,
}

/// More rows than a report may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {0} rows")]
pub struct TooManyRows(pub usize);

impl CostReport {
    /// Adds up the parts of these charges that fall into the scope. Their order does not
    /// matter.
    ///
    /// # Errors
    ///
    /// [`TooManyRows`] if there would be more than `most`.
    pub fn new(
        settled: &[LedgerEntry],
        accrued: &[LedgerEntry],
        scope: &Scope<'_>,
        most: usize,
    ) -> Result<Self, TooManyRows> {
        let mut rows: BTreeMap<Vec<String>, Gathered> = BTreeMap::new();
        let mut total = Gathered::default();
        let every = scope.group_by.iter().filter_map(|name| Every::named(name)).min();
        let charges = settled.iter().map(|entry| (entry, false));
        for (entry, open) in charges.chain(accrued.iter().map(|entry| (entry, true))) {
            for (part, period) in pieces(entry, scope, every) {
                let keys =
                    scope.group_by.iter().map(|name| key(entry, name, part.from, scope.zone));
                let late = is_late(entry, period.1);
                let charge = Charge { entry, part, open, late };
                rows.entry(keys.collect()).or_default().add(&charge, period);
                total.add(&charge, (scope.since, scope.until));
                if rows.len() > most {
                    return Err(TooManyRows(most));
                }
            }
        }
        let mut rows: Vec<Row> =
            rows.into_iter().map(|(keys, row)| row.finish(keys, scope.now)).collect();
        let begin = |row: &Row| every.and(row.period.0);
        rows.sort_by(|a, b| {
            let dearer = || b.sums.total.cmp(&a.sums.total);
            begin(a).cmp(&begin(b)).then_with(dearer).then_with(|| a.keys.cmp(&b.keys))
        });
        Ok(Self { rows, total: total.finish(Vec::new(), scope.now) })
    }

    /// Proves that every row adds up, and all rows to the total, to the micro-dollar.
    ///
    /// # Errors
    ///
    /// [`Unbalanced`] with the first sum that does not.
    pub fn check(&self) -> Result<(), Unbalanced> {
        let mut sum = Sums::default();
        for row in self.rows.iter().chain([&self.total]) {
            row.sums.check(&format!("`{}`", row.keys.join(" ")))?;
        }
        self.rows.iter().for_each(|row| sum.merge(&row.sums));
        self.total.sums.equals(&sum)
    }
}

/// The value of a dimension; empty if a charge has none. Those of periods depend on the
/// time.
pub fn value_of(entry: &LedgerEntry, name: &str) -> String {
    match name {
        "job" => entry.job().map(|job| job.to_string()).unwrap_or_default(),
        "attempt" => entry.attempt.map(|attempt| attempt.to_string()).unwrap_or_default(),
        "kind" => entry.kind.name().to_owned(),
        "pool" => entry.offer.pool.to_string(),
        "zone" => entry.offer.market.zone.to_string(),
        "instance_type" => entry.offer.market.instance_type.to_string(),
        "capacity_type" => entry.offer.market.capacity_type.to_string(),
        label => entry.dimensions.get(label).cloned().unwrap_or_default(),
    }
}

fn key(entry: &LedgerEntry, name: &str, at: Timestamp, zone: &TimeZone) -> String {
    Every::named(name).map_or_else(|| value_of(entry, name), |every| every.label(at, zone))
}

/// A correction to a period that had already ended: what the provider refunds when it
/// interrupts is booked where the time was used.
fn is_late(entry: &LedgerEntry, end: Option<Timestamp>) -> bool {
    let after = entry.booked.zip(end).is_some_and(|(booked, end)| booked >= end);
    entry.kind == LineKind::Waiver && after
}

/// A span of time, as far as it is bounded.
type Period = (Option<Timestamp>, Option<Timestamp>);

/// The parts of a charge within the scope, cut at the ends of periods.
fn pieces(entry: &LedgerEntry, scope: &Scope<'_>, every: Option<Every>) -> Vec<(Piece, Period)> {
    let since = scope.since.unwrap_or(Timestamp::MIN);
    let until = scope.until.unwrap_or(Timestamp::MAX);
    let Some(every) = every else {
        let whole = piece(entry, since, until);
        return whole.map(|piece| (piece, (scope.since, scope.until))).into_iter().collect();
    };
    let mut pieces = Vec::new();
    let mut at = entry.from.max(since);
    while at < until && (at < entry.to || at == entry.from) {
        let (begin, end) = (every.begin(at, scope.zone), every.end(at, scope.zone));
        let period = (begin.max(since), end.min(until));
        if let Some(piece) = piece(entry, period.0, period.1) {
            pieces.push((piece, (Some(period.0), Some(period.1))));
        }
        at = end;
    }
    pieces
}

/// A part of a charge on its way into a row.
struct Charge<'a> {
    entry: &'a LedgerEntry,
    part: Piece,
    open: bool,
    late: bool,
}

/// A row while charges are being added.
#[derive(Default)]
struct Gathered {
    period: Period,
    sums: Sums,
    used: Vec<(InstanceId, Timestamp, Timestamp)>,
    jobs: BTreeSet<Option<JobId>>,
    open: bool,
}

impl Gathered {
    fn add(&mut self, charge: &Charge<'_>, period: Period) {
        let Charge { entry, part, open, late } = charge;
        self.period = period;
        self.sums.total += part.amount;
        match (open, late) {
            (true, _) => self.sums.accrued += part.amount,
            (false, true) => self.sums.late += part.amount,
            (false, false) => self.sums.settled += part.amount,
        }
        self.sums.on_demand += part.on_demand;
        *self.sums.by_kind.entry(entry.kind).or_default() += part.amount;
        self.used.push((entry.instance, part.from, part.to));
        self.jobs.insert(entry.job());
        self.open |= open;
    }

    fn finish(self, keys: Vec<String>, now: Timestamp) -> Row {
        let over = self.period.1.is_some_and(|end| end <= now);
        Row {
            keys,
            period: self.period,
            sums: self.sums,
            machine_seconds: machine_seconds(self.used),
            jobs: self.jobs,
            closed: over && !self.open,
        }
    }
}

/// The time that machines were used for: several charges of one machine and
/// time count once.
fn machine_seconds(mut used: Vec<(InstanceId, Timestamp, Timestamp)>) -> u64 {
    used.sort();
    let mut micros = 0;
    let mut reached: Option<(InstanceId, Timestamp)> = None;
    for (instance, from, to) in used {
        let from = match reached {
            Some((same, end)) if same == instance => from.max(end),
            _ => from,
        };
        micros += (to.as_microsecond() - from.as_microsecond()).max(0);
        let end = reached.filter(|(same, _)| *same == instance).map_or(to, |(_, end)| end.max(to));
        reached = Some((instance, end));
    }
    u64::try_from(micros / 1_000_000).unwrap_or(0)
}

impl Sums {
    /// What is paid for one kind.
    pub fn of(&self, kind: LineKind) -> Money {
        self.by_kind.get(&kind).copied().unwrap_or_default()
    }

    fn merge(&mut self, other: &Self) {
        self.total += other.total;
        self.settled += other.settled;
        self.accrued += other.accrued;
        self.late += other.late;
        self.on_demand += other.on_demand;
        for (kind, amount) in &other.by_kind {
            *self.by_kind.entry(*kind).or_default() += *amount;
        }
    }

    fn check(&self, name: &str) -> Result<(), Unbalanced> {
        balanced(&format!("{name} by kind"), self.by_kind.values().copied().sum(), self.total)?;
        balanced(name, self.settled + self.accrued + self.late, self.total)
    }

    fn equals(&self, sum: &Self) -> Result<(), Unbalanced> {
        balanced("the report", sum.total, self.total)?;
        balanced("what is settled", sum.settled, self.settled)?;
        balanced("what is accrued", sum.accrued, self.accrued)?;
        balanced("what came late", sum.late, self.late)?;
        balanced("the report on demand", sum.on_demand, self.on_demand)?;
        LineKind::ALL.into_iter().try_for_each(|kind| {
            balanced(&format!("the report, {kind}"), sum.of(kind), self.of(kind))
        })
    }
}

fn balanced(whole: &str, found: Money, expected: Money) -> Result<(), Unbalanced> {
    if found == expected {
        Ok(())
    } else {
        Err(Unbalanced { whole: whole.to_owned(), found, expected })
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
