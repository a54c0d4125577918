//! The contract: wire types generated from `proto/`, their conversions to and
//! from the model, and the typed client.
//!
//! One set of types serves gRPC, REST, OpenAPI and `--output json`. This crate
//! must never hold a handler, know the solver or the store.

pub mod client;
pub mod convert;
pub mod spool;
pub mod trust;

/// Generated from `proto/spotwise/v1`.
#[allow(missing_docs, clippy::all, unreachable_pub)]
pub mod v1 {
    tonic::include_proto!("spotwise.v1");

    /// The encoded descriptors, for gRPC reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}
