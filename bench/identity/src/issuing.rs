//! Tokens from the token endpoint: each is a decision, and durable before it is answered.

use std::time::Instant;

use anyhow::{Context, ensure};
use futures::future::try_join_all;

use crate::Figures;
use crate::agent::{Agent, House, ROOT, TOKEN, with_assertion};
use crate::connection::Connection;
use crate::measure::{Round, Series};

/// How many connections ask at once, where many do.
const CONNECTIONS: usize = 8;
/// How many tokens each way of asking gets in a round. An SVID without a key is good once, and one
/// agent may have 4,096 in use.
const ALONE: usize = 160;
const EACH: usize = 40;

/// Who asks for a token.
enum Asker {
    /// Somebody without a key, with an SVID for each token.
    Bearer(Vec<String>),
    /// An agent that proves its key.
    Bound(Box<Agent>),
}

/// Asks for tokens on one connection and on several, with and without a key.
pub(crate) async fn measure(
    house: &House,
    task: &str,
    rounds: u32,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let mut series = [(); 4].map(|()| Series::default());
    for _ in 0..rounds {
        let [alone, many, bound_alone, bound_many] = &mut series;
        alone.add(one(house, task, false).await?);
        many.add(several(house, task, false).await?);
        bound_alone.add(one(house, task, true).await?);
        bound_many.add(several(house, task, true).await?);
    }
    let [alone, many, bound_alone, bound_many] = &series;
    figures.put_times("issue", alone);
    figures.put_rate("issue", many);
    figures.put_times("issue_dpop", bound_alone);
    figures.put_rate("issue_dpop", bound_many);
    Ok(())
}

async fn one(house: &House, task: &str, is_bound: bool) -> anyhow::Result<Round> {
    let asker = Asker::new(house, is_bound, ALONE).await?;
    asker.ask(house, task, ALONE).await.map(Round::of)
}

async fn several(house: &House, task: &str, is_bound: bool) -> anyhow::Result<Round> {
    let mut askers = Vec::new();
    for _ in 0..CONNECTIONS {
        askers.push(Asker::new(house, is_bound, EACH).await?);
    }
    let began = Instant::now();
    let asked = askers.iter().map(|asker| asker.ask(house, task, EACH));
    let times = try_join_all(asked).await?.concat();
    Ok(Round::side_by_side(times, began.elapsed().as_secs_f64() * 1e6))
}

impl Asker {
    async fn new(house: &House, is_bound: bool, count: usize) -> anyhow::Result<Self> {
        let agent = house.agent(ROOT).await?;
        match is_bound {
            true => Ok(Self::Bound(Box::new(agent))),
            false => Ok(Self::Bearer(house.svids(&agent.id, count).await?)),
        }
    }

    /// Gets `count` tokens, one after the other; how long each took.
    async fn ask(&self, house: &House, task: &str, count: usize) -> anyhow::Result<Vec<f64>> {
        let mut connection = Connection::open(&house.issuer).await?;
        let (resource, scope) = (house.resource(), format!("task:{task}"));
        let form = [
            ("grant_type", "client_credentials"),
            ("resource", resource.as_str()),
            ("scope", scope.as_str()),
        ];
        let mut times = Vec::with_capacity(count);
        for n in 0..count {
            let answer = match self {
                Self::Bound(agent) => agent.ask(&mut connection, TOKEN, &form).await?,
                Self::Bearer(svids) => {
                    let svid = svids.get(n).context("too few SVIDs")?;
                    connection.post(TOKEN, None, &with_assertion(&form, svid)).await?
                }
            };
            let kind = answer.json.get("token_type").and_then(|kind| kind.as_str());
            let wanted = if matches!(self, Self::Bound(_)) { "DPoP" } else { "Bearer" };
            ensure!(kind == Some(wanted), "not the token asked for: {kind:?}");
            times.push(answer.took_us);
        }
        Ok(times)
    }
}
