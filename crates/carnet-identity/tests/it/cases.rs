//! The numbered cases of `conformance/identity`. Each bends one thing of a good token of its place
//! and says the code it is refused with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use aws_lc_rs::hmac;
use carnet_identity::{
    ExpectedForeign, ForeignKind, TokenError, verify_access, verify_dpop, verify_foreign,
    verify_svid,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::forge::{
    EXPECTED, ISSUER, NOW, World, agent, encode, expected_proof, part, proof_claims, svid_claims,
    trust_domain, with,
};
use crate::stranger::{OWN, SHOP, STRANGER, Stranger, claims_of, type_of};

/// Number, what is tried, the token, the code it must be refused with.
pub(crate) type Row = (&'static str, &'static str, String, &'static str);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    title: String,
    place: Place,
    /// Members of the header, null for one that is left out.
    #[serde(default)]
    header: Map<String, Value>,
    /// Members of the proof's key.
    #[serde(default)]
    jwk: Map<String, Value>,
    /// Claims, null for one that is left out.
    #[serde(default)]
    claims: Map<String, Value>,
    /// Claims as they are written, for what JSON can write and our values cannot hold.
    #[serde(default)]
    claims_text: BTreeMap<String, String>,
    /// Who signs, where it is not who should.
    signer: Option<String>,
    /// What is sent, made of `{good}`, `{header}`, `{payload}`.
    token: Option<String>,
    code: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
enum Place {
    #[serde(rename = "access token")]
    Access,
    #[serde(rename = "JWT-SVID")]
    Svid,
    #[serde(rename = "proof")]
    Proof,
    #[serde(rename = "workload token")]
    Workload,
    #[serde(rename = "client assertion")]
    ClientAssertion,
    #[serde(rename = "ID token")]
    IdToken,
    #[serde(rename = "ID-JAG")]
    IdJag,
    #[serde(rename = "event")]
    Event,
}

/// Everybody who may sign.
struct Cast {
    world: World,
    stranger: Stranger,
}

/// Each row is refused with its code, and no error repeats any part of a token.
pub(crate) fn check(rows: &[Row], verify: impl Fn(&str) -> Result<(), TokenError>) {
    for (number, what, token, code) in rows {
        check_one(&format!("{number}: {what}"), token, code, verify(token));
    }
}

fn check_one(what: &str, token: &str, code: &str, verified: Result<(), TokenError>) {
    let error = verified.expect_err(what);
    assert_eq!(error.code(), code, "{what}");
    let said = format!("{error} {error:?} {}", error.code());
    for part in token.split(['.', ' ', ',']).filter(|part| part.len() > 8) {
        assert!(!said.contains(part), "{what}: the error repeats the token");
    }
}

impl Place {
    fn foreign(self) -> Option<ForeignKind> {
        Some(match self {
            Self::Access | Self::Svid | Self::Proof => return None,
            Self::Workload => ForeignKind::WorkloadToken,
            Self::ClientAssertion => ForeignKind::ClientAssertion,
            Self::IdToken => ForeignKind::IdToken,
            Self::IdJag => ForeignKind::IdJag,
            Self::Event => ForeignKind::SecurityEvent,
        })
    }

    fn signer(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Svid => "svid",
            Self::Proof => "instance",
            _ => "stranger",
        }
    }
}

impl Cast {
    fn new() -> Self {
        Self { world: World::new(), stranger: Stranger::new() }
    }

    /// The header and the claims of a good token for `place`.
    fn good(&self, place: Place) -> (Value, Value) {
        match place.foreign() {
            Some(kind) => (self.stranger.header(type_of(kind)), claims_of(kind)),
            None if place == Place::Access => (self.world.access_header(), self.world.payload()),
            None if place == Place::Svid => (self.world.svid_header(), svid_claims()),
            None => (self.world.proof_header(), proof_claims()),
        }
    }

    fn verify(&self, place: Place, token: &str) -> Result<(), TokenError> {
        let keys = &self.world.keys;
        if let Some(kind) = place.foreign() {
            let issuer = if place == Place::ClientAssertion { SHOP } else { STRANGER };
            let audience = if place == Place::IdToken { OWN } else { ISSUER };
            let expected = ExpectedForeign { kind, issuer, audience };
            return verify_foreign(token, &self.stranger.keys(), &expected, NOW).map(drop);
        }
        match place {
            Place::Access => verify_access(token, keys, &EXPECTED, NOW).map(drop),
            Place::Svid => verify_svid(token, keys, &trust_domain(), ISSUER, NOW).map(drop),
            _ => verify_dpop(token, &expected_proof(), NOW).map(drop),
        }
    }

    fn sign(&self, signer: &str, header: &Value, payload: &str) -> String {
        match signer {
            "access" => self.world.sign_access(header, payload),
            "svid" => self.world.sign_svid(header, payload),
            "instance" => self.world.sign_proof(header, payload),
            "stranger" => self.stranger.sign_under(header, payload),
            "hmac of the public key" => {
                let jwks = self.world.keys.to_jwks();
                hmac_token(header, payload, jwks["keys"][0].to_string().as_bytes())
            }
            "hmac of nothing" => hmac_token(header, payload, b""),
            other => panic!("nobody is `{other}`"),
        }
    }

    /// A case with the names of keys filled in.
    fn fill(&self, case: &Value) -> Case {
        let jwk = self.world.instance_jwk();
        let mut text = case.to_string();
        text = text.replace(r#""{stranger.jwk}""#, &self.stranger.jwk().to_string());
        for (name, value) in [
            ("{access.kid}", self.world.access.kid()),
            ("{svid.kid}", self.world.svid.kid()),
            ("{stranger.kid}", self.stranger.kid()),
            ("{instance.kid}", &self.world.instance.thumbprint().to_string()),
            ("{jwk.x}", jwk["x"].as_str().unwrap()),
            ("{jwk.y}", jwk["y"].as_str().unwrap()),
        ] {
            text = text.replace(name, value);
        }
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    fn token(&self, case: &Case) -> String {
        let (mut header, mut claims) = self.good(case.place);
        for (name, to) in &case.header {
            header = with(&header, name, to.clone());
        }
        for (name, to) in &case.jwk {
            header["jwk"] = with(&header["jwk"], name, to.clone());
        }
        for (name, to) in &case.claims {
            claims = with(&claims, name, to.clone());
        }
        for name in case.claims_text.keys() {
            claims = with(&claims, name, format!("text of {name}").into());
        }
        let mut payload = claims.to_string();
        for (name, text) in &case.claims_text {
            payload = payload.replace(&format!(r#""text of {name}""#), text);
        }
        let signer = case.signer.as_deref().unwrap_or(case.place.signer());
        let good = self.sign(signer, &header, &payload);
        let Some(template) = &case.token else { return good };
        let parts: Vec<&str> = good.split('.').collect();
        let filled = template.replace("{header}", parts[0]).replace("{payload}", parts[1]);
        filled.replace("{good}", &good)
    }
}

fn hmac_token(header: &Value, payload: &str, secret: &[u8]) -> String {
    let signed = format!("{}.{}", encode(header.to_string()), encode(payload));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    format!("{signed}.{}", encode(hmac::sign(&key, signed.as_bytes())))
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/identity")
}

fn cases_of(file: &str) -> Vec<Value> {
    let path = folder().join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every case of `file`, whose numbers begin with `letter`.
fn run(file: &str, letter: char, count: usize) {
    let cast = Cast::new();
    let cases = cases_of(file);
    assert!(cases.len() >= count, "{file}: {}", cases.len());
    for case in cases {
        let case = cast.fill(&case);
        assert!(case.case.starts_with(letter), "{}", case.case);
        let (header, claims) = cast.good(case.place);
        let good = cast.sign(case.place.signer(), &header, &claims.to_string());
        cast.verify(case.place, &good).unwrap();
        let (token, what) = (cast.token(&case), format!("{}: {}", case.case, case.title));
        check_one(&what, &token, &case.code, cast.verify(case.place, &token));
    }
}

#[test]
fn algorithms_and_keys_are_the_verifiers_and_not_the_tokens() {
    run("1-algorithms.json", 'A', 36);
}

#[test]
fn every_claim_is_what_it_must_be() {
    run("2-claims.json", 'D', 59);
}

#[test]
fn a_jwt_svid_is_read_as_strictly() {
    run("3-svid.json", 'E', 31);
    let world = World::new();
    let (head, claims) = (world.svid_header(), svid_claims());
    let verify = |token: &str| verify_svid(token, &world.keys, &trust_domain(), ISSUER, NOW);
    let header = |to: Value| world.sign_svid(&with(&head, "typ", to), &claims.to_string());
    let claim =
        |name: &str, to: Value| world.sign_svid(&head, &with(&claims, name, to).to_string());
    assert!(verify(&header(Value::Null)).is_ok());
    assert!(verify(&header("JOSE".into())).is_ok());
    assert!(verify(&claim("aud", ISSUER.into())).is_ok(), "one audience as a text");
    assert!(verify(&claim("jti", "x".into())).is_ok(), "claims of other issuers are passed over");
    assert_eq!(part(&header("JWT".into()), 1)["sub"], agent().as_str());
}

#[test]
fn a_proof_is_read_as_strictly() {
    run("4-proof.json", 'F', 52);
}

#[test]
fn a_token_of_another_issuer_is_read_as_strictly() {
    run("5-foreign.json", 'G', 25);
}

/// The numbers of all cases, those of rows in `signatures.rs` and `serialisations.rs` too.
pub(crate) fn numbers() -> BTreeSet<String> {
    let mut numbers = BTreeSet::new();
    let mut add = |number: &str| assert!(numbers.insert(number.to_owned()), "{number} twice");
    for entry in std::fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name != "checklist.json" {
            for case in cases_of(&name) {
                add(case["case"].as_str().unwrap());
            }
        }
    }
    for text in [include_str!("signatures.rs"), include_str!("serialisations.rs")] {
        for (at, _) in text.match_indices('"') {
            let Some(quoted) = text.get(at + 1..at + 5) else { continue };
            let Some(number) = quoted.strip_suffix('"') else { continue };
            let is_number = number.bytes().skip(1).all(|byte| byte.is_ascii_digit());
            if is_number && number.starts_with(['B', 'C']) {
                add(number);
            }
        }
    }
    numbers
}
