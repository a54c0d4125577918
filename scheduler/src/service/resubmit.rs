//! Resubmission of ended jobs: which ones come back, and with what.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sha2::{Digest, Sha256};
use spotwise_api::v1;
use spotwise_model::spec::{JobSpec, Submission};
use spotwise_model::{Ending, Job, JobId};

use super::names::Named;
use super::submit::read;
use super::{ServiceError, Session};
use crate::token::hex;
use spotwise_control::Command;
use spotwise_control::command::{Resubmit, ResubmittedJob};
use spotwise_model::access::Action;
use spotwise_store::JobFilter;

/// How many abandoned jobs are searched for those that wait for what comes back, newest
/// first.
const SEARCHED: u32 = 2_000;

/// What now stands for the jobs of some submissions: each job, or its newest resubmission.
struct Family {
    heads: BTreeMap<JobId, JobId>,
    jobs: BTreeMap<JobId, Job>,
}

impl Family {
    fn head(&self, id: JobId) -> JobId {
        self.heads.get(&id).copied().unwrap_or(id)
    }

    /// Leaves out what would be skipped again, because of jobs that are not resubmitted.
    fn leave_needless(&self, chosen: &mut BTreeSet<JobId>) {
        loop {
            let ending = |parent: JobId| {
                let stays = Some(self.head(parent)).filter(|head| !chosen.contains(head))?;
                self.jobs.get(&stays)?.state.ending()
            };
            let skipped = |job: &Job| {
                job.state.ending() == Some(Ending::Skipped) && job.unmet(ending).is_some()
            };
            let is_needless = |id: &JobId| self.jobs.get(id).is_some_and(skipped);
            let needless: Vec<JobId> = chosen.iter().copied().filter(is_needless).collect();
            if needless.is_empty() {
                return;
            }
            chosen.retain(|id| !needless.contains(id));
        }
    }

    /// The jobs in an order in which each comes after those it waits for: their numbers no
    /// longer tell once some have been resubmitted.
    fn parents_first(&self, chosen: &BTreeSet<JobId>) -> Vec<Job> {
        let mut left: Vec<&Job> = chosen.iter().filter_map(|id| self.jobs.get(id)).collect();
        let (mut done, mut order) = (BTreeSet::new(), Vec::with_capacity(left.len()));
        while !left.is_empty() {
            let open = |id: &JobId| chosen.contains(id) && !done.contains(id);
            let (now, later): (Vec<&Job>, Vec<&Job>) = left
                .into_iter()
                .partition(|job| !job.after.iter().any(|parent| open(&self.head(*parent))));
            if now.is_empty() {
                break;
            }
            done.extend(now.iter().map(|job| job.id));
            order.extend(now.into_iter().cloned());
            left = later;
        }
        order
    }
}

impl Session {
    /// Resubmits ended jobs: one, an array, or with `failed` those that have not succeeded
    /// and their dependents.
    pub async fn resubmit(
        &self,
        request: v1::ResubmitRequest,
    ) -> Result<v1::SubmitResponse, ServiceError> {
        self.may(Action::SubmitJobs)?;
        let key = self.idempotency_key(&request.idempotency_key)?;
        let mended = match request.document.as_str() {
            "" => None,
            document => Some(read(document, &request.format)?),
        };
        let hash = hash(&request)?;
        let known = match &key {
            Some(key) => self.parts.store.submission(key).await?,
            None => None,
        };
        let known = known.map(|record| (record.document_hash, record.jobs));
        let mut asked = Resubmit { key, hash, known, ..Resubmit::default() };
        if asked.known.is_none() {
            self.choose(&request, mended.as_ref(), &mut asked).await?;
        }
        self.submitted(Command::Resubmit(asked)).await
    }

    async fn choose(
        &self,
        request: &v1::ResubmitRequest,
        mended: Option<&Submission>,
        asked: &mut Resubmit,
    ) -> Result<(), ServiceError> {
        let targets = self.targets(&request.job, request.group).await?;
        let mut family = self.family(&targets).await?;
        let mut chosen: BTreeSet<JobId> = targets.iter().map(|job| family.head(job.id)).collect();
        if request.failed {
            chosen = self.failed_and_behind(&chosen, &mut family).await?;
            family.leave_needless(&mut chosen);
        }
        let jobs = family.parents_first(&chosen);
        if let Some(open) = jobs.iter().find(|job| !job.state.is_terminal()) {
            let message = format!("{} is {}; cancel it first", open.id, open.state.name());
            return Err(ServiceError::conflict("job_not_ended", message));
        }
        if jobs.is_empty() {
            let message = "nothing of it has failed: there is nothing to bring back";
            return Err(ServiceError::conflict("nothing_failed", message));
        }
        self.check_all(&jobs)?;
        if let Some(mended) = mended {
            self.check_teams(mended).await?;
        }
        let specs = mended.map(|mended| mended_specs(mended, &jobs)).transpose()?;
        let mut parents = BTreeSet::new();
        for job in &jobs {
            let outside = |id: &JobId| !chosen.contains(&family.head(*id));
            parents.extend(job.after.iter().filter(|id| outside(id)).map(|id| family.head(*id)));
        }
        asked.ended_parents = self.ended(parents, |_| "job".to_owned()).await?;
        asked.heads = family.heads.clone();
        let mut replaces: BTreeMap<JobId, Vec<JobId>> = BTreeMap::new();
        for (old, now) in &family.heads {
            replaces.entry(*now).or_default().push(*old);
        }
        asked.jobs = jobs
            .into_iter()
            .map(|old| ResubmittedJob {
                spec: specs
                    .as_ref()
                    .and_then(|specs| specs.get(&old.id).cloned())
                    .unwrap_or_else(|| (*old.spec).clone()),
                // What succeeded would find nothing left to do.
                goes_on: !request.fresh && old.state.ending() != Some(Ending::Succeeded),
                replaces: replaces.remove(&old.id).unwrap_or_default(),
                old,
            })
            .collect();
        Ok(())
    }

    /// The jobs that a name stands for: a job, an element, all elements of an array;
    /// with `group` their whole submission.
    async fn targets(&self, named: &str, group: bool) -> Result<Vec<Job>, ServiceError> {
        let (id, array) = match self.named(named).await? {
            Named::One(id) => (id, None),
            Named::Array { first, .. } => (first, Some(first)),
        };
        let job = self.stored_job(id).await?;
        match array {
            _ if group => self.members(&job, |_| true).await,
            None => Ok(vec![job]),
            Some(first) => {
                let same = |other: &Job| other.array.is_some_and(|place| place.first == first);
                self.members(&job, same).await
            }
        }
    }

    /// Jobs of the same submission.
    async fn members(
        &self,
        job: &Job,
        wanted: impl Fn(&Job) -> bool,
    ) -> Result<Vec<Job>, ServiceError> {
        let all = self.parts.store.group(job.group).await?;
        Ok(all.into_iter().filter(|member| wanted(member)).collect())
    }

    /// All jobs of the submissions that these belong to, and what now stands for them.
    async fn family(&self, jobs: &[Job]) -> Result<Family, ServiceError> {
        let mut family = Family { heads: BTreeMap::new(), jobs: BTreeMap::new() };
        let groups: BTreeSet<JobId> = jobs.iter().map(|job| job.group).collect();
        for group in groups {
            let members = self.parts.store.group(group).await?;
            self.adopt(members, &mut family).await?;
        }
        Ok(family)
    }

    /// Adds jobs, with their newest resubmissions in their place.
    async fn adopt(&self, members: Vec<Job>, family: &mut Family) -> Result<(), ServiceError> {
        let oldest = members.iter().map(|job| job.id).min().unwrap_or(JobId(0));
        let names: BTreeSet<String> = members.iter().map(|job| job.spec.name.clone()).collect();
        let mut later: BTreeMap<JobId, Job> = BTreeMap::new();
        for name in names {
            for job in self.parts.store.resubmissions(&name, oldest).await? {
                later.extend(job.resubmission.clone().map(|it| (it.of, job)));
            }
        }
        for member in members {
            let (id, mut head) = (member.id, member);
            let mut through = vec![id];
            while let Some(next) = later.get(&head.id) {
                head = next.clone();
                through.push(head.id);
            }
            through.into_iter().filter(|id| *id != head.id).for_each(|id| {
                family.heads.insert(id, head.id);
            });
            family.jobs.insert(head.id, head);
        }
        Ok(())
    }

    /// Those of the jobs that have not succeeded, and all their dependents: what was given
    /// up with them, and what ran because of how they ended.
    async fn failed_and_behind(
        &self,
        heads: &BTreeSet<JobId>,
        family: &mut Family,
    ) -> Result<BTreeSet<JobId>, ServiceError> {
        let given_up = JobFilter {
            states: ["cancelled", "skipped"].map(str::to_owned).to_vec(),
            limit: SEARCHED,
            ..JobFilter::default()
        };
        let strangers = self.parts.store.list(&given_up).await?;
        let failed = |id: &JobId| {
            let ending = family.jobs.get(id).and_then(|job| job.state.ending());
            ending.is_some_and(|ending| !ending.is_good())
        };
        let mut chosen: BTreeSet<JobId> = heads.iter().copied().filter(failed).collect();
        loop {
            let behind = |job: &Job, family: &Family| {
                job.after.iter().any(|parent| {
                    let again = chosen.contains(&family.head(*parent));
                    let good = job.state.ending() == Some(Ending::Succeeded);
                    again && (!good || !job.condition(*parent).is_default())
                })
            };
            let more: Vec<JobId> = family
                .jobs
                .values()
                .filter(|job| !chosen.contains(&job.id) && behind(job, family))
                .map(|job| job.id)
                .collect();
            let others: Vec<Job> = strangers
                .iter()
                .filter(|job| !chosen.contains(&job.id) && !family.jobs.contains_key(&job.id))
                .filter(|job| !family.heads.contains_key(&job.id) && behind(job, family))
                .cloned()
                .collect();
            if more.is_empty() && others.is_empty() {
                return Ok(chosen);
            }
            chosen.extend(more);
            self.adopt(others, family).await?;
        }
    }
}

/// What the jobs run according to a corrected document: its jobs replace those of the same
/// names.
fn mended_specs(
    mended: &Submission,
    jobs: &[Job],
) -> Result<BTreeMap<JobId, JobSpec>, ServiceError> {
    let mut specs = BTreeMap::new();
    let many = mended.jobs.len() > 1;
    let mut used = BTreeSet::new();
    for old in jobs {
        let Some(at) = mended.jobs.iter().position(|spec| spec.name == old.spec.name) else {
            continue;
        };
        let Some(spec) = mended.jobs.get(at) else { continue };
        used.insert(at);
        let field = |name: &str| if many { format!("jobs[{at}].{name}") } else { name.to_owned() };
        if !spec.after.is_empty() && spec.after != old.spec.after {
            let message = "what a resubmitted job waits for stays as it was; leave it out";
            return Err(ServiceError::invalid("dependencies_changed", &field("after"), message));
        }
        let size = spec.array.as_ref().map(|array| array.elements.len());
        let theirs = old.array.map(|place| place.size as usize);
        if size != theirs {
            let words = |size: Option<usize>| size.map_or("none".to_owned(), |n| n.to_string());
            let message = format!(
                "{} was submitted with an array of {}, and here it has one of {}",
                spec.name,
                words(theirs),
                words(size)
            );
            return Err(ServiceError::invalid("array_size_mismatch", &field("array"), message));
        }
        let mut new = JobSpec { array: None, after: old.spec.after.clone(), ..spec.clone() };
        if let (Some(place), Some(array)) = (old.array, &spec.array) {
            let variables = array.elements.get(place.index as usize).cloned();
            new.env.extend(variables.unwrap_or_default());
        }
        specs.insert(old.id, new);
    }
    if used.is_empty() {
        let names: BTreeSet<&str> = jobs.iter().map(|job| job.spec.name.as_str()).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let message = format!("no job of it is brought back; those are {}", names.join(", "));
        return Err(ServiceError::invalid("unknown_job", "name", message));
    }
    Ok(specs)
}

fn hash(request: &v1::ResubmitRequest) -> Result<String, ServiceError> {
    #[derive(Serialize)]
    struct Canonical<'r> {
        resubmit: &'r str,
        flags: [bool; 3],
        document: &'r str,
    }
    let flags = [request.failed, request.fresh, request.group];
    let canonical = Canonical { resubmit: &request.job, flags, document: &request.document };
    let text = serde_json::to_string(&canonical)
        .map_err(|error| ServiceError::internal("writing a request", error))?;
    Ok(hex(&Sha256::digest(text)))
}
