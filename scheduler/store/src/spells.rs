//! Tables `spells` and `watches`: what has been observed of the spot markets.

use spotwise_model::id::{Account, InstanceType, Zone};
use spotwise_model::{CapacityType, MarketKey};

use super::StoreError;
use super::database::{Insert, Row, Statement, Transaction, Value};
use spotwise_control::core::availability_history::{AvailabilityUpdate, Count, ObservationWindow};

const SPELLS: &str = "spells";
const WATCHES: &str = "watches";

/// A repeated round finds its own rows. The column `pool` holds the account: it has its
/// name, which is that of the only pool there was, from before there were accounts.
const NEW_COUNTS: Insert<'static> = Insert {
    table: SPELLS,
    columns: &["pool", "zone", "instance_type", "at_us", "machines"],
    on_conflict: "ON CONFLICT (pool, zone, instance_type, at_us) \
        DO UPDATE SET machines = excluded.machines",
};

const NEW_WATCHES: Insert<'static> = Insert {
    table: WATCHES,
    columns: &["from_us", "until_us"],
    on_conflict: "ON CONFLICT (from_us) DO UPDATE SET until_us = excluded.until_us",
};

/// Adds what is new and removes what is too old or void.
pub(super) async fn write(
    transaction: &mut Transaction,
    update: &AvailabilityUpdate,
) -> Result<(), StoreError> {
    if let Some(to) = update.rewound {
        // Rare, and at most what is remembered at all: in one go.
        let counts = Statement::new(SPELLS, "DELETE FROM spells WHERE at_us >= $1");
        transaction.execute(counts.bind(to)).await?;
        let watches = Statement::new(WATCHES, "DELETE FROM watches WHERE from_us >= $1");
        transaction.execute(watches.bind(to)).await?;
    }
    let watches = update.windows.iter().map(watch_columns).collect();
    NEW_WATCHES.run(transaction, watches).await?;
    let counts: Result<Vec<_>, _> = update.counts.iter().map(columns).collect();
    NEW_COUNTS.run(transaction, counts?).await?;
    for (market, before) in &update.forgotten {
        let statement = Statement::new(
            SPELLS,
            "DELETE FROM spells
             WHERE pool = $1 AND zone = $2 AND instance_type = $3 AND at_us < $4",
        );
        let statement = statement
            .bind(market.account.as_str())
            .bind(market.zone.as_str())
            .bind(market.instance_type.as_str())
            .bind(*before);
        transaction.execute(statement).await?;
    }
    if let Some(before) = update.windows_from {
        let statement = Statement::new(WATCHES, "DELETE FROM watches WHERE from_us < $1");
        transaction.execute(statement.bind(before)).await?;
    }
    Ok(())
}

pub(super) fn columns(count: &Count) -> Result<Vec<Value>, StoreError> {
    let Count { market, at, machines } = count;
    if market.capacity_type != CapacityType::Spot {
        return Err(StoreError::Invalid {
            what: format!("a count of {market}, which is not spot"),
        });
    }
    Ok(vec![
        market.account.as_str().into(),
        market.zone.as_str().into(),
        market.instance_type.as_str().into(),
        (*at).into(),
        (*machines).into(),
    ])
}

pub(super) fn watch_columns(watch: &ObservationWindow) -> Vec<Value> {
    vec![watch.from.into(), watch.until.into()]
}

/// The count of a row with all columns.
pub(super) fn read_count(row: &Row) -> Result<Count, StoreError> {
    let machines = row.int("machines")?;
    let (zone, name) = (Zone::new(row.text("zone")?), row.text("instance_type")?);
    let market = MarketKey::recorded(zone, InstanceType::new(name), CapacityType::Spot);
    Ok(Count {
        market: MarketKey { account: Account::new(row.text("pool")?), ..market },
        at: row.time("at_us")?,
        machines: u32::try_from(machines).map_err(|e| row.bad("machines", e))?,
    })
}

/// The watch of a row with both columns.
pub(super) fn read_watch(row: &Row) -> Result<ObservationWindow, StoreError> {
    Ok(ObservationWindow { from: row.time("from_us")?, until: row.time("until_us")? })
}

/// Rows of all counts.
pub(super) async fn counts(transaction: &mut Transaction) -> Result<Vec<Row>, StoreError> {
    let sql = "SELECT pool, zone, instance_type, at_us, machines FROM spells
               ORDER BY pool, zone, instance_type, at_us";
    transaction.fetch(Statement::new(SPELLS, sql)).await
}

/// Rows of all watches.
pub(super) async fn watches(transaction: &mut Transaction) -> Result<Vec<Row>, StoreError> {
    let sql = "SELECT from_us, until_us FROM watches ORDER BY from_us";
    transaction.fetch(Statement::new(WATCHES, sql)).await
}
