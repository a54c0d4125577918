//! Tokens, and the record of who asked for what.

use serde_json::{Value, json};
use spotwise_model::access::Token;
use spotwise_model::{Job, JobId, Now};

use jiff::Timestamp;

use super::CommandResult;
use crate::core::{Asker, AuditEntry, Change, State};
use crate::{Command, Refusal, Reply};

/// What somebody asks for, for the record.
pub(super) struct Asked {
    action: &'static str,
    /// To what, where the answer does not say it.
    resource: String,
}

impl Asked {
    pub(super) fn of(command: &Command) -> Self {
        let (action, resource) = match command {
            Command::Submit(_) => ("jobs.submit", String::new()),
            Command::Resubmit(_) => ("jobs.resubmit", String::new()),
            Command::Edit(request) => ("jobs.edit", request.job.to_string()),
            Command::Cancel { job, .. } => ("jobs.cancel", job.to_string()),
            Command::CancelArray { first } => ("jobs.cancel", first.to_string()),
            Command::DrainMachine { machine } => ("machines.drain", machine.to_string()),
            Command::SetPools(_) => ("pools.set", "pools".to_owned()),
            Command::SetFreeze(Some(_)) => ("buying.freeze", "buying".to_owned()),
            Command::SetFreeze(None) => ("buying.unfreeze", "buying".to_owned()),
            Command::AddToken(token) => ("tokens.create", token.id.clone()),
            Command::RevokeToken { id } => ("tokens.revoke", id.clone()),
            _ => ("other", String::new()),
        };
        Self { action, resource }
    }
}

/// Adds to what a command changes that somebody asked for it. What changes nothing is not
/// recorded.
pub(super) fn record(
    state: &State,
    asker: &Asker,
    asked: &Asked,
    (changes, reply): &mut (Vec<Change>, Reply),
    now: Now,
) {
    if changes.is_empty() {
        return;
    }
    let by = &asker.caller.subject;
    let is_new = |job: &Job| !state.jobs.contains_key(&job.id);
    for change in changes.iter_mut() {
        match change {
            Change::Job(job) if is_new(job) => job.submitted_by = Some(by.clone()),
            Change::Event(event) => event.by = Some(by.clone()),
            _ => {}
        }
    }
    if let Reply::Submitted { made, .. } = reply {
        made.iter_mut().for_each(|job| job.submitted_by = Some(by.clone()));
    }
    let entry = AuditEntry::new(asker, asked.action, asked.resource.clone(), now.wall);
    let entry = match reply {
        Reply::Submitted { made, .. } => submitted(entry, made),
        Reply::Cancelled { jobs } => cancelled(entry, jobs),
        _ => changed(state, entry, changes),
    };
    changes.push(Change::Audit(Box::new(entry)));
}

fn submitted(mut entry: AuditEntry, made: &[Job]) -> AuditEntry {
    let Some(first) = made.first() else { return entry };
    entry.resource = first.group.to_string();
    let names: std::collections::BTreeSet<&str> =
        made.iter().map(|job| job.spec.name.as_str()).collect();
    let budget: Option<i64> = made.iter().map(|job| Some(job.spec.budget?.micros())).sum();
    entry.after = json!({ "jobs": made.len(), "names": names, "budget_micros": budget });
    entry
}

fn cancelled(mut entry: AuditEntry, jobs: &[JobId]) -> AuditEntry {
    let named: Vec<String> = jobs.iter().take(100).map(ToString::to_string).collect();
    entry.after = json!({ "jobs": jobs.len(), "cancelled": named });
    entry
}

/// The first thing that a command has changed, before and after.
fn changed(state: &State, entry: AuditEntry, changes: &[Change]) -> AuditEntry {
    let none = Value::Null;
    let found = changes.iter().find_map(|change| match change {
        Change::Job(job) => Some(match state.jobs.get(&job.id) {
            Some(before) => entry.clone().changing(before, job),
            None => entry.clone().changing(&none, job),
        }),
        Change::Instance(machine) => Some(match state.instances.get(&machine.id) {
            Some(before) => entry.clone().changing(before, machine),
            None => entry.clone().changing(&none, machine),
        }),
        Change::Pools(pools) => Some(entry.clone().changing(&state.pools, pools)),
        Change::Freeze(frozen) => Some(entry.clone().changing(&state.frozen, frozen)),
        // The hash of a token is no secret, but nobody needs it there either.
        Change::Token(token) => {
            let bare = |token: &Token| Token { hash: String::new(), ..token.clone() };
            Some(match state.tokens.get(&token.id) {
                Some(before) => entry.clone().changing(&bare(before), &bare(token)),
                None => entry.clone().changing(&none, &bare(token)),
            })
        }
        _ => None,
    });
    found.unwrap_or(entry)
}

/// A token that is known is left as it is: it may have been revoked.
pub(super) fn add(state: &State, token: Token) -> CommandResult {
    if state.tokens.contains_key(&token.id) {
        return Ok((Vec::new(), Reply::Noted));
    }
    Ok((vec![Change::Token(Box::new(token))], Reply::Noted))
}

/// Revoking twice is revoking once.
pub(super) fn revoke(state: &State, id: &str, now: Now) -> CommandResult {
    let Some(token) = state.tokens.get(id) else {
        return Err(Refusal::NotFound(format!("token {id}")));
    };
    if token.revoked.is_some() {
        return Ok((Vec::new(), Reply::Noted));
    }
    let revoked = Token { revoked: Some(now.wall), ..token.clone() };
    Ok((vec![Change::Token(Box::new(revoked))], Reply::Noted))
}

pub(super) fn used(state: &State, id: &str, at: Timestamp) -> (Vec<Change>, Reply) {
    let later = |token: &&Token| token.last_used.is_none_or(|last| last < at);
    let change = state
        .tokens
        .get(id)
        .filter(later)
        .map(|token| Change::Token(Box::new(Token { last_used: Some(at), ..token.clone() })));
    (change.into_iter().collect(), Reply::Noted)
}

/// Calls that named nobody who is known.
pub(super) fn refused(from: &str, times: u64, now: Now) -> (Vec<Change>, Reply) {
    let nobody = Asker::of_this_machine("", from);
    let mut entry = AuditEntry::new(&nobody, "login.failed", String::new(), now.wall);
    entry.after = json!({ "times": times });
    (vec![Change::Audit(Box::new(entry))], Reply::Noted)
}
