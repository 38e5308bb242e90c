//! The self-signed certificate of an instance that was given none: made at the first start, kept.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base::Domain;

/// Where certificate and key of a listener are.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Makes `tls/certificate.pem` and `tls/key.pem` in the data directory, unless both are there.
pub fn self_signed(data: &Path, hostname: &Domain) -> Result<CertificateFiles> {
    let directory = data.join("tls");
    let files = CertificateFiles { certificate: directory.join("certificate.pem"), key: directory.join("key.pem") };
    if files.certificate.exists() && files.key.exists() {
        return Ok(files);
    }
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let mut names =
        vec![hostname.ascii().into_owned(), "localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.dedup();
    let made = rcgen::generate_simple_self_signed(names).context("cannot make a self-signed certificate")?;
    // The key first: a certificate without its key would stop the next start.
    write(&files.key, made.signing_key.serialize_pem().as_bytes())?;
    write(&files.certificate, made.cert.pem().as_bytes())?;
    Ok(files)
}

fn write(path: &Path, pem: &[u8]) -> Result<()> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .with_context(|| format!("cannot write {}", beside.display()))?;
    file.write_all(pem).and_then(|()| file.sync_all()).with_context(|| format!("cannot write {}", beside.display()))?;
    fs::rename(&beside, path).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_only_its_owner_may_read_the_key() {
        use std::os::unix::fs::PermissionsExt;
        let data = tempfile::tempdir().unwrap();
        let hostname = "mail.example.org".parse().unwrap();
        let files = self_signed(data.path(), &hostname).unwrap();
        assert_eq!(fs::metadata(&files.key).unwrap().permissions().mode() & 0o777, 0o600);
        let first = fs::read(&files.certificate).unwrap();
        self_signed(data.path(), &hostname).unwrap();
        assert_eq!(fs::read(&files.certificate).unwrap(), first);
    }
}
