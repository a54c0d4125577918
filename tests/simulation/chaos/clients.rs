//! Those who submit: each with a key, lost answers, and up to five tries.

mod client;

use rand::RngExt;
use spotwise_control::Command;
use spotwise_control::command::Submit;
use spotwise_model::JobId;
use spotwise_model::spec::Dependency;

pub(crate) use client::Client;

use super::events::{Caller, Event, Response};
use super::faults::Kind;
use super::sim::Sim;
use super::submissions;
use super::time::{DAY, HOUR, MINUTE, Ms, SECOND};

const TRIES: u32 = 5;

impl Sim {
    pub(crate) fn enlist_clients(&mut self) {
        for number in 0..self.scenario.submissions {
            let at = self.rng.random_range(0..self.scenario.days * DAY);
            let at = at - at % (self.rng.random_range(1..6) * HOUR);
            let at = at + self.rng.random_range(0..10 * MINUTE);
            self.enlist(number, at);
        }
    }

    fn enlist(&mut self, number: usize, at: Ms) {
        let sliced = self.scenario.is_sliced() && self.rng.random_range(0..5) < 4;
        let (text, behaviour) = submissions::invent(&mut self.rng, number, sliced);
        let key = format!("key-{number}");
        let client = Client::new(number, &text, behaviour, key);
        let twins = if self.scenario.kinds.contains(&Kind::SameKeyBurst)
            && self.rng.random_range(0..12) == 0
        {
            63
        } else {
            0
        };
        let place = self.clients.len();
        self.clients.push(client.clone());
        self.at(at, Event::Client(place));
        if twins > 0 {
            self.fired.note(Kind::SameKeyBurst.name());
        }
        for _ in 0..twins {
            let place = self.clients.len();
            self.clients.push(client.clone());
            let at = at + self.rng.random_range(0..200);
            self.at(at, Event::Client(place));
        }
        if self.scenario.kinds.contains(&Kind::KeyReused) && self.rng.random_range(0..15) == 0 {
            let mut other = client;
            other.hash = format!("{}-other", other.hash);
            other.impostor = true;
            let place = self.clients.len();
            self.clients.push(other);
            // Long after, so that the first has been accepted.
            self.at(at + HOUR, Event::Client(place));
        }
    }

    pub(crate) fn client_acts(&mut self, number: usize) {
        let client = &self.clients[number];
        if client.accepted.is_some() || client.refused.is_some() || client.tries >= TRIES {
            return;
        }
        let twin = self.clients.iter().find(|c| c.key == client.key && !c.impostor);
        if client.impostor && twin.is_none_or(|twin| twin.accepted.is_none()) {
            return;
        }
        let tables = &self.store.tables;
        let known = tables.submissions.get(&client.key);
        let named: Vec<JobId> = client
            .document
            .jobs
            .iter()
            .flat_map(|job| &job.after)
            .filter_map(Dependency::id)
            .collect();
        let submit = Submit {
            submission: client.document.clone(),
            document_hash: client.hash.clone(),
            key: Some(client.key.clone()),
            known: known.map(|record| (record.document_hash.clone(), record.jobs.clone())),
            ended_parents: tables.outcomes(&named),
            arrays: std::collections::BTreeMap::new(),
        };
        let tries = client.tries;
        let id = self.send(tries as usize, Caller::Client(number), Command::Submit(submit));
        let client = &mut self.clients[number];
        client.tries += 1;
        client.asked = Some(id);
        // No answer by then: once more, by the same key.
        let pause = (10 * SECOND) << tries.min(6);
        self.later(pause, Event::Client(number));
    }

    pub(crate) fn client_receives(&mut self, number: usize, id: u64, response: Response) {
        // Operators do not wait for their answers.
        let Some(client) = self.clients.get_mut(number).filter(|c| c.asked == Some(id)) else {
            return;
        };
        match response {
            Response::Submitted { jobs, replayed } => {
                if replayed {
                    self.fired.note("submission_replayed");
                }
                client.accepted = Some(jobs);
            }
            Response::KeyReused => {
                client.refused = Some("key reused".to_owned());
                if client.impostor {
                    self.note(Kind::KeyReused);
                }
            }
            Response::Refused(why) => client.refused = Some(why),
            _ => {}
        }
    }

    /// The submission that a job of this name is of.
    pub(crate) fn submission_of(&self, job: &str) -> Option<&Client> {
        let name = job.trim_end_matches(['a', 'b']);
        self.clients.iter().find(|client| client.name == name)
    }
}
