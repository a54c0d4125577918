//! The pools, as the leader committed them last: one document in table `meta`.

use spotwise_model::PoolSet;

use super::StoreError;
use super::database::Transaction;
use super::document::{encode, parse};
use super::meta;

const KEY: &str = "pools";

/// Replaces them.
pub(super) async fn write(
    transaction: &mut Transaction,
    pools: &PoolSet,
) -> Result<(), StoreError> {
    meta::write(transaction, KEY, &encode("meta", pools)?).await
}

/// The pools of a store; none before the first was committed.
///
/// # Errors
/// The database does not answer, or the document is none.
pub(super) async fn read(transaction: &mut Transaction) -> Result<PoolSet, StoreError> {
    match meta::read(transaction, KEY).await? {
        None => Ok(PoolSet::default()),
        Some(text) => parse("meta", KEY, &text),
    }
}
