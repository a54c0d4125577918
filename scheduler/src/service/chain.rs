//! The quote of a whole document: each job from when what it waits for has finished.
//!
//! Medians follow medians and p90s follow p90s, as if all went well or badly together:
//! jobs of one document run on the same market.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_api::convert::time_text;
use spotwise_api::v1;
use spotwise_model::quote::{Quote, Spread, Start};
use spotwise_model::resources::Free;
use spotwise_model::time::{after, between};
use spotwise_model::{Job, JobId, JobSpec, Money, Now, Offer, PoolSet};
use spotwise_solver::{PlanInput, PlanJob, graph};

use super::job_quote::{Way, job_quote, unmeetable};
use spotwise_control::phase::deadlines;
use spotwise_control::view::deadline::effective_deadlines;

/// What the jobs of a document are quoted against.
pub(super) struct QuoteContext<'a> {
    /// The market and what we hold of it.
    pub(super) input: PlanInput,
    /// The total capacity of each pool.
    pub(super) pools: PoolSet,
    /// When jobs submitted earlier, for which these wait, will end.
    pub(super) earlier: BTreeMap<JobId, Spread<Timestamp>>,
    /// Time from launch to the first useful step.
    pub(super) changeover: Duration,
    /// When it is quoted.
    pub(super) now: Now,
    /// The jobs that the document would become, parents before children.
    pub(super) jobs: &'a [Job],
}

/// Elements that one machine is reckoned with at most.
const MOST_AT_ONCE: u32 = 1_000;

/// As good as no start: zero would stand for the usual one.
const NO_START: Duration = Duration::from_millis(1);

/// What is asked of the solver: equal questions have equal answers.
type Question = (String, Timestamp, Timestamp);

/// A job, or all elements of an array.
struct Part<'a> {
    job: &'a Job,
    elements: u32,
}

impl QuoteContext<'_> {
    /// Quotes for these specs, in their order, and for all of them together.
    pub(super) fn quote(&self, specs: &[JobSpec]) -> v1::QuoteResponse {
        let needed = effective_deadlines(self.jobs.iter(), self.changeover);
        let ends = self.earliest_ends();
        let mut finishes: BTreeMap<JobId, Spread<Timestamp>> = self.earlier.clone();
        let mut answers: BTreeMap<Question, Quote> = BTreeMap::new();
        let mut quotes: BTreeMap<&str, v1::JobQuote> = BTreeMap::new();
        for part in parts(self.jobs) {
            let job = part.job;
            let begin = self.begin(job, &finishes);
            let deadline = needed.get(&job.id).copied().unwrap_or(job.deadline);
            let usual = self.ask(&self.input, job, begin.p50, deadline, &mut answers);
            let late = self.ask(&self.input, job, begin.p90, deadline, &mut answers);
            let reuse = job.array.filter(|place| place.reuse_workers);
            let reuse = reuse.and_then(|_| self.reuse(&part, begin, &usual, deadline));
            let quote = joined(&part, begin, usual, &late, job.deadline);
            let quote = match &reuse {
                Some(reuse) => reuse.spread(&part, begin, quote),
                None => quote,
            };
            let (first, waits) = (job.id.0, self.waits_for(job));
            let mut answer = job_quote(&self.input, &self.pools, &part.job.spec, &quote);
            answer.elements = part.elements;
            if let Some(reuse) = reuse.filter(|_| quote.offer.is_some()) {
                let starts = reuse.workers;
                answer.reason += &format!("; about {starts} starts for {} elements", part.elements);
            }
            answer.deadline_source =
                spotwise_api::convert::deadline_source(job.deadline_source).to_owned();
            if begin.p50 > self.now.market {
                put_off(&mut answer, &quote, begin.p50, waits);
            } else {
                answer.after = waits;
            }
            if ends.get(&job.id).is_some_and(|end| *end > job.deadline) {
                answer.warnings.retain(|warning| !warning.contains("deadline"));
                answer.warnings.insert(0, unmeetable(&self.way_to(job, &ends)));
            }
            for id in first..first + u64::from(part.elements) {
                finishes.insert(JobId(id), quote.finish);
            }
            quotes.insert(&job.spec.name, answer);
        }
        let jobs = specs.iter().filter_map(|spec| quotes.remove(spec.name.as_str()));
        total(jobs.collect())
    }

    /// When everything that a job waits for has finished.
    fn begin(&self, job: &Job, finishes: &BTreeMap<JobId, Spread<Timestamp>>) -> Spread<Timestamp> {
        let now = self.now.market;
        let parents = job.after.iter().filter_map(|parent| finishes.get(parent));
        parents.fold(Spread { p50: now, p90: now }, |begin, end| Spread {
            p50: begin.p50.max(end.p50),
            p90: begin.p90.max(end.p90),
        })
    }

    /// What an element costs whose worker has carried out another before, and how many
    /// workers there are; `None` if nothing holds it.
    fn reuse(
        &self,
        part: &Part<'_>,
        begin: Spread<Timestamp>,
        first: &Quote,
        deadline: Timestamp,
    ) -> Option<Reuse> {
        let key = first.offer.as_ref()?;
        let offer = self.input.offers.iter().find(|offer| offer.key == *key)?;
        let limit = self.pools.get(&key.pool).and_then(|pool| pool.limits.machines);
        let free = offer.free.machines();
        let machines = limit.map_or(free, |limit| limit.min(free));
        let seats = machines.max(1).saturating_mul(at_once_on(offer, part.job));
        let workers = at_once(part).min(seats).max(1);
        let mut input = self.input.clone();
        for offer in &mut input.offers {
            offer.changeover = NO_START;
        }
        let next = self.ask(&input, part.job, begin.p50, deadline, &mut BTreeMap::new());
        Some(Reuse { next, workers })
    }

    fn ask(
        &self,
        input: &PlanInput,
        job: &Job,
        begin: Timestamp,
        deadline: Timestamp,
        answers: &mut BTreeMap<Question, Quote>,
    ) -> Quote {
        // What tells a job's elements apart costs nothing.
        let mut spec = JobSpec { array: None, name: String::new(), ..(*job.spec).clone() };
        (spec.title, spec.command) = (None, Vec::new());
        spec.env.clear();
        spec.tags.clear();
        spec.after.clear();
        let text = serde_json::to_string(&spec).unwrap_or_else(|_| job.id.to_string());
        let answer = answers.entry((text, begin, deadline)).or_insert_with(|| {
            let asked = PlanJob {
                // No job has this number: they begin with 1.
                id: JobId(0),
                spec: std::sync::Arc::new(JobSpec { array: None, ..(*job.spec).clone() }),
                submitted: begin,
                quoted: true,
                // Starts are shared out below.
                worker_array: None,
                barred: self.pools.barred(&job.spec),
                ..PlanJob::new(job, deadline, job.spec.budget)
            };
            if begin == input.now {
                return spotwise_solver::quote(input, &asked);
            }
            let input = PlanInput { now: begin, ..input.clone() };
            spotwise_solver::quote(&input, &asked)
        });
        answer.clone()
    }

    /// The earliest end of each job: started on demand as soon as it may.
    fn earliest_ends(&self) -> BTreeMap<JobId, Timestamp> {
        let now = self.now.market;
        let earlier = self.earlier.iter().map(|(id, end)| (*id, &[][..], between(now, end.p50)));
        let waits_for: Vec<Vec<JobId>> = self.jobs.iter().map(Job::hurries).collect();
        let jobs = self.jobs.iter().zip(&waits_for).map(|(job, waits_for)| {
            (job.id, waits_for.as_slice(), deadlines::best_span(job, self.changeover))
        });
        graph::earliest_ends(now, earlier.chain(jobs))
    }

    /// The chain of jobs that determines when a job ends, itself last, and how long they
    /// take.
    fn way_to(&self, job: &Job, ends: &BTreeMap<JobId, Timestamp>) -> Way {
        let mut names = vec![job.spec.name.clone()];
        let mut last = job;
        let latest = |job: &Job| {
            let known = job.hurries().into_iter().filter(|id| ends.contains_key(id));
            known.max_by_key(|id| ends.get(id).copied())
        };
        while let Some(id) = latest(last) {
            let Some(parent) = self.jobs.iter().find(|job| job.id == id) else {
                names.push(id.to_string());
                break;
            };
            names.push(parent.spec.name.clone());
            last = parent;
        }
        names.reverse();
        let end = ends.get(&job.id).copied().unwrap_or(job.deadline);
        Way { names, takes: between(self.now.market, end), end }
    }

    /// The names of the jobs of the document, and the ids of others, that a job waits
    /// for.
    fn waits_for(&self, job: &Job) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for id in &job.after {
            let known = self.jobs.iter().find(|job| job.id == *id);
            let name = known.map_or_else(|| id.to_string(), |job| job.spec.name.clone());
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

/// The jobs of a document, elements of an array together.
fn parts(jobs: &[Job]) -> Vec<Part<'_>> {
    let mut parts: Vec<Part<'_>> = Vec::new();
    for job in jobs {
        match parts.last_mut() {
            Some(last) if last.job.spec.name == job.spec.name => last.elements += 1,
            _ => parts.push(Part { job, elements: 1 }),
        }
    }
    parts
}

/// One quote of a job that usually begins at one time, and sometimes at the other.
fn joined(
    part: &Part<'_>,
    begin: Spread<Timestamp>,
    usual: Quote,
    late: &Quote,
    deadline: Timestamp,
) -> Quote {
    let waves = part.elements.div_ceil(at_once(part)).max(1);
    let end = |begin: Timestamp, finish: Timestamp| {
        after(begin, between(begin, finish).saturating_mul(waves))
    };
    let p50 = end(begin.p50, usual.finish.p50);
    let p90 = end(begin.p90, late.finish.p90).max(p50);
    let cost = Spread { p50: usual.cost.p50, p90: usual.cost.p90.max(late.cost.p90) };
    Quote { finish: Spread { p50, p90 }, cost, deadline, ..usual }
}

/// How many elements run at once at most.
fn at_once(part: &Part<'_>) -> u32 {
    part.job.array.and_then(|place| place.max_parallel).unwrap_or(part.elements).max(1)
}

/// How many elements one machine runs at once.
fn at_once_on(offer: &Offer, job: &Job) -> u32 {
    let Some(share) = job.spec.share_on(offer.shape.accelerator.as_ref()) else { return 1 };
    let mut free = Free::new(&offer.shape);
    let mut times = 0;
    // A thousandth of a CPU and a mebibyte fit many thousand times: more say nothing more.
    while times < MOST_AT_ONCE && free.take(&share) {
        times += 1;
    }
    times.max(1)
}

/// Workers that go on with the next element: only their first one pays for a start.
struct Reuse {
    /// An element that needs no start.
    next: Quote,
    /// How many begin.
    workers: u32,
}

impl Reuse {
    /// The quote of a mean element: the cost of the starts is spread over all.
    fn spread(&self, part: &Part<'_>, begin: Spread<Timestamp>, first: Quote) -> Quote {
        let Self { next, workers } = self;
        let (all, rest) = (part.elements.max(1), part.elements.saturating_sub(*workers));
        let mean = |first: Money, next: Money| {
            let extra = (first - next).max(Money::ZERO).micros();
            let spread = i128::from(extra) * i128::from(all - rest) / i128::from(all);
            next + Money::from_micros(i64::try_from(spread).unwrap_or(extra))
        };
        let both = |first: Spread<Money>, next: Spread<Money>| Spread {
            p50: mean(first.p50, next.p50),
            p90: mean(first.p90, next.p90),
        };
        let waves = part.elements.div_ceil(*workers).saturating_sub(1);
        let end = |begin: Timestamp, first: Timestamp, next: Timestamp| {
            after(first, between(begin, next).saturating_mul(waves))
        };
        let one_wave = |finish: Timestamp, begin: Timestamp| {
            let waves = part.elements.div_ceil(at_once(part)).max(1);
            after(begin, between(begin, finish) / waves)
        };
        let p50 = end(begin.p50, one_wave(first.finish.p50, begin.p50), next.finish.p50);
        let p90 = end(begin.p90, one_wave(first.finish.p90, begin.p90), next.finish.p90);
        let on_demand = first.on_demand_cost.zip(next.on_demand_cost);
        Quote {
            expected_cost: mean(first.expected_cost, next.expected_cost),
            cost: both(first.cost, next.cost),
            machines: (
                mean(first.machines.0, next.machines.0),
                both(first.machines.1, next.machines.1),
            ),
            finish: Spread { p50, p90: p90.max(p50) },
            on_demand_cost: on_demand.map(|(first, next)| mean(first, next)),
            ..first
        }
    }
}

/// A job that cannot start now: it has no offer yet.
fn put_off(answer: &mut v1::JobQuote, quote: &Quote, begin: Timestamp, waits: Vec<String>) {
    if quote.offer.is_some() && quote.start == Start::Now {
        answer.start = time_text(begin);
        let offer = std::mem::take(&mut answer.offer);
        answer.reason = format!("starts after {}, such as on {offer}", waits.join(", "));
    } else {
        answer.reason = format!("after {}: {}", waits.join(", "), answer.reason);
    }
    answer.after = waits;
}

fn total(jobs: Vec<v1::JobQuote>) -> v1::QuoteResponse {
    let sum = |of: fn(&v1::JobQuote) -> i64| {
        let each = jobs.iter().map(|job| of(job).saturating_mul(i64::from(job.elements)));
        each.fold(0i64, i64::saturating_add)
    };
    let last = |of: fn(&v1::JobQuote) -> &String| {
        let ends = jobs.iter().map(|job| of(job).parse::<Timestamp>().ok());
        let ends: Option<Vec<Timestamp>> = ends.collect();
        ends.and_then(|ends| ends.into_iter().max()).map(time_text).unwrap_or_default()
    };
    v1::QuoteResponse {
        p50_micros: sum(|job| job.p50_micros),
        p90_micros: sum(|job| job.p90_micros),
        on_demand_micros: sum(|job| job.on_demand_micros),
        finish_p50: last(|job| &job.finish_p50),
        finish_p90: last(|job| &job.finish_p90),
        jobs,
    }
}
