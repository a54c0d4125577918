//! One row of the table after the other, backwards in time.

use super::group::Group;
use super::hazard_model::{HazardModel, LEVELS, level};
use super::terms::HorizonTerms;
use super::value_table::{AWAY, Between, NEVER, ON_DEMAND, SPOT, ValueTable, between};

/// Probabilities below this are left out.
const NEGLIGIBLE: f64 = 1e-6;

/// Chances of the step from one row to the next, by group and level: from class
/// to class, for machines that are not ours and for one that is.
pub(super) struct Chances {
    all: Vec<[Vec<Vec<f32>>; LEVELS]>,
    kept: Vec<[Vec<Vec<f32>>; LEVELS]>,
    lost: Vec<[Vec<Vec<f32>>; LEVELS]>,
}

pub(super) fn chances(
    groups: &[Group],
    hazards: &HazardModel,
    stride: usize,
    part: usize,
) -> Chances {
    let classes = hazards.classes.all();
    let up = hazards.classes.up();
    let mut made = Chances { all: Vec::new(), kept: Vec::new(), lost: Vec::new() };
    for group in 0..groups.len() {
        let mut of: [[Vec<Vec<f32>>; LEVELS]; 3] = Default::default();
        for level in 0..LEVELS {
            let once = one_step(hazards, group, level, part);
            let mut staying = once.clone();
            for (from, row) in staying.iter_mut().enumerate() {
                for (to, chance) in row.iter_mut().enumerate() {
                    if from >= up || to >= up {
                        *chance = 0.0;
                    }
                }
            }
            let all = power(&once, stride);
            let kept = power(&staying, stride);
            let mut lost = all.clone();
            for from in 0..classes {
                for to in 0..classes {
                    let gone = (all[from][to] - kept[from][to]).max(0.0);
                    lost[from][to] = if from < up { gone } else { 0.0 };
                }
            }
            for (kind, matrix) in of.iter_mut().zip([all, kept, lost]) {
                kind[level] = narrowed(&matrix);
            }
        }
        let [all, kept, lost] = of;
        made.all.push(all);
        made.kept.push(kept);
        made.lost.push(lost);
    }
    made
}

/// From class to class in one step: a spell ends, or ages into its next class
/// after that class's mean length.
fn one_step(hazards: &HazardModel, group: usize, level: usize, part: usize) -> Vec<Vec<f64>> {
    let classes = &hazards.classes;
    let mut chances = vec![vec![0.0; classes.all()]; classes.all()];
    for (class, row) in chances.iter_mut().enumerate() {
        let end = hazards.end(group, class, level, part);
        let ages = classes.length(class).map_or(0.0, |length| 1.0 / length as f64);
        row[classes.of(!classes.is_up(class), 1)] += end;
        row[class] += (1.0 - end) * (1.0 - ages);
        if ages > 0.0 {
            row[class + 1] += (1.0 - end) * ages;
        }
    }
    chances
}

fn power(matrix: &[Vec<f64>], times: usize) -> Vec<Vec<f64>> {
    let n = matrix.len();
    let mut result = matrix.to_vec();
    for _ in 1..times {
        let entry = |i: usize, j: usize| (0..n).map(|k| result[i][k] * matrix[k][j]).sum();
        result = (0..n).map(|i| (0..n).map(|j| entry(i, j)).collect()).collect();
    }
    result
}

fn narrowed(matrix: &[Vec<f64>]) -> Vec<Vec<f32>> {
    let narrow = |chance: &f64| if *chance < NEGLIGIBLE { 0.0 } else { *chance as f32 };
    matrix.iter().map(|row| row.iter().map(narrow).collect()).collect()
}

/// One row after the other, backwards in time.
pub(super) struct BackwardInduction<'a> {
    groups: &'a [Group],
    terms: HorizonTerms,
    slacks: Vec<f64>,
    stride: usize,
    classes: usize,
    up: usize,
    states: usize,
    places: usize,
    pub(super) row: usize,
    /// Each point of slack after an idle stride, and after a start.
    waited: Vec<Option<Between>>,
    started: Vec<Option<Between>>,
    /// By group and state: how many neighbours are there.
    levels: Vec<Vec<usize>>,
    /// By state, place and slack: expected dollars of the row before. After the
    /// places follow, for each group, those of a machine lost on the way.
    expected: Vec<f32>,
    scratch: Vec<f32>,
}

impl<'a> BackwardInduction<'a> {
    pub(super) fn new(table: &ValueTable, groups: &'a [Group], hazards: &HazardModel) -> Self {
        let up = hazards.classes.up();
        let slacks = table.slacks.clone();
        let is_up = |state: usize, group: usize| {
            state / table.classes.pow(group as u32) % table.classes < up
        };
        let levels = groups
            .iter()
            .map(|group| {
                let there = |state| group.peers.iter().filter(|p| is_up(state, **p)).count();
                (0..table.states).map(|state| level(there(state), group.peers.len())).collect()
            })
            .collect();
        let less = |spent: f64| -> Vec<Option<Between>> {
            let left =
                |slack: &f64| (slack - spent > -1e-9).then(|| between(&slacks, slack - spent));
            slacks.iter().map(left).collect()
        };
        let size = (table.places + groups.len()) * slacks.len() * table.states;
        Self {
            groups,
            terms: table.terms,
            stride: table.stride,
            classes: table.classes,
            up,
            states: table.states,
            places: table.places,
            row: table.row(),
            waited: less(table.stride as f64),
            started: less(table.terms.changeover),
            slacks,
            levels,
            expected: vec![0.0; size],
            scratch: vec![0.0; size],
        }
    }

    fn class(&self, state: usize, group: usize) -> usize {
        state / self.classes.pow(group as u32) % self.classes
    }

    /// Expected dollars of the row before, from each state of the market. Groups
    /// change one after the other, each seeing what those before it became.
    pub(super) fn expect(&mut self, before: &[f32], part: &Chances) {
        let points = self.slacks.len();
        let (places, groups) = (self.places * points, self.groups.len() * points);
        let width = places + groups;
        for (to, from) in self.expected.chunks_exact_mut(width).zip(before.chunks_exact(places)) {
            to[..places].copy_from_slice(from);
            for lost in to[places..].chunks_exact_mut(points) {
                lost.copy_from_slice(&from[..points]);
            }
        }
        for group in (0..self.groups.len()).rev() {
            self.change(group, width, part);
        }
    }

    fn change(&mut self, group: usize, width: usize, part: &Chances) {
        let points = self.slacks.len();
        let unit = self.classes.pow(group as u32);
        let kept = (SPOT + group) * points;
        let lost = (self.places + group) * points;
        self.scratch.fill(0.0);
        for state in 0..self.states {
            let class = self.class(state, group);
            let level = self.levels[group][state];
            let out = &mut self.scratch[state * width..][..width];
            for to in 0..self.classes {
                let chance = part.all[group][level][class][to];
                if chance == 0.0 {
                    continue;
                }
                let from = (state + to * unit - class * unit) * width;
                let from = &self.expected[from..][..width];
                let keeps = part.kept[group][level][class][to];
                let loses = part.lost[group][level][class][to];
                for (range, chance) in [
                    (0..kept, chance),
                    (kept..kept + points, keeps),
                    (kept + points..lost, chance),
                    (lost..lost + points, loses),
                    (lost + points..width, chance),
                ] {
                    for (sum, dollars) in out[range.clone()].iter_mut().zip(&from[range]) {
                        *sum += chance * dollars;
                    }
                }
            }
        }
        std::mem::swap(&mut self.expected, &mut self.scratch);
    }

    /// The best choice in each state, place and slack of a row.
    pub(super) fn choose(&self, steps: f64, is_deadline: bool, part: &Chances, row: &mut [f32]) {
        let points = self.slacks.len();
        let mut away = vec![0.0_f32; points];
        for (state, out) in row.chunks_exact_mut(self.places * points).enumerate() {
            if is_deadline {
                let late =
                    |slack: &f64| if steps - slack > self.terms.changeover { NEVER } else { 0.0 };
                for place in out.chunks_exact_mut(points) {
                    place.iter_mut().zip(&self.slacks).for_each(|(d, slack)| *d = late(slack));
                }
                continue;
            }
            self.choose_away(steps, state, &mut away);
            for group in 0..self.groups.len() {
                self.choose_spot(steps, state, group, part, &mut away, out);
            }
            self.choose_rest(steps, state, &away, out);
        }
    }

    /// Work left at a point of slack.
    fn work(&self, steps: f64, point: usize) -> f32 {
        (steps - self.slacks[point] - self.terms.changeover) as f32
    }

    /// Expected dollars of a state in a place, at a slack between two points.
    fn at(&self, state: usize, place: usize, slack: Option<Between>) -> f32 {
        let Some((point, weight)) = slack else { return NEVER };
        let points = self.slacks.len();
        let width = (self.places + self.groups.len()) * points;
        let from = state * width + place * points + point;
        let (low, high) = (self.expected[from], self.expected[from + 1]);
        low + (high - low) * weight
    }

    /// Away from any machine: wait, or start on demand.
    fn choose_away(&self, steps: f64, state: usize, away: &mut [f32]) {
        let stride = self.stride as f32;
        let on_demand = self.terms.on_demand as f32;
        for (point, dollars) in away.iter_mut().enumerate() {
            let work = self.work(steps, point);
            let waits = self.at(state, AWAY, self.waited[point]);
            let started = self.started[point];
            // Without slack for another start it is on demand to the end.
            let to_the_end = (work + self.terms.changeover as f32 - stride).max(0.0) * on_demand;
            let then = started.map_or(to_the_end, |_| self.at(state, ON_DEMAND, started));
            *dollars = if work <= 0.0 { 0.0 } else { waits.min(on_demand * stride + then) };
        }
    }

    /// On a spot machine of a group: to start there, which may be the best way
    /// from anywhere, and to stay there. A machine lost on the way did its part,
    /// and what is left costs as much more as the row before is later.
    fn choose_spot(
        &self,
        steps: f64,
        state: usize,
        group: usize,
        part: &Chances,
        away: &mut [f32],
        out: &mut [f32],
    ) {
        let class = self.class(state, group);
        if class >= self.up {
            return;
        }
        let points = self.slacks.len();
        let (stride, price) = (self.stride as f32, self.groups[group].price as f32);
        let until_lost = (stride + 1.0) / 2.0;
        let lost: f32 = part.lost[group][self.levels[group][state]][class].iter().sum();
        let paid = price * (stride * (1.0 - lost) + until_lost * lost);
        let (kept_at, lost_at) = (SPOT + group, self.places + group);
        for point in 0..points {
            let work = self.work(steps, point);
            let later = 1.0 + (stride - until_lost) / work.max(1.0);
            let go_on = |slack| {
                paid + self.at(state, kept_at, slack) + later * self.at(state, lost_at, slack)
            };
            let here = if point + 1 < points { (point, 0.0) } else { (point - 1, 1.0) };
            let unused = price * stride * (1.0 - (work / stride).min(1.0));
            out[kept_at * points + point] = go_on(Some(here)) - unused;
            if let started @ Some(_) = self.started[point] {
                away[point] = away[point].min(go_on(started));
            }
        }
    }

    /// Puts down the best of staying and leaving for every place.
    fn choose_rest(&self, steps: f64, state: usize, away: &[f32], out: &mut [f32]) {
        let points = self.slacks.len();
        let stride = self.stride as f32;
        for (point, away) in away.iter().enumerate() {
            let work = self.work(steps, point);
            let here = if point + 1 < points { (point, 0.0) } else { (point - 1, 1.0) };
            let used = (work / stride).min(1.0) * stride;
            let stay = self.terms.on_demand as f32 * used + self.at(state, ON_DEMAND, Some(here));
            for place in 0..self.places {
                let dollars = &mut out[place * points + point];
                *dollars = match place {
                    _ if work <= 0.0 => 0.0,
                    AWAY => *away,
                    ON_DEMAND => stay.min(*away),
                    _ if self.class(state, place - SPOT) < self.up => dollars.min(*away),
                    _ => *away,
                };
            }
        }
    }
}
