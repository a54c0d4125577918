//! What was paid, by any dimension.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use spotwise_api::convert::{cost_ratio, parse_time, time_text};
use spotwise_api::v1;
use spotwise_model::ledger::LineKind;
use spotwise_model::{AttemptId, InstanceId, Job, JobId, LedgerEntry, Money};

use super::live::Live;
use super::{Service, ServiceError, limits};
use crate::store::LedgerFilter;

/// Dimensions of one report.
const MOST_DIMENSIONS: usize = 8;

/// Rows of one report: about 6 MiB on the wire.
const MOST_ROWS: usize = 20_000;

impl Service {
    /// Adds up the ledger.
    pub async fn cost(&self, query: v1::CostQuery) -> Result<v1::CostReport, ServiceError> {
        let period = check(&query)?;
        let mut entries = self.parts.store.ledger(&period).await?;
        entries.retain(|entry| passes(&query.filters, |name| value_of(entry, name)));
        let (mut rows, total) = add_up(&entries, &query.group_by)?;
        let live = self.all_live().await?;
        let jobs: BTreeSet<JobId> = entries.iter().filter_map(LedgerEntry::job).collect();
        let outcomes = self.outcomes(&jobs, &live).await?;
        if whole_jobs(&query) {
            quote_rows(&mut rows, &entries, &query.group_by, &outcomes.quoted);
        }
        // Unused hours belong to nobody: a part of the report has none of them.
        let commitments = match query.filters.is_empty() {
            true => self.use_of_commitments(&period, &live).await?,
            false => Vec::new(),
        };
        Ok(v1::CostReport {
            unused_commitments_micros: commitments.iter().map(|used| used.unused_micros).sum(),
            commitments,
            rows,
            total: Some(total),
            unsettled_micros: unsettled(&live, &query.filters).micros(),
            notes: self.notes(),
            interruptions: outcomes.interruptions,
            deadlines_met: outcomes.met,
            deadlines_missed: outcomes.missed,
            as_of: time_text(live.now.market),
            quotes: Some(quality(outcomes.ratios)),
            group_by: query.group_by,
        })
    }

    /// How the charged jobs fared.
    async fn outcomes(
        &self,
        jobs: &BTreeSet<JobId>,
        live: &Live,
    ) -> Result<Outcomes, ServiceError> {
        let mut outcomes = Outcomes::default();
        for id in jobs {
            match live.state.jobs.get(id) {
                Some(job) => outcomes.count(job),
                None => {
                    for job in self.parts.store.job(*id).await?.iter() {
                        outcomes.count(job);
                        outcomes.review(job);
                    }
                }
            }
        }
        Ok(outcomes)
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = vec![format!("prices: {}", self.parts.market_name)];
        if self.parts.config.simulate_accelerators {
            notes.push("accelerators are simulated: work for GPUs ran on CPUs".to_owned());
        }
        if self.parts.config.speed > 1 {
            let speed = self.parts.config.speed;
            notes.push(format!("market time runs {speed} times as fast as the clock"));
        }
        notes
    }
}

#[derive(Default)]
struct Outcomes {
    interruptions: u32,
    met: u32,
    missed: u32,
    /// What the settled ones were expected to cost.
    quoted: BTreeMap<JobId, Money>,
    /// Actual by expected cost of the same.
    ratios: Vec<f64>,
}

impl Outcomes {
    /// Takes in a job that nothing more is charged to.
    fn review(&mut self, job: &Job) {
        if let (Some(quoted), Some(ratio)) = (job.quoted, cost_ratio(job)) {
            self.quoted.insert(job.id, quoted.expected_cost);
            self.ratios.push(ratio);
        }
    }

    fn count(&mut self, job: &Job) {
        self.interruptions = self.interruptions.saturating_add(job.interruptions);
        match job.met_deadline() {
            Some(true) => self.met += 1,
            Some(false) => self.missed += 1,
            None if matches!(job.state, spotwise_model::JobState::Failed { .. }) => {
                self.missed += 1;
            }
            None => {}
        }
    }
}

fn check(query: &v1::CostQuery) -> Result<LedgerFilter, ServiceError> {
    if query.group_by.len() > MOST_DIMENSIONS {
        let message = format!("at most {MOST_DIMENSIONS} dimensions");
        return Err(ServiceError::invalid("out_of_range", "group_by", message));
    }
    let mut seen = BTreeSet::new();
    for name in &query.group_by {
        limits::text("group_by", name)?;
        if name.is_empty() || !seen.insert(name) {
            let message = "each dimension is named once, such as model or Team";
            return Err(ServiceError::invalid("invalid_value", "group_by", message));
        }
    }
    limits::filters("filters", query.filters.iter())?;
    let (since, until) = (parse_time("since", &query.since)?, parse_time("until", &query.until)?);
    if since.zip(until).is_some_and(|(since, until)| until <= since) {
        return Err(ServiceError::invalid("out_of_range", "until", "is not after since"));
    }
    Ok(LedgerFilter { since, until, jobs: None })
}

/// The value of a dimension; empty where a charge has none.
fn value_of(entry: &LedgerEntry, name: &str) -> String {
    match name {
        "job" => entry.job().map(|job| job.to_string()).unwrap_or_default(),
        "attempt" => entry.attempt.map(|attempt| attempt.to_string()).unwrap_or_default(),
        "kind" => entry.kind.name().to_owned(),
        "pool" => entry.offer.pool.to_string(),
        "zone" => entry.offer.zone.to_string(),
        "instance_type" => entry.offer.instance_type.to_string(),
        "capacity_type" => entry.offer.capacity_type.to_string(),
        label => entry.dimensions.get(label).cloned().unwrap_or_default(),
    }
}

/// Whether the rows of a report have jobs whole: neither a time nor a dimension of
/// single charges cuts them.
fn whole_jobs(query: &v1::CostQuery) -> bool {
    const OF_CHARGES: [&str; 6] =
        ["attempt", "kind", "pool", "zone", "instance_type", "capacity_type"];
    let mut names = query.group_by.iter().chain(query.filters.keys());
    let cut = names.any(|name| OF_CHARGES.contains(&name.as_str()));
    !cut && query.since.is_empty() && query.until.is_empty()
}

/// Adds to each row what its jobs were expected to cost, where that is known of all.
fn quote_rows(
    rows: &mut [v1::CostRow],
    entries: &[LedgerEntry],
    group_by: &[String],
    quoted: &BTreeMap<JobId, Money>,
) {
    let mut jobs: BTreeMap<Vec<String>, BTreeSet<Option<JobId>>> = BTreeMap::new();
    for entry in entries {
        let keys = group_by.iter().map(|name| value_of(entry, name)).collect();
        jobs.entry(keys).or_default().insert(entry.job());
    }
    for row in rows {
        let of_row = jobs.get(&row.keys).into_iter().flatten();
        let known: Option<Vec<Money>> = of_row.map(|job| quoted.get(&(*job)?).copied()).collect();
        row.quoted_micros = known.unwrap_or_default().into_iter().sum::<Money>().micros();
    }
}

/// The least ratio that so many of them stay within: the nearest rank.
fn quality(mut ratios: Vec<f64>) -> v1::QuoteQuality {
    ratios.sort_by(f64::total_cmp);
    let rank = |part: usize| {
        let rank = (ratios.len() * part).div_ceil(10).max(1);
        ratios.get(rank - 1).copied().unwrap_or_default()
    };
    v1::QuoteQuality {
        jobs: u32::try_from(ratios.len()).unwrap_or(u32::MAX),
        median_ratio: rank(5),
        p90_ratio: rank(9),
    }
}

fn passes(filters: &BTreeMap<String, String>, value: impl Fn(&str) -> String) -> bool {
    filters.iter().all(|(name, wanted)| value(name) == *wanted)
}

/// Rows, dearest first, and the sum of all of them.
fn add_up(
    entries: &[LedgerEntry],
    group_by: &[String],
) -> Result<(Vec<v1::CostRow>, v1::CostRow), ServiceError> {
    let mut rows: BTreeMap<Vec<String>, Sums> = BTreeMap::new();
    let mut total = Sums::default();
    for entry in entries {
        let keys = group_by.iter().map(|name| value_of(entry, name)).collect();
        rows.entry(keys).or_default().add(entry);
        total.add(entry);
        if rows.len() > MOST_ROWS {
            let message =
                format!("more than {MOST_ROWS} rows; group by less, or ask for less time");
            return Err(ServiceError::invalid("too_many_rows", "group_by", message));
        }
    }
    let mut rows: Vec<v1::CostRow> =
        rows.into_iter().map(|(keys, sums)| sums.into_row(keys)).collect();
    rows.sort_by(|a, b| b.total_micros.cmp(&a.total_micros).then_with(|| a.keys.cmp(&b.keys)));
    Ok((rows, total.into_row(Vec::new())))
}

/// Charges of live machines, as far as the filters concern them. Idle is not
/// known before a machine ends.
fn unsettled(live: &Live, filters: &BTreeMap<String, String>) -> Money {
    let concerned = |id: AttemptId| {
        let (attempt, job) = (live.state.attempts.get(&id)?, live.state.jobs.get(&id.job)?);
        let value = |name: &str| match name {
            "job" => id.job.to_string(),
            "attempt" => id.to_string(),
            "pool" => attempt.offer.pool.to_string(),
            "zone" => attempt.offer.zone.to_string(),
            "instance_type" => attempt.offer.instance_type.to_string(),
            "capacity_type" => attempt.offer.capacity_type.to_string(),
            "class" => job.spec.class.name().to_owned(),
            "model" => job.spec.model.clone().unwrap_or_default(),
            tag => job.spec.tags.get(tag).cloned().unwrap_or_default(),
        };
        passes(filters, value).then_some(())
    };
    live.accrued().filter(|(id, _)| concerned(*id).is_some()).map(|(_, amount)| amount).sum()
}

#[derive(Default)]
struct Sums {
    total: Money,
    on_demand: Money,
    by_kind: BTreeMap<LineKind, Money>,
    used: Vec<(InstanceId, Timestamp, Timestamp)>,
}

impl Sums {
    fn add(&mut self, entry: &LedgerEntry) {
        self.total += entry.amount;
        self.on_demand += entry.on_demand_amount;
        *self.by_kind.entry(entry.kind).or_default() += entry.amount;
        self.used.push((entry.instance, entry.from, entry.to));
    }

    fn into_row(self, keys: Vec<String>) -> v1::CostRow {
        let of = |kind| self.by_kind.get(&kind).copied().unwrap_or_default().micros();
        v1::CostRow {
            keys,
            total_micros: self.total.micros(),
            compute_micros: of(LineKind::Compute),
            startup_micros: of(LineKind::Startup),
            lost_work_micros: of(LineKind::LostWork),
            idle_micros: of(LineKind::Idle),
            waiver_micros: of(LineKind::Waiver),
            storage_micros: of(LineKind::Storage),
            network_micros: of(LineKind::Network),
            on_demand_micros: self.on_demand.micros(),
            machine_seconds: machine_seconds(self.used),
            quoted_micros: 0,
        }
    }
}

/// The time that machines were used for: several charges of one machine and
/// time count once.
fn machine_seconds(mut used: Vec<(InstanceId, Timestamp, Timestamp)>) -> u64 {
    used.sort();
    let mut seconds = 0;
    let mut reached: Option<(InstanceId, Timestamp)> = None;
    for (instance, from, to) in used {
        let from = match reached {
            Some((same, end)) if same == instance => from.max(end),
            _ => from,
        };
        if to > from {
            seconds += spotwise_model::time::between(from, to).as_secs();
        }
        let end = reached.filter(|(same, _)| *same == instance).map_or(to, |(_, end)| end.max(to));
        reached = Some((instance, end));
    }
    seconds
}

#[cfg(test)]
#[path = "cost_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "period_tests.rs"]
mod period_tests;
