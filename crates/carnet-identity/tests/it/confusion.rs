//! The confusion matrix: every kind of token in every place. It is accepted where it belongs and
//! nowhere else, whichever key signs it, and even where one key signs everything.

use std::collections::BTreeSet;

use carnet_identity::{
    DpopKey, ExpectedForeign, ForeignKind, KeySet, KeyUse, SigningKey, TokenCache, TrustBundles,
    verify_access, verify_client_assertion, verify_delegation, verify_dpop, verify_foreign,
    verify_svid,
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::forge::{
    AUDIENCE, EXPECTED, ISSUER, NOW, World, agent, expected_proof, pair, part, proof_claims,
    sign_es256, trust_domain, with,
};
use crate::stranger::{OWN, SHOP, STRANGER, claims_of, type_of};

/// Where tokens are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// At the gateway, in `Authorization`; `subject_token` where a task is handed on.
    Gateway,
    /// `ValidateJWTSVID` of the Workload API, for an audience of the caller's.
    ValidateSvid,
    /// `client_assertion` and `assertion` at the token endpoint; `actor_token`.
    SvidAssertion,
    /// The `DPoP` header.
    Proof,
    /// `client_assertion` of a workload that another issuer vouches for.
    Workload,
    /// `client_assertion` of a client that signs for itself.
    ClientAssertion,
    /// The ID token of a login.
    Login,
    /// `assertion` of a grant from an identity provider.
    Grant,
    /// What is pushed to us.
    Events,
    /// `subject_token` where what was handed on is redeemed.
    Redeem,
}

use Place::{
    ClientAssertion, Events, Gateway, Grant, Login, Proof, Redeem, SvidAssertion, ValidateSvid,
    Workload,
};

/// Who signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signer {
    Access,
    Svid,
    Instance,
    Stranger,
    Client,
    Delegation,
    /// We ourselves, as somebody's client.
    OurClient,
}

const SIGNERS: [Signer; 7] = [
    Signer::Access,
    Signer::Svid,
    Signer::Instance,
    Signer::Stranger,
    Signer::Client,
    Signer::Delegation,
    Signer::OurClient,
];

/// A kind of token: its `typ`, what a good one says, who signs it, where it is accepted.
struct Kind {
    name: &'static str,
    typ: Option<&'static str>,
    claims: Value,
    signer: Signer,
    belongs: &'static [Place],
}

/// The kinds of token each use of a key is for. A new use has no row until it has one here.
fn of_use(key_use: KeyUse) -> &'static [&'static str] {
    match key_use {
        KeyUse::AccessToken => &["access token"],
        KeyUse::JwtSvid => &["JWT-SVID", "JWT-SVID for us"],
        KeyUse::DpopProof => &["proof"],
        KeyUse::Delegation => &["delegation token"],
        KeyUse::Federation => &["federation token"],
        KeyUse::Client => &["client assertion of ours"],
        // What these sign is no token.
        KeyUse::X509Authority | KeyUse::X509Svid => &[],
        KeyUse::Foreign => &["workload token", "client assertion", "ID token", "ID-JAG", "event"],
    }
}

fn kinds() -> Vec<Kind> {
    let world = World::new();
    let (iat, exp) = (NOW.s(), NOW.s() + 240);
    let ours = |more: Value| {
        let mut claims = json!({ "iss": ISSUER, "sub": agent(), "iat": iat, "exp": exp });
        let more = more.as_object().unwrap().clone();
        claims.as_object_mut().unwrap().extend(more);
        claims
    };
    let kind = |name, typ, claims, signer, belongs| Kind { name, typ, claims, signer, belongs };
    let foreign = |name, kind: ForeignKind, belongs| Kind {
        name,
        typ: type_of(kind),
        claims: claims_of(kind),
        signer: if kind == ForeignKind::ClientAssertion {
            Signer::Client
        } else {
            Signer::Stranger
        },
        belongs,
    };
    let access = serde_json::to_value(world.claims()).unwrap();
    let svid =
        |audience: &str| json!({ "sub": agent(), "aud": [audience], "iat": iat, "exp": exp });
    let client = claims_of(ForeignKind::ClientAssertion);
    let logout = with(&claims_of(ForeignKind::IdToken), "events", json!({ "logout": {} }));
    let delegation = ours(json!({
        "aud": ISSUER, "jti": "j", "may_act": { "sub": agent() }, "act": { "sub": agent() },
        "carnet_task": "task_2", "carnet_parent_jti": "7d0c3a5e",
    }));
    vec![
        kind("access token", Some("at+jwt"), access, Signer::Access, &[Gateway]),
        kind("JWT-SVID", Some("JWT"), svid(ELSEWHERE), Signer::Svid, &[ValidateSvid]),
        kind("JWT-SVID for us", Some("JWT"), svid(ISSUER), Signer::Svid, &[SvidAssertion]),
        kind("proof", Some("dpop+jwt"), proof_claims(), Signer::Instance, &[Proof]),
        foreign("workload token", ForeignKind::WorkloadToken, &[Workload]),
        foreign("client assertion", ForeignKind::ClientAssertion, &[ClientAssertion]),
        kind(
            "client assertion by its type",
            Some("client-authentication+jwt"),
            client,
            Signer::Client,
            &[ClientAssertion],
        ),
        foreign("ID token", ForeignKind::IdToken, &[Login]),
        foreign("ID-JAG", ForeignKind::IdJag, &[Grant]),
        foreign("event", ForeignKind::SecurityEvent, &[Events]),
        kind(
            "delegation token",
            Some("carnet-delegation+jwt"),
            delegation,
            Signer::Delegation,
            &[Redeem],
        ),
        // Not for any place here.
        kind(
            "client assertion of ours",
            Some("JWT"),
            json!({ "iss": OWN, "sub": OWN, "aud": STRANGER, "jti": "j", "iat": iat, "exp": iat + 60 }),
            Signer::OurClient,
            &[],
        ),
        kind(
            "federation token",
            Some("JWT"),
            ours(json!({ "aud": "sts.amazonaws.com" })),
            Signer::Access,
            &[],
        ),
        kind("logout token", Some("JWT"), logout.clone(), Signer::Stranger, &[]),
        kind("logout token by its type", Some("logout+jwt"), logout, Signer::Stranger, &[]),
        kind(
            "workload identity token",
            Some("wit+jwt"),
            ours(json!({ "cnf": {} })),
            Signer::Svid,
            &[],
        ),
        kind(
            "workload proof",
            Some("wpt+jwt"),
            ours(json!({ "aud": AUDIENCE, "wth": "x" })),
            Signer::Instance,
            &[],
        ),
        kind(
            "transaction token",
            Some("txntoken+jwt"),
            ours(json!({ "aud": AUDIENCE, "txn": "t" })),
            Signer::Access,
            &[],
        ),
        kind(
            "status list",
            Some("statuslist+jwt"),
            ours(json!({ "status_list": {} })),
            Signer::Access,
            &[],
        ),
        kind(
            "introspection answer",
            Some("token-introspection+jwt"),
            ours(json!({ "aud": AUDIENCE })),
            Signer::Access,
            &[],
        ),
        kind(
            "request object",
            Some("oauth-authz-req+jwt"),
            with(&claims_of(ForeignKind::ClientAssertion), "scope", "a".into()),
            Signer::Client,
            &[],
        ),
        kind("credential", Some("vc+jwt"), ours(json!({ "vc": {} })), Signer::Access, &[]),
        kind(
            "key binding",
            Some("kb+jwt"),
            ours(json!({ "aud": AUDIENCE, "nonce": "n" })),
            Signer::Instance,
            &[],
        ),
        kind(
            "federation entity",
            Some("entity-statement+jwt"),
            ours(json!({ "jwks": {} })),
            Signer::Access,
            &[],
        ),
    ]
}

const ELSEWHERE: &str = "https://other.example";

/// One key for each signer.
struct Keys([SigningKey; 7]);

impl Keys {
    const USES: [KeyUse; 7] = [
        KeyUse::AccessToken,
        KeyUse::JwtSvid,
        KeyUse::DpopProof,
        KeyUse::Foreign,
        KeyUse::Foreign,
        KeyUse::Delegation,
        KeyUse::Client,
    ];

    fn apart() -> Self {
        Self(Self::USES.map(|key_use| SigningKey::generate(key_use).unwrap()))
    }

    /// The same secret for all of them: keys keep nothing apart any more.
    fn one() -> Self {
        let pkcs8 = SigningKey::generate(KeyUse::AccessToken).unwrap().to_pkcs8().unwrap();
        let bytes = pkcs8.expose_secret();
        Self(Self::USES.map(|key_use| SigningKey::from_pkcs8(key_use, bytes).unwrap()))
    }

    fn of(&self, signer: Signer) -> &SigningKey {
        &self.0[signer as usize]
    }

    /// The set a place has that trusts `signers`.
    fn set(&self, signers: &[Signer]) -> KeySet {
        let mut set = KeySet::default();
        for signer in signers {
            // Of two uses of one secret the first counts.
            let _ = set.insert(self.of(*signer).verifying_key());
        }
        set
    }

    /// A token of `kind`, signed by `signer` as it would sign its own.
    fn token(&self, kind: &Kind, signer: Signer) -> String {
        let mut header = json!({ "alg": "ES256", "kid": self.of(signer).kid() });
        if kind.name == "proof" {
            header = json!({ "alg": "ES256", "jwk": self.instance_jwk() });
        }
        if let Some(typ) = kind.typ {
            header["typ"] = typ.into();
        }
        let payload = kind.claims.to_string();
        sign_es256(&pair(self.of(signer)), &header.to_string(), payload.as_bytes())
    }

    fn instance_jwk(&self) -> Value {
        let pkcs8 = self.of(Signer::Instance).to_pkcs8().unwrap();
        let key = DpopKey::from_pkcs8(pkcs8.expose_secret()).unwrap();
        part(&key.prove("GET", AUDIENCE, None, "x", NOW, None).unwrap(), 0)["jwk"].clone()
    }

    /// The places that accept `token`. Each of ours trusts all of our keys, each of theirs the
    /// issuer's.
    fn accepted(&self, token: &str) -> Vec<Place> {
        let domain = trust_domain();
        let [access, svid, delegation] = [
            [Signer::Access, Signer::Svid, Signer::Delegation, Signer::OurClient],
            [Signer::Svid, Signer::Access, Signer::Delegation, Signer::OurClient],
            [Signer::Delegation, Signer::Access, Signer::Svid, Signer::OurClient],
        ]
        .map(|signers| self.set(&signers));
        let bundles = TrustBundles::from([(domain.clone(), svid.clone())]);
        let foreign = |kind, issuer, audience, signer| {
            let expected = ExpectedForeign { kind, issuer, audience };
            verify_foreign(token, &self.set(&[signer]), &expected, NOW).is_ok()
        };
        let by_gateway = verify_access(token, &access, &EXPECTED, NOW).is_ok();
        let cached = TokenCache::new(4).verify(token, &access, &EXPECTED, NOW).is_ok();
        assert_eq!(by_gateway, cached);
        let stranger = Signer::Stranger;
        let answers = [
            (Gateway, by_gateway),
            (ValidateSvid, verify_svid(token, &svid, &domain, ELSEWHERE, NOW).is_ok()),
            (SvidAssertion, verify_client_assertion(token, &bundles, ISSUER, NOW).is_ok()),
            (Proof, verify_dpop(token, &expected_proof(), NOW).is_ok()),
            (Workload, foreign(ForeignKind::WorkloadToken, STRANGER, ISSUER, stranger)),
            (ClientAssertion, foreign(ForeignKind::ClientAssertion, SHOP, ISSUER, Signer::Client)),
            (Login, foreign(ForeignKind::IdToken, STRANGER, OWN, stranger)),
            (Grant, foreign(ForeignKind::IdJag, STRANGER, ISSUER, stranger)),
            (Events, foreign(ForeignKind::SecurityEvent, STRANGER, ISSUER, stranger)),
            (Redeem, verify_delegation(token, &delegation, ISSUER, NOW).is_ok()),
        ];
        answers.into_iter().filter(|(_, yes)| *yes).map(|(place, _)| place).collect()
    }
}

#[test]
fn each_kind_is_accepted_in_its_own_place_and_no_other() {
    let keys = Keys::apart();
    for kind in kinds() {
        let token = keys.token(&kind, kind.signer);
        assert_eq!(keys.accepted(&token), kind.belongs, "{}", kind.name);
    }
}

#[test]
fn no_kind_is_accepted_anywhere_when_another_of_the_keys_signs_it() {
    let keys = Keys::apart();
    for kind in kinds() {
        for signer in SIGNERS.into_iter().filter(|signer| *signer != kind.signer) {
            let token = keys.token(&kind, signer);
            assert_eq!(keys.accepted(&token), [], "{} signed by {signer:?}", kind.name);
        }
    }
}

#[test]
fn kinds_are_kept_apart_even_where_one_key_signs_them_all() {
    let keys = Keys::one();
    for kind in kinds() {
        let token = keys.token(&kind, kind.signer);
        assert_eq!(keys.accepted(&token), kind.belongs, "{}", kind.name);
    }
}

#[test]
fn every_kind_and_every_place_has_its_row() {
    let kinds = kinds();
    let names: BTreeSet<&str> = kinds.iter().map(|kind| kind.name).collect();
    assert_eq!(names.len(), kinds.len(), "names are unique");
    for name in Keys::USES.into_iter().flat_map(of_use) {
        assert!(names.contains(name), "no row for the {name}");
    }
    let places: BTreeSet<Place> = kinds.iter().flat_map(|kind| kind.belongs).copied().collect();
    assert_eq!(places.len(), 10, "each place accepts something, or its row tests nothing");
}

/// Whoever adds a kind of token gives it a row with a place: the types readers know are looked up
/// in the sources.
#[test]
fn no_reader_knows_a_type_that_has_no_row() {
    let kinds = kinds();
    let with_place = |typ: &str| {
        kinds.iter().any(|kind| {
            let own = kind.typ.unwrap_or("JWT");
            !kind.belongs.is_empty() && own == typ.trim_start_matches("application/")
        })
    };
    let mut seen = 0;
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap() {
        let path = entry.unwrap().path();
        // No token is read in the folder of certificates.
        if path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap();
        for list in text.split("types: &[").skip(1) {
            let list = list.split(']').next().unwrap();
            for typ in list.split('"').skip(1).step_by(2).filter(|typ| *typ != "JOSE") {
                assert!(with_place(typ), "`{typ}` has no row with a place in the matrix");
                seen += 1;
            }
        }
    }
    assert!(seen >= 7, "the readers were not found: {seen}");
}

/// Claims that would satisfy every place of ours at once, were it not for what keeps kinds apart.
fn chimera() -> Value {
    let mut claims = serde_json::to_value(World::new().claims()).unwrap();
    let sub = agent().to_string();
    for (name, value) in [("sub", json!(sub)), ("aud", json!(ISSUER)), ("iss", json!(ISSUER))] {
        claims[name] = value;
    }
    for (name, value) in proof_claims().as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

#[test]
fn no_other_kind_of_token_is_accepted_anywhere_whichever_of_our_keys_signs_it() {
    let keys = Keys::apart();
    let types =
        kinds().into_iter().filter(|kind| kind.belongs.is_empty()).filter_map(|kind| kind.typ);
    let odd = ["jwt", "AT+JWT", "application/jwt", "application/dpop+jwt", "at+jwt ", ""];
    for typ in types.filter(|typ| *typ != "JWT").chain(odd) {
        for header in [
            json!({ "alg": "ES256", "kid": keys.of(Signer::Access).kid(), "typ": typ }),
            json!({ "alg": "ES256", "kid": keys.of(Signer::Svid).kid(), "typ": typ }),
            json!({ "alg": "ES256", "jwk": keys.instance_jwk(), "typ": typ }),
        ] {
            for signer in SIGNERS {
                let payload = chimera().to_string();
                let pair = pair(keys.of(signer));
                let token = sign_es256(&pair, &header.to_string(), payload.as_bytes());
                assert_eq!(keys.accepted(&token), [], "{typ} signed by {signer:?}");
            }
        }
    }
}

#[test]
fn a_kinds_key_and_a_kinds_type_go_together() {
    let keys = Keys::apart();
    for typ in ["at+jwt", "application/at+jwt", "JWT", "JOSE", "dpop+jwt"] {
        let signed = |signer: Signer| {
            let header = json!({ "alg": "ES256", "kid": keys.of(signer).kid(), "typ": typ });
            let payload = chimera().to_string();
            keys.accepted(&sign_es256(
                &pair(keys.of(signer)),
                &header.to_string(),
                payload.as_bytes(),
            ))
        };
        assert_eq!(signed(Signer::Access), [], "the audience is the issuer's: {typ}");
        let expected: &[Place] = if matches!(typ, "JWT" | "JOSE") { &[SvidAssertion] } else { &[] };
        assert_eq!(signed(Signer::Svid), expected, "{typ}");
    }
}

#[test]
fn an_id_token_of_our_own_issuer_is_no_access_token() {
    let keys = Keys::apart();
    let claims = json!({
        "iss": ISSUER, "sub": "user:alice", "aud": AUDIENCE, "iat": NOW.s(), "exp": NOW.s() + 300,
        "nonce": "n",
    });
    for typ in [None, Some("JWT")] {
        let (claims, signer) = (claims.clone(), Signer::Access);
        let kind = Kind { name: "ID token of ours", typ, claims, signer, belongs: &[] };
        assert_eq!(keys.accepted(&keys.token(&kind, signer)), []);
    }
}
