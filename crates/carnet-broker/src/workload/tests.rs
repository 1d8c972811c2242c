//! The Workload API over a real socket, with our own client and an independent one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use carnet_core::{Digest, LockTarget, Selectors};
use carnet_identity::{KeySet, verify_svid};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::messages::{
    JwtBundlesRequest, JwtBundlesResponse, JwtSvidRequest, JwtSvidResponse, ValidateJwtSvidRequest,
    ValidateJwtSvidResponse, ValueKind,
};
use super::x509_messages::{X509SvidRequest, X509SvidResponse};
use super::{WorkloadError, WorkloadOptions, WorkloadSocket, serve};
use crate::keys::KeyPurpose;
use crate::oauth::fixture::{DOMAIN, House, ISSUER, agent, own_selectors};

const ID: &str = "spiffe://carnet.example/agent/desk-agent";

/// A served socket.
struct Bench {
    house: House,
    endpoint: String,
    client: Client,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), WorkloadError>>,
}

struct Client {
    grpc: Grpc<Channel>,
    mark: Option<&'static str>,
}

fn same_user() -> WorkloadOptions {
    WorkloadOptions { same_user: true, ..WorkloadOptions::default() }
}

impl Bench {
    async fn new(options: WorkloadOptions) -> Self {
        let house = House::empty(ISSUER).await;
        let socket = WorkloadSocket::bind(&house.dir().join("run/workload.sock")).await.unwrap();
        let (endpoint, stop) = (socket.endpoint(), CancellationToken::new());
        let serving = tokio::spawn(serve(Arc::clone(&house.broker), socket, options, stop.clone()));
        let client = Client::connect(&endpoint).await;
        Self { house, endpoint, client, stop, serving }
    }

    /// The same with `desk-agent` registered as any process of our own user.
    async fn with_agent(options: WorkloadOptions) -> Self {
        let bench = Self::new(options).await;
        bench.house.register("desk-agent", own_selectors(), None).await;
        bench
    }

    async fn svids(&mut self, id: &str) -> Result<JwtSvidResponse, Status> {
        self.svids_for(&[ISSUER], id).await
    }

    async fn svids_for(&mut self, audience: &[&str], id: &str) -> Result<JwtSvidResponse, Status> {
        let audience = audience.iter().map(|text| (*text).to_owned()).collect();
        let request = JwtSvidRequest { audience, spiffe_id: id.to_owned() };
        self.client.unary("FetchJWTSVID", request).await
    }
}

impl Client {
    async fn connect(endpoint: &str) -> Self {
        let path = endpoint.strip_prefix("unix://").unwrap().to_owned();
        let connect = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://localhost");
        let channel = endpoint.connect_with_connector(connect).await.unwrap();
        Self { grpc: Grpc::new(channel), mark: Some("true") }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(mark) = self.mark {
            let mark = MetadataValue::from_static(mark);
            request.metadata_mut().insert("workload.spiffe.io", mark);
        }
        request
    }

    async fn unary<Q, A>(&mut self, call: &str, question: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let request = self.request(question);
        self.grpc.ready().await.unwrap();
        let codec = ProstCodec::<Q, A>::default();
        self.grpc.unary(request, path(call), codec).await.map(tonic::Response::into_inner)
    }

    async fn bundles(&mut self) -> Result<Streaming<JwtBundlesResponse>, Status> {
        let request = self.request(JwtBundlesRequest {});
        self.grpc.ready().await.unwrap();
        let codec = ProstCodec::<JwtBundlesRequest, JwtBundlesResponse>::default();
        let answer = self.grpc.server_streaming(request, path("FetchJWTBundles"), codec).await;
        answer.map(tonic::Response::into_inner)
    }
}

/// The streams of the X.509 profile, followed.
mod x509 {
    use std::time::Duration;

    use carnet_identity::{X509Svid, verify_x509_svid};
    use futures::StreamExt as _;

    use super::*;

    impl Client {
        async fn x509_svids(&mut self) -> Result<Streaming<X509SvidResponse>, Status> {
            let request = self.request(X509SvidRequest {});
            self.grpc.ready().await.unwrap();
            let codec = ProstCodec::<X509SvidRequest, X509SvidResponse>::default();
            let answer = self.grpc.server_streaming(request, path("FetchX509SVID"), codec).await;
            answer.map(tonic::Response::into_inner)
        }
    }

    async fn next(stream: &mut Streaming<X509SvidResponse>) -> Result<X509SvidResponse, Status> {
        let next = tokio::time::timeout(Duration::from_secs(30), stream.message()).await;
        next.unwrap().map(|answer| answer.unwrap())
    }

    fn verified(bench: &Bench, answer: &X509SvidResponse) -> X509Svid {
        let broker = &bench.house.broker;
        let now = broker.now().wall;
        verify_x509_svid(&[&answer.svids[0].x509_svid], &broker.x509_bundles(), now).unwrap()
    }

    #[tokio::test]
    async fn an_agent_gets_a_certificate_for_an_hour_and_the_key_to_it() {
        let bench = Bench::with_agent(same_user()).await;
        let mut client = Client::connect(&bench.endpoint).await;
        let first = next(&mut client.x509_svids().await.unwrap()).await.unwrap();
        let [svid] = first.svids.as_slice() else { panic!("{} SVIDs", first.svids.len()) };
        assert_eq!((svid.spiffe_id.as_str(), svid.hint.as_str()), (ID, "desk-agent"));
        let told = verified(&bench, &first);
        assert_eq!(told.id.as_str(), ID);
        let left_s = told.expires.s() - bench.house.broker.now().wall.s();
        assert!((3590..=3600).contains(&left_s), "{left_s}");
        // Another stream is another running copy, with a key of its own.
        let second = next(&mut client.x509_svids().await.unwrap()).await.unwrap();
        assert_ne!(verified(&bench, &second).key, told.key);
        assert!(second.svids[0].x509_svid_key != svid.x509_svid_key);
    }

    #[tokio::test]
    async fn an_svid_is_followed_by_the_next_at_half_its_life_over_the_same_key() {
        let options = WorkloadOptions { x509_ttl_s: 4, ..same_user() };
        let mut bench = Bench::with_agent(options).await;
        let mut stream = bench.client.x509_svids().await.unwrap();
        let first = next(&mut stream).await.unwrap();
        let first = verified(&bench, &first);
        let second = next(&mut stream).await.unwrap();
        assert!(bench.house.broker.now().wall < first.expires, "the next comes before the end");
        let second = verified(&bench, &second);
        assert_ne!(first.certificate, second.certificate);
        assert_eq!(first.key, second.key, "a running copy stays who it is");
    }

    #[tokio::test]
    async fn an_authority_that_is_taken_away_is_replaced_in_what_agents_hold_at_once() {
        let mut bench = Bench::with_agent(same_user()).await;
        let mut stream = bench.client.x509_svids().await.unwrap();
        let first = verified(&bench, &next(&mut stream).await.unwrap());
        let broker = Arc::clone(&bench.house.broker);
        let kid = broker.x509_authority().unwrap().kid().to_owned();
        broker.remove_key(&kid, &"ana".parse().unwrap()).await.unwrap();
        let second = verified(&bench, &next(&mut stream).await.unwrap());
        assert_eq!(first.key, second.key);
        let (bundles, now) = (broker.x509_bundles(), broker.now().wall);
        assert!(second.is_good(&bundles, now) && !first.is_good(&bundles, now));
    }

    #[tokio::test]
    async fn a_locked_agent_loses_its_certificates_and_its_stream() {
        let mut bench = Bench::with_agent(same_user()).await;
        let mut stream = bench.client.x509_svids().await.unwrap();
        next(&mut stream).await.unwrap();
        bench.house.lock(LockTarget::Agent(agent("desk-agent"))).await;
        check_no_identity(next(&mut stream).await);
        check_no_identity(bench.client.x509_svids().await);
    }

    #[tokio::test]
    async fn an_agent_that_no_longer_matches_loses_its_stream_and_one_that_newly_does_is_added() {
        let mut bench = Bench::with_agent(same_user()).await;
        let mut stream = bench.client.x509_svids().await.unwrap();
        assert_eq!(next(&mut stream).await.unwrap().svids.len(), 1);
        bench.house.register("mail-agent", own_selectors(), None).await;
        assert_eq!(next(&mut stream).await.unwrap().svids.len(), 2);
        let elsewhere = Selectors { uid: own_selectors().uid + 1, ..own_selectors() };
        bench.house.register("mail-agent", elsewhere.clone(), None).await;
        assert_eq!(next(&mut stream).await.unwrap().svids.len(), 1);
        bench.house.register("desk-agent", elsewhere, None).await;
        check_no_identity(next(&mut stream).await);
    }

    #[tokio::test]
    async fn an_independent_client_follows_a_rotation() {
        let bench = Bench::with_agent(same_user()).await;
        let client = spiffe::WorkloadApiClient::connect_to(&bench.endpoint).await.unwrap();
        let domain = spiffe::TrustDomain::try_from(DOMAIN).unwrap();
        let mut contexts = client.stream_x509_contexts().await.unwrap();
        let context = contexts.next().await.unwrap().unwrap();
        let svid = context.default_svid().unwrap();
        assert_eq!(svid.spiffe_id().to_string(), ID);
        assert_eq!(context.bundle_set().get(&domain).unwrap().authorities().len(), 1);
        let broker = &bench.house.broker;
        broker.rotate_key(KeyPurpose::X509Svid, true, &"ana".parse().unwrap()).await.unwrap();
        let context = tokio::time::timeout(Duration::from_secs(30), contexts.next()).await;
        let context = context.unwrap().unwrap().unwrap();
        let again = context.default_svid().unwrap();
        assert_eq!(context.bundle_set().get(&domain).unwrap().authorities().len(), 2);
        assert_ne!(svid.cert_chain()[0].as_bytes(), again.cert_chain()[0].as_bytes());
        let bundles = client.fetch_x509_bundles().await.unwrap();
        assert_eq!(bundles.get(&domain).unwrap().authorities().len(), 2);
    }
}

fn path(call: &str) -> PathAndQuery {
    format!("/SpiffeWorkloadAPI/{call}").parse().unwrap()
}

fn check_refused<T>(answer: Result<T, Status>, code: Code, message: &str) {
    let status = answer.err().unwrap();
    assert_eq!((status.code(), status.message()), (code, message));
}

fn check_no_identity<T>(answer: Result<T, Status>) {
    check_refused(answer, Code::PermissionDenied, "no identity issued");
}

#[tokio::test]
async fn a_process_of_the_agents_user_gets_its_svid() {
    let mut bench = Bench::with_agent(same_user()).await;
    let answer = bench.svids("").await.unwrap();
    let [svid] = answer.svids.as_slice() else { panic!("{} SVIDs", answer.svids.len()) };
    assert_eq!((svid.spiffe_id.as_str(), svid.hint.as_str()), (ID, "desk-agent"));
    let broker = &bench.house.broker;
    let (keys, domain) = (broker.svid_keys(), DOMAIN.parse().unwrap());
    let now = broker.now().wall;
    let verified = verify_svid(&svid.svid, &keys, &domain, ISSUER, now).unwrap();
    assert_eq!(verified.id.as_str(), ID);
    assert!(verified.expires <= now.plus_s(300));
}

#[tokio::test]
async fn a_call_without_its_mark_is_refused() {
    let mut bench = Bench::with_agent(same_user()).await;
    let problem = "every call carries the metadata `workload.spiffe.io: true`";
    for mark in [None, Some("false"), Some("True"), Some("")] {
        bench.client.mark = mark;
        check_refused(bench.svids("").await, Code::InvalidArgument, problem);
        check_refused(bench.client.bundles().await, Code::InvalidArgument, problem);
    }
}

#[tokio::test]
async fn a_process_that_matches_no_agent_gets_nothing() {
    let mut bench = Bench::new(same_user()).await;
    check_no_identity(bench.svids("").await);
    check_no_identity(bench.client.bundles().await);
    let question = ValidateJwtSvidRequest { audience: ISSUER.into(), svid: "x".into() };
    let answer: Result<ValidateJwtSvidResponse, _> =
        bench.client.unary("ValidateJWTSVID", question).await;
    check_no_identity(answer);
}

#[tokio::test]
async fn every_selector_must_match() {
    let mut bench = Bench::new(same_user()).await;
    let own = own_selectors();
    let gid = rustix::process::getegid().as_raw();
    let program = std::fs::read_link("/proc/self/exe").unwrap();
    let digest = Digest::of(&std::fs::read(&program).unwrap());
    let program = program.to_str().unwrap().to_owned();
    let exactly = Selectors {
        gid: Some(gid),
        executable: Some(program.clone()),
        executable_digest: Some(digest),
        ..own.clone()
    };
    bench.house.register("desk-agent", exactly.clone(), None).await;
    assert_eq!(bench.svids("").await.unwrap().svids.len(), 1);
    for wrong in [
        Selectors { uid: own.uid + 1, ..exactly.clone() },
        Selectors { gid: Some(gid + 1), ..exactly.clone() },
        Selectors { executable: Some("/usr/bin/python3".into()), ..exactly.clone() },
        Selectors { executable: Some(format!("{program} (deleted)")), ..exactly.clone() },
        Selectors { executable: Some(String::new()), ..exactly.clone() },
        Selectors { executable_digest: Some(Digest::of(b"another")), ..exactly.clone() },
    ] {
        bench.house.register("desk-agent", wrong.clone(), None).await;
        assert!(bench.svids("").await.is_err(), "{wrong:?}");
    }
}

#[tokio::test]
async fn an_operator_and_carnet_itself_are_no_agent_unless_configured() {
    let mut bench = Bench::with_agent(WorkloadOptions::default()).await;
    check_no_identity(bench.svids("").await);
    let options = WorkloadOptions {
        operator_uids: BTreeSet::from([own_selectors().uid]),
        ..WorkloadOptions::default()
    };
    let mut bench = Bench::with_agent(options.clone()).await;
    check_no_identity(bench.svids("").await);
    check_no_identity(bench.client.bundles().await);
    let mut bench = Bench::with_agent(WorkloadOptions { same_user: true, ..options }).await;
    assert_eq!(bench.svids("").await.unwrap().svids.len(), 1);
}

#[tokio::test]
async fn a_workload_that_is_several_agents_gets_all_or_the_one_it_names() {
    let mut bench = Bench::with_agent(same_user()).await;
    bench.house.register("mail-agent", own_selectors(), None).await;
    let elsewhere = Selectors { uid: own_selectors().uid + 1, ..own_selectors() };
    bench.house.register("other-agent", elsewhere, None).await;
    let hints = |answer: JwtSvidResponse| -> Vec<String> {
        answer.svids.into_iter().map(|svid| svid.hint).collect()
    };
    assert_eq!(hints(bench.svids("").await.unwrap()), ["desk-agent", "mail-agent"]);
    assert_eq!(hints(bench.svids(ID).await.unwrap()), ["desk-agent"]);
    for id in ["spiffe://carnet.example/agent/other-agent", "spiffe://x/agent/desk-agent", "x"] {
        check_no_identity(bench.svids(id).await);
    }
}

#[tokio::test]
async fn an_svid_is_for_one_audience_and_only_the_issuer_unless_configured() {
    let mut bench = Bench::with_agent(same_user()).await;
    let one = "name exactly one audience";
    check_refused(bench.svids_for(&[], "").await, Code::InvalidArgument, one);
    check_refused(bench.svids_for(&[ISSUER, ISSUER], "").await, Code::InvalidArgument, one);
    let other = ["https://sts.example"];
    let refused = "no identity issued for this audience";
    check_refused(bench.svids_for(&other, "").await, Code::PermissionDenied, refused);
    let other_audiences = BTreeSet::from(other.map(str::to_owned));
    let mut bench = Bench::with_agent(WorkloadOptions { other_audiences, ..same_user() }).await;
    assert!(bench.svids_for(&other, "").await.is_ok());
    assert!(bench.svids("").await.is_ok());
}

#[tokio::test]
async fn a_locked_agent_loses_its_identity_and_its_stream() {
    let mut bench = Bench::with_agent(same_user()).await;
    let mut stream = bench.client.bundles().await.unwrap();
    let first = stream.message().await.unwrap().unwrap();
    let bundle = KeySet::from_spiffe_bundle(&first.bundles["spiffe://carnet.example"]).unwrap();
    assert!(
        bundle
            .keys
            .key(bench.house.broker.signing_key(KeyPurpose::JwtSvid).unwrap().kid())
            .is_some()
    );
    bench.house.lock(LockTarget::Agent(agent("desk-agent"))).await;
    let ended = tokio::time::timeout(Duration::from_secs(20), stream.message()).await;
    check_no_identity(ended.unwrap());
    assert!(stream.message().await.unwrap().is_none());
    check_no_identity(bench.svids("").await);
}

#[tokio::test]
async fn a_bundle_is_sent_once_while_it_stays_the_same() {
    let mut bench = Bench::with_agent(same_user()).await;
    let mut stream = bench.client.bundles().await.unwrap();
    assert!(stream.message().await.unwrap().is_some());
    // A change that is not of the keys, and then the end: nothing lies between.
    bench.house.register("mail-agent", own_selectors(), None).await;
    bench.stop.cancel();
    assert!(stream.message().await.unwrap().is_none());
}

#[tokio::test]
async fn an_svid_is_validated_for_whoever_is_an_agent() {
    let mut bench = Bench::with_agent(same_user()).await;
    let svid = bench.svids("").await.unwrap().svids.remove(0).svid;
    let mut validate =
        async |audience: &str, svid: &str| -> Result<ValidateJwtSvidResponse, Status> {
            let question = ValidateJwtSvidRequest { audience: audience.into(), svid: svid.into() };
            bench.client.unary("ValidateJWTSVID", question).await
        };
    let answer = validate(ISSUER, &svid).await.unwrap();
    assert_eq!(answer.spiffe_id, ID);
    let claims = answer.claims.unwrap();
    assert_eq!(claims.fields["sub"].kind, Some(ValueKind::Text(ID.into())));
    assert!(matches!(claims.fields["exp"].kind, Some(ValueKind::Number(exp)) if exp > 1e9));
    for (audience, svid, code) in [
        ("https://other.example", svid.as_str(), "token_wrong_audience"),
        (ISSUER, "x", "token_malformed"),
    ] {
        check_refused(validate(audience, svid).await, Code::InvalidArgument, code);
    }
}

#[tokio::test]
async fn what_is_not_spoken_yet_says_so() {
    let mut bench = Bench::with_agent(same_user()).await;
    let problem = "this version issues JWT-SVIDs and X.509-SVIDs and nothing else";
    for call in ["FetchWITSVID", "FetchWITBundles", "Anything"] {
        let answer: Result<JwtSvidResponse, _> =
            bench.client.unary(call, JwtBundlesRequest {}).await;
        check_refused(answer, Code::Unimplemented, problem);
    }
}

#[tokio::test]
async fn stopping_ends_every_connection_and_takes_the_socket_away() {
    let mut bench = Bench::with_agent(same_user()).await;
    let mut stream = bench.client.bundles().await.unwrap();
    assert!(stream.message().await.unwrap().is_some());
    bench.stop.cancel();
    assert!(stream.message().await.unwrap().is_none());
    let ended = tokio::time::timeout(Duration::from_secs(20), bench.serving).await;
    ended.unwrap().unwrap().unwrap();
    assert!(!bench.house.dir().join("run/workload.sock").exists());
}

#[tokio::test]
async fn an_independent_client_reads_what_we_say() {
    let bench = Bench::with_agent(same_user()).await;
    let client = spiffe::WorkloadApiClient::connect_to(&bench.endpoint).await.unwrap();
    let svid = client.fetch_jwt_svid(&[ISSUER], None).await.unwrap();
    assert_eq!(svid.spiffe_id().to_string(), ID);
    assert_eq!(svid.audience(), [ISSUER]);
    assert_eq!(svid.hint(), Some("desk-agent"));
    let bundles = client.fetch_jwt_bundles().await.unwrap();
    let domain = spiffe::TrustDomain::try_from(DOMAIN).unwrap();
    let bundle = bundles.get(&domain).unwrap();
    assert!(
        bundle
            .find_jwt_authority(bench.house.broker.signing_key(KeyPurpose::JwtSvid).unwrap().kid())
            .is_some()
    );
    let validated = client.validate_jwt_token(ISSUER, svid.token()).await.unwrap();
    assert_eq!(validated.spiffe_id().to_string(), ID);
    let several = client.fetch_jwt_svid(&[ISSUER, "https://x.example"], None).await;
    assert!(several.is_err());
}
