//! The instance's master key: the one secret that everything else hangs on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::hkdf;
use data_encoding::HEXLOWER_PERMISSIVE;
use zeroize::Zeroizing;

use crate::{Key, KeyedHash, fill_random};

/// 32 random octets. Lost, all that was sealed is lost; so operators keep a copy elsewhere.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    #[error("cannot read or write the master key {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("others than the owner may read the master key {path}: run `chmod 600 {path}`")]
    Permissions { path: PathBuf },
    #[error("a master key is 64 hexadecimal digits; {place} has something else")]
    Malformed { place: String },
}

impl MasterKey {
    pub fn from_bytes(bytes: [u8; 32]) -> MasterKey {
        MasterKey(Zeroizing::new(bytes))
    }

    /// Reads 64 hexadecimal digits; `place` is named in the error, the text is not.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn from_hex(text: &str, place: &str) -> Result<MasterKey, MasterKeyError> {
        let malformed = || MasterKeyError::Malformed { place: place.to_owned() };
        let bytes = Zeroizing::new(HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).map_err(|_| malformed())?);
        let bytes: [u8; 32] = bytes.as_slice().try_into().map_err(|_| malformed())?;
        Ok(MasterKey::from_bytes(bytes))
    }

    /// Reads the key file, or makes it (mode 0600, synced with its directory) at the first start.
    ///
    /// # Errors
    /// When the file cannot be read or written, is readable by others, or holds no key.
    pub fn load_or_make(path: &Path) -> Result<MasterKey, MasterKeyError> {
        let io_error = |source| MasterKeyError::Io { path: path.to_owned(), source };
        match File::open(path) {
            Ok(file) => read(path, file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(path).map_err(io_error),
            Err(error) => Err(io_error(error)),
        }
    }

    /// The key for one purpose. The label is the purpose; two purposes never share one.
    pub fn derive(&self, label: &str) -> Key {
        Key::from_bytes(&self.derive_bytes(label))
    }

    /// The keyed hash for one purpose.
    pub fn derive_hash(&self, label: &str) -> KeyedHash {
        KeyedHash::new(&self.derive_bytes(label))
    }

    /// 32 octets for one purpose, for who needs them bare (HKDF-SHA256, RFC 5869).
    pub fn derive_bytes(&self, label: &str) -> Zeroizing<[u8; 32]> {
        let mut out = Zeroizing::new([0; 32]);
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"postrider/1")
            .extract(self.0.as_slice())
            .expand(&[label.as_bytes()], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(out.as_mut_slice()))
            .expect("HKDF-SHA256 gives 32 octets");
        out
    }
}

fn read(path: &Path, mut file: File) -> Result<MasterKey, MasterKeyError> {
    let io_error = |source| MasterKeyError::Io { path: path.to_owned(), source };
    let mode = file.metadata().map_err(io_error)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(MasterKeyError::Permissions { path: path.to_owned() });
    }
    let mut text = Zeroizing::new(String::new());
    Read::by_ref(&mut file).take(4096).read_to_string(&mut text).map_err(io_error)?;
    MasterKey::from_hex(&text, &path.display().to_string())
}

/// Written beside, synced, then renamed: a crash leaves no key or a whole one.
fn make(path: &Path) -> io::Result<MasterKey> {
    let mut bytes = Zeroizing::new([0; 32]);
    fill_random(bytes.as_mut_slice());
    let beside = path.with_extension("key.new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let mut text = Zeroizing::new(HEXLOWER_PERMISSIVE.encode(bytes.as_slice()));
    text.push('\n');
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        File::open(directory)?.sync_all()?;
    }
    Ok(MasterKey(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master.key");
        let made = MasterKey::load_or_make(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = MasterKey::load_or_make(&path).unwrap();
        assert_eq!(made.derive_bytes("x"), read.derive_bytes("x"));
        assert_ne!(made.derive_bytes("x"), made.derive_bytes("y"));
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master.key");
        MasterKey::load_or_make(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = MasterKey::load_or_make(&path).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn nonsense_is_refused_and_not_repeated() {
        let error = MasterKey::from_hex("hunter2", "POSTRIDER_MASTER_KEY").map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("POSTRIDER_MASTER_KEY") && !error.contains("hunter2"));
    }
}
