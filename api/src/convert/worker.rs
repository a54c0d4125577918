//! What workers say and are told.

use spotwise_model::AttemptId;
use spotwise_model::attempt::{CheckpointRef, Exit, StopReason, Told};
use spotwise_model::memory::MemoryUse;
use spotwise_model::spec::SecretRef;

use super::InvalidField;
use crate::v1;

/// A reported step with its total (0 for unknown); none where the command has
/// reported nothing.
pub fn step(progress: Option<&v1::Progress>) -> Option<(u64, u64)> {
    progress
        .filter(|progress| progress.step > 0 || progress.total_steps > 0)
        .map(|progress| (progress.step, progress.total_steps))
}

/// How a command ended.
pub fn exit(exited: &v1::Exited) -> Result<Exit, InvalidField> {
    match (exited.signal, exited.code) {
        (0, code @ 0..=255) => Ok(Exit::Code(code)),
        (signal @ 1..=64, _) => Ok(Exit::Signal(signal)),
        (0, _) => {
            Err(InvalidField { field: "exited.code", message: "not between 0 and 255".to_owned() })
        }
        _ => {
            Err(InvalidField { field: "exited.signal", message: "not between 0 and 64".to_owned() })
        }
    }
}

/// What a command had been told when it ended. A number that this build does not know
/// is no word: a newer worker may say more.
pub fn told(exited: &v1::Exited) -> Told {
    match v1::Told::try_from(exited.told) {
        Ok(v1::Told::Nothing) => Told::Nothing,
        Ok(v1::Told::Notice) => Told::Notice,
        Ok(v1::Told::Stop) => Told::Stop,
        Ok(v1::Told::Unspecified) | Err(_) => Told::Unknown,
    }
}

/// What a command has used; none where its worker does not measure.
pub fn memory(used: Option<&v1::Memory>) -> Option<MemoryUse> {
    used.filter(|used| used.peak_bytes > 0).map(|used| MemoryUse {
        peak_bytes: used.peak_bytes,
        limit_bytes: Some(used.limit_bytes).filter(|limit| *limit > 0),
        oom_kills: used.oom_kills,
    })
}

/// The checkpoint that a worker loaded; none where its attempt is empty.
pub fn restored(
    name: Option<&v1::CheckpointName>,
) -> Result<Option<(AttemptId, u32)>, InvalidField> {
    let Some(name) = name.filter(|name| !name.attempt.is_empty()) else { return Ok(None) };
    let invalid = |message: String| InvalidField { field: "started.restored", message };
    let attempt = name.attempt.parse().map_err(|error| invalid(format!("{error}")))?;
    if name.sequence == 0 {
        return Err(invalid("checkpoints are numbered from 1".to_owned()));
    }
    Ok(Some((attempt, name.sequence)))
}

/// What a worker shall resume from.
pub fn checkpoint_name(checkpoint: Option<&CheckpointRef>) -> v1::CheckpointName {
    checkpoint.map_or_else(v1::CheckpointName::default, |checkpoint| v1::CheckpointName {
        attempt: checkpoint.attempt.to_string(),
        sequence: checkpoint.sequence,
    })
}

/// A reason to stop, as workers know it.
pub const fn stop_reason(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Cancelled => "cancelled",
        StopReason::Budget => "budget",
        StopReason::TimedOut => "timed-out",
        StopReason::Moved => "moved",
        StopReason::Interrupted => "interrupted",
        StopReason::GangBroken => "gang-broken",
    }
}

/// `env:NAME` or `file:/path`.
pub fn secret_reference(secret: &SecretRef) -> String {
    match secret {
        SecretRef::Env { name } => format!("env:{name}"),
        SecretRef::File { path } => format!("file:{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_decides_over_the_code() {
        let exited = |code, signal| v1::Exited { code, signal, ..v1::Exited::default() };
        assert_eq!(exit(&exited(3, 0)), Ok(Exit::Code(3)));
        assert_eq!(exit(&exited(143, 15)), Ok(Exit::Signal(15)));
        assert_eq!(exit(&exited(-1, 0)).unwrap_err().field, "exited.code");
        assert_eq!(exit(&exited(0, 900)).unwrap_err().field, "exited.signal");
    }

    #[test]
    fn a_worker_of_before_does_not_say_what_its_command_was_told() {
        let said = |told| super::told(&v1::Exited { told, ..v1::Exited::default() });
        assert_eq!(said(v1::Told::Nothing.into()), Told::Nothing);
        assert_eq!(said(v1::Told::Notice.into()), Told::Notice);
        assert_eq!(said(v1::Told::Stop.into()), Told::Stop);
        assert_eq!([0, -1, 99].map(said), [Told::Unknown; 3]);
    }

    #[test]
    fn an_empty_name_is_a_fresh_start() {
        let name =
            |attempt: &str, sequence| v1::CheckpointName { attempt: attempt.to_owned(), sequence };
        assert_eq!(restored(None), Ok(None));
        assert_eq!(restored(Some(&name("", 0))), Ok(None));
        let loaded = restored(Some(&name("j3.1", 4))).unwrap();
        assert_eq!(loaded, Some(("j3.1".parse().unwrap(), 4)));
        assert!(restored(Some(&name("j3", 4))).is_err());
        assert!(restored(Some(&name("j3.1", 0))).is_err());
    }

    #[test]
    fn silence_is_not_step_zero() {
        assert_eq!(step(Some(&v1::Progress::default())), None);
        let said = v1::Progress { step: 0, total_steps: 10, note: String::new() };
        assert_eq!(step(Some(&said)), Some((0, 10)));
    }
}
