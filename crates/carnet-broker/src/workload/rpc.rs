//! The Workload API on the wire: which call is which, and what every call must carry.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, FutureExt};
use prost::Message;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

use crate::workload::desk::Desk;

/// The header every call carries, so that a request smuggled through another protocol is none.
const MARK: &str = "workload.spiffe.io";
/// The longest message read.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

const FETCH_JWT_SVID: &str = "/SpiffeWorkloadAPI/FetchJWTSVID";
const FETCH_JWT_BUNDLES: &str = "/SpiffeWorkloadAPI/FetchJWTBundles";
const FETCH_X509_SVID: &str = "/SpiffeWorkloadAPI/FetchX509SVID";
const FETCH_X509_BUNDLES: &str = "/SpiffeWorkloadAPI/FetchX509Bundles";
const VALIDATE_JWT_SVID: &str = "/SpiffeWorkloadAPI/ValidateJWTSVID";

/// The calls of `workload.proto`, answered by a desk.
#[derive(Clone)]
pub(crate) struct WorkloadApi(pub(crate) Arc<Desk>);

impl NamedService for WorkloadApi {
    const NAME: &'static str = "SpiffeWorkloadAPI";
}

impl Service<http::Request<Body>> for WorkloadApi {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        answer(Arc::clone(&self.0), request).map(Ok).boxed()
    }
}

async fn answer(desk: Arc<Desk>, request: http::Request<Body>) -> http::Response<Body> {
    if !is_marked(&request) {
        let problem = "every call carries the metadata `workload.spiffe.io: true`";
        return Status::invalid_argument(problem).into_http();
    }
    match request.uri().path() {
        FETCH_JWT_SVID => {
            let call = service_fn(move |request: Request<_>| {
                let desk = Arc::clone(&desk);
                async move { desk.fetch_svids(request).await }
            });
            grpc().unary(call, request).await
        }
        FETCH_JWT_BUNDLES => {
            let call =
                service_fn(move |request: Request<_>| Arc::clone(&desk).fetch_bundles(request));
            grpc().server_streaming(call, request).await
        }
        FETCH_X509_SVID => {
            let call =
                service_fn(move |request: Request<_>| Arc::clone(&desk).fetch_x509_svids(request));
            grpc().server_streaming(call, request).await
        }
        FETCH_X509_BUNDLES => {
            let call = service_fn(move |request: Request<_>| {
                Arc::clone(&desk).fetch_x509_bundles(request)
            });
            grpc().server_streaming(call, request).await
        }
        VALIDATE_JWT_SVID => {
            let call = service_fn(move |request: Request<_>| {
                let desk = Arc::clone(&desk);
                async move { desk.validate(request).await }
            });
            grpc().unary(call, request).await
        }
        _ => {
            Status::unimplemented("this version issues JWT-SVIDs and X.509-SVIDs and nothing else")
                .into_http()
        }
    }
}

fn is_marked(request: &http::Request<Body>) -> bool {
    let mut marks = request.headers().get_all(MARK).iter();
    matches!((marks.next(), marks.next()), (Some(mark), None) if mark == "true")
}

fn grpc<Answer, Question>() -> Grpc<ProstCodec<Answer, Question>>
where
    Answer: Message + 'static,
    Question: Message + Default + 'static,
{
    Grpc::new(ProstCodec::default()).max_decoding_message_size(MESSAGE_BYTES_MAX)
}
