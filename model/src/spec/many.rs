//! Arrays, sweeps and dependencies.

use std::collections::{BTreeMap, BTreeSet};

use super::document::{ArrayDocument, DependencyDocument, Scalar};
use super::error::{Problem, Under, shown};
use super::read::{TextOr, TextOrFields};
use super::{Array, Dependency, JobSpec, Needed, text};

/// Elements of one array, and of all arrays of a document together (the cap of
/// AWS Batch).
pub(super) const MAX_ELEMENTS: usize = 10_000;
pub(super) const MAX_DEPENDENCIES: usize = 1_000;
pub(super) const MAX_PARAMETERS: usize = 8;
pub(super) const MAX_VALUE_BYTES: usize = 128;

/// `allowance` is how many elements the document may still create.
pub(super) fn array(document: &ArrayDocument, allowance: usize) -> Result<Array, Problem> {
    let size = usize::try_from(document.size).unwrap_or(usize::MAX);
    check_size(size, allowance).under("size")?;
    let max_parallel = document.max_parallel;
    if max_parallel == Some(0) {
        return Err(Problem::new("out_of_range", "must be at least 1").key("max_parallel"));
    }
    let reuse_workers = document.reuse_workers.unwrap_or_default();
    Ok(Array { elements: vec![BTreeMap::new(); size], max_parallel, reuse_workers })
}

fn check_size(size: usize, allowance: usize) -> Result<(), Problem> {
    if size == 0 || size > MAX_ELEMENTS {
        let message = format!("an array has 1 to {MAX_ELEMENTS} elements");
        return Err(Problem::new("out_of_range", message));
    }
    if size > allowance {
        let message = format!("more than {MAX_ELEMENTS} elements in one document; submit several");
        return Err(Problem::new("too_many_jobs", message));
    }
    Ok(())
}

/// The product of all listed values, names in alphabetical order, the last one
/// changing fastest.
pub(super) fn sweep(
    mut document: BTreeMap<String, TextOr<Vec<Scalar>>>,
    allowance: usize,
) -> Result<Array, Problem> {
    let max_parallel = document.remove("max_parallel").map(max_parallel).transpose()?;
    if document.is_empty() || document.len() > MAX_PARAMETERS {
        let message = format!("name 1 to {MAX_PARAMETERS} parameters, such as `lr: [0.1, 0.01]`");
        return Err(Problem::new("out_of_range", message));
    }
    let mut parameters: BTreeMap<String, Vec<Scalar>> = BTreeMap::new();
    for (name, listed) in document {
        let values = parameter_values(listed).under(&name)?;
        let variable = variable(&name).under(&name)?;
        if parameters.insert(variable, values).is_some() {
            let message = "two parameters differ only in upper and lower case";
            return Err(Problem::new("duplicate_key", message).key(&name));
        }
    }
    let size = parameters.values().try_fold(1, |size: usize, v| size.checked_mul(v.len()));
    check_size(size.unwrap_or(usize::MAX), allowance)?;
    let elements = parameters.iter().fold(vec![BTreeMap::new()], |elements, (name, values)| {
        let with = |element: &BTreeMap<String, String>, Scalar(value): &Scalar| {
            let mut element = element.clone();
            element.insert(name.clone(), value.clone());
            element
        };
        elements.iter().flat_map(|e| values.iter().map(move |v| with(e, v))).collect()
    });
    Ok(Array { elements, max_parallel, reuse_workers: false })
}

fn max_parallel(written: TextOr<Vec<Scalar>>) -> Result<u32, Problem> {
    let number = match written {
        TextOr::Text(text) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    };
    number.filter(|n| *n > 0).ok_or_else(|| {
        let message = "write a whole number above 0; a parameter needs another name";
        Problem::new("invalid_number", message).key("max_parallel")
    })
}

fn variable(name: &str) -> Result<String, Problem> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let good = (1..=40).contains(&name.len())
        && name.bytes().all(legal)
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if good {
        return Ok(format!("SPOTWISE_PARAM_{}", name.to_ascii_uppercase()));
    }
    let message = "a parameter's name is letters, digits and `_`, with no digit in front";
    Err(Problem::new("invalid_variable", message))
}

fn parameter_values(listed: TextOr<Vec<Scalar>>) -> Result<Vec<Scalar>, Problem> {
    let TextOr::Other(values) = listed else {
        let message = "write the values as a list, such as [0.1, 0.01]";
        return Err(Problem::new("invalid_type", message));
    };
    if values.is_empty() {
        return Err(Problem::new("out_of_range", "list at least one value"));
    }
    for (index, Scalar(value)) in values.iter().enumerate() {
        if value.len() > MAX_VALUE_BYTES {
            let message = format!("is longer than {MAX_VALUE_BYTES} bytes");
            return Err(Problem::new("invalid_variable", message).index(index));
        }
        text::variable_value(value).item(index)?;
    }
    Ok(values)
}

/// Reads `prepare`, `j12`, or `{job: train, on: failed}`.
pub(super) fn dependencies(
    after: Vec<TextOrFields<DependencyDocument>>,
    own_name: &str,
) -> Result<Vec<Dependency>, Problem> {
    if after.len() > MAX_DEPENDENCIES {
        let message = format!("more than {MAX_DEPENDENCIES} dependencies; put a job in between");
        return Err(Problem::new("too_many_dependencies", message));
    }
    let mut seen = BTreeSet::new();
    let mut dependencies = Vec::with_capacity(after.len());
    for (index, entry) in after.into_iter().enumerate() {
        let (written, on, elementwise) = match entry {
            TextOrFields::Text(job) => (job, None, None),
            TextOrFields::Fields(DependencyDocument { job, on, elementwise }) => {
                (job, on, elementwise)
            }
        };
        if written == own_name {
            let message = "a job cannot wait for itself";
            return Err(Problem::new("self_dependency", message).index(index));
        }
        let job = if text::is_id(&written) {
            let id = written.parse().map_err(|_| {
                let message = format!("{} is not a job id such as j12", shown(&written));
                Problem::new("unknown_dependency", message).index(index)
            })?;
            Needed::Id(id)
        } else {
            Needed::Name(written.clone())
        };
        if !seen.insert(written) {
            return Err(Problem::new("duplicate_dependency", "is listed twice").index(index));
        }
        let (on, elementwise) = (on.unwrap_or_default(), elementwise.unwrap_or(false));
        dependencies.push(Dependency { job, on, elementwise });
    }
    Ok(dependencies)
}

/// What is wrong with waiting element by element; `parent` and `child` are the sizes of two
/// arrays, `None` for a job that is not an array.
pub fn elementwise_mismatch(parent: &str, sizes: (Option<usize>, Option<usize>)) -> Option<String> {
    let (theirs, ours) = sizes;
    if theirs == ours && theirs.is_some() {
        return None;
    }
    let words = |size: Option<usize>| match size {
        Some(size) => format!("an array of {size}"),
        None => "a single job".to_owned(),
    };
    Some(format!(
        "{} is {} and this is {}: element by element needs two arrays of one size; leave \
         `elementwise` out to wait for all of it",
        shown(parent),
        words(theirs),
        words(ours)
    ))
}

/// Checks what only the whole document shows: names are unique, and dependencies name one
/// of them. Cycles are left to the solver's graph.
pub(super) fn check_names(jobs: &[JobSpec]) -> Result<(), (usize, Problem)> {
    let mut names = BTreeSet::new();
    for (index, job) in jobs.iter().enumerate() {
        if !names.insert(job.name.as_str()) {
            let message = format!("another job is also named {}", shown(&job.name));
            return Err((index, Problem::new("duplicate_name", message).key("name")));
        }
    }
    for (index, job) in jobs.iter().enumerate() {
        let unknown = job.after.iter().enumerate().find_map(|(place, dependency)| {
            let name = dependency.name()?;
            (!names.contains(name)).then_some((place, name))
        });
        if let Some((place, name)) = unknown {
            let message = format!(
                "{} names no job of this document; write the id (such as j12) of a job that was \
                 submitted before",
                shown(name)
            );
            let problem = Problem::new("unknown_dependency", message);
            return Err((index, problem.index(place).key("after")));
        }
    }
    check_sizes(jobs)?;
    check_circles(jobs)
}

/// Refuses jobs that wait for each other.
fn check_circles(jobs: &[JobSpec]) -> Result<(), (usize, Problem)> {
    let Some(circle) = circle(jobs) else { return Ok(()) };
    let mut names: Vec<&str> = circle.iter().map(|job| job.name.as_str()).collect();
    let first = names.first().copied().unwrap_or_default();
    let index = jobs.iter().position(|job| job.name == first).unwrap_or_default();
    let next = names.get(1).copied().unwrap_or(first);
    let place = jobs.get(index).and_then(|job| awaited(job).position(|name| name == next));
    names.push(first);
    let message = format!(
        "the jobs wait for each other: {}; remove one of these dependencies",
        names.join(" -> ")
    );
    let problem = Problem::new("dependency_cycle", message);
    Err((index, problem.index(place.unwrap_or_default()).key("after")))
}

/// The names that a job waits for, one for each entry of `after`; empty for an id.
fn awaited(job: &JobSpec) -> impl Iterator<Item = &str> {
    job.after.iter().map(|dependency| dependency.name().unwrap_or_default())
}

/// A cycle of jobs, each waiting for the next and the last for the first, beginning with
/// the first of them in the document.
fn circle(jobs: &[JobSpec]) -> Option<Vec<&JobSpec>> {
    let places: BTreeMap<&str, usize> =
        jobs.iter().enumerate().map(|(place, job)| (job.name.as_str(), place)).collect();
    let next = |place: usize| -> Vec<usize> {
        let job = jobs.get(place).into_iter();
        job.flat_map(awaited).filter_map(|name| places.get(name).copied()).collect()
    };
    let (mut on_the_way, mut done) = (BTreeSet::new(), BTreeSet::new());
    for start in 0..jobs.len() {
        if done.contains(&start) {
            continue;
        }
        let mut path = vec![(start, next(start))];
        on_the_way.insert(start);
        while let Some((place, left)) = path.last_mut() {
            match left.pop() {
                None => {
                    on_the_way.remove(place);
                    done.insert(*place);
                    path.pop();
                }
                Some(again) if on_the_way.contains(&again) => {
                    let way = path.iter().map(|(place, _)| *place);
                    let mut circle: Vec<usize> = way.skip_while(|p| *p != again).collect();
                    let first = circle.iter().enumerate().min_by_key(|(_, p)| **p)?.0;
                    circle.rotate_left(first);
                    return circle.into_iter().map(|place| jobs.get(place)).collect();
                }
                Some(other) if !done.contains(&other) => {
                    on_the_way.insert(other);
                    path.push((other, next(other)));
                }
                Some(_) => {}
            }
        }
    }
    None
}

/// Checks that arrays that wait element by element have the same size.
fn check_sizes(jobs: &[JobSpec]) -> Result<(), (usize, Problem)> {
    let size = |job: &JobSpec| job.array.as_ref().map(|array| array.elements.len());
    let sizes: BTreeMap<&str, Option<usize>> =
        jobs.iter().map(|job| (job.name.as_str(), size(job))).collect();
    for (index, job) in jobs.iter().enumerate() {
        let wrong = job.after.iter().enumerate().find_map(|(place, dependency)| {
            let name = dependency.name().filter(|_| dependency.elementwise)?;
            let theirs = sizes.get(name).copied().flatten();
            Some((place, elementwise_mismatch(name, (theirs, size(job)))?))
        });
        if let Some((place, message)) = wrong {
            let problem = Problem::new("array_size_mismatch", message);
            return Err((index, problem.index(place).key("after")));
        }
    }
    Ok(())
}
