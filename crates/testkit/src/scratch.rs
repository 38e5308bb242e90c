//! A directory for one test.

use std::path::{Path, PathBuf};

/// A new directory under the system's temporary one. Removed with its content when dropped, unless the test is
/// failing or `POSTRIDER_KEEP` is set: then it is kept, and its place is printed.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        Scratch::within(&std::env::temp_dir(), name)
    }

    /// One in another place than the system's temporary directory, which may be no real disk.
    pub fn within(directory: &Path, name: &str) -> Scratch {
        let path = tempfile::Builder::new()
            .prefix(&format!("postrider-{name}-"))
            .tempdir_in(directory)
            .unwrap_or_else(|error| panic!("{} is not writable: {error}", directory.display()))
            .keep();
        Scratch { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file of this name and gives its path back.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        std::fs::write(&path, content).unwrap_or_else(|error| panic!("writing {}: {error}", path.display()));
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("POSTRIDER_KEEP").is_some() {
            eprintln!("kept for a look: {}", self.path.display());
        } else if let Err(error) = std::fs::remove_dir_all(&self.path) {
            eprintln!("could not remove {}: {error}", self.path.display());
        }
    }
}
