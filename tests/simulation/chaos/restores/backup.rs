//! A copy of the store.

use std::collections::BTreeMap;

use spotwise_model::{InstanceId, Now};
use spotwise_store::LeaderRecord;

use super::super::cloud::Machine;
use super::super::store::Tables;

/// A copy of the store, and what the cloud had been told when it was made.
#[derive(Debug)]
pub(crate) struct Backup {
    pub(super) tables: Tables,
    pub(super) leader_record: LeaderRecord,
    pub(super) machines: BTreeMap<InstanceId, Machine>,
    pub(super) made: Now,
}
