//! One submission, and whoever makes it.

use spotwise_model::JobId;
use spotwise_model::spec::{Format, Submission, parse};

use super::super::submissions::CommandBehaviour;

/// One submission and whoever makes it.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) behaviour: CommandBehaviour,
    pub(super) document: Submission,
    pub(super) hash: String,
    pub(crate) key: String,
    pub(super) tries: u32,
    pub(super) asked: Option<u64>,
    /// The answer, once it came.
    pub(crate) accepted: Option<Vec<JobId>>,
    pub(crate) refused: Option<String>,
    /// Whether another document goes under the same key.
    pub(crate) impostor: bool,
}

impl Client {
    /// Of the submission of this number.
    pub(super) fn new(number: usize, text: &str, behaviour: CommandBehaviour, key: String) -> Self {
        let document = parse(text.as_bytes(), Format::Yaml).unwrap_or_else(|error| {
            panic!("a document of the simulator is refused: {error:?}\n{text}")
        });
        Self {
            name: format!("s{number}"),
            behaviour,
            hash: format!("hash-{number}"),
            document,
            key,
            tries: 0,
            asked: None,
            accepted: None,
            refused: None,
            impostor: false,
        }
    }

    /// What it was told is gone with the store, and so is what it is being told. True
    /// where it has to ask again.
    pub(crate) fn forget(&mut self) -> bool {
        self.asked = None;
        let lost = self.accepted.take().is_some();
        if lost {
            self.tries = 0;
        }
        lost
    }
}
