//! Tables `prices` and `price_feed`: what machines cost, as it was heard.

use jiff::Timestamp;
use spotwise_control::core::prices::PriceUpdate;
use spotwise_market::{PriceKey, PriceRow};
use spotwise_model::id::{InstanceType, Zone};
use spotwise_model::{CapacityType, Price};

use super::StoreError;
use super::database::{Insert, Row, Statement, Transaction, Value};

const PRICES: &str = "prices";
const FEED: &str = "price_feed";

/// A repeated round finds its own rows.
const NEW_PRICES: Insert<'static> = Insert {
    table: PRICES,
    columns: &["zone", "instance_type", "capacity_type", "at_us", "micros_per_hour"],
    on_conflict: "ON CONFLICT (zone, instance_type, capacity_type, at_us) \
        DO UPDATE SET micros_per_hour = excluded.micros_per_hour",
};

const HEARD: Insert<'static> = Insert {
    table: FEED,
    columns: &["id", "until_us"],
    on_conflict: "ON CONFLICT (id) DO UPDATE SET until_us = excluded.until_us",
};

/// Adds what is new and removes what is too old or void.
pub(super) async fn write(
    transaction: &mut Transaction,
    update: &PriceUpdate,
) -> Result<(), StoreError> {
    if let Some(to) = update.rewound {
        let void = Statement::new(PRICES, "DELETE FROM prices WHERE at_us > $1");
        transaction.execute(void.bind(to)).await?;
    }
    let rows: Result<Vec<_>, _> = update.rows.iter().map(columns).collect();
    NEW_PRICES.run(transaction, rows?).await?;
    HEARD.run(transaction, vec![vec![1_u32.into(), update.until.into()]]).await?;
    for (key, before) in &update.forgotten {
        let statement = Statement::new(
            PRICES,
            "DELETE FROM prices
             WHERE zone = $1 AND instance_type = $2 AND capacity_type = $3 AND at_us < $4",
        );
        let statement = statement
            .bind(key.zone.as_str())
            .bind(key.instance_type.as_str())
            .bind(key.capacity_type.to_string())
            .bind(*before);
        transaction.execute(statement).await?;
    }
    Ok(())
}

pub(super) fn columns(row: &PriceRow) -> Result<Vec<Value>, StoreError> {
    let PriceRow { key, at, price } = row;
    if key.capacity_type == CapacityType::Reserved {
        let what = format!("a price of reserved {} in {}", key.instance_type, key.zone);
        return Err(StoreError::Invalid { what });
    }
    Ok(vec![
        key.zone.as_str().into(),
        key.instance_type.as_str().into(),
        key.capacity_type.to_string().into(),
        (*at).into(),
        price.micros_per_hour().into(),
    ])
}

/// The price of a row with all columns.
pub(super) fn read(row: &Row) -> Result<PriceRow, StoreError> {
    let capacity_type = match row.text("capacity_type")?.as_str() {
        "spot" => CapacityType::Spot,
        "on-demand" => CapacityType::OnDemand,
        other => return Err(row.bad("capacity_type", format!("`{other}` has no price"))),
    };
    let (zone, name) = (Zone::new(row.text("zone")?), row.text("instance_type")?);
    let key = PriceKey { zone, instance_type: InstanceType::new(name), capacity_type };
    let price = Price::from_micros_per_hour(row.int("micros_per_hour")?);
    Ok(PriceRow { key, at: row.time("at_us")?, price })
}

/// Rows of all prices.
pub(super) async fn rows(transaction: &mut Transaction) -> Result<Vec<Row>, StoreError> {
    let sql = "SELECT zone, instance_type, capacity_type, at_us, micros_per_hour FROM prices
               ORDER BY zone, instance_type, capacity_type, at_us";
    transaction.fetch(Statement::new(PRICES, sql)).await
}

/// To what time every price is known.
pub(super) async fn until(transaction: &mut Transaction) -> Result<Option<Timestamp>, StoreError> {
    let rows = transaction.fetch(Statement::new(FEED, "SELECT until_us FROM price_feed")).await?;
    rows.first().map(|row| row.time("until_us")).transpose()
}
