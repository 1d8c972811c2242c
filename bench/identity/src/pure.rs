//! Minting and checking, without a cache, in one thread: what they cost in processor time.

use std::hint::black_box;
use std::time::Instant;

use anyhow::ensure;
use carnet_core::{Path, Timestamp};
use carnet_identity::{
    AccessClaims, Act, Confirmation, DpopKey, ExpectedAccess, ExpectedDpop, KeySet, KeyUse,
    Possession, SigningKey, SpiffeId, TrustDomain, mint_access, verify_access, verify_dpop,
};

use crate::Figures;
use crate::measure::{Round, Series};

const ISSUER: &str = "https://carnet.example";
const AUDIENCE: &str = "https://carnet.example/read/mcp/desk";
const NOW: Timestamp = Timestamp::from_s(1_800_000_000);
/// How many different tokens take turns.
const TOKENS: usize = 64;
const CALLS: usize = 3_000;

struct Desk {
    access: SigningKey,
    keys: KeySet,
    claims: Vec<AccessClaims>,
    tokens: Vec<(String, String)>,
}

/// Each is measured call by call in turns with the others.
pub(crate) fn measure(rounds: u32, figures: &mut Figures) -> anyhow::Result<()> {
    let desk = Desk::new()?;
    desk.check_at_all()?;
    let mut series = [(); 3].map(|()| Series::default());
    for _ in 0..rounds {
        let mut times = [(); 3].map(|()| Vec::with_capacity(CALLS));
        for n in 0..CALLS {
            times[0].push(us(|| desk.mint(n)));
            times[1].push(us(|| desk.check(n)));
            times[2].push(us(|| desk.check_with_proof(n)));
        }
        for (series, times) in series.iter_mut().zip(times) {
            series.add(Round::of(times));
        }
    }
    for (name, series) in ["mint", "check", "check_dpop"].into_iter().zip(&series) {
        figures.put_times(name, series);
        figures.put_rate(name, series);
    }
    Ok(())
}

fn us<T>(call: impl FnOnce() -> T) -> f64 {
    let began = Instant::now();
    let _ = black_box(call());
    began.elapsed().as_secs_f64() * 1e6
}

impl Desk {
    fn new() -> anyhow::Result<Self> {
        let access = SigningKey::generate(KeyUse::AccessToken)?;
        let keys = KeySet::from_keys([access.verifying_key()])?;
        let instance = DpopKey::generate()?;
        let (mut claims, mut tokens) = (Vec::new(), Vec::new());
        for n in 0..TOKENS {
            let own = claims_of(n, &instance)?;
            let token = mint_access(&access, &own)?;
            let jti = format!("proof-{n}");
            let proof = instance.prove("POST", AUDIENCE, Some(&token), &jti, NOW, None)?;
            claims.push(own);
            tokens.push((token, proof));
        }
        Ok(Self { access, keys, claims, tokens })
    }

    /// A figure about tokens that are refused at the first check would be worth nothing.
    fn check_at_all(&self) -> anyhow::Result<()> {
        for n in 0..TOKENS {
            ensure!(self.mint(n).is_some(), "token {n} is not minted");
            ensure!(self.check(n).is_some(), "token {n} is refused");
            ensure!(self.check_with_proof(n) == Some(Possession::Proved), "proof {n} is refused");
        }
        Ok(())
    }

    fn mint(&self, n: usize) -> Option<String> {
        mint_access(&self.access, self.claims.get(n % TOKENS)?).ok()
    }

    fn check(&self, n: usize) -> Option<AccessClaims> {
        let (token, _) = self.tokens.get(n % TOKENS)?;
        let expected = ExpectedAccess { issuer: ISSUER, audience: AUDIENCE };
        verify_access(token, &self.keys, &expected, NOW).ok()
    }

    fn check_with_proof(&self, n: usize) -> Option<Possession> {
        let claims = self.check(n)?;
        let (token, proof) = self.tokens.get(n % TOKENS)?;
        let expected =
            ExpectedDpop { method: "POST", url: AUDIENCE, access_token: Some(token), nonce: None };
        let proof = verify_dpop(proof, &expected, NOW).ok()?;
        claims.possession(Some(&proof)).ok()
    }
}

fn claims_of(n: usize, instance: &DpopKey) -> anyhow::Result<AccessClaims> {
    let domain: TrustDomain = "carnet.example".parse()?;
    let agent = SpiffeId::agent(&domain, &"desk-agent".parse()?).to_string();
    Ok(AccessClaims {
        iss: ISSUER.to_owned(),
        sub: "user:alice".to_owned(),
        client_id: agent.clone(),
        aud: AUDIENCE.to_owned(),
        iat: NOW,
        nbf: NOW,
        exp: NOW.plus_s(300),
        jti: format!("token-{n}"),
        scope: Some("task:task_1".to_owned()),
        cnf: Some(Confirmation::Key { jkt: instance.thumbprint() }),
        act: Some(Act { sub: agent, iss: None, act: None }),
        task: "task_1".parse()?,
        path: Path::Read,
        resource: "desk".parse()?,
        instance: "inst_1".parse()?,
        authorization_details: vec![],
    })
}
