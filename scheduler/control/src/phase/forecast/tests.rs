mod queue;
mod series;
mod unseen;

use spotwise_model::id::Zone as ZoneName;
use spotwise_model::time::after;
use spotwise_model::{CapacityType, JobId, NodeShape, Now};

use super::*;
use crate::Command;
use crate::command::Submit;
use crate::config::Config;
use crate::core::Change;
use crate::core::availability_history::{GAP_TOLERANCE, Step};
use crate::fixture::spot::*;
use crate::phase::round::{self, Received, RoundInputs, WorkingState};
use crate::view::offers;
use crate::world::World;

fn key(zone: &str) -> MarketKey {
    MarketKey::recorded(ZoneName::new(zone), InstanceType::new("p3.2xlarge"), CapacityType::Spot)
}

fn machines_now(market: &Market, at: Timestamp) -> BTreeMap<MarketKey, u32> {
    offers::available_spot(&crate::fixture::state_of(Vec::new()), &market.quotes(at))
}

/// Observes every change, and every ten minutes at least; the second result is what a store
/// was told.
fn watch(
    availability: &mut AvailabilityHistory,
    stored: &mut AvailabilityHistory,
    market: &Market,
    from: i64,
    until: i64,
) {
    let (mut at, until) = (minute(from), minute(until));
    while at <= until {
        availability.observe(&machines_now(market, at), GAP_TOLERANCE, at);
        if let Some(update) = availability.write(Now { market: at, wall: at }) {
            availability.take(&update);
            stored.take(&update);
        }
        if at == until {
            break;
        }
        let next = after(at, Duration::from_secs(600)).min(until);
        at = market.next_change(at).map_or(next, |change| change.min(next));
    }
}

/// Killed and restarted: it knows what the store was told.
fn again(stored: &AvailabilityHistory) -> AvailabilityHistory {
    AvailabilityHistory::stored(stored.rows().collect(), stored.windows().collect())
}

/// Jobs with this many nodes.
fn queue(state: &mut State, nodes: &[u32]) {
    for (id, nodes) in (1..).zip(nodes) {
        let mut job = crate::fixture::job(id, "training");
        job.spec = spec("job", *nodes).into();
        state.apply(&mut Change::from(job));
    }
}

/// The forecasts of a scheduler that observed during these spans, the last one until now,
/// and has a job and a gang in its queue.
fn forecasts(market: &Market, watched: &[(i64, i64)]) -> (Vec<Forecast>, AvailabilityHistory) {
    let (mut availability, mut stored) =
        (AvailabilityHistory::default(), AvailabilityHistory::default());
    for (from, until) in watched {
        availability = again(&stored);
        watch(&mut availability, &mut stored, market, *from, *until);
    }
    let mut state =
        State { availability: availability.clone(), ..crate::fixture::state_of(Vec::new()) };
    queue(&mut state, &[1, 4]);
    let now = minute(watched.last().unwrap().1);
    state.seen.offers = offers::offers(&state, &market.quotes(now), Duration::from_secs(600), now);
    let available = machines_now(market, now);
    while let Some(fit) = due(&state, market, &available, Duration::from_secs(600), now) {
        take(&mut state.seen.forecasts, fit.run(), now);
    }
    let fitted = std::mem::take(&mut state.seen.forecasts);
    (refresh(fitted, &state, market, &available, now), availability)
}

#[test]
fn what_comes_later_and_what_nobody_saw_change_no_forecast() {
    let now = 6 * DAY;
    let gap = (3 * DAY + 100, 3 * DAY + 700);
    let watched = [(DAY, gap.0), (gap.1, now)];
    let text = |rows| format!("{:?}", forecasts(&market(&[("us-east-1a", rows)]), &watched).0);
    let whole = text(lively());
    assert!(whole.contains("nodes: 1,") && whole.contains("nodes: 4,"));
    assert_eq!(text(changed(now + 1, now + 5_000)), whole, "the future");
    assert_eq!(text(changed(gap.0 + 1, gap.1 - 1)), whole, "what nobody saw");
    // And what was seen, or recorded before it, does.
    assert_ne!(text(changed(gap.1 + 100, gap.1 + 900)), whole);
    assert_ne!(text(changed(100, 1_000)), whole);
}

#[test]
fn it_says_what_was_seen() {
    let market = market(&[("us-east-1a", lively()), ("us-east-1b", vec![(0, 3)])]);
    let (both, _) = forecasts(&market, &[(DAY, 3 * DAY + 150)]);
    let words = |nodes| what_was_seen(&both, &key("us-east-1b"), nodes).unwrap_or_default();
    let (single, gang) = (words(1), words(3));
    let begin = "spot p3.2xlarge is seen for 2d 2h, recorded for 1d before that: ";
    assert!(single.starts_with(begin), "{single}");
    assert!(single.ends_with(" spells with a machine or without, in 2 zones"), "{single}");
    assert!(gang.ends_with(" spells with 4 machines at once or without, in 2 zones"), "{gang}");
    assert_eq!(words(5), "");
    let fresh = forecasts(&market, &[(3 * DAY, 3 * DAY)]).0;
    let words = what_was_seen(&fresh, &key("us-east-1b"), 1).unwrap();
    assert!(words.starts_with("spot p3.2xlarge is recorded for 3d: "), "{words}");
    let young = forecasts(&market, &[(0, 0)]).0;
    let words = what_was_seen(&young, &key("us-east-1b"), 1).unwrap();
    assert!(words.contains("not seen for long enough to learn anything: 2 spells"), "{words}");
}

#[test]
fn a_gap_is_left_out_with_so_much_more_that_whole_days_are() {
    let market = market(&[("us-east-1a", lively()), ("us-east-1b", vec![(0, 9)])]);
    let gap = (3 * DAY + 100, 3 * DAY + 700);
    let now = 6 * DAY;
    let (_, availability) = forecasts(&market, &[(DAY, gap.0), (gap.1, now)]);
    let pauses = history::pauses(&availability, &market, minute(now));
    let step = Duration::from_secs(900);
    let day = Duration::from_secs(86_400);
    let long: Vec<Duration> = pauses.iter().copied().filter(|pause| *pause != step).collect();
    assert_eq!(long, [step + day]);
    // From now back to the end of the gap, and so on from the day before that.
    assert_eq!(pauses.len(), 6 * 96 - 96);
    assert_eq!(pauses.iter().position(|pause| *pause != step), Some((now - gap.1) as usize / 15));
    let keys = [key("us-east-1a"), key("us-east-1b")];
    let keys: Vec<&MarketKey> = keys.iter().collect();
    let history = History::of(&availability, &market, &keys, 4, minute(now));
    assert!(history.zones[1].iter().all(|there| *there));
    assert_eq!(history.training.span, step * (5 * 96));
    assert_eq!(history.first, minute(DAY), "as if the memory had begun a day later");
    assert!(history.training.own < history.training.span && history.training.own > day * 3);
    // Back within the patience, there is no gap.
    let (_, availability) = forecasts(&market, &[(DAY, 3 * DAY + 721), (3 * DAY + 729, now)]);
    assert_eq!(availability.windows().count(), 1);
    // A zone that came later has a shorter history; the others do not wait for it.
    let young = key("us-east-1c");
    let (mut availability, mut stored) =
        (AvailabilityHistory::default(), AvailabilityHistory::default());
    watch(&mut availability, &mut stored, &market, 0, DAY);
    let mut both = machines_now(&market, minute(DAY));
    both.insert(young.clone(), 4);
    for tick in 0..=20 {
        availability.observe(&both, GAP_TOLERANCE, minute(DAY + tick * 15));
    }
    let keys = [&keys[0].clone(), &young];
    let history = History::of(&availability, &market, &keys, 1, minute(DAY + 300));
    assert_eq!(history.zones.iter().map(Vec::len).collect::<Vec<_>>(), [96 + 21, 21]);
}

/// A fit started outside the rounds is applied if it still belongs.
#[test]
fn a_fit_takes_the_place_of_the_one_before_and_none_from_the_future_does() {
    let market = market(&[("us-east-1a", lively())]);
    let (old, availability) = forecasts(&market, &[(0, 3 * DAY)]);
    let mut state = State { availability, ..crate::fixture::state_of(Vec::new()) };
    ask(&mut state);
    let later = minute(3 * DAY + 6 * 60);
    let available = machines_now(&market, later);
    state.seen.offers =
        offers::offers(&state, &market.quotes(later), Duration::from_secs(600), later);
    state.availability.observe(&available, Duration::from_secs(86_400), later);
    state.seen.forecasts = refresh(old, &state, &market, &available, later);
    assert_eq!(state.seen.forecasts.len(), 1, "there is no gang any more");
    let span = |state: &State| state.seen.forecasts[0].training.span;
    assert_eq!(span(&state), STEP * (3 * 96));
    let fit = due(&state, &market, &available, Duration::from_secs(600), later).unwrap();
    // Until it is there, the old one is used.
    let kept = std::mem::take(&mut state.seen.forecasts);
    state.seen.forecasts = refresh(kept, &state, &market, &available, later);
    assert_eq!(state.seen.forecasts.len(), 1);
    let fitted = fit.run();
    take(&mut state.seen.forecasts, fitted.clone(), minute(3 * DAY));
    assert!(due(&state, &market, &available, Duration::ZERO, later).is_some(), "too early");
    take(&mut state.seen.forecasts, fitted, later);
    assert_eq!(state.seen.forecasts.len(), 1);
    assert!(due(&state, &market, &available, Duration::ZERO, later).is_none());
    assert_eq!(span(&state), STEP * (3 * 96 + 24));
}

/// The market's time goes back, as when a replay starts again: the forecasts are of the
/// earlier time, and know nothing of the later.
#[test]
fn a_forecast_does_not_outlive_its_time() {
    let market = market(&[("us-east-1a", lively())]);
    let (forecasts, mut availability) = forecasts(&market, &[(0, 6 * DAY)]);
    assert_eq!(forecasts.len(), 2);
    let mut state =
        State { availability: availability.clone(), ..crate::fixture::state_of(Vec::new()) };
    state.seen.forecasts = forecasts;
    ask(&mut state);
    let now = Now { market: minute(2 * DAY), wall: minute(6 * DAY) };
    let prices = Some(round::ask_prices(&state, &market, now));
    let mut working = WorkingState { state: &mut state, changes: Vec::new() };
    let config = Config::default();
    let inputs = RoundInputs { market: &market, config: &config };
    round::run(&mut working, Received { plan: None, prices }, inputs, now);
    let training = state.seen.forecasts[0].training;
    assert_eq!(training.span, STEP * (2 * 96));
    assert_eq!(availability.observe(&BTreeMap::new(), GAP_TOLERANCE, minute(2 * DAY)), Step::Back);
}

/// How long a fit takes: `cargo test --release -p spotwise-control --lib fits -- --ignored
/// --nocapture`.
#[test]
#[ignore = "a measurement"]
#[expect(clippy::print_stdout, clippy::disallowed_methods, reason = "figures for people")]
fn how_long_fits_take() {
    use spotwise_market::{Catalog, SyntheticOptions, synthetic};
    let options = SyntheticOptions::new(7, minute(0));
    let market = synthetic(&options, &Catalog::built_in()).unwrap();
    let mut availability = AvailabilityHistory::default();
    for at in (0..14 * DAY).step_by(5).map(minute) {
        availability.observe(&machines_now(&market, at), GAP_TOLERANCE, at);
    }
    let now = minute(14 * DAY - 5);
    let mut state = State { availability, ..crate::fixture::state_of(Vec::new()) };
    queue(&mut state, &[1, 4]);
    state.seen.offers = offers::offers(&state, &market.quotes(now), Duration::from_secs(600), now);
    let available = machines_now(&market, now);
    let mut fits = Vec::new();
    let changeover = Duration::from_secs(600);
    while let Some(fit) = due(&state, &market, &available, changeover, now) {
        let begun = std::time::Instant::now();
        take(&mut state.seen.forecasts, fit.run(), now);
        fits.push(begun.elapsed());
    }
    let begun = std::time::Instant::now();
    let known = std::mem::take(&mut state.seen.forecasts);
    let forecasts = refresh(known, &state, &market, &available, now);
    let update = begun.elapsed();
    assert_eq!(forecasts.len(), fits.len());
    let mean = fits.iter().sum::<Duration>() / fits.len() as u32;
    let most = fits.iter().max().unwrap();
    println!(
        "{} fits: {mean:?} each, {most:?} at most; {update:?} to bring all up to date",
        fits.len()
    );
    let keys: Vec<MarketKey> = available.keys().take(9).cloned().collect();
    let keys: Vec<&MarketKey> = keys.iter().collect();
    let begun = std::time::Instant::now();
    let history = History::of(&state.availability, &market, &keys, 4, now);
    println!("{:?} of that for the history of {} zones", begun.elapsed(), history.zones.len());
}
