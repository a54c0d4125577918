use std::pin::Pin;

use futures::{Stream, TryStreamExt};
use spotwise_api::v1;
use spotwise_api::v1::jobs_server::Jobs;
use tonic::{Request, Response, Status};

use super::{Rpc, status};
use crate::service::ServiceError;

type RpcResult<T> = Result<Response<T>, Status>;
type RpcStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn answers<T: 'static>(
    stream: impl Stream<Item = Result<T, ServiceError>> + Send + 'static,
) -> RpcStream<T> {
    Box::pin(stream.map_err(|error| status(&error)))
}

#[tonic::async_trait]
impl Jobs for Rpc {
    async fn submit(&self, request: Request<v1::SubmitRequest>) -> RpcResult<v1::SubmitResponse> {
        self.session(&request)?
            .submit(request.into_inner())
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }

    async fn quote(&self, request: Request<v1::QuoteRequest>) -> RpcResult<v1::QuoteResponse> {
        self.session(&request)?
            .quote(request.into_inner())
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }

    async fn get(&self, request: Request<v1::GetJobRequest>) -> RpcResult<v1::JobDetail> {
        self.session(&request)?
            .get(request.into_inner())
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }

    async fn list(&self, request: Request<v1::ListJobsRequest>) -> RpcResult<v1::ListJobsResponse> {
        self.session(&request)?
            .list(request.into_inner())
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }

    type WatchStream = RpcStream<v1::Event>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> RpcResult<Self::WatchStream> {
        let watcher =
            self.session(&request)?.watch(request.into_inner()).await.map_err(|e| status(&e))?;
        Ok(Response::new(answers(watcher.into_stream())))
    }

    type LogsStream = RpcStream<v1::LogChunk>;

    async fn logs(&self, request: Request<v1::LogsRequest>) -> RpcResult<Self::LogsStream> {
        let reader =
            self.session(&request)?.logs(request.into_inner()).await.map_err(|e| status(&e))?;
        Ok(Response::new(answers(reader.into_stream())))
    }

    async fn cancel(&self, request: Request<v1::CancelRequest>) -> RpcResult<v1::CancelResponse> {
        self.session(&request)?
            .cancel(request.into_inner())
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }

    async fn edit(&self, request: Request<v1::EditRequest>) -> RpcResult<v1::EditResponse> {
        self.session(&request)?
            .edit(request.into_inner())
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }

    async fn resubmit(
        &self,
        request: Request<v1::ResubmitRequest>,
    ) -> RpcResult<v1::SubmitResponse> {
        self.session(&request)?
            .resubmit(request.into_inner())
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }

    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> RpcResult<v1::ExplainResponse> {
        self.session(&request)?
            .explain(request.into_inner())
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }
}
