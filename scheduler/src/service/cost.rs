//! What was paid, by any dimension and period.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use spotwise_api::convert::{cost_ratio, parse_time, time_text};
use spotwise_api::v1;
use spotwise_model::access::SUBMITTED_BY;
use spotwise_model::ledger::LineKind;
use spotwise_model::spec::closest;
use spotwise_model::{InstanceId, Job, JobId, LedgerEntry, Money};

use super::live::LiveSnapshot;
use super::{ServiceError, Session, limits};
use spotwise_control::ledger::{CostReport, Every, Row, Scope, value_of};
use spotwise_model::access::{Action, TEAM};
use spotwise_store::LedgerFilter;

/// Dimensions of one report.
const MOST_DIMENSIONS: usize = 8;

/// Rows of one report: about 6 MiB on the wire.
const MOST_ROWS: usize = 20_000;

/// Dimensions of charges themselves. All others are labels of jobs.
const OF_CHARGES: [&str; 6] = ["attempt", "kind", "pool", "zone", "instance_type", "capacity_type"];

/// Labels that need no tag.
const BUILT_IN_LABELS: [&str; 4] =
    ["model", "class", SUBMITTED_BY, spotwise_model::commitment::DIMENSION];

impl Session {
    /// Adds up the ledger, and what unsettled machines have cost up to now.
    pub async fn cost(&self, query: v1::CostQuery) -> Result<v1::CostReport, ServiceError> {
        self.may(Action::ViewCosts)?;
        let filter = check(&query)?;
        // In this order: a machine that is settled meanwhile is then in both, not in none.
        let live = self.all_live().await?;
        let mut settled = self.parts.store.ledger(&filter.period).await?;
        let mut accrued = live.accrued_entries().to_vec();
        let known: BTreeSet<InstanceId> = settled.iter().map(|entry| entry.instance).collect();
        accrued.retain(|entry| !known.contains(&entry.instance));
        for entries in [&mut settled, &mut accrued] {
            entries.retain(|entry| self.scope().includes(team_of(entry).as_deref()));
        }
        let warnings = unknown_labels(&query, settled.iter().chain(&accrued));
        for entries in [&mut settled, &mut accrued] {
            entries.retain(|entry| passes(&query.filters, |name| value_of(entry, name)));
        }
        let scope = Scope {
            group_by: &query.group_by,
            since: filter.period.since,
            until: filter.period.until,
            zone: &filter.zone,
            now: live.now.market,
        };
        let report = add_up(&settled, &accrued, &scope)?;
        let jobs: BTreeSet<JobId> = report.total.jobs.iter().filter_map(|job| *job).collect();
        let outcomes = self.outcomes(&jobs, &live).await?;
        let whole = whole_jobs(&query);
        let rows = report.rows.iter().map(|row| v1::CostRow {
            quoted_micros: if whole { quoted(&row.jobs, &outcomes.quoted) } else { 0 },
            ..into_row(row)
        });
        // Unused hours belong to nobody: a part of the report has none of them.
        let commitments = match query.filters.is_empty() && self.scope().teams.is_none() {
            true => self.use_of_commitments(&filter.period, &live).await?,
            false => Vec::new(),
        };
        Ok(v1::CostReport {
            unused_commitments_micros: commitments.iter().map(|used| used.unused_micros).sum(),
            commitments,
            rows: rows.collect(),
            total: Some(into_row(&report.total)),
            unsettled_micros: report.total.sums.accrued.micros(),
            notes: self.notes(),
            interruptions: outcomes.interruptions,
            deadlines_met: outcomes.met,
            deadlines_missed: outcomes.missed,
            as_of: time_text(live.now.market),
            quotes: Some(quality(outcomes.ratios)),
            timezone: filter.zone.iana_name().unwrap_or("UTC").to_owned(),
            since: filter.period.since.map(time_text).unwrap_or_default(),
            until: filter.period.until.map(time_text).unwrap_or_default(),
            warnings,
            group_by: query.group_by,
        })
    }

    /// How the charged jobs fared.
    async fn outcomes(
        &self,
        jobs: &BTreeSet<JobId>,
        live: &LiveSnapshot,
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
        if self.parts.config.control.speed > 1 {
            let speed = self.parts.config.control.speed;
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
    /// Ratios of actual to expected cost.
    ratios: Vec<f64>,
}

impl Outcomes {
    /// Adds a job that will not be charged any more.
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

/// A query with its fields parsed.
#[derive(Debug)]
struct CostFilter {
    period: LedgerFilter,
    zone: TimeZone,
}

fn check(query: &v1::CostQuery) -> Result<CostFilter, ServiceError> {
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
    if let Some(period) = query.filters.keys().find(|name| Every::named(name).is_some()) {
        let message = format!("`{period}` is a period, not a value; use since and until");
        return Err(ServiceError::invalid("invalid_value", "filters", message));
    }
    let zone = zone(&query.timezone)?;
    let since = bound("since", &query.since, &zone)?;
    let until = bound("until", &query.until, &zone)?;
    if since.zip(until).is_some_and(|(since, until)| until <= since) {
        return Err(ServiceError::invalid("out_of_range", "until", "is not after since"));
    }
    Ok(CostFilter { period: LedgerFilter { since, until, jobs: None }, zone })
}

/// The zone whose days are meant; UTC if none is named.
fn zone(name: &str) -> Result<TimeZone, ServiceError> {
    if name.is_empty() {
        return Ok(TimeZone::UTC);
    }
    limits::text("timezone", name)?;
    TimeZone::get(name).map_err(|_| {
        let message = "not a time zone that this server knows, such as Europe/Berlin or UTC";
        ServiceError::invalid("unknown_value", "timezone", message)
    })
}

/// A time (RFC 3339), or in the zone a day (its start) or a day and time; `None` for empty
/// text.
fn bound(
    field: &'static str,
    text: &str,
    zone: &TimeZone,
) -> Result<Option<Timestamp>, ServiceError> {
    if let Ok(time) = parse_time(field, text) {
        return Ok(time);
    }
    // Ten characters: a date that is read does not mind what follows it.
    let local = match text.len() {
        10 => text.parse().ok().map(|day: Date| day.at(0, 0, 0, 0)),
        _ => text.parse::<DateTime>().ok().filter(|_| text.contains(['T', ' '])),
    };
    let time = local.and_then(|local| zone.to_timestamp(local).ok());
    time.map(Some).ok_or_else(|| {
        let message = "neither a day such as 2026-03-07, nor a time such as \
                       2026-03-07T14:00 or 2026-03-07T14:00:00Z";
        ServiceError::invalid("invalid_value", field, message)
    })
}

/// Names the tags that no charge has: a typo would look like missing data.
fn unknown_labels<'a>(
    query: &v1::CostQuery,
    entries: impl Iterator<Item = &'a LedgerEntry>,
) -> Vec<String> {
    let known: BTreeSet<&str> =
        entries.flat_map(|entry| entry.dimensions.keys()).map(String::as_str).collect();
    let built_in = |name: &str| {
        name == "job"
            || OF_CHARGES.contains(&name)
            || BUILT_IN_LABELS.contains(&name)
            || Every::named(name).is_some()
    };
    let names: BTreeSet<&String> = query.group_by.iter().chain(query.filters.keys()).collect();
    let strange =
        names.into_iter().filter(|name| !built_in(name) && !known.contains(name.as_str()));
    let all = known.iter().copied().chain(OF_CHARGES).chain(["job", "hour", "day", "month"]);
    let all: Vec<&str> = all.collect();
    if known.is_empty() {
        return Vec::new();
    }
    let warning = |name: &String| {
        let hint = closest(name, all.iter().copied())
            .map(|close| format!("; did you mean `{close}`?"))
            .unwrap_or_default();
        format!("no charge here has the tag `{name}`{hint}")
    };
    strange.map(warning).collect()
}

/// Whether the rows of a report contain whole jobs: neither a time nor a dimension of
/// single charges cuts them.
fn whole_jobs(query: &v1::CostQuery) -> bool {
    let mut names = query.group_by.iter().chain(query.filters.keys());
    let cut = names.any(|name| OF_CHARGES.contains(&name.as_str()) || Every::named(name).is_some());
    !cut && query.since.is_empty() && query.until.is_empty()
}

/// What these jobs were expected to cost, if known for all of them; otherwise 0.
fn quoted(jobs: &BTreeSet<Option<JobId>>, quoted: &BTreeMap<JobId, Money>) -> i64 {
    let known: Option<Vec<Money>> = jobs.iter().map(|job| quoted.get(&(*job)?).copied()).collect();
    known.unwrap_or_default().into_iter().sum::<Money>().micros()
}

/// The median and the 90th percentile of the ratios, by nearest rank.
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

/// Whose charge it is; `None` for nobody's.
fn team_of(entry: &LedgerEntry) -> Option<String> {
    Some(value_of(entry, TEAM)).filter(|team| !team.is_empty())
}

fn passes(filters: &BTreeMap<String, String>, value: impl Fn(&str) -> String) -> bool {
    filters.iter().all(|(name, wanted)| value(name) == *wanted)
}

/// A report whose sums are proven.
fn add_up(
    settled: &[LedgerEntry],
    accrued: &[LedgerEntry],
    scope: &Scope<'_>,
) -> Result<CostReport, ServiceError> {
    let report = CostReport::new(settled, accrued, scope, MOST_ROWS).map_err(|error| {
        let message = format!("{error}; group by less, or ask for less time");
        ServiceError::invalid("too_many_rows", "group_by", message)
    })?;
    report.check().map_err(|error| ServiceError::internal("adding up the ledger", error))?;
    Ok(report)
}

fn into_row(row: &Row) -> v1::CostRow {
    let of = |kind| row.sums.of(kind).micros();
    let end = |end: Option<Timestamp>| end.map(time_text).unwrap_or_default();
    v1::CostRow {
        keys: row.keys.clone(),
        total_micros: row.sums.total.micros(),
        compute_micros: of(LineKind::Compute),
        startup_micros: of(LineKind::Startup),
        lost_work_micros: of(LineKind::LostWork),
        idle_micros: of(LineKind::Idle),
        waiver_micros: of(LineKind::Waiver),
        storage_micros: of(LineKind::Storage),
        network_micros: of(LineKind::Network),
        on_demand_micros: row.sums.on_demand.micros(),
        machine_seconds: row.machine_seconds,
        quoted_micros: 0,
        settled_micros: row.sums.settled.micros(),
        accrued_micros: row.sums.accrued.micros(),
        late_micros: row.sums.late.micros(),
        closed: row.closed,
        period_from: end(row.period.0),
        period_until: end(row.period.1),
    }
}

#[cfg(test)]
#[path = "cost_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "period_tests.rs"]
mod period_tests;
