//! STARTTLS and implicit TLS.

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use accept::{AuthOffer, Certificate, Limits, Tls};
use common::*;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Takes every certificate; signatures are still checked.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

async fn shake(stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    within(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

fn starttls() -> Setting {
    Setting { tls: Tls::Starttls(certificate()), auth: AuthOffer::WhenTls, ..Setting::default() }
}

fn implicit() -> Setting {
    Setting { tls: Tls::Implicit(certificate()), auth: AuthOffer::WhenTls, ..Setting::default() }
}

#[tokio::test]
async fn a_password_is_taken_only_behind_starttls() {
    let mut world = World::new(starttls());
    let mut client = world.connect().await;
    let offered = client.say("EHLO client.example").await;
    assert!(offered.contains("STARTTLS") && !offered.contains("AUTH"), "{offered}");
    assert_eq!(client.code(ADA).await, 538);
    assert_eq!(client.code("STARTTLS").await, 220);
    let mut client = Client::new(shake(client.stream).await.unwrap());
    assert_eq!(client.code(ADA).await, 503, "EHLO is forgotten");
    let offered = client.say("EHLO client.example").await;
    assert!(!offered.contains("STARTTLS") && offered.contains("AUTH PLAIN LOGIN"), "{offered}");
    assert_eq!(client.code(ADA).await, 235);
    assert_eq!(code(&client.message("x").await), 250);
    let stored = world.next().await;
    assert!(String::from_utf8(world.body(&stored)).unwrap().contains(" with ESMTPSA\r\n"));
    assert_eq!(client.code("QUIT").await, 221);
    client.closed().await;
    assert_eq!(world.counters().tls_handshakes.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn implicit_tls_speaks_tls_at_once() {
    let mut world = World::new(implicit());
    let mut client = Client::new(shake(world.stream().await).await.unwrap());
    assert_eq!(code(&client.reply().await), 220);
    assert_eq!(client.code("EHLO client.example").await, 250);
    assert_eq!(client.code(ADA).await, 235);
    assert_eq!(code(&client.message("x").await), 250);
    assert!(
        String::from_utf8({
            let stored = world.next().await;
            world.body(&stored)
        })
        .unwrap()
        .contains(" with ESMTPSA\r\n")
    );
    // Who speaks in the clear gets no word of SMTP.
    let mut clear = Client::new(world.stream().await);
    clear.send("EHLO x\r\n").await;
    let mut said = String::new();
    while let Ok(octet) = within(tokio::io::AsyncReadExt::read_u8(&mut clear.stream)).await {
        said.push(char::from(octet));
    }
    assert!(!said.contains("220"), "{said:?}");
    assert_eq!(world.counters().tls_failures.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_handshake_that_hangs_is_ended() {
    let limits = Limits { handshake_time_max: Duration::from_millis(50), ..Limits::default() };
    for setting in [implicit(), starttls()] {
        let by_command = matches!(setting.tls, Tls::Starttls(_));
        let world = World::new(Setting { limits, ..setting });
        let mut client = Client::new(world.stream().await);
        if by_command {
            assert_eq!(code(&client.reply().await), 220);
            assert_eq!(client.code("EHLO client.example").await, 250);
            assert_eq!(client.code("STARTTLS").await, 220);
        }
        client.closed().await;
        assert_eq!(world.counters().tls_failures.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn what_is_said_in_front_of_the_handshake_is_never_run() {
    let mut world = World::new(Setting { trust: trusted(), ..starttls() });
    let mut client = world.greeted().await;
    client.send("STARTTLS\r\nMAIL FROM:<evil@b>\r\nRCPT TO:<x@y>\r\nBDAT 0 LAST\r\n").await;
    assert_eq!(code(&client.reply().await), 554);
    client.closed().await;
    // In a segment of its own it is no TLS, and the connection ends.
    let mut client = world.greeted().await;
    assert_eq!(client.code("STARTTLS").await, 220);
    client.send("MAIL FROM:<evil@b>\r\nRCPT TO:<x@y>\r\nBDAT 0 LAST\r\n").await;
    let mut rest = Vec::new();
    drop(within(tokio::io::AsyncReadExt::read_to_end(&mut client.stream, &mut rest)).await);
    assert!(!rest.starts_with(b"2"), "{rest:?}");
    world.assert_nothing_stored().await;
}

#[tokio::test]
async fn tls_that_ends_within_a_message_leads_back_to_nothing() {
    for begin in ["DATA", "BDAT 1000"] {
        let mut world = World::new(implicit());
        let mut client = Client::new(shake(world.stream().await).await.unwrap());
        client.reply().await;
        client.say("EHLO client.example").await;
        assert_eq!(client.code(ADA).await, 235);
        client.say("MAIL FROM:<a@b>").await;
        client.say("RCPT TO:<c@d>").await;
        client.send(format!("{begin}\r\n")).await;
        if begin == "DATA" {
            assert_eq!(code(&client.reply().await), 354);
        }
        client.send("Subject: x\r\n\r\nhalf\r\n").await;
        // close_notify, and then one octet in the clear, and an end.
        let (mut stream, mut tls) = client.stream.into_inner();
        tls.send_close_notify();
        let mut farewell = Vec::new();
        tls.write_tls(&mut farewell).unwrap();
        farewell.extend_from_slice(b"x\r\n.\r\n");
        stream.write_all(&farewell).await.unwrap();
        let mut rest = Vec::new();
        drop(within(tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest)).await);
        world.assert_nothing_stored().await;
    }
}

#[tokio::test]
async fn a_changed_certificate_is_used_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (certificate_file, key_file) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let (first, first_key) = self_signed();
    std::fs::write(&certificate_file, &first).unwrap();
    std::fs::write(&key_file, &first_key).unwrap();
    let certificate = Arc::new(Certificate::from_files(&certificate_file, &key_file).unwrap());
    assert!(!certificate.reload(), "nothing has changed");
    let world = World::new(Setting { tls: Tls::Implicit(Arc::clone(&certificate)), ..Setting::default() });
    let shown = async || {
        let stream = shake(world.stream().await).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let before = shown().await;

    // A renewal writes one file after the other; in between they do not fit together.
    let (second, second_key) = self_signed();
    std::fs::write(&certificate_file, format!("{second}\n")).unwrap();
    assert!(!certificate.reload());
    assert_eq!(shown().await, before, "the last good one stays");
    std::fs::write(&key_file, format!("{second_key}\n")).unwrap();
    assert!(certificate.reload());
    assert_ne!(shown().await, before);
}

#[test]
fn certificates_that_cannot_be_used_say_why() {
    let (certificate, key) = self_signed();
    let (_, other_key) = self_signed();
    for (certificate, key, words) in [
        (certificate.as_str(), other_key.as_str(), "used together"),
        ("", key.as_str(), "no certificate in PEM"),
        (certificate.as_str(), "", "no private key in PEM"),
    ] {
        let error = Certificate::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let error = Certificate::from_files("/nowhere/cert.pem".as_ref(), "/nowhere/key.pem".as_ref()).unwrap_err();
    assert!(error.to_string().starts_with("cannot read /nowhere/"), "{error}");
}
