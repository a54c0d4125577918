//! The single interface to the scheduler's loop: servers hold a [`Handle`], send commands
//! and questions through it, and never touch the state.
//!
//! A command is answered once its changes are durable. A question sees only committed
//! state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use spotwise_control::core::{Event, State};
use spotwise_control::{Command, Refusal, Reply};
use spotwise_model::Now;
use spotwise_model::access::Token;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// Every token that was ever made, by the part that is no secret.
pub type Tokens = Arc<BTreeMap<String, Token>>;

/// Something to look up in committed state.
pub type Question = Box<dyn FnOnce(&State, Now) + Send>;

/// What travels to the loop.
pub enum Message {
    /// Something to do, and where the answer goes.
    Command(Command, oneshot::Sender<Result<Reply, Refusal>>),
    /// Something to look up in committed state.
    Question(Question),
    /// Look at the world: a price moved, a plan is ready, a process ended.
    Wake,
}

/// The sending side. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    /// Reports from workers and pools, cancellations, and wakes.
    first: mpsc::Sender<Message>,
    /// New work, and questions.
    second: mpsc::Sender<Message>,
    events: broadcast::Sender<Event>,
    /// The tokens that are good, as committed.
    tokens: Arc<watch::Sender<Tokens>>,
    /// Whether the loop was asked to look at the world.
    woken: Arc<AtomicBool>,
}

/// The receiving side, held by the loop. Reports from workers are handled first: a flood of
/// submissions must not make the scheduler deaf to what is running and costs money.
pub struct Inbox {
    first: mpsc::Receiver<Message>,
    second: mpsc::Receiver<Message>,
    woken: Arc<AtomicBool>,
}

impl Inbox {
    /// Whether a look at the world was requested; resets the request.
    pub fn take_wake(&self) -> bool {
        self.woken.swap(false, Ordering::AcqRel)
    }

    /// The next message; `None` once every handle is gone.
    pub async fn recv(&mut self) -> Option<Message> {
        tokio::select! {
            biased;
            Some(message) = self.first.recv() => Some(message),
            message = self.second.recv() => message,
        }
    }

    /// The next message, if one is waiting.
    pub fn try_recv(&mut self) -> Option<Message> {
        self.first.try_recv().or_else(|_| self.second.try_recv()).ok()
    }
}

/// Messages of either kind that may wait for the loop at once; more are refused
/// as overload.
pub const QUEUE: usize = 4_096;
/// Events by which a slow watcher may lag before it must read the store again.
pub const EVENT_BACKLOG: usize = 1_024;

impl Handle {
    /// A handle and the loop's inbox for it.
    pub fn new() -> (Self, Inbox) {
        let (first, urgent) = mpsc::channel(QUEUE);
        let (second, rest) = mpsc::channel(QUEUE);
        let (events, _) = broadcast::channel(EVENT_BACKLOG);
        let tokens = Arc::new(watch::channel(Tokens::default()).0);
        let woken = Arc::new(AtomicBool::new(false));
        let inbox = Inbox { first: urgent, second: rest, woken: woken.clone() };
        (Self { first, second, events, tokens, woken }, inbox)
    }

    /// Has a command carried out; the answer comes once it is durable.
    pub async fn command(&self, command: Command) -> Result<Reply, Refusal> {
        let (reply, answer) = oneshot::channel();
        let lane = if command.is_urgent() { &self.first } else { &self.second };
        lane.try_send(Message::Command(command, reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refusal::Overloaded,
            mpsc::error::TrySendError::Closed(_) => away(),
        })?;
        answer.await.unwrap_or_else(|_| Err(away()))
    }

    /// Has a command carried out of which nobody waits for the answer, before any that is
    /// asked for after this call. Where there is no room for it, it is lost.
    pub fn post(&self, command: Command) {
        let (reply, _) = oneshot::channel();
        let _ = self.first.try_send(Message::Command(command, reply));
    }

    /// Asks a question of the committed state.
    pub async fn ask<T, F>(&self, question: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&State, Now) -> T + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |state: &State, now: Now| {
            // The asker may have gone; nobody is left to tell then.
            let _ = reply.send(question(state, now));
        });
        self.second.send(Message::Question(question)).await.map_err(|_| away())?;
        answer.await.map_err(|_| away())
    }

    /// Makes the loop look at the world soon. Never waits: if the inbox is full, the loop
    /// is awake and finds the flag.
    pub fn wake(&self) {
        self.woken.store(true, Ordering::Release);
        let _ = self.first.try_send(Message::Wake);
    }

    /// Events from now on. A receiver that lags reads the store and continues.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// The tokens, as committed last.
    pub fn tokens(&self) -> watch::Receiver<Tokens> {
        self.tokens.subscribe()
    }

    /// For the loop: these are the tokens from now on.
    pub(crate) fn publish_tokens(&self, tokens: &Tokens) {
        self.tokens.send_if_modified(|known| {
            let other = !Arc::ptr_eq(known, tokens);
            if other {
                known.clone_from(tokens);
            }
            other
        });
    }

    /// For the loop: notifies watchers of an event that is durable.
    pub(crate) fn publish(&self, event: &Event) {
        // Nobody may be watching.
        let _ = self.events.send(event.clone());
    }
}

/// The loop does not answer: it is stopping, or its database is unavailable.
fn away() -> Refusal {
    Refusal::Unavailable("it is stopping, or its database does not answer".to_owned())
}
