//! Joining the rooms: store, ledger, broker, gateway, and the three ways in.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use carnet_broker::fetch::Fetcher;
use carnet_broker::operator::{self, OperatorOptions, Operators};
use carnet_broker::{Broker, BrokerParts, context, oauth, workload};
use carnet_gateway::{ChildRules, Gateway, GatewayParts};
use carnet_ledger::{Ledger, LedgerConfig, RealDisk};
use carnet_store::{SqliteOptions, SqliteStore};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::control::Embedded;
use super::inspect::Looking;
use super::keys::{Keys, make_private_dir};
use super::listener::{self, Front};
use super::peer::Vouches;
use super::seats::Limits;
use crate::config::Config;

/// A running Carnet.
pub(crate) struct Running {
    ledger: Ledger,
    tasks: JoinSet<()>,
}

impl Running {
    /// Stops serving, then closes the ledger with a last checkpoint.
    pub(crate) async fn stop(mut self) {
        self.tasks.shutdown().await;
        let ledger = self.ledger;
        let _ = tokio::task::spawn_blocking(move || ledger.close()).await;
    }
}

/// `carnet up`: runs until it is told to stop.
pub(crate) async fn up(config: Config) -> anyhow::Result<()> {
    let operator_socket = config.operator_socket();
    let issuer = config.issuer();
    let running = start(config).await?;
    println!("carnet is up");
    println!("  agents     {issuer}");
    println!("  operators  {}", operator_socket.display());
    println!("stop with ctrl-c");
    wait_for_signal().await?;
    running.stop().await;
    println!("carnet is down");
    Ok(())
}

async fn wait_for_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

/// Starts everything, in the order that nothing answers before it can refuse.
pub(crate) async fn start(config: Config) -> anyhow::Result<Running> {
    let state_dir = config.state_dir();
    make_private_dir(&state_dir)?;
    let is_used = ["store.db", "ledger"].iter().any(|name| state_dir.join(name).exists());
    let keys = Keys::load_or_create(&state_dir.join("keys"), is_used, config.kek()?.as_ref())?;
    let tls = config.listen.tls.as_ref().map(|tls| listener::certified(tls, &config.root));
    let tls = tls.transpose()?;
    let listener = TcpListener::bind(config.listen.address).await.with_context(|| {
        format!("listen.address: {} cannot be listened on", config.listen.address)
    })?;
    let (broker, ledger) = start_broker(&config, keys).await?;
    let control = Arc::new(Embedded::new(Arc::clone(&broker)));
    let gateway = Gateway::start(GatewayParts {
        control,
        ledger: ledger.clone(),
        issuer: config.issuer(),
        approval_hold: Duration::from_secs(config.approvals.hold_s),
        children: ChildRules {
            same_user: config.trust.same_user,
            uids_refused: operators(&config).into_keys().collect(),
        },
    })?;
    let mut tasks = JoinSet::new();
    serve_operators(&config, &broker, &gateway, &mut tasks).await?;
    serve_agents(&config, &broker, &mut tasks).await?;
    let vouches: Arc<dyn Vouches> = Arc::<Broker>::clone(&broker);
    let tls = tls.map(|certified| listener::secured_by(certified, vouches));
    let transmitters = config.context.transmitters(&config.root, &config.issuer())?;
    let events = context::router(Arc::clone(&broker), Fetcher::new(&[]), transmitters);
    let options = oauth::OAuthOptions { mutual_tls: tls.is_some(), ..config.oauth()? };
    let oauth = oauth::router(broker, options)?.merge(events);
    tasks.spawn(listener::serve(listener, tls, Front { gateway, oauth }, Limits::default()));
    Ok(Running { ledger, tasks })
}

async fn start_broker(config: &Config, keys: Keys) -> anyhow::Result<(Arc<Broker>, Ledger)> {
    let state_dir = config.state_dir();
    let ledger_config = LedgerConfig::new(
        state_dir.join("ledger"),
        state_dir.join("ledger-lock"),
        format!("{}/ledger", config.trust.domain),
    );
    #[cfg(feature = "fault")]
    let ledger_config = with_small_files(ledger_config)?;
    let (ledger, recovered) = tokio::task::spawn_blocking(move || {
        Ledger::open(ledger_config, Arc::new(RealDisk), keys.ledger)
    })
    .await?
    .context("the ledger")?;
    if recovered.torn_bytes > 0 {
        tracing::warn!(
            bytes = recovered.torn_bytes,
            "a torn tail of the ledger was cut off: it was never acknowledged"
        );
    }
    let file = state_dir.join("store.db");
    let store = SqliteStore::open(&file, SqliteOptions::default()).context("the store")?;
    let broker = Broker::start(BrokerParts {
        store: Arc::new(store),
        ledger: ledger.clone(),
        last_outbox: recovered.outbox,
        vault: keys.vault,
        trust_domain: config.trust_domain()?,
        issuer: config.issuer(),
        freshness_window: Duration::from_millis(config.freshness.window_ms),
    })
    .await?;
    broker.follow_rules(config.context.rules());
    broker.put_users(config.known_users()).await?;
    broker.trust_in(crate::authorities::read(config)?).await.context("trust")?;
    Ok((broker, ledger))
}

/// Segments and reserves as small as a test wants them, so that a small disk runs full quickly.
#[cfg(feature = "fault")]
fn with_small_files(config: LedgerConfig) -> anyhow::Result<LedgerConfig> {
    let Ok(bytes) = std::env::var("CARNET_LEDGER_SEGMENT_BYTES") else { return Ok(config) };
    let bytes = bytes.parse().context("CARNET_LEDGER_SEGMENT_BYTES is not a number")?;
    Ok(LedgerConfig { segment_bytes: bytes, reserve_bytes: bytes, ..config })
}

fn operators(config: &Config) -> Operators {
    let operators = config.users.iter().filter_map(|user| Some((user.uid?, user.name.clone())));
    operators.collect()
}

async fn serve_operators(
    config: &Config,
    broker: &Arc<Broker>,
    gateway: &Arc<Gateway>,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    let socket = config.operator_socket();
    if let Some(dir) = socket.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let inspect = Arc::new(Looking(Arc::clone(gateway)));
    let options =
        OperatorOptions { operators: operators(config), same_user: config.trust.same_user };
    let serving = operator::serve(Arc::clone(broker), inspect, options, &socket).await?;
    tasks.spawn(serving);
    Ok(())
}

async fn serve_agents(
    config: &Config,
    broker: &Arc<Broker>,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    if config.trust.same_user {
        tracing::warn!(
            "trust.same_user: an agent may run under an operator's uid and could act as them"
        );
    }
    let socket = config.agent_socket();
    let options = workload::WorkloadOptions {
        operator_uids: operators(config).into_keys().collect(),
        same_user: config.trust.same_user,
        ..workload::WorkloadOptions::default()
    };
    let socket = workload::WorkloadSocket::bind(&socket).await?;
    let broker = Arc::clone(broker);
    tasks.spawn(async move {
        let stop = CancellationToken::new();
        let _stops = stop.clone().drop_guard();
        if let Err(error) = workload::serve(broker, socket, options, stop).await {
            tracing::error!(%error, "agents cannot prove who they are any more");
        }
    });
    Ok(())
}
