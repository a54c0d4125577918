//! Table `instances`.

use std::collections::BTreeMap;

use spotwise_model::{Instance, InstanceId, InstanceState};

use super::StoreError;
use super::database::{Insert, Row, Statement, Transaction, Value};
use super::document::{FORMAT, decode, encode};

const TABLE: &str = "instances";

const INSTANCES: Insert<'static> = Insert {
    table: TABLE,
    columns: &["id", "state", "settled", "format", "document"],
    on_conflict: "ON CONFLICT (id) DO UPDATE SET state = excluded.state, \
        settled = excluded.settled, format = excluded.format, document = excluded.document",
};

/// Adds or overwrites the instances.
pub(super) async fn write(
    transaction: &mut Transaction,
    instances: &BTreeMap<InstanceId, &Instance>,
) -> Result<(), StoreError> {
    let rows: Result<Vec<_>, _> = instances.values().map(|instance| columns(instance)).collect();
    INSTANCES.run(transaction, rows?).await
}

pub(super) fn columns(instance: &Instance) -> Result<Vec<Value>, StoreError> {
    let (state, settled) = match instance.state {
        // Two names of before stay, so that no row changes for nothing.
        InstanceState::Registered { .. } => ("live", false),
        InstanceState::Gone { settled, .. } => ("ended", settled),
        other => (other.name(), false),
    };
    Ok(vec![
        instance.id.0.into(),
        state.into(),
        settled.into(),
        FORMAT.into(),
        encode(TABLE, instance)?.into(),
    ])
}

/// The instance of a row with `id`, `format` and `document`.
pub(super) fn read(row: &Row) -> Result<Instance, StoreError> {
    decode(row, InstanceId(row.unsigned("id")?))
}

/// Rows of every instance that is not settled.
pub(super) async fn unsettled(transaction: &mut Transaction) -> Result<Vec<Row>, StoreError> {
    let statement = Statement::new(
        TABLE,
        "SELECT id, format, document FROM instances WHERE settled = 0 ORDER BY id",
    );
    transaction.fetch(statement).await
}

/// Rows of the newest instances that are settled: those above `id`.
pub(super) async fn settled_above(
    transaction: &mut Transaction,
    id: u64,
) -> Result<Vec<Row>, StoreError> {
    let sql =
        "SELECT id, format, document FROM instances WHERE settled = 1 AND id > $1 ORDER BY id";
    transaction.fetch(Statement::new(TABLE, sql).bind(id)).await
}
