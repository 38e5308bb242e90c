//! Certificates, and when they change.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, version};
use tokio::time::Instant;

/// So often at most a certificate's files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// A certificate with its key, for any number of listeners. When it comes from files, they are read
/// again when they change; while they cannot be read, or do not fit together, the last good one stays.
///
/// TLS 1.2 and 1.3. Sessions are not resumed: a ticket of one listener is worth nothing at another.
#[derive(Debug)]
pub struct Certificate {
    current: ArcSwap<ServerConfig>,
    files: Option<Files>,
}

#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    looked: Option<Instant>,
    stamps: [Stamp; 2],
}

/// What changes when a file is written or replaced. `None`: it is not there.
type Stamp = Option<(SystemTime, u64)>;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("cannot read {file}: {error}")]
    Read { file: PathBuf, error: std::io::Error },
    #[error("{file} has no {what} in PEM: {error}")]
    Pem { file: PathBuf, what: &'static str, error: rustls::pki_types::pem::Error },
    #[error("{file} has no certificate in PEM")]
    Empty { file: PathBuf },
    #[error("certificate and key cannot be used together: {0}")]
    Unfit(#[from] rustls::Error),
}

impl Certificate {
    /// Reads a certificate with its chain and the key, both in PEM.
    ///
    /// # Errors
    /// When a file cannot be read, has not what it should have, or the key is another one's.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Certificate, CertificateError> {
        // The stamps first: a change while we read is then seen as one.
        let stamps = [stamp(certificate), stamp(key)];
        let current = ArcSwap::from(load(certificate, key)?);
        let seen = Mutex::new(Seen { looked: None, stamps });
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned(), seen };
        Ok(Certificate { current, files: Some(files) })
    }

    /// Takes both as PEM text, for good.
    ///
    /// # Errors
    /// As [`Certificate::from_files`].
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Certificate, CertificateError> {
        let place = Path::new("the certificate given");
        let config = assemble(place, certificate, place, key)?;
        Ok(Certificate { current: ArcSwap::from(config), files: None })
    }

    /// What the next handshake uses. Looks at the files at most every 5 seconds; what the look costs is
    /// two calls of `stat`.
    pub(crate) fn config(&self, now: Instant) -> Arc<ServerConfig> {
        if let Some(files) = &self.files {
            let mut seen = files.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let due = seen.looked.is_none_or(|looked| now.duration_since(looked) >= LOOK_INTERVAL);
            if due {
                seen.looked = Some(now);
                self.look(files, &mut seen);
            }
        }
        self.current.load_full()
    }

    /// Looks at the files now, and says whether a changed certificate was taken.
    pub fn reload(&self) -> bool {
        let Some(files) = &self.files else { return false };
        let mut seen = files.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.look(files, &mut seen)
    }

    fn look(&self, files: &Files, seen: &mut Seen) -> bool {
        let stamps = [stamp(&files.certificate), stamp(&files.key)];
        if stamps == seen.stamps {
            return false;
        }
        match load(&files.certificate, &files.key) {
            Ok(config) => {
                tracing::info!(file = %files.certificate.display(), "a changed certificate was read");
                self.current.store(config);
                seen.stamps = stamps;
                true
            }
            Err(error) => {
                // The stamps stay, so that it is tried again: files are renewed one after the other.
                tracing::warn!(%error, "the changed certificate cannot be used, the last one stays");
                false
            }
        }
    }
}

fn stamp(file: &Path) -> Stamp {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn load(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, CertificateError> {
    let read = |file: &Path| fs::read(file).map_err(|error| CertificateError::Read { file: file.to_owned(), error });
    let key_text = base::Secret::new(read(key)?);
    assemble(certificate, &read(certificate)?, key, key_text.expose_secret())
}

fn assemble(
    certificate_file: &Path,
    certificate: &[u8],
    key_file: &Path,
    key: &[u8],
) -> Result<Arc<ServerConfig>, CertificateError> {
    let pem_error = |file: &Path, what| {
        let file = file.to_owned();
        move |error| CertificateError::Pem { file, what, error }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(pem_error(certificate_file, "certificate"))?;
    if chain.is_empty() {
        return Err(CertificateError::Empty { file: certificate_file.to_owned() });
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(pem_error(key_file, "private key"))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
