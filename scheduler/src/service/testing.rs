//! A service over a real store and the real intake, with a loop that does
//! nothing between requests: no phases run, so jobs stay where they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use spotwise_model::access::{Caller, Token};
use spotwise_model::time::add;
use spotwise_model::{AttemptId, Commitment, Job, Now};
use tokio_util::sync::CancellationToken;

use super::{Parts, Service, Session};
use crate::access::{Gate, NewToken};
use crate::config::ServeConfig;
use crate::handle::{Handle, Message};
use crate::token::WorkerTokens;
use spotwise_control::Config;
use spotwise_control::WorkerId;
use spotwise_control::core::{Asker, Change, State};
use spotwise_control::intake;
use spotwise_market::{self, Catalog, MarketSource, SyntheticOptions};
use spotwise_model::policy::Policy;
use spotwise_store::{Epoch, Round, Store};

/// A service, and its folder.
pub(crate) struct Bench {
    /// As an admin of everything sees it.
    pub(crate) service: Session,
    pub(crate) shutdown: CancellationToken,
    tokens: WorkerTokens,
    store: Store,
    epoch: Epoch,
    _folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with_commitments(Vec::new()).await
    }

    pub(crate) async fn with_commitments(commitments: Vec<Commitment>) -> Self {
        Self::made(commitments, Vec::new()).await
    }

    /// With this in memory, and not in the store.
    pub(crate) async fn of(known: Vec<Change>) -> Self {
        Self::made(Vec::new(), known).await
    }

    async fn made(commitments: Vec<Commitment>, mut known: Vec<Change>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = ServeConfig::new(folder.path().to_owned(), "spotwise".into());
        let store = Store::open(&config.database()).await.unwrap();
        let (handle, mut inbox) = Handle::new();
        let (looped, door) = (store.clone(), handle.clone());
        let epoch = store.lead("test", now().wall).await.unwrap();
        tokio::spawn(async move {
            let (mut state, mut round) = (State::default(), 0);
            known.iter_mut().for_each(|change| state.apply(change));
            while let Some(message) = inbox.recv().await {
                match message {
                    Message::Question(ask) => ask(&state, now()),
                    Message::Wake => {}
                    Message::Command(command, reply) => {
                        state.forget_settled();
                        let answer = intake::answer(&mut state, command, &control(), now());
                        let answer = match answer {
                            Err(refusal) => Err(refusal),
                            Ok((mut changes, answer)) => {
                                round += 1;
                                changes.iter_mut().for_each(|change| state.apply(change));
                                let written = Round { epoch, id: round, changes: &changes };
                                looped.commit(&written).await.unwrap();
                                for change in &changes {
                                    if let Change::Event(event) = change {
                                        door.publish(event);
                                    }
                                }
                                Ok(answer)
                            }
                        };
                        let _ = reply.send(answer);
                    }
                }
            }
        });
        let tokens = WorkerTokens::new([3; 32]);
        let shutdown = CancellationToken::new();
        let source =
            SyntheticOptions::new(7, add(now().market, -jiff::SignedDuration::from_hours(24)));
        let market =
            spotwise_market::load(&MarketSource::Synthetic(source), &Catalog::built_in()).unwrap();
        let market = market.with_commitments(commitments);
        let service = Service::new(Parts {
            handle,
            store: store.clone(),
            config: Arc::new(config),
            tokens: tokens.clone(),
            reuse: Arc::default(),
            object_storage: None,
            market,
            market_name: "synthetic seed 7".to_owned(),
            install: "sw-1".to_owned(),
            shutdown: shutdown.clone(),
        });
        let admin = Asker::of_this_machine("admin", "test");
        let service = service.session(Arc::new(admin));
        Self { service, shutdown, tokens, store, epoch, _folder: folder }
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.service.parts.handle
    }

    /// A door before it, and a token for each of these callers.
    pub(crate) fn gate(&self, callers: &[Caller]) -> (Gate, Vec<String>) {
        let handle = self.handle();
        let (mut tokens, mut texts) = (BTreeMap::new(), Vec::new());
        for caller in callers {
            let new = NewToken::draw().unwrap();
            let token = Token {
                id: new.id.clone(),
                hash: new.hash,
                caller: caller.clone(),
                created: crate::clock::now(),
                created_by: "test".to_owned(),
                expires: None,
                revoked: None,
                last_used: None,
            };
            tokens.insert(new.id, token);
            texts.push(new.text);
        }
        handle.publish_tokens(&Arc::new(tokens));
        (Gate::new(handle), texts)
    }

    /// Puts a job into the store alone, as if it had ended long ago.
    pub(crate) async fn keep(&self, job: Job) {
        let changes = [job.into()];
        let round = Round { epoch: self.epoch, id: u64::from(u32::MAX), changes: &changes };
        self.store.commit(&round).await.unwrap();
    }

    pub(crate) fn token(&self, attempt: &str) -> String {
        self.token_of(attempt, 0)
    }

    pub(crate) fn token_of(&self, attempt: &str, rank: u32) -> String {
        let attempt: AttemptId = attempt.parse().unwrap();
        self.tokens.credential(WorkerId { attempt, rank }, crate::clock::now())
    }
}

fn control() -> Config {
    let second = std::time::Duration::from_secs(1);
    let policy = Policy { changeover: second, ..Policy::default() };
    Config { policy, default_grace: second, max_live_jobs: 100, ..Config::default() }
}

/// 2026-03-01T00:00:00Z.
fn now() -> Now {
    let at = Timestamp::from_second(1_772_323_200).unwrap();
    Now { market: at, wall: at }
}
