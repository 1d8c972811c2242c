//! X.509-SVIDs: what is issued verifies, and nothing else does.

use std::sync::Arc;
use std::time::Duration;

use carnet_identity::{
    KeyUse, SigningKey, SpiffeId, TrustDomain, X509Authority, X509Bundle, X509Bundles, X509Error,
    X509Svid, verify_x509_svid,
};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use crate::forge::NOW;

const ID: &str = "spiffe://carnet.example/agent/desk-agent";

fn domain() -> TrustDomain {
    "carnet.example".parse().unwrap()
}

fn authority(domain: &TrustDomain) -> X509Authority {
    let key = SigningKey::generate(KeyUse::X509Authority).unwrap();
    let certificate = X509Authority::certify(&key, domain, 1 << 100, NOW).unwrap();
    X509Authority::of(key, certificate, domain).unwrap()
}

fn bundles<'a>(of: impl IntoIterator<Item = (TrustDomain, &'a [u8])>) -> X509Bundles {
    let bundle = |der: &[u8]| Arc::new(X509Bundle::of([der]).unwrap());
    of.into_iter().map(|(domain, der)| (domain, bundle(der))).collect()
}

fn leaf_key() -> SigningKey {
    SigningKey::generate(KeyUse::X509Svid).unwrap()
}

/// An authority whose certificates are whatever a test wants.
struct Forge {
    issuer: Issuer<'static, KeyPair>,
    bundles: X509Bundles,
}

impl Forge {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let bundles = bundles([(domain(), certificate.der().as_ref())]);
        Self { issuer: Issuer::new(params, key), bundles }
    }

    /// Issues one as SPIFFE has them, bent by `bend`, and verifies it.
    fn verify(&self, bend: impl FnOnce(&mut CertificateParams)) -> Result<X509Svid, X509Error> {
        let certificate = self.issue(bend).0;
        verify_x509_svid(&[&certificate], &self.bundles, NOW)
    }

    fn issue(
        &self,
        bend: impl FnOnce(&mut CertificateParams),
    ) -> (Vec<u8>, KeyPair, CertificateParams) {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![uri(ID)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        live(&mut params, -60, 3600);
        bend(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.der().to_vec(), key, params)
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.to_owned().try_into().unwrap())
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.to_owned().try_into().unwrap())
}

/// Lets it begin and end so many seconds from now.
fn live(params: &mut CertificateParams, from_s: i64, until_s: i64) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let at = |s: i64| Duration::from_secs((NOW.s() + s).unsigned_abs());
    (params.not_before, params.not_after) = (epoch + at(from_s), epoch + at(until_s));
}

#[test]
fn an_svid_of_an_authority_verifies_with_its_bundle_and_no_other() {
    let one = authority(&domain());
    let id: SpiffeId = ID.parse().unwrap();
    let key = leaf_key();
    let issued = one.issue(&key, &id, 7, NOW, 3600).unwrap();
    let good = bundles([(domain(), one.certificate())]);
    let verify =
        |bundles: &X509Bundles, now| verify_x509_svid(&[&issued.certificate], bundles, now);
    let svid = verify(&good, NOW).unwrap();
    assert_eq!((svid.id.clone(), svid.expires), (id.clone(), NOW.plus_s(3600)));
    // The same key under another certificate is the same key, and another binding.
    let again = one.issue(&key, &id, 8, NOW.plus_s(5), 60).unwrap();
    let again = verify_x509_svid(&[&again.certificate], &good, NOW.plus_s(5)).unwrap();
    assert_eq!(again.key, svid.key);
    assert_ne!(again.certificate, svid.certificate);
    let other = one.issue(&leaf_key(), &id, 9, NOW, 60).unwrap();
    assert_ne!(verify_x509_svid(&[&other.certificate], &good, NOW).unwrap().key, svid.key);

    let another = authority(&domain());
    let of_another = bundles([(domain(), another.certificate())]);
    assert_eq!(verify(&of_another, NOW), Err(X509Error::Chain));
    // A bundle speaks for its own trust domain, even where the same authority is in another's.
    let elsewhere = bundles([("other.example".parse().unwrap(), one.certificate())]);
    assert_eq!(verify(&elsewhere, NOW), Err(X509Error::WrongTrustDomain));
    assert_eq!(verify(&X509Bundles::new(), NOW), Err(X509Error::WrongTrustDomain));
}

#[test]
fn an_svid_is_good_from_a_minute_before_it_was_issued_until_its_end() {
    let authority = authority(&domain());
    let issued = authority.issue(&leaf_key(), &ID.parse().unwrap(), 7, NOW, 3600).unwrap();
    let bundles = bundles([(domain(), authority.certificate())]);
    let verify = |s| verify_x509_svid(&[&issued.certificate], &bundles, NOW.plus_s(s)).map(drop);
    assert_eq!(verify(-61), Err(X509Error::NotYetValid));
    assert_eq!(verify(-60), Ok(()));
    assert_eq!(verify(3599), Ok(()));
    assert_eq!(verify(3601), Err(X509Error::Expired));
}

#[test]
fn what_was_verified_is_over_when_it_ends_or_its_authority_goes() {
    let (old, new) = (authority(&domain()), authority(&domain()));
    let issued = old.issue(&leaf_key(), &ID.parse().unwrap(), 7, NOW, 3600).unwrap();
    let both = X509Bundle::of([old.certificate(), new.certificate()]).unwrap();
    let both = X509Bundles::from([(domain(), Arc::new(both))]);
    let svid = verify_x509_svid(&[&issued.certificate], &both, NOW).unwrap();
    assert!(svid.is_good(&both, NOW.plus_s(3599)));
    assert!(!svid.is_good(&both, NOW.plus_s(3600)));
    assert!(!svid.is_good(&bundles([(domain(), new.certificate())]), NOW));
    assert!(!svid.is_good(&X509Bundles::new(), NOW));
}

#[test]
fn a_certificate_that_is_no_svid_is_refused() {
    let forge = Forge::new();
    assert!(forge.verify(|_| {}).is_ok());
    let names = |names: Vec<SanType>| forge.verify(|it| it.subject_alt_names = names);
    assert_eq!(names(vec![uri(ID), uri("spiffe://carnet.example/b")]), Err(X509Error::Identity));
    assert_eq!(names(vec![dns("desk.example")]), Err(X509Error::Identity));
    assert_eq!(names(vec![]), Err(X509Error::Identity));
    assert!(names(vec![uri(ID), dns("desk.example")]).is_ok(), "other names say nothing");
    for odd in [
        "spiffe://carnet.example",
        "spiffe://carnet.example/",
        "https://carnet.example/a",
        "spiffe://CARNET.example/a",
        "spiffe://carnet.example/%61",
    ] {
        assert_eq!(names(vec![uri(odd)]), Err(X509Error::Identity), "{odd}");
    }
    assert_eq!(names(vec![uri("spiffe://other.example/a")]), Err(X509Error::WrongTrustDomain));
    let ca = IsCa::Ca(BasicConstraints::Unconstrained);
    assert_eq!(forge.verify(|it| it.is_ca = ca), Err(X509Error::Authority));
    for usages in [
        vec![],
        vec![KeyUsagePurpose::KeyEncipherment],
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign],
    ] {
        assert_eq!(forge.verify(|it| it.key_usages = usages), Err(X509Error::KeyUsage));
    }
    for purpose in [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth] {
        let refused = forge.verify(|it| it.extended_key_usages = vec![purpose]);
        assert_eq!(refused, Err(X509Error::ExtendedKeyUsage));
    }
    assert!(forge.verify(|it| it.extended_key_usages = Vec::new()).is_ok());
    assert_eq!(forge.verify(|it| live(it, -60, -1)), Err(X509Error::Expired));
    assert_eq!(forge.verify(|it| live(it, 1, 60)), Err(X509Error::NotYetValid));
}

#[test]
fn a_leaf_cannot_issue_and_what_issues_says_so() {
    let forge = Forge::new();
    // An honest workload's SVID, used to issue another's.
    let (above, key, params) = forge.issue(|_| {});
    let stolen = Forge { issuer: Issuer::new(params, key), bundles: forge.bundles.clone() };
    let victim = stolen.issue(|it| it.subject_alt_names = vec![uri("spiffe://carnet.example/a")]).0;
    let refused = verify_x509_svid(&[&victim, &above], &forge.bundles, NOW);
    assert_eq!(refused, Err(X509Error::Authority));
    // One in between that may issue, and one that may for another trust domain.
    let between = |name: &str| {
        let (above, key, params) = forge.issue(|it| {
            it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            it.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            it.extended_key_usages = Vec::new();
            it.subject_alt_names = vec![uri(name)];
        });
        let issuer = Issuer::new(params, key);
        let leaf = Forge { issuer, bundles: X509Bundles::new() }.issue(|_| {}).0;
        verify_x509_svid(&[&leaf, &above], &forge.bundles, NOW).map(drop)
    };
    assert_eq!(between("spiffe://carnet.example"), Ok(()));
    assert_eq!(between("spiffe://other.example"), Err(X509Error::WrongTrustDomain));
}

#[test]
fn an_authority_issues_nothing_below_its_svids_and_for_no_other_trust_domain() {
    let authority = authority(&domain());
    let issue = |key: &SigningKey, id: &str, ttl_s| {
        authority.issue(key, &id.parse().unwrap(), 7, NOW, ttl_s).map(drop)
    };
    assert_eq!(issue(&leaf_key(), ID, 3600), Ok(()));
    assert_eq!(issue(&leaf_key(), ID, 3601), Err(X509Error::Issue));
    assert_eq!(issue(&leaf_key(), ID, 0), Err(X509Error::Issue));
    assert_eq!(
        issue(&leaf_key(), "spiffe://other.example/a", 60),
        Err(X509Error::WrongTrustDomain)
    );
    let access = SigningKey::generate(KeyUse::AccessToken).unwrap();
    assert_eq!(issue(&access, ID, 60), Err(X509Error::Issue));
    assert!(X509Authority::certify(&access, &domain(), 7, NOW).is_err());
    let key = SigningKey::generate(KeyUse::X509Authority).unwrap();
    let certificate = X509Authority::certify(&key, &domain(), 7, NOW).unwrap();
    let other = "other.example".parse().unwrap();
    assert!(X509Authority::of(key, certificate.clone(), &other).is_err());
    let another = SigningKey::generate(KeyUse::X509Authority).unwrap();
    assert_eq!(X509Authority::of(another, certificate, &domain()).err(), Some(X509Error::OtherKey));
}

#[test]
fn bytes_that_are_no_certificate_are_refused() {
    let authority = authority(&domain());
    let issued =
        authority.issue(&leaf_key(), &ID.parse().unwrap(), 7, NOW, 60).unwrap().certificate;
    let bundles = bundles([(domain(), authority.certificate())]);
    let verify = |chain: &[&[u8]]| verify_x509_svid(chain, &bundles, NOW).map(drop);
    assert_eq!(verify(&[]), Err(X509Error::Size));
    assert_eq!(verify(&[&[]]), Err(X509Error::Size));
    assert_eq!(verify(&[&[0x30; 20_000]]), Err(X509Error::Size));
    assert_eq!(verify(&[issued.as_slice(); 5]), Err(X509Error::Size));
    assert_eq!(verify(&[&[issued.as_slice(), b"x"].concat()]), Err(X509Error::Malformed));
    for end in 1..issued.len() {
        assert!(verify(&[&issued[..end]]).is_err(), "cut at {end}");
    }
    // No bit of it can be changed.
    for index in 0..issued.len() {
        let mut bent = issued.clone();
        bent[index] ^= 1;
        assert!(verify(&[&bent]).is_err(), "bent at {index}");
    }
}

#[test]
fn a_published_authority_is_read_back_and_never_its_key() {
    let authority = authority(&domain());
    let jwk = authority.to_jwk();
    let mut members: Vec<&String> = jwk.as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["crv", "kty", "use", "x", "x5c", "y"]);
    let jwt = serde_json::json!({ "use": "jwt-svid", "kty": "EC" });
    let document = serde_json::json!({ "keys": [jwt, jwk] });
    let read = |document: &serde_json::Value| {
        X509Bundle::from_spiffe_bundle(document.to_string().as_bytes())
    };
    let of = X509Bundle::of([authority.certificate()]).unwrap();
    assert_eq!(read(&document).unwrap(), of);
    let mut two = document.clone();
    let chain = two["keys"][1]["x5c"].as_array_mut().unwrap();
    chain.push(chain[0].clone());
    assert!(read(&two).is_err(), "exactly one certificate a key");
    let mut none = document;
    none["keys"][1].as_object_mut().unwrap().remove("x5c");
    assert!(read(&none).is_err());
    // Of a workload's certificate nobody is an authority.
    let svid = authority.issue(&leaf_key(), &ID.parse().unwrap(), 7, NOW, 60).unwrap();
    assert_eq!(X509Bundle::of([svid.certificate]), Err(X509Error::Authority));
}
