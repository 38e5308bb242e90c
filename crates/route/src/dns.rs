//! Questions to the DNS, and what may be concluded from the answers.
//!
//! Only two negative answers are facts: the name does not exist (NXDOMAIN), and the name has nothing of
//! this type (NODATA). Everything else (SERVFAIL, REFUSED, a time-out, a lame or garbled answer, a
//! code that no RFC knows) says nothing about the domain, so it may never bounce a message.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, RecordType};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig as DnsConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::system_conf::read_system_conf;

#[cfg(test)]
use crate::script::Script;

/// One MX record (RFC 5321 §5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mx {
    pub(crate) preference: u16,
    /// In lower case, without the final dot; empty for the root (RFC 7505).
    pub(crate) host: Box<str>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The name does not exist.
    Name,
    /// The name exists, and has nothing of this type.
    Data,
    /// It is not known, and why.
    Unknown(Box<str>),
}

/// Where answers come from.
#[derive(Debug, Clone)]
pub(crate) enum Dns {
    Network(Box<Network>),
    #[cfg(test)]
    Script(Script),
}

/// A stub resolver: it asks the recursive resolvers that it is given, and keeps what they say for as
/// long as its TTL allows, within bounds.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    resolver: ResolverHandle,
}

#[derive(Clone)]
struct ResolverHandle(TokioResolver);

impl std::fmt::Debug for ResolverHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokioResolver")
    }
}

/// The name servers of this machine cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the name servers of this machine cannot be read from /etc/resolv.conf ({0}); name some in [dns] servers")]
pub struct ResolverError(String);

/// An MX that has moved is found within the hour, whatever its TTL was.
const POSITIVE_TTL_MAX: Duration = Duration::from_secs(3600);
/// A domain that was missing and has been mended is found within minutes.
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(600);
const CACHE_ANSWERS_MAX: u64 = 32_768;

impl Network {
    /// `servers` empty: those of the system.
    pub(crate) fn new(servers: &[SocketAddr], query_timeout: Duration) -> Result<Network, ResolverError> {
        let error = |error: NetError| ResolverError(error.to_string());
        let servers = match servers {
            [] => read_system_conf().map_err(error)?.0.name_servers().to_vec(),
            servers => servers.iter().map(|server| name_server(*server)).collect(),
        };
        // No search list: a relay asks for names as they are written.
        let config = DnsConfig::from_parts(None, Vec::new(), servers);
        let mut options = ResolverOpts::default();
        options.timeout = query_timeout;
        options.use_hosts_file = ResolveHosts::Never;
        options.cache_size = CACHE_ANSWERS_MAX;
        options.positive_max_ttl = Some(POSITIVE_TTL_MAX);
        options.negative_max_ttl = Some(NEGATIVE_TTL_MAX);
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let resolver = builder.with_options(options).build().map_err(error)?;
        Ok(Network { resolver: ResolverHandle(resolver) })
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, Missing> {
        let name = question(name)?;
        let lookup = self.resolver.0.lookup(name.clone(), kind).await.map_err(|error| conclude(&error))?;
        let answers = answers_to(&lookup, &name, kind);
        if answers.is_empty() {
            Err(Missing::Unknown("the answer does not fit the question".into()))
        } else {
            Ok(answers)
        }
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}

impl Dns {
    async fn ask(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, Missing> {
        match self {
            Dns::Network(network) => network.ask(name, kind).await,
            #[cfg(test)]
            Dns::Script(script) => script.ask(name, kind),
        }
    }

    pub(crate) async fn mx(&self, name: &str) -> Result<Vec<Mx>, Missing> {
        let answers = self.ask(name, RecordType::MX).await?;
        let records = answers.into_iter().filter_map(|data| match data {
            RData::MX(mx) => Some(Mx { preference: mx.preference, host: plain(&mx.exchange) }),
            _ => None,
        });
        Ok(records.collect())
    }

    pub(crate) async fn ipv4(&self, name: &str) -> Result<Vec<IpAddr>, Missing> {
        Ok(self.ask(name, RecordType::A).await?.iter().filter_map(RData::ip_addr).collect())
    }

    pub(crate) async fn ipv6(&self, name: &str) -> Result<Vec<IpAddr>, Missing> {
        Ok(self.ask(name, RecordType::AAAA).await?.iter().filter_map(RData::ip_addr).collect())
    }

    /// The name that `address` goes by (PTR).
    pub(crate) async fn reverse(&self, address: IpAddr) -> Result<Box<str>, Missing> {
        let answers = self.ask(&Name::from(address).to_ascii(), RecordType::PTR).await?;
        let mut names = answers.iter().filter_map(|data| match data {
            RData::PTR(name) => Some(plain(name)),
            _ => None,
        });
        names.next().ok_or(Missing::Data)
    }

    /// Whether the resolver answers at all: any resolver knows who serves the root.
    pub(crate) async fn root(&self) -> Result<(), Missing> {
        self.ask(".", RecordType::NS).await.map(drop)
    }
}

fn question(name: &str) -> Result<Name, Missing> {
    // What cannot be a name in the DNS does not exist there.
    let mut name = Name::from_ascii(name).map_err(|_| Missing::Name)?;
    name.set_fqdn(true);
    Ok(name)
}

/// In lower case and without the final dot.
fn plain(name: &Name) -> Box<str> {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase().into()
}

/// The answers that belong to the question: under its name, or under the name that its CNAMEs lead
/// to. Whatever else a server put into its answer, nobody asked for it.
fn answers_to(lookup: &Lookup, name: &Name, kind: RecordType) -> Vec<RData> {
    let records = lookup.answers();
    let mut owner = name;
    for _ in 0..records.len() {
        let next = records.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if record.name == *owner => Some(&target.0),
            _ => None,
        });
        match next {
            Some(next) => owner = next,
            None => break,
        }
    }
    let belongs = records.iter().filter(|record| record.record_type() == kind && record.name == *owner);
    belongs.map(|record| record.data.clone()).collect()
}

fn conclude(error: &NetError) -> Missing {
    let NetError::Dns(DnsError::NoRecordsFound(none)) = error else {
        return Missing::Unknown(error_text(error).into());
    };
    match none.response_code {
        ResponseCode::NXDomain => Missing::Name,
        ResponseCode::NoError if !is_referral(none) => Missing::Data,
        ResponseCode::NoError => Missing::Unknown("its name servers point elsewhere (lame delegation)".into()),
        code => Missing::Unknown(format!("the name server answered {code}").into()),
    }
}

/// An empty answer that names other servers and no SOA is no NODATA (RFC 2308 §2.2): whoever gave it does not
/// serve the zone.
fn is_referral(none: &NoRecords) -> bool {
    none.soa.is_none() && none.ns.is_some()
}

fn error_text(error: &NetError) -> String {
    match error {
        NetError::Timeout => "the name server did not answer in time".to_owned(),
        NetError::Dns(DnsError::ResponseCode(code)) => format!("the name server answered {code}"),
        other => other.to_string(),
    }
}
