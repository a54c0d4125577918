//! Callers' names for jobs: `j17`, `17`, `train`, `big[3]`, for machines: `i5`, `5`, and for
//! pools, as shown in lists.

use spotwise_model::id::PoolName;
use spotwise_model::{InstanceId, Job, JobId, JobState};

use super::{ServiceError, Session, limits, no_such_job};
use spotwise_control::core::State;

/// How many jobs a note lists.
const NAMED: usize = 5;

/// The jobs that a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// One.
    One(JobId),
    /// All elements of an array, by the name that they share.
    Array {
        /// Element 0.
        first: JobId,
        /// How many there are.
        size: u32,
    },
}

/// A name as it was written.
enum Written<'t> {
    Id(JobId),
    Name(&'t str),
    Element(&'t str, u32),
}

impl Session {
    /// Reads `j17`, `17`, the name of a job or array, or that of an element: `big[3]`. Of
    /// several jobs of a name, the newest that has not ended is meant, otherwise the
    /// newest.
    ///
    /// A job of a team that the caller does not see does not exist.
    pub(super) async fn named(&self, text: &str) -> Result<Named, ServiceError> {
        let named = self.named_by_anybody(text).await?;
        let (Named::One(id) | Named::Array { first: id, .. }) = named;
        self.check_visible(id).await?;
        Ok(named)
    }

    async fn named_by_anybody(&self, text: &str) -> Result<Named, ServiceError> {
        let (name, index) = match read(text)? {
            Written::Id(id) => return Ok(Named::One(id)),
            Written::Name(name) => (name, None),
            Written::Element(name, index) => (name, Some(index)),
        };
        let missing = || ServiceError::NotFound(format!("there is no job named {name}"));
        let id = self
            .parts
            .store
            .newest_by_name(name, self.scope().teams.as_ref())
            .await?
            .ok_or_else(missing)?;
        let mut job = self.parts.store.job(id).await?.ok_or_else(|| no_such_job(id))?;
        // Of an array some elements may have come back: the others are where they were.
        while let (Some(place), Some(from)) = (job.array, job.resubmission.as_ref()) {
            let of = from.of;
            let mut back = self.parts.store.group(job.group).await?;
            back.retain(|other| {
                let same = other.array.filter(|other| other.first == place.first);
                same.is_some_and(|other| index.is_none_or(|index| index == other.index))
            });
            match (back.as_slice(), index) {
                ([one], _) => return Ok(Named::One(one.id)),
                ([_, ..], _) => {
                    return Ok(Named::Array { first: place.first, size: place.size });
                }
                ([], _) => {
                    job = self.parts.store.job(of).await?.ok_or_else(|| no_such_job(of))?;
                }
            }
        }
        match (job.array, index) {
            (None, None) => Ok(Named::One(id)),
            (None, Some(_)) => {
                let message = format!("{name} ({id}) is no array; leave out the number");
                Err(ServiceError::NotFound(message))
            }
            (Some(place), Some(index)) if index < place.size => {
                Ok(Named::One(JobId(place.first.0 + u64::from(index))))
            }
            (Some(place), Some(_)) => {
                let last = place.size.saturating_sub(1);
                Err(ServiceError::NotFound(format!("{name} has the elements 0 to {last}")))
            }
            (Some(place), None) if place.size == 1 => Ok(Named::One(place.first)),
            (Some(place), None) => Ok(Named::Array { first: place.first, size: place.size }),
        }
    }

    /// The one job that a name stands for.
    pub(super) async fn job_id(&self, text: &str) -> Result<JobId, ServiceError> {
        match self.named(text).await? {
            Named::One(id) => Ok(id),
            Named::Array { first, size } => {
                let last = first.0 + u64::from(size) - 1;
                let message = format!(
                    "{text} is an array of {size} jobs, {text}[0] ({first}) to {text}[{}] \
                     (j{last}); name one of them",
                    size - 1
                );
                Err(ServiceError::invalid("ambiguous_name", "job", message))
            }
        }
    }

    /// Says which other jobs of this name have not ended; empty for none, and for ids.
    pub(super) async fn others_named(
        &self,
        text: &str,
        meant: &[JobId],
    ) -> Result<String, ServiceError> {
        let Ok(Written::Name(name)) = read(text) else { return Ok(String::new()) };
        let (name, meant) = (name.to_owned(), meant.first().copied());
        let find = move |state: &State, _| {
            let group = meant.and_then(|id| Some(state.jobs.get(&id)?.group));
            let other = |job: &&Job| {
                job.spec.name == name && Some(job.group) != group && !job.state.is_terminal()
            };
            let ids: Vec<JobId> = state.jobs.values().filter(other).map(|job| job.id).collect();
            ids
        };
        let others = self.parts.handle.ask(find).await?;
        let listed: Vec<String> = others.iter().take(NAMED).map(ToString::to_string).collect();
        Ok(match others.len() {
            0 => String::new(),
            1..=NAMED => format!("of the same name, and not over: {}", listed.join(", ")),
            more => format!(
                "of the same name, and not over: {} and {} more",
                listed.join(", "),
                more - NAMED
            ),
        })
    }
}

/// The machine that a text names: `i5` or `5`.
pub(super) fn machine_id(text: &str) -> Result<InstanceId, ServiceError> {
    if text.is_empty() {
        let message = "name a machine: i5 or 5; `spotwise machines` lists them";
        return Err(ServiceError::invalid("missing_field", "machine", message));
    }
    text.parse().map_err(|_| {
        ServiceError::invalid("invalid_value", "machine", "not a machine such as i5 or 5")
    })
}

/// The pool that a text names; `None` for empty text.
pub(super) fn pool_name(text: &str) -> Result<Option<PoolName>, ServiceError> {
    limits::text("pool", text)?;
    Ok((!text.is_empty()).then(|| PoolName::new(text)))
}

/// Why no pool is meant.
pub(super) fn no_such_pool(name: &PoolName) -> ServiceError {
    ServiceError::NotFound(format!("there is no pool `{name}`; `spotwise pools` lists them"))
}

/// Why no machine is meant.
pub(super) fn no_such_machine(id: InstanceId) -> ServiceError {
    ServiceError::NotFound(format!(
        "there is no machine {id}, or it is gone and its charges are settled; `spotwise machines` \
         lists those that are there"
    ))
}

/// The elements of an array, in order.
pub(super) fn elements(first: JobId, size: u32) -> Vec<JobId> {
    (0..u64::from(size)).map(|index| JobId(first.0 + index)).collect()
}

/// Why nothing was cancelled.
pub(super) fn over_already(what: &str, state: &JobState) -> ServiceError {
    let been = matches!(state, JobState::Skipped { .. } | JobState::Rejected { .. });
    let verb = if been { "was" } else { "has" };
    let message = format!("{what} {verb} {} already", state.name());
    ServiceError::conflict("job_ended", message)
}

fn read(text: &str) -> Result<Written<'_>, ServiceError> {
    /// A job's name is a DNS label: nothing longer can be one.
    const LONGEST_NAME: usize = 63;
    if text.is_empty() {
        let message = "name a job: j17, 17, its name, or an element such as big[3]";
        return Err(ServiceError::invalid("missing_field", "job", message));
    }
    if let Ok(id) = text.parse() {
        return Ok(Written::Id(id));
    }
    let (name, index) = element(text).map_or((text, None), |(name, index)| (name, Some(index)));
    let label = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(label) {
        let message = "not a job such as j17, 17, a job's name, or an element such as big[3]";
        return Err(ServiceError::invalid("invalid_value", "job", message));
    }
    Ok(index.map_or(Written::Name(name), |index| Written::Element(name, index)))
}

/// `big[3]` in its parts.
pub(super) fn element(text: &str) -> Option<(&str, u32)> {
    let (name, rest) = text.split_once('[')?;
    let digits = rest.strip_suffix(']')?;
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let index = digits.parse().ok().filter(|_| plain)?;
    Some((name, index))
}

#[cfg(test)]
mod tests {
    use spotwise_api::v1;

    use super::*;
    use crate::service::testing::Bench;

    const ARRAY: &str = "name: big\ncommand: [x]\narray: {size: 3}\n";

    async fn submit(bench: &Bench, document: &str) -> Vec<String> {
        let (document, format) = (document.to_owned(), "yaml".to_owned());
        let request = v1::SubmitRequest { document, format, ..Default::default() };
        let jobs = bench.service.submit(request).await.unwrap().jobs;
        jobs.into_iter().map(|job| job.id).collect()
    }

    async fn cancel(bench: &Bench, job: &str) -> v1::CancelResponse {
        let request = v1::CancelRequest { job: job.to_owned(), group: false };
        bench.service.cancel(request).await.unwrap()
    }

    #[tokio::test]
    async fn names_mean_what_lists_show() {
        let bench = Bench::new().await;
        submit(&bench, ARRAY).await;
        submit(&bench, "name: one\ncommand: [x]\n").await;
        let listed = bench.service.list(v1::ListJobsRequest::default()).await.unwrap().jobs;
        for job in &listed {
            let get = v1::GetJobRequest { job: job.name.clone() };
            let found = bench.service.get(get).await.unwrap().job.unwrap();
            assert_eq!((&found.id, &found.name), (&job.id, &job.name));
            let named = v1::ListJobsRequest { name: job.name.clone(), ..Default::default() };
            let page = bench.service.list(named).await.unwrap();
            let ids: Vec<&String> = page.jobs.iter().map(|job| &job.id).collect();
            assert_eq!((ids, page.next_page_token.as_str()), (vec![&job.id], ""));
        }
        assert_eq!(
            bench.service.named("big").await.unwrap(),
            Named::Array { first: JobId(1), size: 3 }
        );
        let vague = bench.service.job_id("big").await.unwrap_err();
        assert_eq!((vague.code(), vague.field()), ("ambiguous_name", "job"));
        assert!(vague.message().contains("big[0] (j1) to big[2] (j3)"), "{vague}");
        for (bad, code) in [
            ("big[3]", "not_found"),
            ("one[0]", "not_found"),
            ("none[0]", "not_found"),
            ("big[-1]", "invalid_value"),
            ("big[+1]", "invalid_value"),
            ("big[]", "invalid_value"),
            ("big[99999999999]", "invalid_value"),
            ("[0]", "invalid_value"),
            ("big[0]x", "invalid_value"),
        ] {
            assert_eq!(bench.service.job_id(bad).await.unwrap_err().code(), code, "{bad}");
        }
    }

    #[tokio::test]
    async fn an_array_is_cancelled_by_its_name_and_an_element_by_its_own() {
        let bench = Bench::new().await;
        submit(&bench, ARRAY).await;
        let ids = |answer: v1::CancelResponse| {
            answer.jobs.into_iter().map(|job| job.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(cancel(&bench, "big[1]").await), ["j2"]);
        assert_eq!(ids(cancel(&bench, "big").await), ["j1", "j3"]);
        assert_eq!(ids(cancel(&bench, "big").await), ["j1", "j2", "j3"], "twice is once");
    }

    #[tokio::test]
    async fn of_several_the_newest_that_is_not_over_is_meant() {
        let bench = Bench::new().await;
        for _ in 0..3 {
            submit(&bench, "name: one\ncommand: [x]\n").await;
        }
        let answer = cancel(&bench, "one").await;
        assert_eq!(answer.jobs[0].id, "j3");
        assert_eq!(answer.note, "of the same name, and not over: j1, j2");
        assert_eq!(cancel(&bench, "one").await.jobs[0].id, "j2");
        assert_eq!(cancel(&bench, "j1").await.note, "");
        assert_eq!(bench.service.job_id("one").await.unwrap(), JobId(3), "all are over");
    }
}
