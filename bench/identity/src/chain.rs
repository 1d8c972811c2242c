//! A part of a task handed on and redeemed, at the first level and at the fifth.
//!
//! Where Carnet offers token exchange (RFC 8693) both steps are exchanges; where it does not, the
//! delegation endpoint hands on and client credentials redeem. Both open the same child task.

use anyhow::Context;
use serde_json::{Value, json};

use crate::Figures;
use crate::agent::{Agent, House, ROOT, TOKEN};
use crate::connection::{Answer, Connection};
use crate::measure::{Round, Series};

const DELEGATE: &str = "/oauth/delegate";
const METADATA: &str = "/.well-known/oauth-authorization-server";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// How deep the chain goes.
const DEPTH_MAX: usize = 5;
/// How often what was handed on is redeemed in a round.
const REDEEMED: usize = 160;
/// How many open tasks one agent may have from one other.
const HANDED_ON_MAX: usize = 32;
/// How often a part is handed on in a round, at most.
const HANDED_ON: usize = 8;

/// How a part is handed on.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Exchange,
    Endpoint,
}

/// What an agent was handed, and its own token for it.
struct Part {
    task: String,
    /// What it is redeemed with, where that is a token.
    delegation: Option<String>,
    access: String,
}

struct Chain<'a> {
    house: &'a House,
    connection: Connection,
    way: Way,
    agents: Vec<Agent>,
    /// What each agent has; the first has the task itself.
    parts: Vec<Part>,
}

/// What one round came to, at one level.
struct Level {
    handed_on: Round,
    redeemed: Round,
}

/// Builds the chain anew in each round, and measures its first hop and its last.
pub(crate) async fn measure(
    house: &House,
    task: &str,
    rounds: u32,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let share = HANDED_ON_MAX / usize::try_from(rounds)? - 1;
    let mut series = [(); 4].map(|()| Series::default());
    let mut way = Way::Endpoint;
    for _ in 0..rounds {
        let mut chain = Chain::build(house, task).await?;
        way = chain.way;
        for (index, depth) in [1, DEPTH_MAX].into_iter().enumerate() {
            let level = chain.level(depth, share.min(HANDED_ON)).await?;
            series[index].add(level.redeemed);
            series[index + 2].add(level.handed_on);
        }
    }
    println!("handed on and redeemed by {way:?}");
    let names = ["exchange_depth1", "exchange_depth5", "hand_on_depth1", "hand_on_depth5"];
    for (name, series) in names.into_iter().zip(&series) {
        figures.put_times(name, series);
    }
    figures.put("exchange_is_rfc8693", if way == Way::Exchange { 1.0 } else { 0.0 });
    Ok(())
}

impl<'a> Chain<'a> {
    async fn build(house: &'a House, task: &str) -> anyhow::Result<Self> {
        let mut connection = Connection::open(&house.issuer).await?;
        let metadata = connection.get(METADATA).await?;
        let grants = metadata.get("grant_types_supported").and_then(Value::as_array);
        let has_exchange = grants.is_some_and(|grants| grants.contains(&json!(EXCHANGE)));
        let way = if has_exchange { Way::Exchange } else { Way::Endpoint };
        let mut agents = vec![house.agent(ROOT).await?];
        for hop in 1..=DEPTH_MAX {
            agents.push(house.agent(&format!("hop-{hop}")).await?);
        }
        let mut chain = Self { house, connection, way, agents, parts: Vec::new() };
        let answer = chain.client_credentials(0, task).await?;
        let access = text(&answer.json, "access_token")?;
        chain.parts.push(Part { task: task.to_owned(), delegation: None, access });
        for depth in 1..=DEPTH_MAX {
            let answer = chain.hand_on(depth).await?;
            let (task, delegation) = match way {
                Way::Exchange => {
                    let scope = text(&answer.json, "scope")?;
                    let task = scope.strip_prefix("task:").context("no task in scope")?.to_owned();
                    (task, Some(text(&answer.json, "access_token")?))
                }
                Way::Endpoint => (text(&answer.json, "task")?, None),
            };
            chain.parts.push(Part { task, delegation, access: String::new() });
            let redeemed = chain.redeem(depth).await?;
            let access = text(&redeemed.json, "access_token")?;
            chain.parts.get_mut(depth).context("no part")?.access = access;
        }
        Ok(chain)
    }

    async fn level(&mut self, depth: usize, handed_on: usize) -> anyhow::Result<Level> {
        let mut times = Vec::new();
        for _ in 0..handed_on {
            times.push(self.hand_on(depth).await?.took_us);
        }
        let mut redeemed = Vec::new();
        for _ in 0..REDEEMED {
            redeemed.push(self.redeem(depth).await?.took_us);
        }
        Ok(Level { handed_on: Round::of(times), redeemed: Round::of(redeemed) })
    }

    /// The agent above `depth` hands a part on to the agent at `depth`.
    async fn hand_on(&mut self, depth: usize) -> anyhow::Result<Answer> {
        let (from, to) = (&self.agents[depth - 1], &self.agents[depth]);
        let part = &self.parts[depth - 1];
        let intent = intent(DEPTH_MAX - depth);
        if self.way == Way::Endpoint {
            let intent = intent.to_string();
            let form = [("task", part.task.as_str()), ("agent", &to.name), ("intent", &intent)];
            return from.ask(&mut self.connection, DELEGATE, &form).await;
        }
        let details = json!([{ "type": "carnet_delegation", "intent": intent }]).to_string();
        let form = [
            ("grant_type", EXCHANGE),
            ("subject_token", part.access.as_str()),
            ("subject_token_type", ACCESS_TOKEN),
            ("audience", &to.id),
            ("authorization_details", &details),
        ];
        from.ask(&mut self.connection, TOKEN, &form).await
    }

    /// The agent at `depth` gets its own token for what it was handed.
    async fn redeem(&mut self, depth: usize) -> anyhow::Result<Answer> {
        let Part { task, delegation, .. } = &self.parts[depth];
        let Some(delegation) = delegation.clone() else {
            let task = task.clone();
            return self.client_credentials(depth, &task).await;
        };
        let resource = self.house.resource();
        let form = [
            ("grant_type", EXCHANGE),
            ("subject_token", delegation.as_str()),
            ("subject_token_type", JWT),
            ("resource", &resource),
        ];
        self.agents[depth].ask(&mut self.connection, TOKEN, &form).await
    }

    async fn client_credentials(&mut self, depth: usize, task: &str) -> anyhow::Result<Answer> {
        let (resource, scope) = (self.house.resource(), format!("task:{task}"));
        let form = [
            ("grant_type", "client_credentials"),
            ("resource", resource.as_str()),
            ("scope", scope.as_str()),
        ];
        self.agents[depth].ask(&mut self.connection, TOKEN, &form).await
    }
}

/// What is handed on, with `levels` below it.
fn intent(levels: usize) -> Value {
    let mut intent = json!({
        "purpose": "measure what a token costs",
        "allow": [{ "action": "echo.tool.echo", "path": "read" }],
    });
    if levels > 0 {
        intent["budget"] = json!({ "depth": levels, "fan_out": 2 * HANDED_ON_MAX });
    }
    intent
}

fn text(json: &Value, name: &str) -> anyhow::Result<String> {
    let text = json.get(name).and_then(Value::as_str);
    text.map(str::to_owned).with_context(|| format!("no `{name}` in {json}"))
}
