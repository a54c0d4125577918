//! Job graphs: a cycle with its names, what is ready, and deadlines pulled
//! forward from the last job to those it waits for.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use petgraph::algo::{tarjan_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};

use spotwise_model::time::after;

use crate::statement::value::before;

/// A job in a graph, under any kind of name.
#[derive(Clone, Debug)]
pub struct Node<K> {
    /// Its name.
    pub key: K,
    /// What must be over first. Names that no node has are ignored.
    pub after: Vec<K>,
    /// Its own deadline.
    pub deadline: Timestamp,
    /// Expected duration of its remaining work.
    pub duration: Duration,
    /// Time from launch to its first useful step.
    pub changeover: Duration,
}

/// A cycle among jobs, each given with the jobs it waits for: every job named waits
/// for the next one, the last for the first. `None` if the graph has no cycle. If it
/// has several: a shortest one through the first job that is on any.
pub fn cycle<K: Ord + Clone>(jobs: impl IntoIterator<Item = (K, Vec<K>)>) -> Option<Vec<K>> {
    let graph = build(jobs);
    let circles = tarjan_scc(&graph)
        .into_iter()
        .filter(|part| part.len() > 1 || part.iter().any(|node| graph.contains_edge(*node, *node)));
    let start = circles.flatten().min_by_key(|node| graph.node_weight(*node))?;
    shortest_circle(&graph, start)
}

/// The jobs whose dependencies are all done, in the order of their names.
pub fn ready<K: Ord + Clone>(
    jobs: impl IntoIterator<Item = (K, Vec<K>)>,
    done: &BTreeSet<K>,
) -> Vec<K> {
    let open = jobs.into_iter().filter(|(key, _)| !done.contains(key));
    let ready: BTreeSet<K> = open
        .filter(|(_, after)| after.iter().all(|needed| done.contains(needed)))
        .map(|(key, _)| key)
        .collect();
    ready.into_iter().collect()
}

/// The deadline of each job such that those after it can still meet theirs: at
/// most a successor's deadline, less its expected duration and changeover. On
/// a circle every job keeps its own.
pub fn effective_deadlines<K: Ord + Clone>(
    nodes: impl IntoIterator<Item = Node<K>>,
) -> BTreeMap<K, Timestamp> {
    let nodes: BTreeMap<K, Node<K>> = nodes.into_iter().map(|n| (n.key.clone(), n)).collect();
    let mut deadlines: BTreeMap<K, Timestamp> =
        nodes.iter().map(|(key, node)| (key.clone(), node.deadline)).collect();
    let graph = build(nodes.values().map(|node| (node.key.clone(), node.after.clone())));
    // Edges run from a job to what it waits for, so successors come first.
    let Ok(order) = toposort(&graph, None) else { return deadlines };
    for node in order.into_iter().filter_map(|index| nodes.get(graph.node_weight(index)?)) {
        let Some(own) = deadlines.get(&node.key).copied() else { continue };
        let begin = before(own, node.duration.saturating_add(node.changeover));
        for needed in &node.after {
            if let Some(deadline) = deadlines.get_mut(needed) {
                *deadline = begin.min(*deadline);
            }
        }
    }
    deadlines
}

/// The earliest end of each job: after everything it waits for, plus its own span.
/// `jobs` must be in topological order; a dependency that is not among them counts as
/// done.
pub fn earliest_ends<'j, K: Ord + Clone + 'j>(
    now: Timestamp,
    jobs: impl IntoIterator<Item = (K, &'j [K], Duration)>,
) -> BTreeMap<K, Timestamp> {
    let mut ends: BTreeMap<K, Timestamp> = BTreeMap::new();
    for (key, waits_for, span) in jobs {
        let end = earliest_end(now, waits_for, span, &ends);
        ends.insert(key, end);
    }
    ends
}

/// The same for one job, given the ends of everything it waits for.
pub fn earliest_end<K: Ord>(
    now: Timestamp,
    waits_for: &[K],
    span: Duration,
    ends: &BTreeMap<K, Timestamp>,
) -> Timestamp {
    let begin = waits_for.iter().filter_map(|needed| ends.get(needed)).max();
    after(begin.copied().unwrap_or(now).max(now), span)
}

/// Edges from each job to what it waits for, in the order of names.
fn build<K: Ord + Clone>(jobs: impl IntoIterator<Item = (K, Vec<K>)>) -> DiGraph<K, ()> {
    let jobs: BTreeMap<K, Vec<K>> = jobs.into_iter().collect();
    let mut graph = DiGraph::new();
    let nodes: BTreeMap<&K, NodeIndex> =
        jobs.keys().map(|key| (key, graph.add_node(key.clone()))).collect();
    for (key, after) in &jobs {
        for needed in after.iter().collect::<BTreeSet<_>>() {
            if let (Some(from), Some(to)) = (nodes.get(key), nodes.get(needed)) {
                graph.add_edge(*from, *to, ());
            }
        }
    }
    graph
}

/// Breadth first from `start` back to itself; petgraph walks the newest edge
/// first, so neighbours are sorted by name.
fn shortest_circle<K: Ord + Clone>(graph: &DiGraph<K, ()>, start: NodeIndex) -> Option<Vec<K>> {
    let mut came_from: BTreeMap<NodeIndex, NodeIndex> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        let mut next: Vec<NodeIndex> = graph.neighbors(node).collect();
        next.sort_by_key(|index| graph.node_weight(*index));
        for neighbour in next {
            if neighbour == start {
                let mut path = vec![node];
                while let Some(previous) = path.last().and_then(|last| came_from.get(last)) {
                    path.push(*previous);
                }
                path.reverse();
                return path.into_iter().map(|index| graph.node_weight(index).cloned()).collect();
            }
            if let Entry::Vacant(unseen) = came_from.entry(neighbour) {
                unseen.insert(node);
                queue.push_back(neighbour);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(hour * 3_600).unwrap()
    }

    #[test]
    fn a_circle_is_named_in_its_order() {
        let jobs = [
            ("train", vec!["prepare"]),
            ("prepare", vec!["eval"]),
            ("eval", vec!["train"]),
            ("report", vec!["eval"]),
        ];
        assert_eq!(cycle(jobs), Some(vec!["eval", "train", "prepare"]));
    }

    #[test]
    fn a_job_may_wait_for_itself_by_mistake() {
        assert_eq!(cycle([(1, vec![1])]), Some(vec![1]));
    }

    #[test]
    fn the_shortest_circle_is_named() {
        let jobs = [(1, vec![2, 4]), (2, vec![3]), (3, vec![1]), (4, vec![1])];
        assert_eq!(cycle(jobs), Some(vec![1, 4]));
    }

    #[test]
    fn a_diamond_is_no_circle() {
        let jobs =
            [("d", vec!["b", "c", "b"]), ("b", vec!["a"]), ("c", vec!["a", "gone"]), ("a", vec![])];
        assert_eq!(cycle(jobs.clone()), None);
        assert_eq!(ready(jobs.clone(), &BTreeSet::new()), ["a"]);
        assert_eq!(ready(jobs, &BTreeSet::from(["a", "gone"])), ["b", "c"]);
    }

    #[test]
    fn a_last_deadline_pulls_the_first_one_forward() {
        let node = |key, after: &[&'static str], deadline, hours: u64| Node {
            key,
            after: after.to_vec(),
            deadline: at(deadline),
            duration: Duration::from_secs(hours * 3_600),
            changeover: Duration::from_secs(3_600),
        };
        let deadlines = effective_deadlines([
            node("a", &[], 100, 5),
            node("b", &["a"], 100, 3),
            node("c", &["a", "b"], 20, 2),
            node("d", &["a"], 12, 4),
        ]);
        assert_eq!(deadlines[&"c"], at(20));
        assert_eq!(deadlines[&"b"], at(17));
        assert_eq!(deadlines[&"a"], at(7), "d begins at 7, b at 13");
    }

    #[test]
    fn ends_add_up_along_the_longest_way() {
        let hours = |n: u64| Duration::from_secs(n * 3_600);
        let jobs = [
            ("a", &[][..], hours(2)),
            ("b", &["a"], hours(3)),
            ("c", &["a", "gone"], hours(1)),
            ("d", &["b", "c"], hours(2)),
        ];
        let ends = earliest_ends(at(10), jobs);
        let expected = [("a", at(12)), ("b", at(15)), ("c", at(13)), ("d", at(17))];
        assert_eq!(ends, BTreeMap::from(expected));
    }

    #[test]
    fn on_a_circle_every_deadline_stays() {
        let node = |key, after| Node {
            key,
            after: vec![after],
            deadline: at(9),
            duration: Duration::from_secs(60),
            changeover: Duration::ZERO,
        };
        let deadlines = effective_deadlines([node(1, 2), node(2, 1)]);
        assert_eq!(deadlines, BTreeMap::from([(1, at(9)), (2, at(9))]));
    }
}
