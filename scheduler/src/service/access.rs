//! Tokens, and the audit log.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use spotwise_api::convert::time_text;
use spotwise_api::v1;
use spotwise_control::Command;
use spotwise_control::core::{AuditEntry, State};
use spotwise_model::access::{Action, Caller, CallerKind, Role, Scope, Token};
use spotwise_model::time::parse_duration;

use super::{ServiceError, Session, limits};
use crate::access::NewToken;

/// For how long a token is good if nobody says otherwise.
const USUAL_LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// The longest life of one.
const LONGEST_LIFE: SignedDuration = SignedDuration::from_hours(366 * 24);
/// The longest name of a caller, and most teams of one.
const LONGEST_SUBJECT: usize = 128;
const MOST_TEAMS: usize = 64;

impl Session {
    /// Who the caller is.
    pub fn who_am_i(&self) -> v1::CallerView {
        caller_view(&self.asker().caller)
    }

    /// A new token. Nobody gives a right that he lacks.
    pub async fn create_token(
        &self,
        request: v1::CreateTokenRequest,
    ) -> Result<v1::CreateTokenResponse, ServiceError> {
        self.may(Action::ManageTokens)?;
        let now = crate::clock::now();
        let caller = self.wanted(&request)?;
        let expires = Some(until(&request.expires_in, now)?);
        let new = NewToken::draw().map_err(|e| ServiceError::internal("drawing a token", e))?;
        let token = Token {
            id: new.id,
            hash: new.hash,
            caller,
            created: now,
            created_by: self.asker().caller.subject.clone(),
            expires,
            revoked: None,
            last_used: None,
        };
        let view = token_view(&token, now);
        self.command(Command::AddToken(Box::new(token))).await?;
        Ok(v1::CreateTokenResponse { secret: new.text, token: Some(view) })
    }

    /// The caller that a new token is for.
    fn wanted(&self, request: &v1::CreateTokenRequest) -> Result<Caller, ServiceError> {
        let own = &self.asker().caller;
        let invalid = |field, message: String| {
            Err(ServiceError::Invalid { code: "invalid_value", field, message })
        };
        if !is_name(&request.subject) {
            let message = format!(
                "1 to {LONGEST_SUBJECT} letters, digits and ._@+- that begin with a letter or digit"
            );
            return invalid("subject".to_owned(), message);
        }
        let kind = match request.kind.as_str() {
            "" | "person" => CallerKind::Person,
            "service-account" => CallerKind::ServiceAccount,
            _ => return invalid("kind".to_owned(), "person or service-account".to_owned()),
        };
        let mut roles = BTreeSet::new();
        for (at, name) in request.roles.iter().enumerate() {
            let Some(role) = Role::named(name) else {
                let known = Role::ALL.map(Role::name).join(", ");
                return invalid(format!("roles[{at}]"), format!("one of {known}"));
            };
            roles.insert(role);
        }
        if roles.is_empty() {
            let known = Role::ALL.map(Role::name).join(", ");
            return invalid("roles".to_owned(), format!("at least one of {known}"));
        }
        if request.teams.len() > MOST_TEAMS {
            return invalid("teams".to_owned(), format!("at most {MOST_TEAMS}"));
        }
        for team in &request.teams {
            limits::text("teams", team)?;
            if team.is_empty() || !team.is_ascii() {
                let message = "a team has a name, in ASCII, so that none looks like another's";
                return invalid("teams".to_owned(), message.to_owned());
            }
        }
        let scope = match request.teams.as_slice() {
            [] => own.scope.clone(),
            teams => Scope::of(teams.iter().cloned()),
        };
        // An admin has every role; so what is left is for which teams.
        if !own.scope.covers(&scope) {
            let message = "you give rights only to what you see yourself";
            return Err(ServiceError::Forbidden(message.to_owned()));
        }
        Ok(Caller { subject: request.subject.clone(), kind, roles, scope })
    }

    /// The tokens of the teams that the caller sees, the newest first.
    pub async fn list_tokens(&self) -> Result<v1::ListTokensResponse, ServiceError> {
        self.may(Action::ManageTokens)?;
        let all = self.parts.handle.ask(|state: &State, _| state.tokens.clone()).await?;
        let now = crate::clock::now();
        let mut seen: Vec<&Token> =
            all.values().filter(|token| self.scope().covers(&token.caller.scope)).collect();
        seen.sort_by_key(|token| std::cmp::Reverse(token.created));
        let tokens = seen.into_iter().map(|token| token_view(token, now)).collect();
        Ok(v1::ListTokensResponse { tokens })
    }

    /// A token is good no more.
    pub async fn revoke_token(
        &self,
        request: v1::RevokeTokenRequest,
    ) -> Result<v1::TokenView, ServiceError> {
        self.may(Action::ManageTokens)?;
        limits::text("id", &request.id)?;
        let id = request.id;
        self.token(&id).await?;
        self.command(Command::RevokeToken { id: id.clone() }).await?;
        Ok(token_view(&self.token(&id).await?, crate::clock::now()))
    }

    /// A token of others does not exist.
    async fn token(&self, id: &str) -> Result<Token, ServiceError> {
        let wanted = id.to_owned();
        let find = move |state: &State, _| state.tokens.get(&wanted).cloned();
        let found = self.parts.handle.ask(find).await?;
        let found = found.filter(|token| self.scope().covers(&token.caller.scope));
        found.ok_or_else(|| ServiceError::NotFound(format!("there is no token {id}")))
    }

    /// A page of the audit log, oldest first.
    pub async fn list_audit(
        &self,
        request: v1::ListAuditRequest,
    ) -> Result<v1::ListAuditResponse, ServiceError> {
        self.may_to_all(Action::ReadAudit)?;
        let size = limits::page_size(request.page_size)?;
        let mut entries = self.parts.store.audit(request.after, size + 1).await?;
        let more = entries.len() > size as usize;
        entries.truncate(size as usize);
        Ok(v1::ListAuditResponse { entries: entries.into_iter().map(entry_view).collect(), more })
    }
}

fn is_name(subject: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._@+-".contains(&b);
    subject.len() <= LONGEST_SUBJECT
        && subject.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && subject.bytes().all(plain)
}

fn until(expires_in: &str, now: Timestamp) -> Result<Timestamp, ServiceError> {
    let invalid = || {
        let message = "a duration from 1m to 366d, such as 30d or 12h";
        ServiceError::invalid("invalid_value", "expires_in", message)
    };
    let life = match expires_in {
        "" => USUAL_LIFE,
        text => parse_duration(text)
            .ok()
            .and_then(|life| SignedDuration::try_from(life).ok())
            .filter(|life| (SignedDuration::from_mins(1)..=LONGEST_LIFE).contains(life))
            .ok_or_else(invalid)?,
    };
    now.checked_add(life).map_err(|_| invalid())
}

fn caller_view(caller: &Caller) -> v1::CallerView {
    v1::CallerView {
        subject: caller.subject.clone(),
        kind: caller.kind.name().to_owned(),
        roles: caller.roles.iter().map(|role| role.name().to_owned()).collect(),
        all_teams: caller.scope.teams.is_none(),
        teams: caller.scope.teams.iter().flatten().cloned().collect(),
    }
}

fn token_view(token: &Token, now: Timestamp) -> v1::TokenView {
    let text = |at: Option<Timestamp>| at.map(time_text).unwrap_or_default();
    let state = match token.revoked {
        Some(_) => "revoked",
        None if token.is_good(now) => "good",
        None => "expired",
    };
    v1::TokenView {
        id: token.id.clone(),
        caller: Some(caller_view(&token.caller)),
        created: time_text(token.created),
        created_by: token.created_by.clone(),
        expires: text(token.expires),
        revoked: text(token.revoked),
        last_used: text(token.last_used),
        state: state.to_owned(),
    }
}

fn entry_view(entry: AuditEntry) -> v1::AuditEntryView {
    let json = |value: &serde_json::Value| match value {
        serde_json::Value::Null => String::new(),
        value => value.to_string(),
    };
    v1::AuditEntryView {
        number: entry.number,
        // To the last digit: the hash is of it.
        at: entry.at.to_string(),
        before: json(&entry.before),
        after: json(&entry.after),
        by: entry.by,
        from: entry.from,
        request: entry.request,
        action: entry.action,
        resource: entry.resource,
        previous: entry.previous,
        hash: entry.hash,
    }
}
