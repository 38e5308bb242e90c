//! Certificates for tests, good and bad, and a client that takes any.

use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme};

/// What is wrong with a sink's certificate. None is signed by an authority that anybody trusts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificate {
    /// Made out to `localhost` and 127.0.0.1, valid for years.
    SelfSigned,
    Expired,
    /// Made out to somebody else.
    WrongName,
}

/// A certificate and its key, both in PEM.
#[derive(Debug, Clone)]
pub struct Pem {
    pub certificate: String,
    pub key: String,
}

fn parameters(kind: Certificate, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = match kind {
        Certificate::WrongName => vec!["somebody.else.test".to_owned()],
        _ => names.iter().map(|name| (*name).to_owned()).collect(),
    };
    let common_name = names.first().cloned().unwrap_or_default();
    let mut parameters = CertificateParams::new(names).expect("the names are host names");
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    if kind == Certificate::Expired {
        parameters.not_before = date_time_ymd(2001, 1, 1);
        parameters.not_after = date_time_ymd(2002, 1, 1);
    }
    parameters
}

/// A new certificate for these names, as files have it.
pub fn pem(kind: Certificate, names: &[&str]) -> Pem {
    let key = KeyPair::generate().expect("a key can be made");
    let certificate = parameters(kind, names).self_signed(&key).expect("a certificate can sign itself");
    Pem { certificate: certificate.pem(), key: key.serialize_pem() }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

pub(crate) fn server_config(kind: Certificate) -> Arc<ServerConfig> {
    let key = KeyPair::generate().expect("a key can be made");
    let certificate =
        parameters(kind, &["localhost", "127.0.0.1"]).self_signed(&key).expect("a certificate can sign itself");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider knows the default versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("the key belongs to the certificate");
    Arc::new(config)
}

pub(crate) fn client_config() -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider knows the default versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider())))
        .with_no_client_auth();
    Arc::new(config)
}

/// Takes every certificate. Signatures are still checked: a broken handshake shall not look whole.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
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
