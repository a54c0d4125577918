//! Who leads, for how long, and which round was committed last.
//!
//! Leadership is a row: holder, epoch, end. Anyone who finds that the end has passed may
//! take it, with the next epoch; only the database's own clock counts. Every commit proves
//! in its own transaction that its epoch is still the newest, so that a leader that slept
//! past the end of its lease cannot write.

use std::time::Duration;

use jiff::Timestamp;

use super::database::{Database, Kind, Row, Statement, Transaction};
use super::{Epoch, StoreError};

const TABLE: &str = "leader";

/// Who wants to lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name, for people.
    pub holder: String,
    /// Its address, such as `http://10.0.0.7:7717`.
    pub address: String,
}

/// The result of a bid for the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Campaign {
    /// The candidate leads, for the term it asked for.
    Won(Epoch),
    /// Another candidate still leads.
    Lost(Candidate),
}

/// How the store sees a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Not seen yet: its rows may be written.
    Next,
    /// Already written: the answer to an earlier commit was lost.
    Repeated,
}

/// Begins a new epoch, whoever led before: that leader is refused from now on. The lease
/// has already ended, so that any candidate may follow.
pub(super) async fn lead(
    database: &Database,
    holder: &str,
    wall: Timestamp,
) -> Result<Epoch, StoreError> {
    let mut transaction = database.write().await?;
    let statement = Statement::new(
        TABLE,
        "INSERT INTO leader (id, epoch, holder, since_us, round, round_epoch, expires_us)
         VALUES (1, 1, $1, $2, 0, 0, 0)
         ON CONFLICT (id) DO UPDATE SET epoch = leader.epoch + 1, holder = excluded.holder,
             since_us = excluded.since_us, expires_us = 0, address = ''",
    );
    transaction.execute(statement.bind(holder).bind(wall)).await?;
    let epoch = read_record(&mut transaction).await?.map_or(0, |record| record.epoch.0);
    transaction.commit().await?;
    Ok(Epoch(epoch))
}

/// Takes the lease for `term`, if nobody holds it. An open SQLite file is locked, so no
/// other leader can be alive.
pub(super) async fn campaign(
    database: &Database,
    candidate: &Candidate,
    term: Duration,
) -> Result<Campaign, StoreError> {
    let kind = database.kind();
    let mut transaction = database.write().await?;
    let mut bid = Statement::new(
        TABLE,
        "INSERT INTO leader
             (id, epoch, holder, address, round, round_epoch, since_us, expires_us)
         VALUES (1, 1, ",
    );
    bid.push_value(candidate.holder.as_str()).push(", ").push_value(candidate.address.as_str());
    bid.push(", 0, 0, ").push(clock(kind)).push(", ");
    until(&mut bid, kind, term);
    bid.push(
        ") ON CONFLICT (id) DO UPDATE SET epoch = leader.epoch + 1, holder = excluded.holder,
            address = excluded.address, since_us = excluded.since_us,
            expires_us = excluded.expires_us",
    );
    if kind == Kind::Postgres {
        bid.push(" WHERE leader.expires_us <= excluded.since_us");
    }
    let won = transaction.execute(bid).await? == 1;
    let record = read_record(&mut transaction).await?;
    transaction.commit().await?;
    Ok(match record {
        Some(record) if won => Campaign::Won(record.epoch),
        Some(record) => Campaign::Lost(record.incumbent),
        None => Campaign::Lost(Candidate { holder: String::new(), address: String::new() }),
    })
}

/// Extends the leadership by another `term` from now.
pub(super) async fn renew(
    database: &Database,
    epoch: Epoch,
    term: Duration,
) -> Result<(), StoreError> {
    let mut statement = Statement::new(TABLE, "UPDATE leader SET expires_us = ");
    until(&mut statement, database.kind(), term);
    statement.push(" WHERE id = 1 AND epoch = ").push_value(epoch.0);
    let mut transaction = database.write().await?;
    if transaction.execute(statement).await? == 0 {
        return Err(StoreError::NotLeader { epoch });
    }
    transaction.commit().await
}

/// Gives up the lease, so that the next candidate need not wait for its end.
pub(super) async fn resign(database: &Database, epoch: Epoch) -> Result<(), StoreError> {
    let statement =
        Statement::new(TABLE, "UPDATE leader SET expires_us = 0 WHERE id = 1 AND epoch = $1");
    let mut transaction = database.write().await?;
    transaction.execute(statement.bind(epoch.0)).await?;
    transaction.commit().await
}

/// The database's clock, in microseconds since 1970. One of the few things that differ
/// between the two databases.
const fn clock(kind: Kind) -> &'static str {
    match kind {
        Kind::Sqlite => "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
        Kind::Postgres => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
    }
}

fn until(statement: &mut Statement, kind: Kind, term: Duration) {
    let micros = i64::try_from(term.as_micros()).unwrap_or(i64::MAX / 2);
    statement.push(clock(kind)).push(" + ").push_value(micros);
}

/// Takes the round's number, if the epoch still leads. First in its transaction, so that
/// commits of two leaders wait for each other here.
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
    let Some(record) = read_record(transaction).await? else {
        return Err(StoreError::NotLeader { epoch });
    };
    record.turn(epoch, round)
}

/// The last round committed, by any leader; 0 before the first.
pub(super) async fn last_round(transaction: &mut Transaction) -> Result<u64, StoreError> {
    Ok(read_record(transaction).await?.map_or(0, |record| record.round))
}

/// The one row: who leads, and what was committed last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderRecord {
    /// The newest leadership.
    pub epoch: Epoch,
    /// The last round committed.
    pub round: u64,
    /// By which leadership.
    pub round_epoch: Epoch,
    /// Who leads.
    pub incumbent: Candidate,
}

impl LeaderRecord {
    /// What a round of this epoch and number is: the rule of every commit.
    ///
    /// # Errors
    /// [`StoreError::NotLeader`] for any epoch but the newest, and [`StoreError::OldRound`]
    /// for a number that has been passed.
    pub const fn turn(&self, epoch: Epoch, round: u64) -> Result<Turn, StoreError> {
        if self.epoch.0 != epoch.0 {
            Err(StoreError::NotLeader { epoch })
        } else if round > self.round {
            Ok(Turn::Next)
        } else if round == self.round && self.round_epoch.0 == epoch.0 {
            Ok(Turn::Repeated)
        } else {
            Err(StoreError::OldRound { round, last: self.round })
        }
    }
}

/// `None` before the first leader.
async fn read_record(transaction: &mut Transaction) -> Result<Option<LeaderRecord>, StoreError> {
    let statement =
        Statement::new(TABLE, "SELECT id, epoch, round, round_epoch, holder, address FROM leader");
    let rows = transaction.fetch(statement).await?;
    let read = |row: &Row| {
        Ok(LeaderRecord {
            epoch: Epoch(row.unsigned("epoch")?),
            round: row.unsigned("round")?,
            round_epoch: Epoch(row.unsigned("round_epoch")?),
            incumbent: Candidate { holder: row.text("holder")?, address: row.text("address")? },
        })
    };
    rows.first().map(read).transpose()
}
