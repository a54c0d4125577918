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

/// The document that was committed last; `None` before the first.
pub(super) async fn stored(transaction: &mut Transaction) -> Result<Option<String>, StoreError> {
    meta::read(transaction, KEY).await
}

/// The pools of a document.
pub(super) fn read(document: &str) -> Result<PoolSet, StoreError> {
    parse("meta", KEY, document)
}
