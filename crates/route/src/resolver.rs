//! From a site to a plan.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use crate::addresses::{self, Ourselves};
use crate::dns::{Dns, Missing, Network, ResolverError};
use crate::fixed::{HostPort, HostTable};
use crate::mx::{self, Candidate, Exchangers};
use crate::plan::{Host, RouteError, RoutePlan, TlsPolicy};

/// What the resolver is told at its start.
#[derive(Debug, Clone)]
pub struct ResolverConfig {
    /// Recursive resolvers to ask; empty: those of the system.
    pub servers: Vec<SocketAddr>,
    /// Domains that go to fixed servers.
    pub hosts: HostTable,
    /// Names by which this server goes (A-labels): a domain whose MX is one of them is not sent to.
    pub hostnames: Vec<Box<str>>,
    /// Where this server listens for SMTP; an unspecified address stands for all of this machine's.
    pub listeners: Vec<SocketAddr>,
    /// Send to addresses that are not public when the DNS names them. For laboratories only: elsewhere
    /// it lets any domain's owner aim our mail at our own network.
    pub allow_private: bool,
    pub families: Families,
    /// How long one query may take; a failed one is repeated twice.
    pub query_timeout: Duration,
    /// How long a plan may take in all.
    pub plan_timeout: Duration,
}

impl Default for ResolverConfig {
    fn default() -> ResolverConfig {
        ResolverConfig {
            servers: Vec::new(),
            hosts: HostTable::default(),
            hostnames: Vec::new(),
            listeners: Vec::new(),
            allow_private: false,
            families: Families::Both,
            query_timeout: Duration::from_secs(5),
            plan_timeout: Duration::from_secs(60),
        }
    }
}

/// Which addresses of a host are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Families {
    /// Both, IPv4 first: its reverse names are in order more often, and without one mail is refused.
    Both,
    Ipv4Only,
    Ipv6Only,
}

/// How a message leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// To the recipient domain's own servers.
    Direct,
    /// Through this server, whatever the recipient domain (a smart host).
    Fixed(HostPort),
}

/// Finds the way to a site. Cheap to clone; the clones share their cache.
#[derive(Debug, Clone)]
pub struct Resolver {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dns: Dns,
    hosts: HostTable,
    ourselves: Ourselves,
    allow_private: bool,
    families: Families,
    plan_timeout: Duration,
    /// Shuffles servers of equal preference (RFC 5321 §5.1).
    rng: Mutex<fastrand::Rng>,
}

/// The port of mail transfer (RFC 5321 §4.5.4.2).
const SMTP_PORT: u16 = 25;
/// MX hosts looked at; who has more has a reason that is not mail.
const HOSTS_MAX: usize = 20;
/// Addresses kept of one host.
const ADDRESSES_MAX: usize = 10;
/// Hosts whose addresses are asked for at one time.
const HOSTS_AT_ONCE: usize = 5;

impl Resolver {
    /// # Errors
    /// When no servers are given and those of the system cannot be read.
    pub fn new(config: ResolverConfig, rng: fastrand::Rng) -> Result<Resolver, ResolverError> {
        let network = Network::new(&config.servers, config.query_timeout)?;
        Ok(Resolver::with_dns(Dns::Network(Box::new(network)), config, rng))
    }

    pub(crate) fn with_dns(dns: Dns, config: ResolverConfig, rng: fastrand::Rng) -> Resolver {
        let ourselves = Ourselves::new(&config.hostnames, config.listeners);
        let shared = Shared {
            dns,
            hosts: config.hosts,
            ourselves,
            allow_private: config.allow_private,
            families: config.families,
            plan_timeout: config.plan_timeout,
            rng: Mutex::new(rng),
        };
        Resolver { shared: Arc::new(shared) }
    }

    /// The way to `site`: a domain (A-labels, lower case) or an address literal (`[192.0.2.1]`).
    ///
    /// # Errors
    /// [`RouteError::Permanent`] only where the DNS said so; whatever is unknown is temporary.
    pub async fn plan(&self, site: &str) -> Result<RoutePlan, RouteError> {
        self.plan_by(&Route::Direct, site).await
    }

    /// The way to `site` by `route`. The `hosts` table goes before both.
    ///
    /// # Errors
    /// As [`Resolver::plan`].
    pub async fn plan_by(&self, route: &Route, site: &str) -> Result<RoutePlan, RouteError> {
        let hosts = async {
            match (self.shared.hosts.find(site), route) {
                (Some(fixed), _) | (None, Route::Fixed(fixed)) => self.fixed(fixed).await,
                (None, Route::Direct) if site.starts_with('[') => self.literal(site),
                (None, Route::Direct) => self.direct(site).await,
            }
        };
        let too_late = |_| RouteError::no_answer(site, "it took too long");
        let hosts = timeout(self.shared.plan_timeout, hosts).await.map_err(too_late)??;
        tracing::debug!(site, hosts = hosts.len(), "the way is found");
        Ok(RoutePlan { site: site.into(), hosts, tls: TlsPolicy::Opportunistic })
    }

    pub(crate) fn dns(&self) -> &Dns {
        &self.shared.dns
    }

    /// A server that the operator named: he may mean any address.
    async fn fixed(&self, fixed: &HostPort) -> Result<Vec<Host>, RouteError> {
        let name = fixed.host.trim_end_matches('.');
        let addresses = match name.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => self.addresses(name).await.map_err(|missing| match missing {
                Missing::Name => RouteError::fixed_host(&fixed.host, "there is no such name"),
                Missing::Data => RouteError::fixed_host(&fixed.host, "it has no address"),
                Missing::Unknown(why) => RouteError::fixed_host(&fixed.host, &why),
            })?,
        };
        let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, fixed.port)).collect();
        Ok(vec![Host { name: name.into(), addresses }])
    }

    fn literal(&self, site: &str) -> Result<Vec<Host>, RouteError> {
        let inner = site.trim_start_matches('[').trim_end_matches(']');
        let tag = inner.get(..5).filter(|tag| tag.eq_ignore_ascii_case("IPv6:"));
        let address = inner[tag.map_or(0, str::len)..].parse::<IpAddr>();
        let address = address.map_err(|_| RouteError::nothing_usable(site, "it is no IP address"))?;
        match self.usable(vec![address]) {
            Usable::Addresses(addresses) => Ok(vec![Host { name: address.to_string().into(), addresses }]),
            Usable::Ourselves => Err(RouteError::ourselves(site, site)),
            Usable::None(why) => Err(RouteError::nothing_usable(site, &why)),
        }
    }

    async fn direct(&self, site: &str) -> Result<Vec<Host>, RouteError> {
        let records = match self.shared.dns.mx(site).await {
            Ok(records) => records,
            Err(Missing::Name) => return Err(RouteError::no_domain(site)),
            Err(Missing::Unknown(why)) => return Err(RouteError::no_answer(site, &why)),
            Err(Missing::Data) => return self.implicit(site).await,
        };
        let candidates = {
            let mut rng = self.shared.rng.lock().unwrap_or_else(PoisonError::into_inner);
            match mx::exchangers(records, &mut rng) {
                Exchangers::Null => return Err(RouteError::null_mx(site)),
                Exchangers::Bad => return Err(RouteError::nothing_usable(site, "its MX records are no host names")),
                Exchangers::Some(candidates) => candidates,
            }
        };
        self.reach(site, candidates).await
    }

    /// No MX: the domain's own addresses (RFC 5321 §5.1).
    async fn implicit(&self, site: &str) -> Result<Vec<Host>, RouteError> {
        self.reach(site, vec![Candidate { preference: 0, host: site.into(), implicit: true }]).await
    }

    /// Finds the addresses of the candidates, which come in the order of their preference.
    async fn reach(&self, site: &str, candidates: Vec<Candidate>) -> Result<Vec<Host>, RouteError> {
        let mut hosts: Vec<(u16, Host)> = Vec::new();
        let mut refused = Refused::default();
        let mut ourselves = None;
        let candidates: Vec<Candidate> = candidates.into_iter().take(HOSTS_MAX).collect();
        'all: for group in candidates.chunks(HOSTS_AT_ONCE) {
            for (candidate, found) in group.iter().zip(self.look_up(group).await) {
                match found {
                    _ if self.shared.ourselves.has_name(&candidate.host) => ourselves = Some(candidate),
                    Err(missing) => refused.missing(candidate, missing),
                    Ok(addresses) => match self.usable(addresses) {
                        Usable::Addresses(addresses) => {
                            let name = candidate.host.clone();
                            hosts.push((candidate.preference, Host { name, addresses }));
                        }
                        Usable::Ourselves => ourselves = Some(candidate),
                        Usable::None(why) => refused.note(&candidate.host, &why),
                    },
                }
                if ourselves.is_some() {
                    break 'all;
                }
            }
        }
        if let Some(ours) = ourselves {
            // Who is no better than we are would only send it back to us (RFC 5321 §5.1).
            hosts.retain(|(preference, _)| *preference < ours.preference);
            if hosts.is_empty() && !refused.may_be_better_than(ours.preference) {
                return Err(RouteError::ourselves(site, &ours.host));
            }
        }
        if hosts.is_empty() {
            return Err(refused.error(site));
        }
        Ok(hosts.into_iter().map(|(_, host)| host).collect())
    }

    /// The addresses of some hosts, asked for at the same time.
    async fn look_up(&self, group: &[Candidate]) -> Vec<Result<Vec<IpAddr>, Missing>> {
        let tasks: Vec<_> = group
            .iter()
            .map(|candidate| {
                let (resolver, host) = (self.clone(), candidate.host.clone());
                tokio::spawn(async move { resolver.addresses(&host).await })
            })
            .collect();
        let mut found = Vec::with_capacity(tasks.len());
        for task in tasks {
            let stopped = |_| Err(Missing::Unknown("the query was stopped".into()));
            found.push(task.await.unwrap_or_else(stopped));
        }
        found
    }

    /// All addresses of a host, IPv4 first. One family that fails does not hide the other.
    pub(crate) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Missing> {
        let Shared { dns, families, .. } = &*self.shared;
        let (v4, v6) = match families {
            Families::Both => tokio::join!(dns.ipv4(host), dns.ipv6(host)),
            Families::Ipv4Only => (dns.ipv4(host).await, Err(Missing::Data)),
            Families::Ipv6Only => (Err(Missing::Data), dns.ipv6(host).await),
        };
        match (v4, v6) {
            (Ok(mut all), Ok(v6)) => {
                all.extend(v6);
                Ok(all)
            }
            (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok(one),
            (Err(unknown @ Missing::Unknown(_)), Err(_)) | (Err(_), Err(unknown @ Missing::Unknown(_))) => Err(unknown),
            (Err(Missing::Name), Err(_)) | (Err(_), Err(Missing::Name)) => Err(Missing::Name),
            (Err(Missing::Data), Err(Missing::Data)) => Err(Missing::Data),
        }
    }

    fn usable(&self, addresses: Vec<IpAddr>) -> Usable {
        let all = || addresses.iter().map(|address| SocketAddr::new(*address, SMTP_PORT));
        if all().any(|address| self.shared.ourselves.listens_at(address)) {
            return Usable::Ourselves;
        }
        let mut usable: Vec<SocketAddr> =
            all().filter(|address| self.shared.allow_private || addresses::is_public(address.ip())).collect();
        usable.truncate(ADDRESSES_MAX);
        match addresses.first() {
            _ if !usable.is_empty() => Usable::Addresses(usable),
            Some(address) => Usable::None(format!("{address} is no address on the public Internet")),
            None => Usable::None("it has no address".to_owned()),
        }
    }
}

/// What a host's addresses are good for.
enum Usable {
    /// Not empty.
    Addresses(Vec<SocketAddr>),
    Ourselves,
    None(String),
}

/// Why hosts could not be used; the first of each kind is told.
#[derive(Default)]
struct Refused {
    /// The best host that is not known for now: its preference, its name, and why.
    unknown: Option<(u16, Box<str>, Box<str>)>,
    reason: Option<String>,
    no_name: bool,
    no_server: bool,
}

impl Refused {
    fn note(&mut self, host: &str, why: &str) {
        self.reason.get_or_insert_with(|| format!("{host}: {why}"));
    }

    fn missing(&mut self, candidate: &Candidate, missing: Missing) {
        match missing {
            Missing::Unknown(why) => {
                self.unknown.get_or_insert((candidate.preference, candidate.host.clone(), why));
            }
            Missing::Name if candidate.implicit => self.no_name = true,
            Missing::Data if candidate.implicit => self.no_server = true,
            Missing::Name => self.note(&candidate.host, "there is no such name"),
            Missing::Data => self.note(&candidate.host, "it has no address"),
        }
    }

    fn may_be_better_than(&self, preference: u16) -> bool {
        self.unknown.as_ref().is_some_and(|(unknown, ..)| *unknown < preference)
    }

    /// As long as one host may be found later, nothing is for good.
    fn error(self, site: &str) -> RouteError {
        match (self.unknown, self.reason) {
            (Some((_, host, why)), _) => RouteError::no_answer(&host, &why),
            (None, Some(reason)) => RouteError::nothing_usable(site, &reason),
            (None, None) if self.no_name => RouteError::no_domain(site),
            (None, None) => RouteError::no_server(site),
        }
    }
}
