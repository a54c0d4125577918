//! The faults that a world may have, and how often each has fired.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        /// A kind of fault. A world has some of them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Kind { $($(#[$doc])* $name,)* }

        impl Kind {
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name in tables and in `FAULTS=…`.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

kinds! {
    /// A launch is carried out, and its answer lost.
    ExecuteAndTimeout => "execute_and_timeout",
    /// A launch is not carried out, and its answer lost.
    ErrorBeforeEffect => "error_before_effect",
    /// A launch is refused for too many calls, for half an hour.
    Throttled => "throttled",
    /// A launch is refused for want of capacity, for hours.
    NoCapacity => "no_capacity",
    /// One node of a gang is launched, another refused.
    PartialGang => "partial_gang",
    /// The pool's list does not show what has happened for up to 300 s.
    ListLag => "list_lag",
    /// A kill takes minutes to be carried out.
    SlowKill => "slow_kill",
    /// Four fifths of the spot market are gone within ten seconds.
    MassReclaim => "mass_reclaim",
    /// Spot capacity is nowhere for hours.
    IceAllPools => "ice_all_pools",
    /// A spot price doubles, or halves.
    PriceJump => "price_jump",
    /// A machine's workers die without a notice.
    NoticeNever => "notice_never",
    /// The machine goes a second after its notice.
    NoticeLate => "notice_late",
    /// Capacity goes a second time while a machine is on notice.
    NoticeTwice => "notice_twice",
    /// Capacity comes back while a machine is on notice.
    NoticeWithdrawn => "notice_withdrawn",
    /// Another machine of the zone goes than the one that was noticed.
    WrongInstance => "notice_wrong_instance",
    /// A worker and its command die.
    ProcessDeath => "process_death",
    /// A worker dies, its command runs on.
    CommandOutlives => "command_outlives_worker",
    /// A process of ours that nobody asked for.
    StrayOurs => "stray_ours",
    /// A process of another installation, by a name that we use too.
    StrayForeign => "stray_foreign",
    /// A single message is lost.
    RequestLost => "request_lost",
    /// A single answer is lost.
    ReplyLost => "reply_lost",
    /// A worker hears nothing and is not heard.
    Partition => "partition",
    /// A worker is heard and hears nothing.
    PartitionOneWay => "partition_one_way",
    /// A worker's report comes minutes late.
    LateReport => "late_report",
    /// A commit fails.
    CommitError => "commit_error",
    /// A commit is carried out, and its answer lost.
    CommitAnswerLost => "commit_answer_lost",
    /// The store is away for minutes.
    StoreOutage => "store_outage",
    /// The scheduler dies between rounds.
    CrashIdle => "crash_idle",
    /// … after it has decided, before it commits.
    CrashBeforeCommit => "crash_before_commit",
    /// … after the commit, before it answers.
    CrashBeforeAnswers => "crash_before_answers",
    /// … after it has answered, before it acts.
    CrashBeforeEffects => "crash_before_effects",
    /// … when it has carried out half of what follows a commit.
    CrashMidEffects => "crash_mid_effects",
    /// The leader stops for longer than its lease, between rounds.
    PauseIdle => "pause_idle",
    /// … after it has decided, before it commits.
    PauseBeforeCommit => "pause_before_commit",
    /// … after the commit, before it acts.
    PauseBeforeEffects => "pause_before_effects",
    /// Renewals of the lease are late by up to two terms.
    RenewalDelayed => "renewal_delayed",
    /// An operator restarts the scheduler.
    Restart => "restart",
    /// A client goes on with another's key and another document.
    KeyReused => "key_reused",
    /// 64 clients at once with one key.
    SameKeyBurst => "same_key_burst",
    /// A job is cancelled.
    Cancel => "cancel",
    /// The store goes away shortly before a budget ends.
    AwayAtTheEnd => "away_when_money_ends",
    /// The store is lost, and what it was hours ago comes back.
    OldBackup => "restore_old_backup",
    /// The terms of a job are changed: its budget, deadline or priority.
    Edit => "edit",
    /// Notices come only seconds before the machine goes: most grace periods are longer.
    ShortNotice => "short_notice",
    /// The price feed does not answer, for hours.
    FeedSilent => "price_feed_silent",
    /// The price feed tells prices that no machine can have, and some that are yet to come.
    FeedAbsurd => "price_feed_absurd",
    /// The price feed tells the last price first, and again what it told a day ago.
    FeedDisordered => "price_feed_out_of_order",
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The kinds that a world has.
pub(crate) type Kinds = BTreeSet<Kind>;

/// How often what has happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct FaultCounters(pub(crate) BTreeMap<&'static str, u64>);

impl FaultCounters {
    pub(crate) fn note(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, times) in &other.0 {
            *self.0.entry(what).or_default() += times;
        }
    }

    pub(crate) fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }
}
