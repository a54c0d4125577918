//! The table against markets whose answer is known, and against chance.

use super::hazard_model::{Classes, HazardModel, level};
use super::*;

const TERMS: HorizonTerms = HorizonTerms { step_seconds: 600.0, on_demand: 1.0, changeover: 0.5 };

fn zone(region: usize, price: f64, seen: &[bool]) -> ObservedZone<'_> {
    ObservedZone { region, price, seen }
}

fn now(up: bool, age: usize, price: f64) -> ZoneNow {
    ZoneNow { up, age, price }
}

fn position(steps: f64, work: f64, on: On) -> JobPosition {
    JobPosition { steps, work, changeover_left: 0.0, on }
}

/// Chance as a fixed sequence.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Spells of chance: up with this hazard a step, down with that one.
fn spells(dice: &mut Dice, steps: usize, ends: [f64; 2]) -> Vec<bool> {
    let mut up = true;
    let mut one = || {
        up ^= dice.roll() < ends[usize::from(!up)];
        up
    };
    (0..steps).map(|_| one()).collect()
}

#[test]
fn spot_that_never_goes_costs_its_price() {
    let seen = vec![true; 3_000];
    let horizon = Horizon::solve(&[zone(0, 0.3, &seen)], TERMS, 100, 50.0);
    let epoch = horizon.at(vec![now(true, 3_000, 0.3)], 3_000);
    let position = position(90.0, 60.0, On::Nothing);
    let dollars = epoch.dollars(position, On::Spot(0));
    assert!((dollars / (60.5 * 0.3) - 1.0).abs() < 0.03, "{dollars}");
    assert_eq!(epoch.best(position), On::Spot(0));
}

#[test]
fn without_spot_on_demand_is_the_way() {
    let seen = vec![false; 3_000];
    let horizon = Horizon::solve(&[zone(0, 0.3, &seen)], TERMS, 100, 50.0);
    let epoch = horizon.at(vec![now(false, 3_000, 0.3)], 3_000);
    let dollars = epoch.dollars(position(70.0, 60.0, On::Nothing), On::OnDemand);
    assert!((dollars / 60.5 - 1.0).abs() < 0.03, "{dollars}");
    let none = epoch.dollars(position(90.0, 60.0, On::Nothing), On::Spot(0));
    assert!(none.is_infinite(), "what is not there cannot be taken");
}

#[test]
fn no_slack_leaves_no_choice() {
    let seen = vec![true; 500];
    let horizon = Horizon::solve(&[zone(0, 0.3, &seen)], TERMS, 100, 50.0);
    let epoch = horizon.at(vec![now(true, 500, 0.3)], 500);
    assert_eq!(epoch.best(position(60.6, 60.0, On::Nothing)), On::OnDemand);
}

#[test]
fn time_to_spare_is_never_a_loss_and_work_never_a_gain() {
    let mut dice = Dice(7);
    let seen = spells(&mut dice, 2_000, [0.05, 0.03]);
    let horizon = Horizon::solve(&[zone(0, 0.3, &seen)], TERMS, 200, 150.0);
    let epoch = horizon.at(vec![now(false, 3, 0.3)], 2_000);
    let cost = |steps: f64, work: f64| {
        let position = position(steps, work, On::Nothing);
        epoch.actions(position).iter().map(|action| action.dollars).fold(f64::INFINITY, f64::min)
    };
    for work in [10.0, 40.0, 90.0] {
        for spare in 2..100 {
            let (less, more) =
                (cost(work + f64::from(spare), work), cost(work + f64::from(spare + 1), work));
            assert!(more <= less * 1.002, "work {work}, spare {spare}: {less} then {more}");
        }
        assert!(cost(150.0, work) < cost(150.0, work + 5.0));
    }
}

#[test]
fn an_old_spell_is_worth_more_than_a_young_one() {
    // Half of the spells end at once, the others last.
    let pattern: Vec<bool> = (0..3_000).map(|i| !matches!(i % 60, 0..4 | 6..9)).collect();
    let horizon = Horizon::solve(&[zone(0, 0.3, &pattern)], TERMS, 100, 50.0);
    let worth = |age| {
        let epoch = horizon.at(vec![now(true, age, 0.3)], 3_000);
        epoch.dollars(position(70.0, 60.0, On::Nothing), On::Spot(0))
    };
    assert!(worth(20) < worth(1), "{} {}", worth(20), worth(1));
}

#[test]
fn the_table_expects_what_chance_brings() {
    let mut dice = Dice(42);
    let seen: Vec<Vec<bool>> = (0..2).map(|_| spells(&mut dice, 2_000, [0.04, 0.05])).collect();
    let zones = [zone(0, 0.3, &seen[0]), zone(1, 0.4, &seen[1])];
    let horizon = Horizon::solve(&zones, TERMS, 130, 60.0);
    let start = position(120.0, 90.0, On::Nothing);
    let first = vec![now(false, 2, 0.3), now(false, 2, 0.4)];
    let epoch = horizon.at(first.clone(), 2_000);
    let actions = epoch.actions(start);
    let expected = actions.iter().map(|action| action.dollars).fold(f64::INFINITY, f64::min);
    let runs = 400;
    let paid: f64 = (0..runs).map(|_| run(&horizon, first.clone(), start, &mut dice)).sum();
    let mean = paid / f64::from(runs);
    assert!((mean / expected - 1.0).abs() < 0.05, "expected {expected}, paid {mean}");
}

/// One job in a market that behaves as the hazards say.
fn run(
    horizon: &Horizon,
    mut zones: Vec<ZoneNow>,
    mut position: JobPosition,
    dice: &mut Dice,
) -> f64 {
    let mut paid = 0.0;
    for step in 0.. {
        if position.work <= 1e-9 {
            return paid;
        }
        assert!(position.steps > 0.0, "it is late");
        if let On::Spot(zone) = position.on
            && !zones[zone].up
        {
            position.on = On::Nothing;
        }
        let to = horizon.at(zones.clone(), 2_000 + step).best(position);
        if to != position.on {
            position.changeover_left = if to == On::Nothing { 0.0 } else { TERMS.changeover };
        }
        position.on = to;
        paid += match to {
            On::Nothing => 0.0,
            On::Spot(zone) => zones[zone].price,
            On::OnDemand => TERMS.on_demand,
        };
        if to != On::Nothing {
            let spent = position.changeover_left.min(1.0);
            position.changeover_left -= spent;
            position.work -= 1.0 - spent;
        }
        position.steps -= 1.0;
        for (group, zone) in zones.iter_mut().enumerate() {
            let class = horizon.hazards.classes.of(zone.up, zone.age);
            let part = horizon.hazards.part_of_day(2_000 + step);
            let ends = dice.roll() < horizon.hazards.end(group, class, level(0, 0), part);
            zone.up ^= ends;
            zone.age = if ends { 1 } else { zone.age + 1 };
        }
    }
    paid
}

#[test]
fn hazards_are_learnt_by_age_and_by_the_hour() {
    let mut dice = Dice(3);
    // Spells end in the first half of the day only.
    let mut up = true;
    let seen: Vec<bool> = (0..144 * 14)
        .map(|step| {
            let morning = step % 144 < 72;
            up ^= morning && dice.roll() < 0.1;
            up
        })
        .collect();
    let (groups, _) = group::pool(&[zone(0, 0.3, &seen)], 1.0);
    let hazards = HazardModel::fit(&groups, 600.0);
    let class = hazards.classes.of(true, 1);
    let (morning, evening) = (hazards.end(0, class, 3, 2), hazards.end(0, class, 3, 9));
    assert!(morning > 2.0 * evening, "{morning} {evening}");
    let (groups, _) = group::pool(&[zone(0, 0.3, &[])], 1.0);
    let prior = HazardModel::fit(&groups, 600.0);
    let old = prior.classes.of(true, 200);
    assert!(prior.end(0, class, 3, 0) > 10.0 * prior.end(0, old, 3, 0), "the prior");
}

#[test]
fn classes_hold_every_age_once() {
    for groups in [1, 2] {
        let classes = Classes::new(groups, 195.0);
        let mut last = 0;
        for age in 1..1_000 {
            let class = classes.of(true, age);
            assert!(class == last || class == last + 1, "age {age}");
            assert_eq!(classes.of(false, age), class + classes.up());
            last = class;
        }
        assert_eq!(last + 1, classes.up(), "the oldest class is reached");
        assert_eq!(classes.length(last), None);
    }
}

#[test]
fn zones_are_pooled_by_price_and_region() {
    let seen = vec![true; 10];
    let zones =
        [zone(0, 0.3, &seen), zone(0, 0.3, &seen), zone(1, 0.6, &seen), zone(2, 0.31, &seen)];
    let (groups, of) = group::pool(&zones, 1.0);
    assert_eq!(groups.len(), 2);
    assert_eq!(of, [0, 0, 1, 0]);
    assert_eq!(regions(["us-east-1a", "us-west-2b", "us-east-1f", "local"]), [0, 1, 0, 2]);
    let (groups, _) = group::pool(&[], 1.0);
    assert!(groups.is_empty());
}

#[test]
fn a_held_group_sees_a_step_without_where_it_moves() {
    let (a, b) = ([true, true, false, false, true], [false, true, true, true, true]);
    let one = [true; 5];
    let far = zone(3, 0.9, &one);
    let (groups, _) = group::pool(&[zone(0, 0.3, &a), zone(0, 0.3, &b), far], 1.0);
    assert_eq!(groups[0].seen, [true, true, false, true, true]);
}

#[test]
fn histories_of_unlike_length_end_together() {
    let (long, short) = ([true, false, true, true, true], [true, true]);
    let zones = [zone(0, 0.3, &long), zone(0, 0.5, &short), zone(1, 0.9, &[])];
    let horizon = Horizon::solve(&zones, TERMS, 20, 10.0);
    assert_eq!(horizon.hours_old(5), 0.0);
    assert_eq!(horizon.hours_old(11), 1.0);
    let epoch = horizon.at(vec![now(true, 3, 0.3), now(true, 2, 0.5), now(false, 1, 0.9)], 5);
    assert!(
        epoch.actions(position(15.0, 8.0, On::Nothing)).iter().all(|action| action.dollars >= 0.0)
    );
}

#[test]
fn what_is_believed_for_certain_is_worth_what_is_seen() {
    let classes = Classes::new(1, TERMS.step_seconds);
    let ends: Vec<f64> = (0..classes.all()).map(|class| 0.1 / (class + 1) as f64).collect();
    let zones = [zone(0, 0.3, &[])];
    let horizon = Horizon::with_hazards(&zones, TERMS, 100, 50.0, 0, |_| ends.clone());
    let believed = |chance_up: f64| {
        let mut chances = vec![0.0; classes.all()];
        chances[classes.of(true, 1_000)] = chance_up;
        chances[classes.of(false, 1_000)] = 1.0 - chance_up;
        horizon.believing(vec![BelievedZone { price: 0.3, chances, ends: ends.clone() }])
    };
    let start = position(70.0, 50.0, On::Nothing);
    for (up, chance) in [(true, 1.0), (false, 0.0)] {
        let seen = horizon.at(vec![now(up, 1_000, 0.3)], 0);
        for to in [On::Nothing, On::OnDemand, On::Spot(0)] {
            let (one, two) = (seen.dollars(start, to), believed(chance).dollars(start, to));
            assert!(one == two || (one - two).abs() < 1e-9, "{up} {to:?}: {one} {two}");
        }
    }
    let waits = |chance| believed(chance).dollars(start, On::Nothing);
    assert!((waits(0.25) - (0.25 * waits(1.0) + 0.75 * waits(0.0))).abs() < 1e-9);
    let to_spot = |chance| believed(chance).dollars(start, On::Spot(0));
    assert!((to_spot(0.25) - to_spot(1.0)).abs() < 1e-9, "if it is there");
}
