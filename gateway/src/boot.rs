//! Plan to running process: runtime, snapshot, listeners, background, run.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tracing::{info, warn};
use turnpike_api::{Store, StoreError};
use turnpike_audit::events::Started;
use turnpike_config::plan::{LoginModePlan, StatePlan};
use turnpike_config::{Environment, Plan};

use crate::assemble::{Ground, assemble, credential_directory, open_to_others};
use crate::audit::AuditError;
use crate::background::{
    affinity, cooldowns, keys, last_used, limits, news, probe, quotas, replicas, retention,
    sessions, traces, usage,
};
use crate::clock::Time;
use crate::listener;
use crate::observe::events::{ConfigurationRead, CredentialFilesRead};
use crate::observe::logging;
use crate::proxy::Proxy;
use crate::reload::{self, Reloader};
use crate::runtime::{Listening, Runtime};
use crate::secret_key::{self, SecretKeyError};
use crate::sockets::{Socket, SocketError, Sockets};
use crate::sso::Sso;
use crate::store::{self, StoreOpenError, Timed};
use crate::upstream::connections;
use crate::web;

#[derive(Debug, Error)]
pub enum BootError {
    #[error(transparent)]
    Listen(#[from] SocketError),
    #[error("the configuration cannot be served:\n{}", .0.join("\n"))]
    Assemble(Vec<String>),
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
    #[error("cannot register the metrics")]
    Metrics(#[from] prometheus::Error),
    #[error("there is no secret key")]
    SecretKey(#[from] SecretKeyError),
    #[error("cannot open the store")]
    Store(#[from] StoreOpenError),
    #[error("cannot read the store")]
    ReadStore(#[source] StoreError),
    #[error("cannot keep record of what happens")]
    Audit(#[from] AuditError),
    #[error("cannot tell which address a listener has")]
    Address(#[source] io::Error),
    #[error("cannot watch for signals")]
    Signals(#[source] io::Error),
}

/// Where a configuration came from, to read it again.
pub struct Source {
    pub path: PathBuf,
    pub environment: Environment,
}

/// A gateway that serves. Dropping it does not stop it; [`stop`](Self::stop) does.
pub struct Gateway {
    pub proxy: SocketAddr,
    /// The proxy's own when one listener serves both.
    pub admin: SocketAddr,
    pub runtime: Arc<Runtime>,
    pub reloader: Arc<Reloader>,
    /// Where callers come.
    pub(crate) listener: JoinHandle<()>,
    /// Where it is managed; `None` when that is the same.
    pub(crate) admin_listener: Option<JoinHandle<()>>,
    pub(crate) background: Vec<JoinHandle<()>>,
}

/// The signals that end the process.
///
/// They are caught before anything listens: one that came between would end the process with
/// requests under way and without its exit code.
pub struct Signals {
    pub(crate) terminate: Signal,
    pub(crate) interrupt: Signal,
}

impl Signals {
    pub fn catch() -> Result<Self, BootError> {
        let caught = |kind| signal(kind).map_err(BootError::Signals);
        // Only so that one that comes before the reloader listens is not the process's end.
        let _ = caught(SignalKind::hangup())?;
        Ok(Self {
            terminate: caught(SignalKind::terminate())?,
            interrupt: caught(SignalKind::interrupt())?,
        })
    }
}

/// Starts serving `plan` on the current tokio runtime, by this clock.
pub async fn start(
    plan: Plan,
    source: Source,
    logging: Option<logging::Handle>,
    time: Time,
) -> Result<Gateway, BootError> {
    start_on(Sockets::default(), plan, source, logging, time).await
}

/// The same on sockets that somebody else has opened.
pub async fn start_on(
    mut sockets: Sockets,
    plan: Plan,
    source: Source,
    logging: Option<logging::Handle>,
    time: Time,
) -> Result<Gateway, BootError> {
    let hangup = signal(SignalKind::hangup()).map_err(BootError::Signals)?;
    let ground = Ground::new(time.clone(), plan.agent_tokens.max_concurrent_hashes)?;
    let store = store::open(&plan.state, time).await?;
    let store: Arc<dyn Store> = Arc::new(Timed::new(store, ground.metrics.clone()));
    if plan.server.secret_key.is_none() {
        let _ = ground.kept_key.set(secret_key::beside(&plan.state.path)?);
    }
    let mut directory = credential_directory(&plan);
    let scan = directory.scan();
    let mut away = read_records(&ground, &*store, &plan.state).await?;
    let snapshot = assemble(&plan, directory.entries(), &ground, 1, true);
    let snapshot = snapshot.map_err(BootError::Assemble)?;
    let opened = cooldowns::open_accounts(snapshot.usable(), &ground.board, &*store).await;
    opened.map_err(BootError::ReadStore)?;
    ground.audit.leave_by(&snapshot.egress);
    open_record(&plan, &ground)?;
    reload::carry_over(&snapshot, &ground.board, &ground.metrics, &ground.audit);
    if plan.state.redis.is_some() && away.is_none() {
        // All of it is read again as soon as the store answers.
        away = quotas::restore(&ground.board, &*store).await.err();
    }
    ground.last_good.set(snapshot.good_files.clone());
    let (proxy_socket, admin_socket) = listen(&mut sockets, &plan).await?;
    let proxy = local(&proxy_socket)?;
    let admin = admin_socket.as_ref().map_or(Ok(proxy), local)?;

    let listening = Listening {
        shared: admin_socket.is_none(),
    };
    let is_fleet = plan.state.redis.is_some();
    let runtime = Runtime::new(snapshot, &ground, store, listening).of_a_fleet(is_fleet);
    runtime.store_is(away.as_ref());
    let runtime = Arc::new(runtime);
    announce(&plan, &runtime, proxy, admin);
    CredentialFilesRead {
        roll: &runtime.snapshot().roll,
        open_to_others: open_to_others(&directory),
        problem: scan.problem.as_deref(),
        metrics: &runtime.metrics,
    }
    .tell();

    let reloader = Arc::new(Reloader::new(
        source.path,
        source.environment,
        ground,
        runtime.clone(),
        logging,
        plan,
        directory,
    ));
    let pages = web::router(&runtime, &reloader);
    let _ = runtime.pages.set(pages.clone());
    let _ = runtime.login_pages.set(web::login::router(&runtime));

    let app = Arc::new(Proxy::new(runtime.clone()));
    let listener = tokio::spawn(listener::serve(proxy_socket, app));
    let mut background = background(&runtime);
    background.push(tokio::spawn(replicas::tell(
        runtime.clone(),
        reloader.clone(),
    )));
    background.push(tokio::spawn(reload::watch(reloader.clone(), hangup)));
    let admin_listener =
        admin_socket.map(|socket| tokio::spawn(serve_admin(socket.listener, pages)));
    Ok(Gateway {
        proxy,
        admin,
        runtime,
        reloader,
        listener,
        admin_listener,
        background,
    })
}

/// The proxy's socket, and that of the admin listener where it has one of its own.
async fn listen(
    sockets: &mut Sockets,
    plan: &Plan,
) -> Result<(Socket, Option<Socket>), SocketError> {
    let (proxy, admin) = (&plan.server.listen, &plan.admin);
    let proxy_socket = sockets
        .listen(proxy, "server.host` and `server.port")
        .await?;
    // Port 0 asks for any free port: asked for twice, it is two.
    let admin_socket = match admin == proxy && admin.port != 0 {
        true => None,
        false => Some(sockets.listen(admin, "admin.host` and `admin.port").await?),
    };
    sockets.none_left()?;
    Ok((proxy_socket, admin_socket))
}

/// Has what happens from now on be on record.
fn open_record(plan: &Plan, ground: &Ground) -> Result<(), AuditError> {
    let Some(audit) = &plan.audit else {
        return Ok(());
    };
    let key = plan.server.secret_key.as_ref().or(ground.kept_key.get());
    let key = key.ok_or(AuditError::Key)?;
    ground.audit.open(audit, key, ground)
}

/// Takes over what the process before left, and what others share. Of a Redis that is away the
/// answer is why: the gateway starts all the same, and nobody is let in for what it does not know.
async fn read_records(
    ground: &Ground,
    store: &dyn Store,
    state: &StatePlan,
) -> Result<Option<StoreError>, BootError> {
    let read = async {
        cooldowns::restore(&ground.board, store).await?;
        ground.agent_tokens.read(store).await
    };
    match read.await {
        Ok(()) => Ok(None),
        Err(error) if state.redis.is_some() => {
            warn!(%error, "the shared store is away: agent tokens and logins are refused until it is there");
            ground.agent_tokens.cannot_be_read();
            Ok(Some(error))
        }
        Err(error) => Err(BootError::ReadStore(error)),
    }
}

/// What goes on beside the requests.
fn background(runtime: &Arc<Runtime>) -> Vec<JoinHandle<()>> {
    vec![
        tokio::spawn(cooldowns::keep(runtime.clone())),
        tokio::spawn(affinity::keep(runtime.clone())),
        tokio::spawn(news::read(runtime.clone())),
        tokio::spawn(probe::probe(runtime.clone())),
        tokio::spawn(limits::exchange(runtime.clone())),
        tokio::spawn(quotas::follow(runtime.clone())),
        tokio::spawn(last_used::keep(runtime.clone())),
        tokio::spawn(usage::share(runtime.clone())),
        tokio::spawn(keys::keep_fresh(runtime.clone())),
        tokio::spawn(sessions::renew(runtime.clone())),
        tokio::spawn(retention::keep(runtime.clone())),
        tokio::spawn(traces::export(runtime.clone())),
        tokio::spawn(connections::sweep(runtime.connections.clone())),
    ]
}

/// It stays up while draining: readiness and metrics are asked for then.
async fn serve_admin(socket: TcpListener, pages: axum::Router) {
    // Who manages must be where they say: the address is the connection's.
    let pages = pages.into_make_service_with_connect_info::<SocketAddr>();
    if let Err(error) = axum::serve(socket, pages).await {
        warn!(%error, "the admin listener stopped");
    }
}

fn local(socket: &Socket) -> Result<SocketAddr, BootError> {
    socket.listener.local_addr().map_err(BootError::Address)
}

/// What an operator wants to know at start, in one place.
fn announce(plan: &Plan, runtime: &Runtime, proxy: SocketAddr, admin: SocketAddr) {
    let snapshot = runtime.snapshot();
    for warning in &plan.warnings {
        warn!("{warning}");
    }
    let authentication = match (snapshot.open, plan.client_keys.len()) {
        (true, _) => "open: anyone on this machine, without a key".to_owned(),
        (false, keys) => format!(
            "client keys: {keys}, agent tokens: {}{}",
            runtime.agent_tokens.len(),
            snapshot
                .tenants
                .house
                .sso
                .as_deref()
                .map_or(String::new(), logins),
        ),
    };
    if snapshot.open {
        warn!(
            "open mode: no client keys are configured, so every process on this machine may spend your credentials; add `api_keys` to close it"
        );
    }
    let mut providers = BTreeMap::<&str, usize>::new();
    for enrolled in &snapshot.roll {
        *providers.entry(&enrolled.provider).or_default() +=
            usize::from(enrolled.credential().is_some());
    }
    let providers: Vec<String> = providers
        .into_iter()
        .map(|(name, usable)| format!("{name} ({usable})"))
        .collect();
    info!(
        version = env!("CARGO_PKG_VERSION"),
        proxy = %proxy,
        tls = plan.server.tls.is_some(),
        admin = %admin,
        authentication,
        providers = providers.join(", "),
        models = snapshot.tenants.house.catalogue().listed().len(),
        tenants = plan.tenants.len(),
        store = store::shown(&plan.state),
        "turnpike serves"
    );
    ConfigurationRead {
        generation: snapshot.generation,
        problems: None,
        effective: &plan.effective,
        metrics: &runtime.metrics,
        audit: &runtime.audit,
    }
    .tell();
    runtime.audit.tell(&Started {
        version: env!("CARGO_PKG_VERSION"),
        generation: snapshot.generation,
    });
}

/// How people log in.
fn logins(sso: &Sso) -> String {
    let names: Vec<&str> = sso.providers.iter().map(|one| &*one.name).collect();
    let mode = match sso.mode {
        LoginModePlan::SingleUser { .. } => "single_user",
        LoginModePlan::Enterprise { .. } => "enterprise",
    };
    format!(", single sign-on ({mode}): {}", names.join(", "))
}
