//! Clients that show a certificate.

use std::sync::Mutex;

use carnet_core::Timestamp;
use carnet_identity::{
    KeyUse, SigningKey, TrustDomain, X509Authority, X509Bundle, X509Bundles, X509Svid,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::pki_types::ServerName;
use secrecy::ExposeSecret as _;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

const ID: &str = "spiffe://carnet.example/agent/desk-agent";

/// Says who the listener says it is.
#[derive(Clone)]
struct Who;

impl Answers for Who {
    async fn answer(self, request: Request<Incoming>) -> Answer {
        let svid = request.extensions().get::<X509Svid>();
        let id = svid.map_or_else(|| "nobody".to_owned(), |svid| svid.id.to_string());
        http::Response::new(Full::from(id).map_err(|never| match never {}).boxed_unsync())
    }
}

/// A trust domain whose authorities and time a test sets.
struct Domain {
    bundles: Mutex<Arc<X509Bundles>>,
    now: Mutex<Timestamp>,
}

impl Vouches for Domain {
    fn bundles(&self) -> Arc<X509Bundles> {
        Arc::clone(&self.bundles.lock().unwrap())
    }

    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }
}

struct World {
    domain: Arc<Domain>,
    authority: X509Authority,
    address: std::net::SocketAddr,
    roots: rustls::RootCertStore,
}

type Shown = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn wall() -> Timestamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_s(now.as_secs().try_into().unwrap())
}

fn trust(domain: &str, der: &[u8]) -> Arc<X509Bundles> {
    let bundle = Arc::new(X509Bundle::of([der]).unwrap());
    Arc::new(X509Bundles::from([(domain.parse().unwrap(), bundle)]))
}

fn authority(domain: &str, at: Timestamp) -> X509Authority {
    let domain: TrustDomain = domain.parse().unwrap();
    let key = SigningKey::generate(KeyUse::X509Authority).unwrap();
    let certificate = X509Authority::certify(&key, &domain, 7, at).unwrap();
    X509Authority::of(key, certificate, &domain).unwrap()
}

fn svid(authority: &X509Authority, id: &str, at: Timestamp, ttl_s: i64) -> Shown {
    let key = SigningKey::generate(KeyUse::X509Svid).unwrap();
    let issued = authority.issue(&key, &id.parse().unwrap(), 7, at, ttl_s).unwrap();
    let secret = key.to_pkcs8().unwrap().expose_secret().to_vec();
    (vec![issued.certificate.into()], PrivateKeyDer::Pkcs8(secret.into()))
}

impl World {
    async fn new() -> Self {
        let authority = authority("carnet.example", wall());
        let bundles = Mutex::new(trust("carnet.example", authority.certificate()));
        let domain = Arc::new(Domain { bundles, now: Mutex::new(wall()) });
        let key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let server = server.self_signed(&key).unwrap().der().clone();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(server.clone()).unwrap();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let certified = CertifiedKey::from_der(vec![server], key, &provider).unwrap();
        let vouches: Arc<dyn Vouches> = Arc::<Domain>::clone(&domain);
        let tls = secured_by(certified, vouches);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = Limits { peer_connections_max: 64, ..limits(64, NEVER, NEVER) };
        tokio::spawn(serve(listener, Some(tls), Who, limits));
        Self { domain, authority, address, roots }
    }

    fn connector(&self, shown: Option<Shown>) -> TlsConnector {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone());
        let config = match shown {
            Some((chain, key)) => config.with_client_auth_cert(chain, key).unwrap(),
            None => config.with_no_client_auth(),
        };
        TlsConnector::from(Arc::new(config))
    }

    async fn connect(&self, connector: &TlsConnector) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        connector.connect(ServerName::try_from("localhost").unwrap(), stream).await
    }

    /// Who the listener says it is over a new connection, or nothing where there is none.
    async fn who(&self, shown: Option<Shown>) -> Option<String> {
        let connector = self.connector(shown);
        let mut stream = self.connect(&connector).await.ok()?;
        ask(&mut stream).await
    }

    fn forge(&self) -> (Issuer<'static, KeyPair>, Arc<X509Bundles>) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        (Issuer::new(params, key), trust("carnet.example", &der))
    }
}

async fn ask(stream: &mut TlsStream<TcpStream>) -> Option<String> {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.ok()?;
    let mut bytes = Vec::new();
    loop {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut bytes)).await;
        if read.expect("no answer").ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
        if body.len() >= length.parse().unwrap() {
            return Some(body.to_owned());
        }
    }
}

#[tokio::test]
async fn a_client_is_who_its_svid_says_and_one_without_is_nobody() {
    let world = World::new().await;
    let shown = svid(&world.authority, ID, wall(), 3600);
    assert_eq!(world.who(Some(shown)).await.as_deref(), Some(ID));
    assert_eq!(world.who(None).await.as_deref(), Some("nobody"));
}

#[tokio::test]
async fn a_certificate_nobody_vouches_for_gets_through_no_handshake() {
    let world = World::new().await;
    let other = authority("carnet.example", wall());
    assert_eq!(world.who(Some(svid(&other, ID, wall(), 3600))).await, None);
    let elsewhere = authority("other.example", wall());
    let foreign = svid(&elsewhere, "spiffe://other.example/agent/a", wall(), 3600);
    assert_eq!(world.who(Some(foreign)).await, None);
    let old = svid(&world.authority, ID, wall().plus_s(-7200), 3600);
    assert_eq!(world.who(Some(old)).await, None);
    // The certificate is ours, the key is not.
    let (chain, _) = svid(&world.authority, ID, wall(), 3600);
    let (_, key) = svid(&world.authority, ID, wall(), 3600);
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
    let stolen = CertifiedKey::new(chain, key);
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(world.roots.clone())
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(stolen)));
    let connector = TlsConnector::from(Arc::new(config));
    let answer = match world.connect(&connector).await {
        Ok(mut stream) => ask(&mut stream).await,
        Err(_) => None,
    };
    assert_eq!(answer, None);
}

#[tokio::test]
async fn a_certificate_that_is_no_svid_gets_through_no_handshake() {
    let world = World::new().await;
    let (issuer, bundles) = world.forge();
    *world.domain.bundles.lock().unwrap() = bundles;
    let uri = |text: &str| SanType::URI(text.to_owned().try_into().unwrap());
    let shown = |bend: &dyn Fn(&mut CertificateParams)| -> Shown {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![uri(ID)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        bend(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap().der().clone();
        (vec![certificate], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    };
    assert_eq!(world.who(Some(shown(&|_| {}))).await.as_deref(), Some(ID));
    let dns = || SanType::DnsName("desk.example".to_owned().try_into().unwrap());
    let two = || vec![uri(ID), uri("spiffe://carnet.example/agent/b")];
    type Bend<'a> = &'a dyn Fn(&mut CertificateParams);
    let bends: [(&str, Bend<'_>); 5] = [
        ("two URIs", &|it| it.subject_alt_names = two()),
        ("a host name only", &|it| it.subject_alt_names = vec![dns()]),
        ("a CA", &|it| it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        ("no digitalSignature", &|it| {
            it.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
        }),
        ("another trust domain", &|it| {
            it.subject_alt_names = vec![uri("spiffe://other.example/agent/a")];
        }),
    ];
    for (what, bend) in bends {
        assert_eq!(world.who(Some(shown(bend))).await, None, "{what}");
    }
}

#[tokio::test]
async fn a_connection_outlives_neither_its_certificate_nor_its_authority() {
    let world = World::new().await;
    let connector = world.connector(Some(svid(&world.authority, ID, wall(), 3600)));
    let mut stream = world.connect(&connector).await.unwrap();
    assert_eq!(ask(&mut stream).await.as_deref(), Some(ID));
    *world.domain.now.lock().unwrap() = wall().plus_s(3601);
    // Nobody, or no connection any more: whichever comes first.
    let after = ask(&mut stream).await;
    assert!(after.is_none_or(|who| who == "nobody"));
    rest_of(&mut stream).await;
    *world.domain.now.lock().unwrap() = wall();

    let mut stream = world.connect(&connector).await.unwrap();
    assert_eq!(ask(&mut stream).await.as_deref(), Some(ID));
    let other = authority("carnet.example", wall());
    *world.domain.bundles.lock().unwrap() = trust("carnet.example", other.certificate());
    let after = ask(&mut stream).await;
    assert!(after.is_none_or(|who| who == "nobody"));
    rest_of(&mut stream).await;
    // A resumed session does not bring the old certificate back.
    let resumed = match world.connect(&connector).await {
        Ok(mut stream) => ask(&mut stream).await,
        Err(_) => None,
    };
    assert_eq!(resumed, None);
}

/// Waits until the other side closes.
async fn rest_of(stream: &mut TlsStream<TcpStream>) {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    let _ = read.expect("the connection is still open");
}
