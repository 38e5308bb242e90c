//! Opportunistic TLS towards other servers (RFC 3207, RFC 7435).
//!
//! It protects against those who only listen, and any certificate is accepted: the names of MX hosts
//! come from DNS that anybody on the way may forge, so that a valid certificate would prove nothing,
//! and to insist on one would only mean that more mail travels in plaintext. TLS 1.2 and 1.3 only
//! (RFC 8996).

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Makes TLS connections. Sessions are resumed where servers allow it.
#[derive(Clone)]
pub struct Handshaker(TlsConnector);

impl Default for Handshaker {
    fn default() -> Handshaker {
        Handshaker::new()
    }
}

impl Handshaker {
    pub fn new() -> Handshaker {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has cipher suites for TLS 1.2 and 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody { provider }))
            .with_no_client_auth();
        Handshaker(Arc::new(config).into())
    }

    /// Does the handshake with `host`, which was reached at `address`.
    ///
    /// # Errors
    /// In words for the dialogue. The socket is closed then.
    pub async fn start(
        &self,
        host: &str,
        address: SocketAddr,
        socket: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Box<str>> {
        // A host without a proper name is asked for by its address.
        let name = ServerName::try_from(host.to_owned()).unwrap_or_else(|_| ServerName::from(address.ip()));
        self.0.connect(name, socket).await.map_err(|error| error.to_string().into())
    }
}

/// `TLSv1.3 TLS_AES_256_GCM_SHA384`.
pub fn describe(stream: &TlsStream<TcpStream>) -> String {
    let (_, session) = stream.get_ref();
    let version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLS",
    };
    let suite = session.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite())).unwrap_or_default();
    format!("{version} {}", suite.replace("TLS13_", "TLS_"))
}

/// Accepts every certificate, whoever it is from. For opportunistic TLS only.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    /// A signature by a key that nobody vouches for proves nothing, and checking it would turn away
    /// servers with odd certificates, towards plaintext.
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
