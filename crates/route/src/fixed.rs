//! Hosts that the operator has named: no MX is asked for.

use std::collections::BTreeMap;
use std::fmt;

use base::Domain;

/// A server by name or address, and its port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// A host name or an IP address, without brackets.
    pub host: Box<str>,
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// The `[dns] hosts` table: which domains go to a fixed server without asking the DNS.
///
/// A key is a domain (`example.test`), all sub-domains of one (`*.example.test`, not the domain itself),
/// or every domain (`*`). The domain itself counts before a wildcard, a longer wildcard before a shorter.
#[derive(Debug, Clone, Default)]
pub struct HostTable {
    exact: BTreeMap<Box<str>, HostPort>,
    /// By what follows `*.`.
    below: BTreeMap<Box<str>, HostPort>,
    any: Option<HostPort>,
}

/// A key of the table is neither a domain nor a wildcard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a domain nor a wildcard such as `*.example.test` or `*`")]
pub struct HostPatternError(pub Box<str>);

impl HostTable {
    /// # Errors
    /// When a key is neither a domain nor a wildcard.
    pub fn new<'a>(entries: impl IntoIterator<Item = (&'a str, HostPort)>) -> Result<HostTable, HostPatternError> {
        let mut table = HostTable::default();
        for (pattern, host) in entries {
            let domain = |text: &str| {
                let domain = Domain::parse(text).map_err(|_| HostPatternError(pattern.into()))?;
                Ok(Box::from(&*domain.ascii()))
            };
            match (pattern, pattern.strip_prefix("*.")) {
                ("*", _) => table.any = Some(host),
                (_, Some(parent)) => drop(table.below.insert(domain(parent)?, host)),
                (exact, None) => drop(table.exact.insert(domain(exact)?, host)),
            }
        }
        Ok(table)
    }

    /// Where `site` (A-labels, lower case) goes, if the table says.
    pub fn find(&self, site: &str) -> Option<&HostPort> {
        let parents = site.match_indices('.').map(|(at, _)| &site[at + 1..]);
        let wildcard = || parents.into_iter().find_map(|parent| self.below.get(parent));
        self.exact.get(site).or_else(wildcard).or(self.any.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(port: u16) -> HostPort {
        HostPort { host: "127.0.0.1".into(), port }
    }

    #[test]
    fn the_nearest_pattern_wins() {
        let table = HostTable::new([
            ("*", host(1)),
            ("*.test", host(2)),
            ("*.example.test", host(3)),
            ("Example.Test", host(4)),
            ("*.münchen.test", host(5)),
        ])
        .unwrap();
        let port = |site: &str| table.find(site).map(|found| found.port);
        assert_eq!(port("example.test"), Some(4));
        assert_eq!(port("mail.example.test"), Some(3));
        assert_eq!(port("a.b.example.test"), Some(3));
        assert_eq!(port("other.test"), Some(2));
        assert_eq!(port("test"), Some(1));
        assert_eq!(port("a.xn--mnchen-3ya.test"), Some(5));
        assert_eq!(port("example.org"), Some(1));
        assert_eq!(HostTable::default().find("example.org"), None);
    }

    #[test]
    fn a_bad_pattern_is_named() {
        let error = HostTable::new([("*.*.test", host(1))]).unwrap_err();
        assert_eq!(error.to_string(), "`*.*.test` is neither a domain nor a wildcard such as `*.example.test` or `*`");
    }

    #[test]
    fn a_host_is_written_as_it_is_configured() {
        assert_eq!(host(25).to_string(), "127.0.0.1:25");
        assert_eq!(HostPort { host: "::1".into(), port: 25 }.to_string(), "[::1]:25");
    }
}
