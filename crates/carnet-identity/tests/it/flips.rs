//! Any change to a token, however small, makes it no token.

use carnet_identity::{
    TokenCache, mint_access, mint_svid, verify_access, verify_dpop, verify_svid,
};
use proptest::prelude::*;

use crate::forge::{AUDIENCE, EXPECTED, ISSUER, NOW, World, agent, expected_proof, trust_domain};

/// Every text that differs from `token` in one bit of one byte and is still UTF-8.
fn flips(token: &str) -> impl Iterator<Item = String> {
    let bytes = token.as_bytes().to_vec();
    (0..bytes.len() * 8).filter_map(move |bit| {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        String::from_utf8(changed).ok()
    })
}

#[test]
fn every_single_bit_of_every_kind_counts() {
    let world = World::new();
    let access = mint_access(&world.access, &world.claims()).unwrap();
    let svid = mint_svid(&world.svid, &agent(), ISSUER, NOW, 300).unwrap();
    let proof = world.instance.prove("POST", AUDIENCE, None, "j", NOW, None).unwrap();
    let mut cache = TokenCache::new(64);
    cache.verify(&access, &world.keys, &EXPECTED, NOW).unwrap();
    for changed in flips(&access) {
        assert!(verify_access(&changed, &world.keys, &EXPECTED, NOW).is_err());
        assert!(cache.verify(&changed, &world.keys, &EXPECTED, NOW).is_err());
    }
    let domain = trust_domain();
    for changed in flips(&svid) {
        assert!(verify_svid(&changed, &world.keys, &domain, ISSUER, NOW).is_err());
    }
    for changed in flips(&proof) {
        assert!(verify_dpop(&changed, &expected_proof(), NOW).is_err());
    }
}

proptest! {
    #[test]
    fn a_token_cut_stretched_or_overwritten_is_refused(
        at in any::<prop::sample::Index>(),
        to in any::<char>(),
        how in 0_u8..3,
    ) {
        let world = World::new();
        let good = mint_access(&world.access, &world.claims()).unwrap();
        let at = at.index(good.len());
        let (before, after) = good.split_at(at);
        let changed = match how {
            0 => before.to_owned(),
            1 => format!("{before}{to}{after}"),
            _ => format!("{before}{to}{}", &after[1..]),
        };
        prop_assume!(changed != good);
        prop_assert!(verify_access(&changed, &world.keys, &EXPECTED, NOW).is_err());
    }

    #[test]
    fn no_text_at_all_is_a_token(text in ".{0,200}") {
        let world = World::new();
        prop_assert!(verify_access(&text, &world.keys, &EXPECTED, NOW).is_err());
        prop_assert!(verify_dpop(&text, &expected_proof(), NOW).is_err());
    }
}
