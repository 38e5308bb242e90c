//! Which addresses mail may be sent to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Whether an address can be that of somebody's mail server on the public Internet. What a stranger
/// writes into his zone must not lead us to machines of our own network (RFC 6890 lists the ranges).
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(a == 0
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || (a == 100 && (64..=127).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..=19).contains(&b))
        || a >= 240)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(v4) = embedded_v4(address) {
        return is_public_v4(v4);
    }
    let [a, b, ..] = address.segments();
    // Only 2000::/3 is given out to the public.
    (a & 0xe000) == 0x2000 && !(a == 0x2001 && b == 0x0db8) && !(a == 0x2001 && b < 0x0200) && a != 0x3fff
}

/// The IPv4 address that an IPv6 address stands for: mapped, NAT64 (RFC 6052), 6to4.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let from = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] => Some(from(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(from(high, low)),
        [0x2002, high, low, ..] => Some(from(high, low)),
        _ => None,
    }
}

/// Who we are, so that mail is not sent round in a loop.
#[derive(Debug)]
pub(crate) struct Ourselves {
    /// In lower case, without the final dot.
    hostnames: Vec<Box<str>>,
    listeners: Vec<SocketAddr>,
    /// Whether "can it be bound?" tells which addresses are this machine's.
    bind_tells: bool,
}

impl Ourselves {
    pub(crate) fn new(hostnames: &[Box<str>], listeners: Vec<SocketAddr>) -> Ourselves {
        let hostnames = hostnames.iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase().into()).collect();
        // Where the system lets anything be bound (net.ipv4.ip_nonlocal_bind), it tells nothing, and to
        // take the whole Internet for ourselves would bounce everything.
        let nobody: [IpAddr; 2] =
            [Ipv4Addr::new(192, 0, 2, 1).into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()];
        let bind_tells = !nobody.into_iter().any(can_bind);
        Ourselves { hostnames, listeners, bind_tells }
    }

    pub(crate) fn has_name(&self, host: &str) -> bool {
        self.hostnames.iter().any(|name| **name == *host)
    }

    /// Whether a connection to `address` would reach a listener of ours.
    pub(crate) fn listens_at(&self, address: SocketAddr) -> bool {
        self.listeners.iter().any(|listener| {
            listener.port() == address.port()
                && (listener.ip() == address.ip() || (listener.ip().is_unspecified() && self.is_local(address.ip())))
        })
    }

    fn is_local(&self, address: IpAddr) -> bool {
        address.is_loopback() || address.is_unspecified() || (self.bind_tells && can_bind(address))
    }
}

/// A socket can be bound to this machine's own addresses only; nothing is sent.
fn can_bind(address: IpAddr) -> bool {
    !address.is_multicast() && UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_zone_leads_into_our_own_network() {
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "3fff::1",
            "100::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address} was taken");
        }
        for address in
            ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2a00:1450::1", "2001:4860:4860::8888", "64:ff9b::808:808"]
        {
            assert!(is_public(address.parse().unwrap()), "{address} was refused");
        }
    }

    #[test]
    fn we_know_our_own_listeners() {
        let ours = Ourselves::new(
            &["Relay.Example.".into()],
            vec!["0.0.0.0:25".parse().unwrap(), "192.168.7.7:2525".parse().unwrap()],
        );
        assert!(ours.has_name("relay.example"));
        assert!(!ours.has_name("other.example"));
        assert!(ours.listens_at("127.0.0.1:25".parse().unwrap()));
        assert!(!ours.listens_at("127.0.0.1:26".parse().unwrap()));
        assert!(ours.listens_at("192.168.7.7:2525".parse().unwrap()));
        assert!(!ours.listens_at("8.8.8.8:25".parse().unwrap()));
    }
}
