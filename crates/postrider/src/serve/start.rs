//! The order in which the rooms start and stop.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use accept::{Door, DoorConfig, Entrance};
use anyhow::{Context, Result};
use axum::Router;
use base::{Clock, SystemClock};
use deliver::agent::{Agent, AgentConfig};
use deliver::{Mode, Parts, QueueHandle, Runner, RunnerConfig};
use privacy::MasterKey;
use route::{HostTable, Resolver, ResolverConfig};
use service::accounts::Accounts;
use service::directory::Directory;
use service::events::Projector;
use service::sandbox::Inbox;
use spool::{Health, Spool};
use store::{SandboxLimits, Store};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use web::{Site, Vitals, WayIn};

use super::inbox::StoredInbox;
use super::listeners::Listeners;
use super::metrics::{Figures, registry};
use super::operations::Desk;
use crate::config::{Config, DeliveryMode, ListenerTls, Purpose};

/// How long running attempts and sessions may go on after the stop.
const DRAIN: Duration = Duration::from_secs(20);

/// A server that accepts mail.
pub struct Running {
    pub store: Store,
    pub accounts: Accounts,
    pub clock: Arc<dyn Clock>,
    /// Listeners without implicit TLS, and with it, as bound.
    pub smtp: Vec<SocketAddr>,
    pub smtps: Vec<SocketAddr>,
    pub http: SocketAddr,
    spool: Spool,
    door: Door,
    projector: Projector,
    control: PathBuf,
    stops: Stops,
    tasks: Tasks,
}

/// One switch for each thing that stops, in the order in which they are thrown.
struct Stops {
    listeners: watch::Sender<bool>,
    runner: watch::Sender<bool>,
    pages: watch::Sender<bool>,
}

struct Tasks {
    listeners: Vec<JoinHandle<()>>,
    runner: JoinHandle<()>,
    pages: Vec<JoinHandle<()>>,
    directory: JoinHandle<()>,
}

/// Starts everything. What is returned accepts mail already.
pub async fn start(config: &Config) -> Result<Running> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (listeners_stop, listeners_stopped) = watch::channel(false);
    let (runner_stop, runner_stopped) = watch::channel(false);
    let (pages_stop, pages_stopped) = watch::channel(false);

    make_private_directory(&config.data)?;
    make_private_directory(&config.store)?;
    let key = master_key(&config.data)?;
    let (spool, recovered) = open_spool(config, &key, &clock)?;
    let store = open_store(config, &key)?;
    let directory = Directory::load(store.clone(), Arc::clone(&clock)).await.context("cannot read the accounts")?;
    let accounts = Accounts::new(store.clone(), Arc::clone(&directory), Arc::clone(&clock));
    let projector = Projector::start(spool.clone(), store.clone(), Arc::clone(&clock)).context("no more threads")?;

    let listeners = Listeners::bind(config)?;
    let http = TcpListener::bind(config.http.address)
        .await
        .with_context(|| format!("cannot listen on {} for the pages", config.http.address))?;
    let http_address = http.local_addr().context("the pages' listener has no address")?;

    let (runner, queue) = runner(config, &spool, &store, &clock, &listeners.addresses(), recovered)?;
    let handover = Arc::new(Handover(queue.clone()));
    let door = Door::new(DoorConfig::new(config.hostname.clone()), spool.clone(), handover, Arc::clone(&clock));
    let vitals: Arc<dyn Vitals> = Arc::new(SpoolVitals { spool: spool.clone() });
    let figures = Figures {
        spool: spool.clone(),
        accept: Arc::clone(door.counters()),
        deliver: runner.counters(),
        projector: projector.progress(),
    };
    let site = Site {
        inbox: Arc::new(StoredInbox { store: store.clone() }),
        vitals: Arc::clone(&vitals),
        metrics: Arc::new(registry(figures)),
        clock: Arc::clone(&clock),
        hosts: config.http.hosts.clone().into(),
        way_in: Arc::new(way_in(config, &listeners)),
    };
    let desk = Desk {
        store: store.clone(),
        accounts: accounts.clone(),
        queue,
        door: door.clone(),
        vitals,
        mode: mode_word(config),
        started_at: clock.now(),
    };
    let control = config.data.join("control.sock");
    let admin = web::admin::router(Arc::new(desk), config.smtp.message_size_max.0);

    let (smtp, smtps) = (listeners.smtp.clone(), listeners.smtps.clone());
    let entrance = Entrance::new(door.clone(), Arc::clone(&directory) as Arc<dyn accept::Directory>, limits(config));
    let tasks = Tasks {
        runner: tokio::spawn(runner.run(runner_stopped)),
        pages: vec![
            serve_pages(http, web::router(site), pages_stopped.clone()),
            serve_control(control_socket(&control)?, admin, pages_stopped.clone()),
        ],
        directory: tokio::spawn(async move { directory.run(until(pages_stopped)).await }),
        listeners: serve_listeners(listeners, entrance, &listeners_stopped),
    };
    let stops = Stops { listeners: listeners_stop, runner: runner_stop, pages: pages_stop };
    Ok(Running {
        store,
        accounts,
        clock,
        smtp,
        smtps,
        http: http_address,
        spool,
        door,
        projector,
        control,
        stops,
        tasks,
    })
}

impl Running {
    /// Stops in the order of the data; nothing that was acknowledged is lost by any of it.
    pub async fn stop(self) {
        let Running { spool, door, store, projector, control, stops, tasks, .. } = self;
        stops.listeners.send_replace(true);
        for listener in tasks.listeners {
            ended("a listener", listener.await);
        }
        door.close();
        stops.runner.send_replace(true);
        ended("the runner", tasks.runner.await);
        // Everything that was decided is now in the journal: on to the disk with it, then to the history.
        let journal = spool.clone();
        ended("the journal", tokio::task::spawn_blocking(move || journal.sync()).await);
        projector.stop().await;
        stops.pages.send_replace(true);
        for page in tasks.pages {
            ended("the pages", page.await);
        }
        ended("the directory", tasks.directory.await);
        // A socket that nobody answers would only puzzle the command line.
        let _ = fs::remove_file(control);
        store.close().await;
        ended("the spool", tokio::task::spawn_blocking(move || spool.shutdown()).await);
    }
}

fn ended<T>(what: &str, result: Result<T, tokio::task::JoinError>) {
    if let Err(error) = result {
        tracing::error!(%error, "{what} did not end well");
    }
}

/// The directory and what it holds is its owner's alone.
fn make_private_directory(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make the directory {}", path.display()))?;
    let mode = fs::metadata(path).with_context(|| format!("cannot look at {}", path.display()))?.permissions().mode();
    anyhow::ensure!(mode & 0o077 == 0, "others may look into {}; run `chmod 700 {}`", path.display(), path.display());
    Ok(())
}

/// From the environment, or from the key file in the data directory.
pub fn master_key(data: &Path) -> Result<MasterKey> {
    const VARIABLE: &str = "POSTRIDER_MASTER_KEY";
    match std::env::var(VARIABLE) {
        Ok(text) => Ok(MasterKey::from_hex(&text, VARIABLE)?),
        Err(_) => Ok(MasterKey::load_or_make(&data.join("master.key"))?),
    }
}

fn open_spool(config: &Config, key: &MasterKey, clock: &Arc<dyn Clock>) -> Result<(Spool, spool::Recovered)> {
    let options = spool::Options {
        dir: config.data.join("spool"),
        // What we add in front counts too.
        message_octets_max: config.smtp.message_size_max.0 + HEADERS_OF_OURS_OCTETS_MAX,
        ..spool::Options::default()
    };
    Ok(Spool::open(options, key, Arc::clone(clock))?)
}

/// Room for the fields that we add to a message of the largest size.
const HEADERS_OF_OURS_OCTETS_MAX: u64 = 64 << 10;

/// The database, in the directory that the configuration names.
pub fn open_store(config: &Config, key: &MasterKey) -> Result<Store> {
    Store::open(&config.store.join("postrider.sqlite"), key).context("cannot open the database")
}

fn mode_word(config: &Config) -> &'static str {
    match config.delivery.mode {
        DeliveryMode::Sandbox => "sandbox",
        DeliveryMode::Live => "live",
    }
}

fn runner(
    config: &Config,
    spool: &Spool,
    store: &Store,
    clock: &Arc<dyn Clock>,
    listeners: &[SocketAddr],
    recovered: spool::Recovered,
) -> Result<(Runner, QueueHandle)> {
    let mut seed = [0; 8];
    privacy::fill_random(&mut seed);
    let seed = u64::from_ne_bytes(seed);
    let resolver = Resolver::new(resolver_config(config, listeners)?, fastrand::Rng::with_seed(seed))
        .context("cannot ask the DNS")?;
    let parts = Parts {
        spool: spool.clone(),
        agent: Agent::new(agent_config(config), Arc::clone(clock)),
        resolver,
        sandbox: Arc::new(Inbox::new(store.clone(), SandboxLimits::default())),
        clock: Arc::clone(clock),
        seed,
    };
    let runner_config = RunnerConfig {
        mode: match config.delivery.mode {
            DeliveryMode::Sandbox => Mode::Sandbox,
            DeliveryMode::Live => Mode::Live,
        },
        hostname: config.hostname.clone(),
        queue: queue_config(config),
        drain: DRAIN,
    };
    Ok(Runner::new(runner_config, parts, recovered))
}

fn agent_config(config: &Config) -> AgentConfig {
    let built_in = AgentConfig::new(config.ehlo_name.clone());
    // The limit of a destination may be above the built-in one; the runner keeps to each.
    let configured = config.delivery.limits.values().filter_map(|limits| limits.messages_per_connection_max);
    let highest = configured.map(u32::from).chain([built_in.transactions_per_connection_max]).max();
    AgentConfig {
        transactions_per_connection_max: highest.unwrap_or(built_in.transactions_per_connection_max),
        idle_connections_max: config.delivery.connections_max as usize,
        ..built_in
    }
}

fn resolver_config(config: &Config, listeners: &[SocketAddr]) -> Result<ResolverConfig> {
    let hosts = config.dns.hosts.iter().map(|(site, server)| {
        (site.as_str(), route::HostPort { host: server.host.as_str().into(), port: server.port })
    });
    Ok(ResolverConfig {
        servers: config.dns.servers.clone(),
        hosts: HostTable::new(hosts).context("in dns.hosts")?,
        hostnames: vec![config.hostname.ascii().into(), config.ehlo_name.ascii().into()],
        listeners: listeners.to_vec(),
        ..ResolverConfig::default()
    })
}

fn queue_config(config: &Config) -> queue::Config {
    let delivery = &config.delivery;
    let built_in = queue::LaneLimits::default();
    let limits_by_site = delivery.limits.iter().map(|(domain, limits)| {
        let limits = queue::LaneLimits {
            connections_max: limits.connections_max.unwrap_or(built_in.connections_max),
            messages_per_second_max: limits.messages_per_second_max.or(built_in.messages_per_second_max),
            messages_per_connection_max: limits
                .messages_per_connection_max
                .unwrap_or(built_in.messages_per_connection_max),
            ..built_in
        };
        (domain.ascii().into(), limits)
    });
    let built_in = queue::Schedule::default();
    queue::Config {
        schedule: queue::Schedule {
            retry_first: delivery.retry_delay_first,
            retry_max: delivery.retry_delay_max,
            // A site is looked at again sooner than a message that it refused, never later.
            site_retry_first: built_in.site_retry_first.min(delivery.retry_delay_first),
            site_retry_max: built_in.site_retry_max.min(delivery.retry_delay_max),
            lifetime: delivery.lifetime,
            delay_notice_after: Some(delivery.delay_notice_after),
            ..built_in
        },
        limits_by_site: limits_by_site.collect(),
        in_flight_max: delivery.connections_max,
        // Some places stay free for transactional mail, and for sites that are known to live.
        in_flight_bulk_max: delivery.connections_max.saturating_mul(9).div_ceil(10),
        in_flight_unproven_max: delivery.connections_max.saturating_mul(8).div_ceil(10),
        ..queue::Config::default()
    }
}

/// What clients may take, as configured.
fn limits(config: &Config) -> accept::Limits {
    let smtp = &config.smtp;
    let built_in = accept::Limits::default();
    accept::Limits {
        session: smtp::server::Limits {
            message_octets_max: smtp.message_size_max.0,
            recipients_max: smtp.recipients_max,
            ..built_in.session
        },
        connections_max: smtp.connections_max as usize,
        connections_per_address_max: smtp.connections_per_address_max as usize,
        idle_time_max: smtp.idle_time_max,
        session_time_max: smtp.session_time_max,
        drain_time_max: DRAIN,
        ..built_in
    }
}

fn serve_listeners(listeners: Listeners, entrance: Entrance, stopped: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
    let entrance = Arc::new(entrance);
    let serve = |listener: accept::BoundListener| tokio::spawn(listener.serve(Arc::clone(&entrance), stopped.clone()));
    listeners.bound.into_iter().map(serve).collect()
}

/// How a program hands mail in, for the empty inbox.
fn way_in(config: &Config, listeners: &Listeners) -> WayIn {
    let address = listeners.smtp.first().or(listeners.smtps.first()).copied();
    WayIn {
        smtp: reachable(address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 25)))),
        starttls: config.smtp.listeners.first().is_some_and(|listener| listener.tls == ListenerTls::StartTls),
        username: None,
        password_hint: match config.purpose {
            Purpose::Dev => "is in the output of postrider dev".to_owned(),
            Purpose::Serve => "was told when the credential was made".to_owned(),
        },
    }
}

/// An address that a program on this machine can connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], v4.port())),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], v6.port())),
        other => other,
    }
}

/// A socket that only its owner can open. One that a killed server left behind is replaced: the
/// spool's lock has already said that no other server runs here.
fn control_socket(path: &Path) -> Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace {}", path.display()));
        }
        _ => {}
    }
    // The directory is private, so nobody else can open it before its mode is set.
    let listener =
        UnixListener::bind(path).with_context(|| format!("cannot make the control socket {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .with_context(|| format!("cannot protect {}", path.display()))?;
    Ok(listener)
}

fn serve_pages(listener: TcpListener, router: Router, stopped: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(until(stopped)).await;
        if let Err(error) = served {
            tracing::error!(%error, "the pages are no longer served");
        }
    })
}

fn serve_control(listener: UnixListener, router: Router, stopped: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(until(stopped)).await;
        if let Err(error) = served {
            tracing::error!(%error, "the command line can no longer reach this server");
        }
    })
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // The sender is dropped only after it has said so.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Tells the runner of what the door accepted.
struct Handover(QueueHandle);

impl accept::Handover for Handover {
    fn accepted(&self, stored: spool::Stored) {
        self.0.accepted(stored);
    }
}

/// Whether mail is accepted: what the spool says. The history may lag behind, which loses nothing.
struct SpoolVitals {
    spool: Spool,
}

impl Vitals for SpoolVitals {
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        match self.spool.health() {
            Health::Good => {}
            Health::Full => faults.push("the spool's disk is full: new mail gets 452 until there is space".to_owned()),
            Health::ReadOnly { why } => {
                faults.push(format!("the spool accepts no mail ({why}): check the disk, then restart the server"));
            }
        }
        faults
    }
}
