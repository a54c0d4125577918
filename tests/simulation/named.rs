//! Tests of the catalogue of faults, each in worlds that have that fault and few
//! others. Every one has to have fired.

use crate::chaos::faults::Kind;
use crate::chaos::runner::judge;
use crate::chaos::scenario::Scenario;

const DAYS: u64 = 12;

/// Worlds with exactly these kinds, until each has fired and at least three are
/// done.
fn worlds(base: u64, nodes: usize, kinds: &[Kind]) -> crate::chaos::faults::FaultCounters {
    let mut all = crate::chaos::faults::FaultCounters::default();
    for seed in base..base + 48 {
        let scenario = Scenario {
            seed,
            days: DAYS,
            submissions: 20,
            kinds: kinds.iter().copied().collect(),
            nodes,
        };
        let (broken, fired, _) = judge(&scenario);
        assert_eq!(broken, None, "seed {seed}: {}", crate::chaos::runner::replay(&scenario));
        all.add(&fired);
        if seed >= base + 2 && kinds.iter().all(|kind| all.of(kind.name()) > 0) {
            return all;
        }
    }
    let silent: Vec<_> = kinds.iter().filter(|kind| all.of(kind.name()) == 0).collect();
    panic!("never fired: {silent:?}");
}

#[test]
fn submit_reply_lost() {
    let fired = worlds(100, 2, &[Kind::ReplyLost, Kind::RequestLost, Kind::CommitAnswerLost]);
    assert!(fired.of("submission_replayed") > 0);
}

#[test]
fn submit_same_key_race_in_one_round() {
    let fired = worlds(200, 2, &[Kind::SameKeyBurst, Kind::ReplyLost]);
    assert!(fired.of("submission_replayed") >= 63);
}

#[test]
fn submit_key_other_body() {
    worlds(300, 1, &[Kind::KeyReused]);
}

#[test]
fn crash_each_step() {
    const CRASHES: [Kind; 6] = [
        Kind::CrashIdle,
        Kind::CrashBeforeCommit,
        Kind::CrashBeforeAnswers,
        Kind::CrashBeforeEffects,
        Kind::CrashMidEffects,
        Kind::Restart,
    ];
    worlds(400, 1, &CRASHES);
    worlds(420, 2, &CRASHES);
}

#[test]
fn fail_each_step() {
    worlds(
        500,
        1,
        &[
            Kind::ErrorBeforeEffect,
            Kind::PartialGang,
            Kind::CommitError,
            Kind::CommitAnswerLost,
            Kind::StoreOutage,
        ],
    );
}

#[test]
fn launch_execute_and_timeout() {
    worlds(600, 2, &[Kind::ExecuteAndTimeout, Kind::CrashMidEffects]);
}

#[test]
fn launch_500_not_done() {
    worlds(700, 1, &[Kind::ErrorBeforeEffect]);
}

#[test]
fn launch_list_lag() {
    worlds(800, 1, &[Kind::ListLag, Kind::ProcessDeath]);
}

#[test]
fn runtask_partial_failures() {
    worlds(900, 1, &[Kind::PartialGang]);
}

#[test]
fn reaper_orphan() {
    let fired = worlds(1_000, 1, &[Kind::StrayOurs, Kind::CommandOutlives, Kind::StrayForeign]);
    assert!(fired.of("reaped") > 0);
}

#[test]
fn leader_flap() {
    let fired = worlds(
        1_100,
        2,
        &[
            Kind::RenewalDelayed,
            Kind::PauseIdle,
            Kind::PauseBeforeCommit,
            Kind::PauseBeforeEffects,
            Kind::StoreOutage,
        ],
    );
    assert!(fired.of("old_epoch_refused") > 0, "no old leader ever tried to write");
}

#[test]
fn worker_late_result() {
    let kinds = [Kind::LateReport, Kind::Partition, Kind::PartitionOneWay];
    let fired = worlds(1_200, 1, &kinds);
    assert!(fired.of("worker_stopped_itself") > 0, "no worker ever lost its lease");
}

#[test]
fn notice_never_late_twice_withdrawn_wrong_instance() {
    worlds(
        1_300,
        1,
        &[
            Kind::NoticeNever,
            Kind::NoticeLate,
            Kind::NoticeTwice,
            Kind::NoticeWithdrawn,
            Kind::WrongInstance,
        ],
    );
}

#[test]
fn throttle_storm() {
    worlds(1_400, 1, &[Kind::Throttled, Kind::SlowKill]);
}

#[test]
fn ice_all_pools() {
    worlds(1_500, 1, &[Kind::IceAllPools, Kind::NoCapacity]);
}

#[test]
fn spot_mass_reclaim() {
    worlds(1_600, 1, &[Kind::MassReclaim]);
}

#[test]
fn budget_drain_run() {
    let fired = worlds(1_700, 1, &[Kind::PriceJump]);
    assert!(fired.of("job_held") > 0, "no budget was ever used up");
}

#[test]
fn duplicate_stop_event() {
    worlds(1_800, 2, &[Kind::NoticeTwice, Kind::ReplyLost, Kind::RequestLost, Kind::LateReport]);
}

#[test]
fn cancel_during_recovery() {
    let fired = worlds(
        1_900,
        2,
        &[
            Kind::Cancel,
            Kind::ProcessDeath,
            Kind::NoticeNever,
            Kind::CrashBeforeAnswers,
            Kind::ExecuteAndTimeout,
        ],
    );
    assert!(fired.of("job_cancelled") > 0);
}

#[test]
fn poison_crashloop() {
    let fired = worlds(2_000, 1, &[Kind::ProcessDeath]);
    assert!(fired.of("job_failed") > 0);
}

/// `KILL_MARGIN` of the worker: at zero, commands still run when their machine goes.
#[test]
fn notice_shorter_than_the_grace_kills_before_the_reclaim() {
    // One world has a few of them at most.
    let mut fired = worlds(2_100, 1, &[Kind::ShortNotice, Kind::MassReclaim]);
    for base in [2_110, 2_120, 2_130] {
        fired.add(&worlds(base, 1, &[Kind::ShortNotice, Kind::MassReclaim]));
    }
    assert!(fired.of(Kind::ShortNotice.name()) >= 5, "hardly any command was killed");
}

/// `LEASE_GRACE` of the worker: a worker that ignores its lease still runs its command
/// when a replacement may start.
#[test]
fn silent_worker_ends_before_a_replacement_may_start() {
    let kinds = [Kind::Partition, Kind::PartitionOneWay, Kind::MassReclaim];
    let fired = worlds(2_200, 1, &kinds);
    assert!(fired.of("worker_stopped_itself") > 0, "no worker ever lost its lease");
}
