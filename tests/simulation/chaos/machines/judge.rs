//! The account's own view of what the scheduler did there.

use std::collections::{BTreeMap, BTreeSet};

use spotwise_model::id::ProviderId;
use spotwise_model::{Instance, InstanceId, InstanceState};
use spotwise_simulated_cloud::{Fault, MeterLine};

use super::super::account::{INSTALL, is_cloud};
use super::super::sim::Sim;
use super::super::time::{self, MINUTE, Ms, SECOND};

/// Longer than this no machine is without a reason, where somebody leads and the pool is
/// reached: the reaper's period and the consistency window together.
const ORPHAN_BOUND: Ms = 10 * MINUTE;

impl Sim {
    /// No machine of ours is without a reason for long.
    pub(super) fn check_reasons(&mut self) {
        let (now, led) = (self.now, self.is_led());
        let Some(account) = &mut self.account else { return };
        let tables = &self.store.tables;
        let reasons: BTreeMap<&ProviderId, bool> = tables
            .instances
            .values()
            .filter_map(|it| Some((it.provider.as_ref()?, !it.ends())))
            .collect();
        let asked: BTreeSet<&str> = tables
            .instances
            .values()
            .filter(|it| matches!(it.state, InstanceState::Requested { .. }))
            .filter_map(|it| it.token.as_deref())
            .collect();
        let mut worst = 0;
        for machine in account.cloud.machines() {
            let ours = machine.mark.as_ref().filter(|mark| mark.install == INSTALL);
            let Some(mark) = ours.filter(|_| machine.stopped.is_none()) else {
                account.unreasoned.remove(&machine.id);
                continue;
            };
            let wanted = reasons.get(&machine.id).copied().unwrap_or(false)
                || asked.contains(mark.token.as_str());
            // Nobody can end what nobody reaches, and what is told to end may be slow to.
            if wanted || !led {
                account.unreasoned.remove(&machine.id);
                continue;
            }
            let since = *account.unreasoned.entry(machine.id.clone()).or_insert(now);
            worst = worst.max(now - since);
        }
        self.tally.longest_unreasoned = self.tally.longest_unreasoned.max(worst);
    }

    /// What a machine costs by the account's meter, or by what commitments pay of it.
    fn owed(&self, line: &MeterLine, rows: &[&Instance]) -> i64 {
        let covered = rows.iter().find(|row| row.coverage.iter().any(|it| it.pays()));
        let Some(row) = covered else { return line.amount.micros() };
        // What a commitment pays is paid by the second, without a minimum.
        let account = self.account.as_ref();
        let stopped = account.and_then(|it| it.cloud.machine(&line.machine)?.stopped);
        let to = stopped.map_or(line.to, |stop| stop.at);
        let (from, to) = (line.from.as_second(), to.as_second());
        self.simulated_market.bill_with(&row.offer, &row.coverage, from, to)
    }

    /// The books against the account's own meter, and the account's own judgement.
    pub(crate) fn check_account(&mut self, booked: &mut BTreeMap<InstanceId, i64>) {
        let now = time::at(self.start, self.now);
        let Some(account) = &self.account else { return };
        let mut broken: Vec<String> = account
            .cloud
            .violations()
            .iter()
            .map(|violation| format!("the account complains: {violation:?}"))
            .collect();
        let mut by_name: BTreeMap<&ProviderId, Vec<&Instance>> = BTreeMap::new();
        for instance in self.store.tables.instances.values().filter(|it| is_cloud(&it.offer)) {
            match &instance.provider {
                Some(name) => by_name.entry(name).or_default().push(instance),
                None if booked.get(&instance.id).is_some_and(|sum| *sum != 0) => {
                    broken.push(format!("{} never was, and is booked", instance.id));
                }
                None => drop(booked.remove(&instance.id)),
            }
        }
        let (mut charged, mut over, mut under) = (0, 0, 0);
        for line in account.cloud.meter(now) {
            if line.mark.as_ref().is_none_or(|mark| mark.install != INSTALL) {
                continue;
            }
            if line.ended_by.is_none() {
                broken.push(format!("{} runs for ever", line.machine));
            }
            let rows = by_name.remove(&line.machine).unwrap_or_default();
            let paid: i64 = rows.iter().filter_map(|row| booked.remove(&row.id)).sum();
            if account.half_known.contains(&line.machine) {
                continue;
            }
            let owed = self.owed(&line, &rows);
            charged += owed;
            over += (paid - owed).max(0);
            under += (owed - paid).max(0);
            if paid != owed {
                broken.push(format!(
                    "{} ({:?}): booked {paid}, metered {owed}",
                    line.machine,
                    rows.iter().map(|row| row.id).collect::<Vec<_>>()
                ));
            }
        }
        for (name, rows) in by_name {
            for row in rows {
                if booked.remove(&row.id).is_some_and(|sum| sum != 0) {
                    broken.push(format!("{name} is no machine, and is booked"));
                }
            }
        }
        if self.tally.longest_unreasoned > ORPHAN_BOUND {
            let seconds = self.tally.longest_unreasoned / SECOND;
            broken.push(format!("a machine was without a reason for {seconds} s"));
        }
        for fault in Fault::ALL {
            let times = account.cloud.fired(fault);
            for _ in 0..times.min(1) {
                self.fired.note(cloud_fault(fault));
            }
        }
        self.tally.charged += charged;
        self.tally.overcharged += over;
        self.tally.uncharged += under;
        for what in broken {
            self.fail(what);
        }
    }
}

/// A fault's name in the table of what has fired.
pub(crate) const fn cloud_fault(fault: Fault) -> &'static str {
    match fault {
        Fault::LaunchNeverArrived => "cloud_launch_never_arrived",
        Fault::LaunchAnswerLost => "cloud_launch_answer_lost",
        Fault::TerminateNeverArrived => "cloud_terminate_never_arrived",
        Fault::TerminateAnswerLost => "cloud_terminate_answer_lost",
        Fault::AnswerLate => "cloud_answer_late",
        Fault::ThrottleBurst => "cloud_throttle_burst",
        Fault::NoCapacity => "cloud_no_capacity",
        Fault::PartialCapacity => "cloud_partial_capacity",
        Fault::NeverRegisters => "cloud_never_registers",
        Fault::RegistersLate => "cloud_registers_late",
        Fault::SlowTerminate => "cloud_slow_terminate",
        Fault::NotFoundYet => "cloud_not_found_yet",
        Fault::PageError => "cloud_page_error",
        Fault::StaleListing => "cloud_stale_listing",
        Fault::PoolUnreachable => "cloud_pool_unreachable",
        Fault::CredentialsExpired => "cloud_credentials_expired",
        Fault::QuotaCut => "cloud_quota_cut",
        Fault::Interruption => "cloud_interruption",
        Fault::NoticeMissing => "cloud_notice_missing",
        Fault::NoticeTwice => "cloud_notice_twice",
        Fault::RebalanceOnly => "cloud_rebalance_only",
        Fault::Retirement => "cloud_retirement",
        Fault::ForeignMachine => "cloud_foreign_machine",
    }
}
