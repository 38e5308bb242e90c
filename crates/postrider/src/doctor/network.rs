//! The world outside: can names be found, can mail leave, does our address lead back to our name.

use std::io;
use std::net::{IpAddr, SocketAddr};

use route::{Resolver, ResolverConfig};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::{ANSWER_TIME_MAX, Finding};
use crate::config::{Config, HostPort};

const RESOLVER: &str = "resolver";
const PORT_25: &str = "port 25 out";
const REVERSE: &str = "reverse name";

/// The three checks together end within a few times [`ANSWER_TIME_MAX`].
pub async fn examine(config: &Config) -> Vec<Finding> {
    let mode = config.delivery.mode;
    let resolver_config = ResolverConfig {
        servers: config.dns.servers.clone(),
        query_timeout: ANSWER_TIME_MAX / 2,
        ..ResolverConfig::default()
    };
    // The choice among equal hosts is left to chance; no host is chosen here.
    let resolver = match Resolver::new(resolver_config, fastrand::Rng::with_seed(0)) {
        Ok(resolver) => resolver,
        Err(error) => {
            let advice = "Put a working name server into /etc/resolv.conf, or into dns.servers of the configuration.";
            return vec![Finding::fail(RESOLVER, error.to_string(), advice).spared_in(mode)];
        }
    };
    let names = resolver_works(&resolver).await;
    let can_ask = names.state == super::State::Ok;
    let (port, reverse) =
        tokio::join!(port_25(&config.doctor.smtp_target, &resolver), reverse_name(config, &resolver, can_ask));
    vec![names.spared_in(mode), port.spared_in(mode), reverse.spared_in(mode)]
}

async fn resolver_works(resolver: &Resolver) -> Finding {
    let advice = "Check /etc/resolv.conf (or dns.servers) and that UDP and TCP port 53 are open to those servers. \
                  A resolver of your own on this machine, such as unbound, is best: blocklists refuse the big \
                  public ones.";
    match timeout(ANSWER_TIME_MAX, resolver.check_resolver()).await {
        Ok(Ok(())) => Finding::ok(RESOLVER, "it answers"),
        Ok(Err(error)) => Finding::fail(RESOLVER, format!("it does not answer: {error}"), advice),
        Err(_) => {
            let text = format!("no answer within {} s: no recipient's server can be found", ANSWER_TIME_MAX.as_secs());
            Finding::fail(RESOLVER, text, advice)
        }
    }
}

/// Mail to the world leaves by port 25; many providers close it until they are asked.
async fn port_25(target: &HostPort, resolver: &Resolver) -> Finding {
    let advice = "Many hosting providers block port 25 until you ask them to open it. Ask yours, open it in your \
                  own firewall, or name another server to try in doctor.smtp_target.";
    let greeted = timeout(ANSWER_TIME_MAX, greeting(target, resolver)).await;
    match greeted.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut))) {
        Ok(greeting) if greeting.starts_with("220") => Finding::ok(PORT_25, format!("{target} greets us")),
        Ok(greeting) => Finding::warn(
            PORT_25,
            format!("{target} answers {:?} instead of a greeting", greeting.lines().next().unwrap_or_default()),
            "Something on the way may answer in its place, or it does not like this address: look it up in the \
             blocklists.",
        ),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            let text = format!(
                "{target} did not answer within {} s, so mail cannot leave this machine",
                ANSWER_TIME_MAX.as_secs()
            );
            Finding::fail(PORT_25, text, advice)
        }
        Err(error) => Finding::fail(PORT_25, format!("{target} cannot be reached: {error}"), advice),
    }
}

async fn greeting(target: &HostPort, resolver: &Resolver) -> io::Result<String> {
    let address = match target.host.parse::<IpAddr>() {
        Ok(address) => address,
        Err(_) => {
            let found = resolver.addresses_of(&target.host).await.map_err(io::Error::other)?;
            // Most machines without IPv6 have no way to say so but silence.
            let best = found.iter().find(|address| address.is_ipv4()).or(found.first());
            *best.ok_or_else(|| io::Error::other("it has no address"))?
        }
    };
    let mut socket = TcpStream::connect(SocketAddr::new(address, target.port)).await?;
    let mut greeting = [0; 512];
    let octets = socket.read(&mut greeting).await?;
    Ok(String::from_utf8_lossy(&greeting[..octets]).into_owned())
}

/// Our address must lead to our name, and the name back to the address.
async fn reverse_name(config: &Config, resolver: &Resolver, can_ask: bool) -> Finding {
    let hostname = config.hostname.ascii();
    let name_it = format!("Set a PTR record for the address to {hostname}, at whoever gave you the address.");
    if hostname == "localhost" {
        let text = "this machine has no full name, and no server likes mail from localhost";
        return Finding::fail(
            REVERSE,
            text,
            "Set hostname in the configuration to the name that your mail comes from.",
        );
    }
    let Some(address) = own_address().await else {
        let text = "there is no way to the Internet from here, so our public address is not known";
        return Finding::warn(REVERSE, text, name_it);
    };
    if !is_public(address) {
        let text = format!("behind an address translator ({address}), so our public address is not known here");
        return Finding::warn(REVERSE, text, format!("Look up your public address, and compare. {name_it}"));
    }
    if !can_ask {
        return Finding::warn(REVERSE, format!("{address} cannot be looked up without a resolver"), name_it);
    }
    let found = match timeout(ANSWER_TIME_MAX, resolver.reverse_name(address)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            let text = format!("{address} has no name ({error}): many servers refuse its mail");
            return Finding::fail(REVERSE, text, name_it);
        }
        Err(_) => return Finding::warn(REVERSE, format!("no answer about {address}"), name_it),
    };
    if *found != *hostname {
        let text = format!("{address} leads to {found} and not to {hostname}: many servers distrust such mail");
        return Finding::warn(REVERSE, text, format!("{name_it} Or set hostname to {found}."));
    }
    match timeout(ANSWER_TIME_MAX, resolver.addresses_of(&hostname)).await {
        Ok(Ok(addresses)) if addresses.contains(&address) => {
            Finding::ok(REVERSE, format!("{address} leads to {hostname}, and back"))
        }
        _ => Finding::fail(
            REVERSE,
            format!("{address} leads to {hostname}, but {hostname} does not lead back"),
            format!("Add an address record for {hostname} with {address}."),
        ),
    }
}

/// The address from which packets to the world leave. Nothing is sent: a UDP socket only asks the
/// routing table.
async fn own_address() -> Option<IpAddr> {
    // A documentation address (RFC 5737) is as far away as any.
    let somewhere = SocketAddr::from(([192, 0, 2, 1], 9));
    let socket = UdpSocket::bind("0.0.0.0:0").await.ok()?;
    socket.connect(somewhere).await.ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_unspecified())
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            // 100.64.0.0/10 is shared by the customers of one provider (RFC 6598).
            let shared = ip.octets()[0] == 100 && (64..128).contains(&ip.octets()[1]);
            !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || shared)
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::super::State;
    use super::*;

    /// It knows no name: 192.0.2.1 answers nobody.
    fn resolver() -> Resolver {
        let servers = vec!["127.0.0.1:9".parse().expect("an address")];
        let config = ResolverConfig { servers, query_timeout: ANSWER_TIME_MAX / 5, ..ResolverConfig::default() };
        Resolver::new(config, fastrand::Rng::with_seed(0)).expect("a resolver can be made")
    }

    async fn server(greeting: &'static [u8]) -> HostPort {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let local = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.expect("the doctor comes");
            socket.write_all(greeting).await.expect("the doctor listens");
        });
        HostPort { host: local.ip().to_string(), port: local.port() }
    }

    #[tokio::test]
    async fn a_server_that_greets_shows_that_the_port_is_open() {
        let greeted = port_25(&server(b"220 mx.test ESMTP\r\n").await, &resolver()).await;
        assert_eq!(greeted.state, State::Ok, "{}", greeted.text);
        let refused = port_25(&server(b"554 5.7.1 listed\r\n").await, &resolver()).await;
        assert_eq!(refused.state, State::Warn);
        assert!(refused.text.contains("554 5.7.1 listed"), "{}", refused.text);
    }

    #[tokio::test]
    async fn a_closed_port_says_what_to_do() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let local = listener.local_addr().expect("it is bound");
        drop(listener);
        let closed = port_25(&HostPort { host: local.ip().to_string(), port: local.port() }, &resolver()).await;
        assert_eq!(closed.state, State::Fail);
        assert!(closed.advice.is_some_and(|advice| advice.contains("Ask yours")));
    }

    #[tokio::test]
    async fn silence_ends_within_the_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let local = listener.local_addr().expect("it is bound");
        let began = Instant::now();
        let silent = port_25(&HostPort { host: local.ip().to_string(), port: local.port() }, &resolver()).await;
        assert_eq!(silent.state, State::Fail);
        assert!(silent.text.contains("did not answer within 5 s"), "{}", silent.text);
        assert!(began.elapsed() < ANSWER_TIME_MAX * 2);
        drop(listener);
    }

    #[test]
    fn private_addresses_are_not_ours_to_the_world() {
        for private in ["10.1.2.3", "192.168.0.9", "172.16.0.1", "100.64.0.1", "127.0.0.1", "fd00::1", "fe80::1", "::1"]
        {
            assert!(!is_public(private.parse().expect("an address")), "{private}");
        }
        for public in ["198.51.100.7", "100.128.0.1", "2001:db8::1"] {
            assert!(is_public(public.parse().expect("an address")), "{public}");
        }
    }
}
