//! The suites, on either database.

use super::{postgres, sqlite, suite, suite_access, suite_reads};

macro_rules! on_both {
    ($($suite:ident { $($name:ident,)+ })+) => {
        mod on_sqlite {
            use super::*;
            $($(
                #[tokio::test]
                async fn $name() {
                    let (_folder, _, store) = sqlite::fresh().await;
                    $suite::$name(&store).await;
                }
            )+)+
        }
        mod on_postgres {
            use super::*;
            $($(
                #[tokio::test]
                async fn $name() {
                    let (_database, store) = postgres::fresh().await;
                    $suite::$name(&store).await;
                    store.close().await;
                }
            )+)+
        }
    };
}

on_both! {
    suite {
    loads_what_was_committed,
    reads_what_was_committed,
    an_empty_store_has_nothing,
    what_is_settled_stays_out_of_memory,
    what_our_machines_have_shown_is_known_again,
    the_last_value_of_a_round_counts,
    what_was_seen_is_kept_and_forgotten,
    what_was_heard_is_kept_and_forgotten,
    a_job_never_has_two_live_attempts,
    a_repeated_round_changes_nothing,
    a_round_number_of_an_earlier_leader_is_not_a_repeat,
    only_the_newest_leader_commits,
    nobody_commits_before_anybody_leads,
    a_doubled_charge_undoes_its_whole_round,
    what_no_phase_may_write_is_refused,
    a_commit_that_is_given_up_is_all_or_nothing,
    a_large_round_is_written_whole,
    arguments_are_counted,
    }
    suite_access {
        a_freeze_outlives_a_restart_and_its_end_does_too,
    tokens_are_known_again_as_they_are_now,
    the_audit_log_is_one_chain_and_an_altered_row_breaks_it,
    teams_see_their_own_jobs_only,
    }
    suite_reads {
    pages_join_without_gap_or_overlap,
    filters_narrow_together,
    texts_are_never_patterns_or_sql,
    a_group_is_what_was_submitted_together,
    events_are_read_on_from_a_number,
    neighbouring_periods_add_up,
    a_value_set_twice_is_the_second,
    poison_row,
    a_bad_row_is_named_where_it_is_asked_for,
    a_seat_has_a_column_and_older_rows_have_none,
    }
}
