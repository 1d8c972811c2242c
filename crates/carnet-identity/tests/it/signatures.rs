//! What is not a signature. Row B of the checklist.

use carnet_identity::verify_access;

use crate::cases::{Row, check};
use crate::forge::{EXPECTED, NOW, World, encode};

#[test]
fn a_signature_is_whole_and_of_its_curve() {
    let world = World::new();
    let good = world.sign_access(&world.access_header(), &world.payload().to_string());
    let (signed, tail) = good.rsplit_once('.').unwrap();
    let with_bytes = |bytes: &[u8]| format!("{signed}.{}", encode(bytes));
    let order = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let mut one = [0; 64];
    (one[31], one[63]) = (1, 1);
    let asn1 = {
        let pkcs8 = world.access.to_pkcs8().unwrap();
        let pair = aws_lc_rs::signature::EcdsaKeyPair::from_pkcs8(
            &aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING,
            secrecy::ExposeSecret::expose_secret(&pkcs8),
        );
        let random = aws_lc_rs::rand::SystemRandom::new();
        pair.unwrap().sign(&random, signed.as_bytes()).unwrap()
    };
    let rows: Vec<Row> = vec![
        ("B01", "empty", format!("{signed}."), "token_malformed"),
        ("B02", "absent", signed.to_owned(), "token_malformed"),
        ("B03", "r = s = 0", with_bytes(&[0; 64]), "token_signature"),
        ("B04", "r = s = 1", with_bytes(&one), "token_signature"),
        ("B05", "r = s = n", with_bytes(&[order, order].concat()), "token_signature"),
        ("B06", "all ones", with_bytes(&[0xff; 64]), "token_signature"),
        ("B07", "one byte", with_bytes(&[0]), "token_signature"),
        ("B08", "63 bytes", with_bytes(&[7; 63]), "token_signature"),
        ("B09", "65 bytes", with_bytes(&[7; 65]), "token_signature"),
        ("B10", "ASN.1 instead of r and s", with_bytes(asn1.as_ref()), "token_signature"),
        ("B11", "cut short", good.get(..good.len() - 2).unwrap().to_owned(), "token_signature"),
        ("B12", "twice", format!("{good}{tail}"), "token_signature"),
        (
            "B13",
            "of another payload",
            format!("{}.{}.{tail}", signed.split('.').next().unwrap(), encode("{}")),
            "token_signature",
        ),
    ];
    check(&rows, |token| verify_access(token, &world.keys, &EXPECTED, NOW).map(drop));
}
