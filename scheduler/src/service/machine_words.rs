//! A machine's life in plain words.

use std::time::Duration;

use jiff::Timestamp;
use spotwise_api::convert::{MachineFigures, time_text};
use spotwise_control::view::machines::{Awaited, MachineOutlook, ProviderWords};
use spotwise_model::instance::{EndedBy, InstanceState};
use spotwise_model::inventory::MachinePhase;
use spotwise_model::time::{between, human};
use spotwise_model::{AttemptId, Instance, Money, Now, Price};
use spotwise_solver::keep::{IdleMachine, KeepOrGiveBack};

/// Attempts that are named; any more are counted.
const NAMED: usize = 5;

/// What it does, in one line without its id.
pub(super) fn headline(machine: &Instance, outlook: &MachineOutlook, now: Timestamp) -> String {
    let ago = |at: Timestamp| human(between(at, now));
    match machine.state {
        InstanceState::Requested { at, .. } => format!("asked for {} ago", ago(at.market)),
        InstanceState::Booting { since, .. } => format!("boots since {}", ago(since)),
        InstanceState::Registered { .. } => match (&outlook.hopes, outlook.attempts.is_empty()) {
            (Some((idle, choice)), _) => {
                let verb = if choice.keep { "is kept" } else { "is given back" };
                format!("idle for {}, and {verb}", human(idle.idle))
            }
            (None, true) => "idle, and is given back".to_owned(),
            (None, false) => format!("runs {}", names(&outlook.attempts)),
        },
        InstanceState::Noticed { reclaim_at, .. } => {
            format!("its provider takes it back at {}", time_text(reclaim_at))
        }
        InstanceState::Draining { cause, .. } => format!("gets no new work: {cause}"),
        InstanceState::Terminating { cause, .. } => format!("is given back: {cause}"),
        InstanceState::Gone { since: None, .. } => "gone: it never existed".to_owned(),
        InstanceState::Gone { at, by, .. } => {
            let who = match by {
                EndedBy::Us => "we gave it back",
                EndedBy::Provider => "its provider took it back",
            };
            format!("gone since {}: {who}", ago(at))
        }
    }
}

/// What it costs, who is on it, why it is kept, what it waits for, and what its provider
/// said: a sentence each.
pub(super) fn details(
    machine: &Instance,
    figures: &MachineFigures,
    outlook: &MachineOutlook,
    now: Now,
) -> Vec<String> {
    let mut lines = vec![cost(machine, figures)];
    if !outlook.attempts.is_empty() && !machine.ended() {
        let stays = !outlook.slot && machine.accepts_work();
        let kept = if stays { "; it is kept while anything is on it" } else { "" };
        lines.push(format!("on it: {}{kept}", names(&outlook.attempts)));
    }
    if let Some((idle, choice)) = &outlook.hopes {
        lines.push(hopes(idle, choice));
    }
    if outlook.slot && !machine.ended() {
        let slot = "a slot of a machine that runs anyway: gone the moment nothing is on it";
        lines.push(slot.to_owned());
    }
    lines.extend(outlook.awaits.map(|awaits| waits_for(&awaits, now)));
    lines.extend(provider(machine, &outlook.said, now.market));
    lines
}

/// What an operator is told who has drained it.
pub(super) fn drained(machine: &Instance, outlook: &MachineOutlook) -> String {
    match machine.state {
        InstanceState::Draining { .. } if outlook.attempts.is_empty() => {
            "gets no new work, and is given back at once: nothing is on it".to_owned()
        }
        InstanceState::Draining { .. } => {
            let over = if outlook.attempts.len() == 1 { "has" } else { "have" };
            let names = names(&outlook.attempts);
            format!("gets no new work, and is given back when {names} {over} ended")
        }
        InstanceState::Noticed { reclaim_at, .. } => format!(
            "gets no new work anyway: its provider takes it back at {}",
            time_text(reclaim_at)
        ),
        _ => "is on its way out already".to_owned(),
    }
}

fn cost(machine: &Instance, figures: &MachineFigures) -> String {
    let market = &machine.offer.market;
    let what = format!(
        "{} {} in {} of pool {}",
        market.capacity_type, market.instance_type, market.zone, machine.offer.pool
    );
    let price = per_hour(figures.price);
    if machine.since().is_none() {
        return format!("{what}: {price} once it is there; it has cost nothing");
    }
    let all: Money = figures.shares.values().copied().sum();
    let share = |(attempt, amount): (&Option<AttemptId>, &Money)| {
        let who = attempt.map_or_else(|| "nobody (idle)".to_owned(), |id| id.to_string());
        format!("{} by {who}", amount.human())
    };
    let mut shares: Vec<(&Option<AttemptId>, &Money)> =
        figures.shares.iter().filter(|(_, amount)| **amount != Money::ZERO).collect();
    shares.sort_by_key(|(_, amount)| std::cmp::Reverse(**amount));
    let shown: Vec<String> = shares.iter().take(NAMED).map(|it| share(*it)).collect();
    let more = match shares.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let shares = match shown.is_empty() {
        true => String::new(),
        false => format!(": {}{more}", shown.join(", ")),
    };
    let paid = match machine.covered() {
        Some(covered) => format!(" by commitment {}", covered.commitment),
        None => String::new(),
    };
    format!("{what}: {price}{paid}, {} so far{shares}", all.human())
}

/// Why an idle machine is kept or given back, with the figures.
fn hopes(idle: &IdleMachine, choice: &KeepOrGiveBack) -> String {
    let limit = human(idle.limit);
    let verdict = if idle.idle >= idle.limit {
        format!("given back: its pool keeps an idle machine for {limit} at most")
    } else if choice.keep && idle.waiting >= idle.alike.max(1) {
        format!("kept, for {limit} at most: {}", fitting(idle.waiting))
    } else if choice.keep {
        format!("kept, for {limit} at most: that saves more than it costs")
    } else {
        "given back: keeping it costs more than it saves".to_owned()
    };
    let alike = match idle.alike {
        0 | 1 => String::new(),
        more => format!(", shared by {more} idle machines"),
    };
    format!(
        "{verdict}; keeping it is expected to save {}/h and costs {}/h ({:.1} jobs an hour come for its type{alike}; \
         another one takes {}; {})",
        Money::estimate(choice.saves_per_hour).human(),
        Money::estimate(choice.costs_per_hour).human(),
        idle.arrivals_per_hour,
        human(idle.boot),
        fitting(idle.waiting),
    )
}

fn fitting(jobs: u32) -> String {
    match jobs {
        0 => "no waiting job fits on it".to_owned(),
        1 => "1 waiting job fits on it".to_owned(),
        more => format!("{more} waiting jobs fit on it"),
    }
}

fn waits_for(awaits: &Awaited, now: Now) -> String {
    let ago = |at: Timestamp| human(between(at, now.market));
    let given_up = |at: Option<Timestamp>| match at {
        Some(at) => format!("; given up at {}", time_text(at)),
        None => String::new(),
    };
    match *awaits {
        Awaited::Answer { asked, lost: false, given_up: at } => {
            format!("asked for {} ago, without an answer yet{}", ago(asked.market), given_up(at))
        }
        Awaited::Answer { asked, lost: true, given_up: at } => format!(
            "asked for {} ago; the answer was lost, and it is asked for again by the same name{}",
            ago(asked.market),
            given_up(at)
        ),
        Awaited::Registration { given_up: Some(at) } => {
            format!("it has to join its pool by {}, or is given back", time_text(at))
        }
        Awaited::Registration { given_up: None } => "it has to join its pool".to_owned(),
        Awaited::Reclaim { at } => match between(now.market, at) {
            Duration::ZERO => "its time is up".to_owned(),
            left => format!("its provider takes it back in {}", human(left)),
        },
        Awaited::LastWork => "given back when what is on it has ended".to_owned(),
        Awaited::Termination { decided, known: false, .. } => format!(
            "given up {} ago: nobody knows whether it exists; ended as soon as its provider lists it",
            ago(decided.market)
        ),
        Awaited::Termination { decided, expected, known: true } => format!(
            "its end was asked for {} ago; that is expected to take {}",
            ago(decided.market),
            human(expected)
        ),
        Awaited::Settlement => "its charges are settled next; it is not listed then".to_owned(),
    }
}

fn provider(machine: &Instance, said: &ProviderWords, now: Timestamp) -> Vec<String> {
    let name = match &machine.provider {
        Some(provider) => format!(" as {provider}"),
        None => String::new(),
    };
    let listing = said.listing.as_ref().map(|(listed, seen)| {
        let what = match seen.as_ref().map(|seen| seen.phase) {
            None => "does not have it".to_owned(),
            Some(MachinePhase::Booting) => format!("has it{name}, booting"),
            Some(MachinePhase::Registered) => format!("has it{name}, registered"),
            Some(MachinePhase::Terminating) => format!("has it{name}, about to end"),
            Some(MachinePhase::Terminated) => format!("has it{name}, ended"),
        };
        format!("its provider's last listing, {} old, {what}", human(between(*listed, now)))
    });
    // That another one was refused once says little of a machine that is there.
    let relevant = |until: &Option<Timestamp>| until.is_some() || machine.since().is_none();
    let refusal = said.refusal.as_ref().filter(|(_, until)| relevant(until));
    let refusal = refusal.map(|(why, until)| match until {
        Some(until) => {
            format!("its market refused a machine: {why}; not asked until {}", time_text(*until))
        }
        None => format!("its market has refused a machine: {why}; it is asked again"),
    });
    listing.into_iter().chain(refusal).collect()
}

fn names(attempts: &[AttemptId]) -> String {
    let shown: Vec<String> = attempts.iter().take(NAMED).map(ToString::to_string).collect();
    match attempts.len().saturating_sub(NAMED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn per_hour(price: Price) -> String {
    format!("{}/h", Money::from_micros(price.micros_per_hour()).human())
}

#[cfg(test)]
#[path = "machine_words_tests.rs"]
mod tests;
