//! What it cost, looked at from every side. Every view adds up to the same
//! total, and [`CostReport::check`] proves it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use spotwise_model::ledger::LineKind;
use spotwise_model::{AttemptId, JobId, LedgerEntry, Money};

/// A report over a set of ledger entries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CostReport {
    /// All of it.
    pub total: Totals,
    /// What no job used.
    pub idle: Totals,
    /// What interruptions cost.
    pub interruptions: InterruptionCost,
    /// By job, in the order of their numbers.
    pub jobs: Vec<JobCost>,
    /// By dimension, in the order of their names.
    pub dimensions: Vec<DimensionCost>,
}

/// Sums over some entries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// What is paid: all kinds together, credits included.
    pub paid: Money,
    /// What the same shares of the same hours cost on demand.
    pub on_demand: Money,
    /// What was saved against on-demand; negative where spot did not pay.
    pub saved: Money,
    /// What is paid, by kind; kinds without entries are left out.
    pub by_kind: BTreeMap<LineKind, Money>,
}

/// What interruptions cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InterruptionCost {
    /// Work that was done and lost.
    pub lost_work: Money,
    /// Startup of every attempt but a job's first.
    pub restarts: Money,
    /// What providers gave back for machines that they took within the first
    /// hour: zero or negative, and more than lost work alone.
    pub waived: Money,
    /// All three.
    pub net: Money,
}

/// The cost of one job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobCost {
    /// The job.
    pub job: JobId,
    /// Its sums.
    pub totals: Totals,
    /// Its attempts, in order.
    pub attempts: Vec<AttemptCost>,
}

/// The cost of one attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptCost {
    /// The attempt.
    pub attempt: AttemptId,
    /// The start of its first charge.
    pub from: Timestamp,
    /// The end of its last charge.
    pub to: Timestamp,
    /// Its sums.
    pub totals: Totals,
}

/// Cost by the values of one dimension. With the report's idle the rows add up
/// to its total.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DimensionCost {
    /// Its name: `model`, `class`, or a tag.
    pub dimension: String,
    /// One row a value, the row of jobs without one first.
    pub rows: Vec<DimensionRow>,
}

/// The cost of one value of a dimension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DimensionRow {
    /// The value; none for jobs that do not have the dimension.
    pub value: Option<String>,
    /// Its sums.
    pub totals: Totals,
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

impl CostReport {
    /// Adds up entries. Their order does not matter.
    pub fn new(entries: &[LedgerEntry]) -> Self {
        let mut report = Self::default();
        let mut attempts: BTreeMap<AttemptId, AttemptCost> = BTreeMap::new();
        for entry in entries {
            report.total.add(entry);
            report.interruptions.add(entry);
            match entry.attempt {
                None => report.idle.add(entry),
                Some(attempt) => attempts
                    .entry(attempt)
                    .or_insert_with(|| AttemptCost::new(attempt, entry))
                    .add(entry),
            }
        }
        report.jobs = by_job(attempts);
        report.dimensions = by_dimension(entries);
        report
    }

    /// The costs by one dimension; none where no entry has it.
    pub fn by(&self, dimension: &str) -> Option<&DimensionCost> {
        self.dimensions.iter().find(|cost| cost.dimension == dimension)
    }

    /// Proves that every view adds up to the total, to the micro-dollar.
    pub fn check(&self) -> Result<(), Unbalanced> {
        self.total.check("the total")?;
        self.idle.check("idle")?;
        let jobs = self.jobs.iter().map(|job| &job.totals);
        self.total.equals("the total by job", jobs.chain([&self.idle]))?;
        for job in &self.jobs {
            job.totals.check(&job.job.to_string())?;
            let attempts = job.attempts.iter().map(|attempt| &attempt.totals);
            job.totals.equals(&job.job.to_string(), attempts)?;
        }
        for dimension in &self.dimensions {
            let rows = dimension.rows.iter().map(|row| &row.totals);
            let whole = format!("the total by {}", dimension.dimension);
            self.total.equals(&whole, rows.chain([&self.idle]))?;
        }
        Ok(())
    }
}

impl Totals {
    fn add(&mut self, entry: &LedgerEntry) {
        self.paid += entry.amount;
        self.on_demand += entry.on_demand_amount;
        self.saved = self.on_demand - self.paid;
        *self.by_kind.entry(entry.kind).or_default() += entry.amount;
    }

    fn merge(&mut self, other: &Self) {
        self.paid += other.paid;
        self.on_demand += other.on_demand;
        self.saved += other.saved;
        for (kind, amount) in &other.by_kind {
            *self.by_kind.entry(*kind).or_default() += *amount;
        }
    }

    /// What is paid for one kind.
    pub fn of(&self, kind: LineKind) -> Money {
        self.by_kind.get(&kind).copied().unwrap_or_default()
    }

    fn check(&self, name: &str) -> Result<(), Unbalanced> {
        balanced(&format!("{name} by kind"), self.by_kind.values().copied().sum(), self.paid)?;
        balanced(&format!("{name} on demand"), self.paid + self.saved, self.on_demand)
    }

    fn equals<'a>(
        &self,
        whole: &str,
        parts: impl Iterator<Item = &'a Self>,
    ) -> Result<(), Unbalanced> {
        let mut sum = Self::default();
        for part in parts {
            sum.merge(part);
        }
        balanced(whole, sum.paid, self.paid)?;
        balanced(&format!("{whole} on demand"), sum.on_demand, self.on_demand)?;
        for kind in LineKind::ALL {
            balanced(&format!("{whole}, {kind}"), sum.of(kind), self.of(kind))?;
        }
        Ok(())
    }
}

fn balanced(whole: &str, found: Money, expected: Money) -> Result<(), Unbalanced> {
    if found == expected {
        Ok(())
    } else {
        Err(Unbalanced { whole: whole.to_owned(), found, expected })
    }
}

impl InterruptionCost {
    fn add(&mut self, entry: &LedgerEntry) {
        let again = entry.attempt.is_some_and(|attempt| attempt.number > 1);
        match entry.kind {
            LineKind::LostWork => self.lost_work += entry.amount,
            LineKind::Startup if again => self.restarts += entry.amount,
            LineKind::Waiver => self.waived += entry.amount,
            _ => return,
        }
        self.net += entry.amount;
    }
}

impl AttemptCost {
    fn new(attempt: AttemptId, first: &LedgerEntry) -> Self {
        Self { attempt, from: first.from, to: first.to, totals: Totals::default() }
    }

    fn add(&mut self, entry: &LedgerEntry) {
        self.from = self.from.min(entry.from);
        self.to = self.to.max(entry.to);
        self.totals.add(entry);
    }
}

fn by_job(attempts: BTreeMap<AttemptId, AttemptCost>) -> Vec<JobCost> {
    let mut jobs: Vec<JobCost> = Vec::new();
    for (AttemptId { job, .. }, attempt) in attempts {
        match jobs.last_mut() {
            Some(last) if last.job == job => {
                last.totals.merge(&attempt.totals);
                last.attempts.push(attempt);
            }
            _ => {
                let totals = attempt.totals.clone();
                jobs.push(JobCost { job, totals, attempts: vec![attempt] });
            }
        }
    }
    jobs
}

fn by_dimension(entries: &[LedgerEntry]) -> Vec<DimensionCost> {
    let of_jobs = || entries.iter().filter(|entry| entry.attempt.is_some());
    let names: BTreeSet<&String> = of_jobs().flat_map(|entry| entry.dimensions.keys()).collect();
    names
        .into_iter()
        .map(|name| {
            let mut rows: BTreeMap<Option<&String>, Totals> = BTreeMap::new();
            for entry in of_jobs() {
                rows.entry(entry.dimensions.get(name)).or_default().add(entry);
            }
            let rows = rows
                .into_iter()
                .map(|(value, totals)| DimensionRow { value: value.cloned(), totals })
                .collect();
            DimensionCost { dimension: name.clone(), rows }
        })
        .collect()
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
