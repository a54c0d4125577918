//! How long a job's work takes, measured from its attempts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::Accelerator;
use crate::spec::JobSpec;

/// Measured durations of the whole work, one per kind of machine that the job has run on,
/// newest last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Option<Stored>")]
pub struct Measured(Vec<Measurement>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Measurement {
    on: Machine,
    whole: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Machine {
    /// Without an accelerator.
    Cpu,
    Accelerator(Accelerator),
    /// Stored before the accelerator was recorded.
    Unknown,
}

/// The stored form: a bare duration if an earlier version wrote it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    Each(Vec<Measurement>),
    One(Duration),
}

impl From<Option<Stored>> for Measured {
    fn from(stored: Option<Stored>) -> Self {
        match stored {
            None => Self::default(),
            Some(Stored::Each(each)) => Self(each),
            Some(Stored::One(whole)) => Self(vec![Measurement { on: Machine::Unknown, whole }]),
        }
    }
}

impl Machine {
    fn of(accelerator: Option<&Accelerator>) -> Self {
        accelerator.map_or(Self::Cpu, |accelerator| Self::Accelerator(accelerator.clone()))
    }

    fn is(&self, accelerator: Option<&Accelerator>) -> bool {
        match self {
            Self::Cpu => accelerator.is_none(),
            Self::Accelerator(own) => accelerator == Some(own),
            Self::Unknown => false,
        }
    }
}

impl Measured {
    /// A single measurement, made on a machine with this accelerator or without one.
    pub fn once(accelerator: Option<&Accelerator>, whole: Duration) -> Self {
        let mut measured = Self::default();
        measured.record(accelerator, whole);
        measured
    }

    /// Whether nothing has been measured.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the latest measurement; it replaces an earlier one on the same accelerator.
    pub fn record(&mut self, accelerator: Option<&Accelerator>, whole: Duration) {
        self.0.retain(|known| known.on != Machine::Unknown && !known.on.is(accelerator));
        self.0.push(Measurement { on: Machine::of(accelerator), whole });
    }

    /// Expected duration of the whole work on `accelerator`: measured there, or else
    /// measured elsewhere and scaled by what the spec expects of the two, or else as the
    /// spec says.
    pub fn duration(&self, spec: &JobSpec, accelerator: Option<&Accelerator>) -> Duration {
        if let Some(known) = self.0.iter().find(|known| known.on.is(accelerator)) {
            return known.whole;
        }
        let here = spec.expected_duration(accelerator);
        let Some(newest) = self.0.last() else { return here };
        let there = match &newest.on {
            Machine::Unknown => return newest.whole,
            Machine::Cpu => spec.expected_duration(None),
            Machine::Accelerator(other) => spec.expected_duration(Some(other)),
        };
        scaled(newest.whole, here, there)
    }

    /// The longest expected duration over everything that the job may run on.
    pub fn longest(&self, spec: &JobSpec) -> Duration {
        self.durations(spec).max().unwrap_or_else(|| spec.longest_expected_duration())
    }

    /// The shortest duration over everything that the job may run on; zero if none has been
    /// stated or measured.
    pub fn shortest_known(&self, spec: &JobSpec) -> Duration {
        self.durations(spec).min().unwrap_or_else(|| spec.shortest_known_duration())
    }

    /// The durations on what was measured and on what the spec names; empty if nothing was
    /// measured.
    fn durations(&self, spec: &JobSpec) -> impl Iterator<Item = Duration> {
        let named = if self.is_empty() { Vec::new() } else { spec.named_accelerators() };
        let named = named.into_iter().map(|named| self.duration(spec, Some(named)));
        self.0.iter().map(|known| known.whole).chain(named)
    }
}

/// `whole * here / there`, or `whole` if nothing is expected there.
fn scaled(whole: Duration, here: Duration, there: Duration) -> Duration {
    if here == there || there.as_millis() == 0 {
        return whole;
    }
    let millis = whole.as_millis().saturating_mul(here.as_millis()) / there.as_millis();
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Format, parse};

    fn spec(work: &str) -> JobSpec {
        let text = format!("name: a\ncommand: [x]\nresources: {{gpus: [T4, H100]}}\n{work}\n");
        parse(text.as_bytes(), Format::Yaml).unwrap().jobs.remove(0)
    }

    fn hours(hours: u64) -> Duration {
        Duration::from_secs(hours * 3_600)
    }

    #[test]
    fn an_hour_on_a_slow_machine_makes_no_fast_one_slow() {
        let (t4, h100) = (Accelerator::new("T4"), Accelerator::new("H100"));
        let spec = spec("work: {duration: {T4: 8h, H100: 1h}}");
        let mut measured = Measured::once(Some(&t4), hours(16));
        assert_eq!(measured.duration(&spec, Some(&t4)), hours(16));
        assert_eq!(measured.duration(&spec, Some(&h100)), hours(2), "twice as long there too");
        assert_eq!(
            (measured.longest(&spec), measured.shortest_known(&spec)),
            (hours(16), hours(2))
        );
        measured.record(Some(&h100), hours(4));
        assert_eq!(measured.duration(&spec, Some(&t4)), hours(16), "what was measured there stays");
        assert_eq!(measured.duration(&spec, Some(&h100)), hours(4));
    }

    #[test]
    fn where_the_spec_tells_no_difference_none_is_presumed() {
        let (t4, h100) = (Accelerator::new("T4"), Accelerator::new("H100"));
        let measured = Measured::once(Some(&t4), hours(16));
        let spec = spec("work: {duration: 8h}");
        assert_eq!(measured.duration(&spec, Some(&h100)), hours(16));
        assert_eq!(Measured::default().duration(&spec, Some(&h100)), hours(8));
        assert_eq!(Measured::default().longest(&spec), hours(8));
    }

    #[test]
    fn documents_of_earlier_builds_are_read() {
        let read = |text: &str| serde_json::from_str::<Measured>(text).unwrap();
        assert!(read("null").is_empty());
        let old = read(r#"{"secs":3600,"nanos":0}"#);
        let spec = spec("work: {duration: {T4: 8h, H100: 1h}}");
        assert_eq!(old.duration(&spec, Some(&Accelerator::new("T4"))), hours(1));
        let mut both = old;
        both.record(Some(&Accelerator::new("T4")), hours(9));
        let text = serde_json::to_string(&both).unwrap();
        assert_eq!(text, r#"[{"on":{"accelerator":"T4"},"whole":{"secs":32400,"nanos":0}}]"#);
        assert_eq!(read(&text), both);
    }
}
