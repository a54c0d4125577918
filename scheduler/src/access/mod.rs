//! Who comes in: every call but a few names its caller by a token, and is refused where it
//! does not. What callers may do is decided by [`spotwise_model::access::authorize`].

mod limit;
mod secret;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Request};
use jiff::Timestamp;
use spotwise_control::Command;
use spotwise_control::core::Asker;
use spotwise_model::access::{Caller, CallerKind, Token};
use spotwise_model::time::between;
use tokio::sync::watch;

use limit::Buckets;
pub(crate) use secret::{NewToken, admin_token, parse, random};

use crate::handle::{Handle, Tokens};
use crate::service::ServiceError;
use crate::token::are_equal;

/// Said to who names nobody.
pub(crate) const NOBODY: &str = "who asks is not known: send a token, as in `Authorization: Bearer swt_...`; \
     `spotwise tokens print` has that of this machine, an admin makes others with `spotwise tokens create`";
/// Said to who names somebody that is not known, or no more. It does not say which.
const STRANGER: &str = "this token is not good here: it is unknown, expired or revoked";

/// That a token was used is written down at most this often.
const USE_NOTED: Duration = Duration::from_secs(600);
/// Failures of one address are written down at most this often.
const FAILURES_NOTED: Duration = Duration::from_secs(60);
/// Addresses whose failures are counted at once.
const MOST_ADDRESSES: usize = 1_024;
/// Calls that name nobody who is known, from one address: so many at once, and then so many
/// a second.
const FAILURES: (u64, u64) = (100, 10);
/// Calls with one token.
const CALLS: (u64, u64) = (20_000, 10_000);
/// Tokens whose calls are counted at once.
const MOST_TOKENS: usize = 4_096;
/// The longest number of a request that is taken over.
const LONGEST_REQUEST: usize = 64;

/// Calls that need no token: whether it lives, whether it works, and what workers say, who
/// prove by a secret of their own in each message whose they are.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];
const OPEN_SERVICES: [&str; 2] = ["/grpc.health.v1.Health/", "/spotwise.v1.Workers/"];

/// Where a call comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerAddress(pub(crate) IpAddr);

/// The door.
pub struct Gate {
    tokens: watch::Receiver<Tokens>,
    handle: Handle,
    noted: Mutex<Noted>,
    limits: Mutex<Limits>,
}

/// How often who may call.
struct Limits {
    failures: Buckets<IpAddr>,
    calls: Buckets<String>,
}

#[derive(Debug, Default)]
struct Noted {
    /// When the use of each token was last written down.
    used: BTreeMap<String, Timestamp>,
    /// When failures of an address were last written down, and how many there were since.
    failures: BTreeMap<IpAddr, (Timestamp, u64)>,
}

impl Gate {
    /// A door before a loop.
    pub fn new(handle: &Handle) -> Self {
        let limits = Mutex::new(Limits {
            failures: Buckets::new(FAILURES.0, FAILURES.1, MOST_ADDRESSES),
            calls: Buckets::new(CALLS.0, CALLS.1, MOST_TOKENS),
        });
        let noted = Mutex::default();
        Self { tokens: handle.tokens(), handle: handle.clone(), noted, limits }
    }

    /// Whether a call needs no token.
    pub(crate) fn is_open(path: &str) -> bool {
        OPEN.contains(&path) || OPEN_SERVICES.iter().any(|service| path.starts_with(service))
    }

    /// Who calls.
    pub(crate) fn admit<B>(&self, request: &Request<B>) -> Result<Arc<Asker>, ServiceError> {
        let from = request.extensions().get::<PeerAddress>().map(|address| address.0);
        let now = crate::clock::now();
        match self.caller(request.headers(), now) {
            Ok(token) => {
                if !self.limits().calls.take(&token.id, now) {
                    return Err(ServiceError::Overloaded);
                }
                self.note_use(&token, now);
                let from = from.map(|from| from.to_string()).unwrap_or_default();
                let request = request_number(request.headers());
                Ok(Arc::new(Asker { caller: token.caller, from, request }))
            }
            Err(why) => {
                if let Some(from) = from {
                    self.note_failure(from, now);
                    if !self.limits().failures.take(&from, now) {
                        return Err(ServiceError::Overloaded);
                    }
                }
                Err(ServiceError::Unauthenticated(why.to_owned()))
            }
        }
    }

    fn limits(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn caller(&self, headers: &HeaderMap, now: Timestamp) -> Result<Token, &'static str> {
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (given.next(), given.next()) else { return Err(NOBODY) };
        let (scheme, token) =
            value.to_str().ok().and_then(|it| it.split_once(' ')).ok_or(NOBODY)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(NOBODY);
        }
        let (id, hash) = parse(token.trim()).ok_or(STRANGER)?;
        let tokens = self.tokens.borrow();
        let known = tokens.get(id).ok_or(STRANGER)?;
        if are_equal(&known.hash, &hash) && known.is_good(now) {
            Ok(known.clone())
        } else {
            Err(STRANGER)
        }
    }

    fn note_use(&self, token: &Token, now: Timestamp) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let last = noted.used.get(&token.id).copied().or(token.last_used);
        if last.is_some_and(|last| between(last, now) < USE_NOTED) {
            return;
        }
        noted.used.insert(token.id.clone(), now);
        self.handle.post(Command::TokenUsed { id: token.id.clone(), at: now });
    }

    fn note_failure(&self, from: IpAddr, now: Timestamp) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = &mut noted.failures;
        failures.retain(|_, (last, count)| *count > 0 || between(*last, now) < FAILURES_NOTED);
        if failures.len() >= MOST_ADDRESSES && !failures.contains_key(&from) {
            return;
        }
        let first = !failures.contains_key(&from);
        let (last, count) = failures.entry(from).or_insert((now, 0));
        *count += 1;
        if first || between(*last, now) >= FAILURES_NOTED {
            let command = Command::LoginFailed { from: from.to_string(), times: *count };
            (*last, *count) = (now, 0);
            self.handle.post(command);
        }
    }
}

/// The number of a request: the caller's own, or a new one.
fn request_number(headers: &HeaderMap) -> String {
    let given = headers.get("x-request-id").and_then(|value| value.to_str().ok());
    let usable = |text: &&str| {
        (1..=LONGEST_REQUEST).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
    };
    match given.filter(usable) {
        Some(given) => given.to_owned(),
        None => crate::token::hex(&random::<8>().unwrap_or_default()),
    }
}

/// The admin of a data folder, and his token.
pub(crate) fn admin(text: &str) -> Option<(Asker, Token)> {
    let (id, hash) = parse(text)?;
    let asker = Asker::of_this_machine("admin", "the data folder");
    let token = Token {
        id: id.to_owned(),
        hash,
        caller: Caller { kind: CallerKind::Person, ..asker.caller.clone() },
        created: crate::clock::now(),
        created_by: asker.from.clone(),
        expires: None,
        revoked: None,
        last_used: None,
    };
    Some((asker, token))
}

#[cfg(test)]
mod gate_tests;
#[cfg(test)]
mod matrix_tests;
