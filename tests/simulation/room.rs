//! A pool that is always full: who must go first gets his room, and the others fill what
//! is left until then.

use spotwise_model::{JobId, JobState};

use crate::world::World;

/// Rounds of a minute: sixteen hours.
const ROUNDS: u32 = 16 * 60;
/// CPUs of the pool, in halves: what a small job takes.
const HALVES: usize = 4;

fn small(world: &mut World) {
    let minutes = world.draw(20..90);
    world.submit(&format!(
        "name: small\ncommand: [x]\ninterruptible: false\ndeadline: 200h\n\
         work: {{duration: {minutes}m}}\nresources: {{cpus: 0.5, memory: 1GB}}\n"
    ));
}

/// A job that needs all of the pool. In the worst case the last small one has just begun
/// its ninety minutes: then thirty of its own, and two boots and margins, fit six hours.
fn large(world: &mut World, priority: u32) -> JobId {
    world.submit(&format!(
        "name: large\ncommand: [x]\ninterruptible: false\ndeadline: 6h\npriority: {priority}\n\
         work: {{duration: 30m}}\nresources: {{cpus: 2, memory: 1GB}}\n"
    ))
}

/// No job with a feasible deadline misses it behind others, whether by priority or by
/// deadline alone; and the pool does not idle for it.
#[test]
fn no_job_with_a_feasible_deadline_misses_it_behind_others() {
    for seed in 1..=4 {
        println!("seed {seed}");
        let priority = if seed % 2 == 0 { 0 } else { 50 };
        let mut world = World::crowded(seed);
        let mut last: Option<JobId> = None;
        let mut all = Vec::new();
        let mut busy = 0;
        for round in 0..ROUNDS {
            if round % 10 == 0 {
                small(&mut world);
            }
            let over = last.is_none_or(|id| {
                world.committed.jobs.get(&id).is_some_and(|job| job.state.is_terminal())
            });
            if round > 120 && over && round % 60 == 0 {
                last = Some(large(&mut world, priority));
                all.extend(last);
            }
            world.run_steps(1);
            let live = world.state.attempts.values().filter(|attempt| attempt.state.is_live());
            let halves =
                live.map(|attempt| (attempt.share.cpu_milli / 500) as usize).sum::<usize>();
            assert!(halves <= HALVES, "more runs than the pool has");
            busy += halves;
        }
        assert!(all.len() >= 3, "only {} large jobs had their turn", all.len());
        for id in all.iter().take(all.len() - 1) {
            let job = &world.committed.jobs[id];
            let JobState::Succeeded { at } = job.state else {
                panic!("{id} is {:?}\n{}", job.state, world.history_of(*id).join("\n"));
            };
            let history = || world.history_of(*id).join("\n");
            assert!(at <= job.deadline, "{id} at {at}, due {}\n{}", job.deadline, history());
        }
        let used = busy as f64 / (HALVES as f64 * f64::from(ROUNDS));
        println!("{} large jobs, {:.0} % of the pool used", all.len(), used * 100.0);
        assert!(used > 0.6, "{:.0} % of the pool used: it idles for the large", used * 100.0);
    }
}
