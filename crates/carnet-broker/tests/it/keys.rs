//! Signing keys: changed without an interruption, taken away at once, sealed at rest.

use carnet_broker::keys::{KeyPurpose, OVERLAP_S, Phase};
use carnet_core::TaskId;
use carnet_identity::{ExpectedAccess, TokenError, verify_access};
use secrecy::ExposeSecret as _;

use crate::house::*;

async fn token(house: &House, task: &TaskId) -> String {
    let issued = house.broker.issue_token(house.token_request("desk-agent", Some(task))).await;
    issued.unwrap().token.expose_secret().to_owned()
}

/// What a gateway says of `token` now.
fn check(house: &House, token: &str) -> Result<(), TokenError> {
    let audience = "https://carnet.example/read/mcp/desk";
    let expected = ExpectedAccess { issuer: "https://carnet.example", audience };
    verify_access(token, &house.broker.access_keys(), &expected, house.now()).map(drop)
}

fn phases(house: &House, purpose: KeyPurpose) -> Vec<Phase> {
    let mut keys = house.broker.keys();
    keys.retain(|(key, _)| key.purpose == purpose && key.removed_at.is_none());
    keys.sort_by_key(|(key, _)| key.signs_from);
    keys.into_iter().map(|(_, phase)| phase).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_interrupts_nothing() {
    let house = House::furnished().await;
    let task = house.open(&[read()]).await.unwrap();
    let before = token(&house, &task).await;
    let purpose = KeyPurpose::AccessToken;
    let (made, _) = house.broker.rotate_key(purpose, false, &user("ana")).await.unwrap();
    let published = Phase::Published { signs_from: made.signs_from };
    assert_eq!(phases(&house, purpose), [Phase::Signing, published]);
    assert!(house.broker.access_keys().key(&made.kid).is_some(), "everybody may learn it");
    let first = token(&house, &task).await;
    assert!(check(&house, &before).is_ok() && check(&house, &first).is_ok());

    // Just before the new one signs, and just after.
    house.hand.pass_s(OVERLAP_S - 1);
    let last_of_old = token(&house, &task).await;
    house.hand.pass_s(1);
    let first_of_new = token(&house, &task).await;
    assert_eq!(phases(&house, purpose)[1], Phase::Signing);
    for good in [&last_of_old, &first_of_new] {
        assert_eq!(check(&house, good), Ok(()));
    }
    // At its last second what the old one signed is still good.
    house.hand.pass_s(298);
    house.broker.sweep().await.unwrap();
    assert_eq!(check(&house, &last_of_old), Ok(()));
    house.hand.pass_s(OVERLAP_S - 298);
    house.broker.sweep().await.unwrap();
    assert_eq!(phases(&house, purpose), [Phase::Signing]);
    assert_eq!(house.count(&made.kid, "key_made"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_removed_key_signed_is_refused_at_once_and_another_takes_its_place() {
    let house = House::furnished().await;
    let task = house.open(&[read()]).await.unwrap();
    let stolen = token(&house, &task).await;
    let keys = house.broker.keys();
    let (old, _) = keys.iter().find(|(key, _)| key.purpose == KeyPurpose::AccessToken).unwrap();
    house.broker.remove_key(&old.kid, &user("ana")).await.unwrap();
    assert_eq!(check(&house, &stolen), Err(TokenError::KeyUnknown));
    let fresh = token(&house, &task).await;
    assert_eq!(check(&house, &fresh), Ok(()));
    assert_eq!(phases(&house, KeyPurpose::JwtSvid), [Phase::Signing], "the others stay");
    assert!(house.broker.remove_key(&old.kid, &user("ana")).await.is_err());
    assert_eq!(house.count(&old.kid, "key_removed"), 1);
    // What is live of it is not vouched for any more, on any node that decides from the view.
    let removed = house.broker.view().snapshot.keys_removed.clone();
    assert_eq!(*removed, [old.kid.clone()].into());
    // Nor is it back after a restart.
    let house = house.restart().await;
    assert_eq!(check(&house, &stolen), Err(TokenError::KeyUnknown));
    assert_eq!(check(&house, &fresh), Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_signing_key_is_removed_the_published_one_signs_before_its_time() {
    let house = House::furnished().await;
    let task = house.open(&[read()]).await.unwrap();
    let purpose = KeyPurpose::AccessToken;
    let (next, _) = house.broker.rotate_key(purpose, false, &user("ana")).await.unwrap();
    let keys = house.broker.keys();
    let old = keys.iter().find(|(key, _)| key.purpose == purpose && key.kid != next.kid).unwrap();
    house.broker.remove_key(&old.0.kid, &user("ana")).await.unwrap();
    assert_eq!(phases(&house, purpose), [Phase::Signing]);
    let fresh = token(&house, &task).await;
    assert_eq!(check(&house, &fresh), Ok(()));
    assert_eq!(house.broker.access_keys().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_kept_over_a_restart_and_open_under_the_same_sealing_key_only() {
    let house = House::furnished().await;
    let names = |house: &House| house.broker.keys().into_iter().map(|(key, _)| key.kid.clone());
    let before: Vec<_> = names(&house).collect();
    // There is no federation key before there is a target.
    assert_eq!(before.len(), KeyPurpose::ALL.len() - 1, "one key a purpose");
    let house = house.restart().await;
    assert_eq!(names(&house).collect::<Vec<_>>(), before);
    let refused = house.stop().await.start_sealed_by([8; 32]).await.err().unwrap();
    assert!(refused.to_string().contains("restore the key file"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_of_a_key_is_in_the_store_in_clear() {
    let house = House::furnished().await;
    let keys = house.broker.keys();
    assert!(!keys.is_empty());
    // Every ES256 key in PKCS#8 begins like this.
    let marker = [0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13];
    let in_text = "MIGHAgEAMBMGByqGSM49";
    let mut looked_at = 0;
    for file in std::fs::read_dir(house.dir()).unwrap().map(Result::unwrap) {
        if !file.file_name().to_string_lossy().starts_with("store") {
            continue;
        }
        let bytes = std::fs::read(file.path()).unwrap();
        looked_at += bytes.len();
        assert!(!bytes.windows(marker.len()).any(|part| part == marker));
        assert!(!bytes.windows(in_text.len()).any(|part| part == in_text.as_bytes()));
    }
    assert!(looked_at > 10_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_never_more_keys_of_a_purpose_than_a_key_set_should_have() {
    let house = House::furnished().await;
    for _ in 0..7 {
        house.broker.rotate_key(KeyPurpose::JwtSvid, true, &user("ana")).await.unwrap();
    }
    let refused = house.broker.rotate_key(KeyPurpose::JwtSvid, true, &user("ana")).await;
    assert!(refused.unwrap_err().to_string().contains("8 keys"));
    assert_eq!(house.broker.svid_keys().len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_federation_key_is_published_for_a_day_before_it_signs_and_kept_like_the_others() {
    let house = House::furnished().await;
    let purpose = KeyPurpose::Federation;
    assert!(house.broker.federation_keys().is_empty(), "nobody needs one yet");
    let (first, _) = house.broker.rotate_key(purpose, true, &user("ana")).await.unwrap();
    let (next, _) = house.broker.rotate_key(purpose, false, &user("ana")).await.unwrap();
    let published = Phase::Published { signs_from: house.now().plus_s(24 * 3600) };
    assert_eq!(phases(&house, purpose), [Phase::Signing, published]);
    assert_eq!(house.broker.federation_keys().len(), 2);
    let house = house.restart().await;
    let names = [first.kid.clone(), next.kid.clone()];
    assert!(names.iter().all(|kid| house.broker.federation_keys().key(kid).is_some()));
    house.broker.remove_key(&first.kid, &user("ana")).await.unwrap();
    house.hand.pass_s(24 * 3600);
    assert_eq!(phases(&house, purpose), [Phase::Signing]);
    assert!(house.broker.federation_keys().key(&first.kid).is_none());
}
