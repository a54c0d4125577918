//! The gRPC services: each method converts, acts, and converts back.

mod access;
mod capacity;
mod cost;
mod jobs;
mod status;
mod system;
mod workers;

use axum::Router;
use spotwise_api::v1::access_server::AccessServer;
use spotwise_api::v1::capacity_server::CapacityServer;
use spotwise_api::v1::cost_server::CostServer;
use spotwise_api::v1::jobs_server::JobsServer;
use spotwise_api::v1::system_server::SystemServer;
use spotwise_api::v1::workers_server::WorkersServer;
use spotwise_control::core::Asker;
use spotwise_model::spec::MAX_DOCUMENT_BYTES;
use std::sync::Arc;
use tonic::service::Routes;
use tonic::{Request, Status};
use tonic_health::ServingStatus;

pub use status::status;

use crate::access::NOBODY;
use crate::service::{Service, ServiceError, Session};

/// The largest message that is decoded: it leaves room for a document slightly over the
/// limit, so that it gets an error that says so.
const MOST_BYTES: usize = 2 * MAX_DOCUMENT_BYTES;

/// The gRPC interface of the service.
#[derive(Clone)]
struct Rpc(Service);

impl Rpc {
    /// The service as the caller sees it.
    fn session<T>(&self, request: &Request<T>) -> Result<Session, Status> {
        let asker = request.extensions().get::<Arc<Asker>>().cloned();
        let nobody = || status(&ServiceError::Unauthenticated(NOBODY.to_owned()));
        Ok(self.0.session(asker.ok_or_else(nobody)?))
    }
}

/// The six services with reflection and health, as one router.
///
/// # Errors
/// The embedded descriptors do not decode: a defect of the build.
pub async fn routes(service: &Service) -> Result<Router, tonic_reflection::server::Error> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(spotwise_api::v1::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let rpc = Rpc(service.clone());
    let (health, health_server) = tonic_health::server::health_reporter();
    for name in ["Jobs", "Workers", "Cost", "Capacity", "System", "Access"] {
        let name = format!("spotwise.v1.{name}");
        health.set_service_status(name, ServingStatus::Serving).await;
    }
    let routes = Routes::new(JobsServer::new(rpc.clone()).max_decoding_message_size(MOST_BYTES))
        .add_service(WorkersServer::new(rpc.clone()).max_decoding_message_size(MOST_BYTES))
        .add_service(CostServer::new(rpc.clone()).max_decoding_message_size(MOST_BYTES))
        .add_service(CapacityServer::new(rpc.clone()).max_decoding_message_size(MOST_BYTES))
        .add_service(AccessServer::new(rpc.clone()).max_decoding_message_size(MOST_BYTES))
        .add_service(SystemServer::new(rpc).max_decoding_message_size(MOST_BYTES))
        .add_service(reflection)
        .add_service(health_server);
    Ok(routes.prepare().into_axum_router())
}
