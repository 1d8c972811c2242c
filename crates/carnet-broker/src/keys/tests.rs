use std::sync::Arc;

use carnet_identity::{TrustDomain, X509_SVID_TTL_S_MAX, X509Authority};
use secrecy::SecretBox;

use super::*;
use crate::vault::Vault;

const NOW: Timestamp = Timestamp::from_s(1_000_000);

fn vault(byte: u8) -> Vault {
    Vault::new(SecretBox::new(Box::new([byte; 32])))
}

fn domain() -> TrustDomain {
    "carnet.example".parse().unwrap()
}

fn record(purpose: KeyPurpose, signs_in_s: i64) -> KeyRecord {
    let key = SigningKey::generate(purpose.key_use()).unwrap();
    let record = KeyRecord::seal(&vault(1), purpose, &key, NOW, NOW.plus_s(signs_in_s)).unwrap();
    match purpose {
        KeyPurpose::X509Svid => {
            record.certified(&X509Authority::certify(&key, &domain(), 7, NOW).unwrap())
        }
        _ => record,
    }
}

fn keys(records: &[&KeyRecord]) -> Arc<Keys> {
    let keys = records.iter().map(|key| (key.kid.clone(), Arc::new((*key).clone())));
    Arc::new(keys.collect())
}

#[test]
fn a_key_opens_only_under_its_own_name_purpose_and_sealing_key() {
    let key = record(KeyPurpose::AccessToken, 0);
    assert_eq!(key.open(&vault(1)).unwrap().kid(), key.kid);
    assert!(key.open(&vault(2)).is_err());
    let other = record(KeyPurpose::AccessToken, 0);
    assert!(KeyRecord { kid: other.kid, ..key.clone() }.open(&vault(1)).is_err());
    assert!(KeyRecord { purpose: KeyPurpose::JwtSvid, ..key.clone() }.open(&vault(1)).is_err());
    let text = serde_json::to_string(&key).unwrap();
    assert_eq!(serde_json::from_str::<KeyRecord>(&text).unwrap(), key);
    assert!(!format!("{key:?}").contains("sealed"));
}

#[test]
fn a_key_is_published_then_signs_and_then_verifies_until_all_it_signed_is_over() {
    let (old, new) = (record(KeyPurpose::AccessToken, 0), record(KeyPurpose::AccessToken, 360));
    let other = record(KeyPurpose::JwtSvid, 0);
    let all = keys(&[&old, &new, &other]);
    let ring = KeyRing::open(Arc::clone(&all), &vault(1), &domain(), 0).unwrap();
    let signs = |s| ring.signing(KeyPurpose::AccessToken, NOW.plus_s(s)).unwrap().kid().to_owned();
    let phases = |s| [&old, &new].map(|key| phase(&all, key, NOW.plus_s(s)));
    let signs_from = NOW.plus_s(360);
    assert_eq!(phases(359), [Phase::Signing, Phase::Published { signs_from }]);
    assert_eq!(signs(359), old.kid);
    let until = NOW.plus_s(720);
    assert_eq!(phases(360), [Phase::Verifying { until }, Phase::Signing]);
    assert_eq!(signs(360), new.kid);
    assert_eq!(signs(-1_000), old.kid, "a clock that was set back finds a key all the same");
    assert_eq!(ring.verifying(KeyPurpose::AccessToken).len(), 2);
    assert_eq!(ring.verifying(KeyPurpose::JwtSvid).len(), 1);
    assert_eq!(spent(&all, NOW.plus_s(719)).count(), 0);
    let spent: Vec<_> = spent(&all, until).map(|key| key.kid.clone()).collect();
    assert_eq!(spent, [old.kid]);
}

#[test]
fn what_lives_longest_is_over_before_its_key_is() {
    let longest = carnet_core::Path::ALL.map(carnet_core::Path::token_ttl_s_max);
    let longest = longest
        .into_iter()
        .chain([carnet_identity::ASSERTION_TTL_S_MAX, carnet_identity::DELEGATION_TTL_S_MAX])
        .max();
    let tokens = KeyPurpose::ALL.into_iter().filter(|it| *it != KeyPurpose::X509Svid);
    assert!(longest < tokens.map(KeyPurpose::kept_s).min());
    assert!(X509_SVID_TTL_S_MAX < KeyPurpose::X509Svid.kept_s());
}

#[test]
fn an_authority_keeps_its_certificate_and_signs_when_its_time_has_come() {
    let (old, new) = (record(KeyPurpose::X509Svid, 0), record(KeyPurpose::X509Svid, 360));
    let all = keys(&[&old, &new]);
    let open = || KeyRing::open(Arc::clone(&all), &vault(1), &domain(), 0).unwrap();
    let (ring, again) = (open(), open());
    assert_eq!(ring.x509_bundles(), again.x509_bundles(), "a start changes no certificate");
    let signs = |s| ring.authority(NOW.plus_s(s)).unwrap().kid().to_owned();
    assert_eq!(
        [signs(-1_000), signs(359), signs(360)],
        [&old.kid, &old.kid, &new.kid].map(|it| it.to_owned())
    );
    assert_eq!(ring.authorities().count(), 2);
    let until = NOW.plus_s(360 + 3960);
    assert_eq!(phase(&all, &old, NOW.plus_s(360)), Phase::Verifying { until });
    assert_eq!(ring.verifying(KeyPurpose::X509Svid).len(), 0, "no token is verified with it");
}

#[test]
fn an_authority_without_its_own_certificate_is_none() {
    let (one, other) = (record(KeyPurpose::X509Svid, 0), record(KeyPurpose::X509Svid, 0));
    let open = |record: &KeyRecord, domain: &str| {
        let domain = domain.parse().unwrap();
        KeyRing::open(keys(&[record]), &vault(1), &domain, 0).is_ok()
    };
    assert!(open(&one, "carnet.example"));
    assert!(!open(&one, "other.example"), "made for another trust domain");
    assert!(!open(&KeyRecord { certificate: other.certificate, ..one.clone() }, "carnet.example"));
    assert!(!open(&KeyRecord { certificate: None, ..one }, "carnet.example"));
}

#[test]
fn a_ring_with_one_key_that_does_not_open_is_none() {
    let (good, odd) = (record(KeyPurpose::AccessToken, 0), record(KeyPurpose::AccessToken, 0));
    let odd = KeyRecord { purpose: KeyPurpose::JwtSvid, ..odd };
    assert!(KeyRing::open(keys(&[&good, &odd]), &vault(1), &domain(), 0).is_err());
}
