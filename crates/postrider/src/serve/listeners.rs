//! From what the configuration says of listeners to listeners that are bound.

use std::net::SocketAddr;
use std::sync::Arc;

use accept::{AuthOffer, BoundListener, Certificate, ListenerConfig, Network, Principal, Tls, Trust};
use anyhow::{Context, Result};
use base::{AccountId, Stream};

use super::certificate::self_signed;
use crate::config::{self, Config, Listener, ListenerAuth, ListenerTls};

/// The listeners, bound but not yet served.
pub struct Listeners {
    pub bound: Vec<BoundListener>,
    /// Addresses without implicit TLS, in the order of the configuration.
    pub smtp: Vec<SocketAddr>,
    /// Addresses with implicit TLS.
    pub smtps: Vec<SocketAddr>,
}

impl Listeners {
    /// Binds all of them. To be called within a tokio runtime.
    pub fn bind(config: &Config) -> Result<Listeners> {
        let needs_certificate = config.smtp.listeners.iter().any(|listener| listener.tls != ListenerTls::None);
        let certificate = if needs_certificate { Some(Arc::new(certificate(config)?)) } else { None };
        let mut listeners = Listeners { bound: Vec::new(), smtp: Vec::new(), smtps: Vec::new() };
        for listener in &config.smtp.listeners {
            let bound = BoundListener::bind(listener_config(listener, certificate.as_ref()))
                .with_context(|| format!("cannot listen on {}", listener.address))?;
            match listener.tls {
                ListenerTls::Implicit => listeners.smtps.push(bound.local_addr()),
                ListenerTls::StartTls | ListenerTls::None => listeners.smtp.push(bound.local_addr()),
            }
            listeners.bound.push(bound);
        }
        Ok(listeners)
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.smtp.iter().chain(&self.smtps).copied().collect()
    }
}

fn certificate(config: &Config) -> Result<Certificate> {
    let (certificate, key) = match &config.certificate {
        config::Certificate::Files { certificate, key } => (certificate.clone(), key.clone()),
        config::Certificate::SelfSigned => {
            let made = self_signed(&config.data, &config.hostname)?;
            (made.certificate, made.key)
        }
    };
    Certificate::from_files(&certificate, &key).context("in the section tls")
}

fn listener_config(listener: &Listener, certificate: Option<&Arc<Certificate>>) -> ListenerConfig {
    let tls = match (listener.tls, certificate) {
        (ListenerTls::StartTls, Some(certificate)) => Tls::Starttls(Arc::clone(certificate)),
        (ListenerTls::Implicit, Some(certificate)) => Tls::Implicit(Arc::clone(certificate)),
        _ => Tls::None,
    };
    let auth = match listener.auth {
        ListenerAuth::WhenTls => AuthOffer::WhenTls,
        ListenerAuth::Always => AuthOffer::Always,
        ListenerAuth::Never => AuthOffer::Never,
    };
    ListenerConfig { address: listener.address, tls, auth, trust: trust(&listener.trust) }
}

/// Mail from a trusted network is the instance's own: no customer has logged in.
fn trust(networks: &[Network]) -> Trust {
    if networks.is_empty() {
        return Trust::Nobody;
    }
    let principal = Principal {
        account: AccountId::INSTANCE,
        credential: None,
        stream: Stream::Transactional,
        name: "a trusted network".into(),
    };
    Trust::Networks { networks: networks.to_vec(), principal }
}
