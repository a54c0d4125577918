//! Who leads, and which round was committed last.

use std::fmt;

use jiff::Timestamp;

use super::StoreError;
use super::database::{Database, Row, Statement, Transaction};

const TABLE: &str = "leader";

/// The number of a leadership, from 1. It only grows, and every commit proves
/// that its own is still the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a round is to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Not seen yet: its rows may be written.
    Next,
    /// Written already: the answer to an earlier commit was lost.
    Repeated,
}

/// Begins a new epoch: whoever led before is refused from now on.
pub(super) async fn lead(
    database: &Database,
    holder: &str,
    wall: Timestamp,
) -> Result<Epoch, StoreError> {
    let mut transaction = database.write().await?;
    let statement = Statement::new(
        TABLE,
        "INSERT INTO leader (id, epoch, holder, since_us, round, round_epoch)
         VALUES (1, 1, $1, $2, 0, 0)
         ON CONFLICT (id) DO UPDATE SET epoch = leader.epoch + 1,
             holder = excluded.holder, since_us = excluded.since_us",
    );
    transaction.execute(statement.bind(holder).bind(wall)).await?;
    let epoch = standing(&mut transaction).await?.map_or(0, |standing| standing.epoch);
    transaction.commit().await?;
    Ok(Epoch(epoch))
}

/// Takes the round's number, where the epoch still leads. First in its
/// transaction, so that two leaders' commits wait for each other here.
pub(super) async fn take_turn(
    transaction: &mut Transaction,
    epoch: Epoch,
    round: u64,
) -> Result<Turn, StoreError> {
    let statement = Statement::new(
        TABLE,
        "UPDATE leader SET round = $1, round_epoch = $2
         WHERE id = 1 AND epoch = $2 AND round < $1",
    );
    if transaction.execute(statement.bind(round).bind(epoch.0)).await? == 1 {
        return Ok(Turn::Next);
    }
    let Some(standing) = standing(transaction).await? else {
        return Err(StoreError::NotLeader { epoch });
    };
    if standing.epoch != epoch.0 {
        Err(StoreError::NotLeader { epoch })
    } else if (standing.round, standing.round_epoch) == (round, epoch.0) {
        Ok(Turn::Repeated)
    } else {
        Err(StoreError::OldRound { round, last: standing.round })
    }
}

/// The last round that was committed, by whomever; 0 before the first.
pub(super) async fn last_round(transaction: &mut Transaction) -> Result<u64, StoreError> {
    Ok(standing(transaction).await?.map_or(0, |standing| standing.round))
}

/// The one row.
struct Standing {
    epoch: u64,
    round: u64,
    round_epoch: u64,
}

/// None before the first leader.
async fn standing(transaction: &mut Transaction) -> Result<Option<Standing>, StoreError> {
    let statement = Statement::new(TABLE, "SELECT id, epoch, round, round_epoch FROM leader");
    let rows = transaction.fetch(statement).await?;
    let read = |row: &Row| {
        Ok(Standing {
            epoch: row.unsigned("epoch")?,
            round: row.unsigned("round")?,
            round_epoch: row.unsigned("round_epoch")?,
        })
    };
    rows.first().map(read).transpose()
}
