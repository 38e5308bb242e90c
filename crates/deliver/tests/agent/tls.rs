//! STARTTLS with servers that do it well, badly, or not.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use crate::mx::{Mx, Peer};
use crate::world::*;

/// A certificate made out to `name`, signed by itself.
fn certificate(name: &str, change: impl FnOnce(&mut CertificateParams)) -> TlsAcceptor {
    let key = KeyPair::generate().expect("a key can be made");
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("it is a name");
    change(&mut params);
    let certificate = params.self_signed(&key).expect("a certificate can be signed").der().clone();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("there are protocol versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))
        .expect("certificate and key belong together");
    TlsAcceptor::from(Arc::new(config))
}

/// A server whose TLS works, with this certificate.
async fn secure(acceptor: TlsAcceptor) -> Mx {
    Mx::start(move |mut peer: Peer| {
        let acceptor = acceptor.clone();
        async move {
            peer.greets(&["STARTTLS", "PIPELINING"]).await;
            if peer.line().await != "STARTTLS" {
                return;
            }
            peer.says("220 go\r\n").await;
            let mut peer = peer.starts_tls(&acceptor).await;
            peer.offers(&["PIPELINING"]).await;
            peer.takes_all().await;
        }
    })
    .await
}

/// A server that offers STARTTLS and answers it with these words. What follows is no TLS. It takes
/// mail in plaintext on other connections.
async fn broken(words: &'static str) -> Mx {
    Mx::start(move |mut peer: Peer| async move {
        peer.greets(&["STARTTLS", "PIPELINING"]).await;
        let first = peer.line().await;
        if first == "STARTTLS" {
            peer.says(words).await;
            if words.starts_with("454") {
                peer.takes_all().await;
            }
            return;
        }
        peer.says("250 ok\r\n").await;
        peer.takes_all().await;
    })
    .await
}

#[tokio::test]
async fn any_certificate_is_better_than_none() {
    let now = |_: &mut CertificateParams| {};
    let expired = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    };
    for acceptor in [
        certificate("mx1.example", now),
        certificate("mx1.example", expired),
        certificate("somebody.else.example", now),
    ] {
        let mx = secure(acceptor).await;
        let report = attempt(&agent(), &plan(&[mx.address]), task(&["bo@there.example"])).await;
        assert_eq!(outcomes(&report), [(0, DELIVERED, 250)]);
        let tls = report.tls.as_deref().expect("it was encrypted");
        assert!(tls.starts_with("TLSv1.3 TLS_"), "{tls}");
        assert!(dialogue(&report).contains(&format!("[TLS handshake] -> {tls}")));
        assert_eq!(mx.received()[0].content, MESSAGE);
    }
}

#[tokio::test]
async fn many_messages_on_one_encrypted_connection() {
    let mx = secure(certificate("mx1.example", |_| {})).await;
    let (agent, plan) = (agent(), plan(&[mx.address]));
    let mut kept = None;
    for _ in 0..20 {
        let report = agent.attempt(&plan, task(&["bo@there.example"]), kept).await.expect("it is in memory");
        assert_eq!(outcomes(&report), [(0, DELIVERED, 250)]);
        assert!(report.tls.is_some());
        kept = report.connection;
        assert!(kept.as_mut().expect("it stays open").is_usable());
    }
    assert_eq!((mx.connections(), mx.received().len()), (1, 20));
}

#[tokio::test]
async fn starttls_that_is_offered_and_refused() {
    let mx = broken("454 4.7.0 TLS not available\r\n").await;
    let report = attempt(&agent(), &plan(&[mx.address]), task(&["bo@there.example"])).await;
    assert_eq!(outcomes(&report), [(0, DELIVERED, 250)]);
    assert_eq!((report.tls, mx.connections()), (None, 1));
}

#[tokio::test]
async fn a_handshake_that_fails_is_not_tried_every_time() {
    for words in ["220 go\r\n", "220 go\r\nHTTP/1.1 400\r\n"] {
        let mx = broken(words).await;
        let good = Mx::good(&[]).await;
        let agent = agent();
        let report = attempt(&agent, &plan(&[mx.address, good.address]), task(&["bo@there.example"])).await;
        assert_eq!(outcomes(&report), [(0, DELIVERED, 250)]);
        if words.len() > 8 {
            // Words behind the 220 are an attack, and no reason to give up TLS.
            assert!(report.server.starts_with("mx2.example"), "{}", report.server);
            continue;
        }
        assert!(report.server.starts_with("mx1.example"));
        assert!(dialogue(&report).contains("[the TLS handshake failed"), "{}", dialogue(&report));
        assert_eq!(mx.connections(), 2);
        let report = attempt(&agent, &plan(&[mx.address]), task(&["bo@there.example"])).await;
        assert_eq!(outcomes(&report), [(0, DELIVERED, 250)]);
        assert_eq!(mx.connections(), 3, "it is remembered");
        assert!(dialogue(&report).contains("[plaintext] -> TLS with this host failed"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ignores_the_client_hello() {
    let _clock = time_flies();
    let mx = Mx::start(async |mut peer: Peer| {
        peer.greets(&["STARTTLS"]).await;
        if peer.line().await == "STARTTLS" {
            peer.says("220 go\r\n").await;
            return peer.waits_for_the_end().await;
        }
        peer.says("250 ok\r\n").await;
        peer.takes_all().await;
    })
    .await;
    let report = attempt(&agent(), &plan(&[mx.address]), task(&["bo@there.example"])).await;
    assert_eq!(outcomes(&report), [(0, DELIVERED, 250)]);
}
