//! The little that the spool asks of a file system, so that tests can run the same engine on one
//! that loses power, tears writes and fails at any operation.
//!
//! Names are relative to the spool's directory, with `/` between folder and file.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, IoSlice};
use std::num::NonZeroU64;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{Advice, FlockOperation};

use crate::error::OpenError;

/// The folders of a spool.
pub const FOLDERS: [&str; 3] = ["segments", "large", "quarantine"];

/// A directory of files. Names become durable only by [`Fs::sync_dir`].
pub trait Fs: Send + Sync {
    /// Makes the folders and takes the lock that says: one process owns this spool.
    ///
    /// # Errors
    /// When another process has it, or the directory is not ours.
    fn own(&self) -> Result<(), OpenError>;
    /// Gives the lock back.
    fn disown(&self);
    /// Makes an empty file, readable by its owner only. It must not exist.
    ///
    /// # Errors
    /// Those of the machine, as everywhere in this trait.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// The names in a folder, without the folder.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    /// Puts the names of a folder on stable storage.
    fn sync_dir(&self, folder: &str) -> io::Result<()>;
}

/// An open file. All calls are positional, so that threads share it.
pub trait File: Send + Sync {
    /// Reads up to `into.len()` octets; 0 at the end.
    ///
    /// # Errors
    /// Those of the machine, as everywhere in this trait.
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes the slices one behind the other; may write less.
    fn write_at(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<usize>;
    /// Puts the contents on stable storage (fdatasync).
    fn sync(&self) -> io::Result<()>;
    fn octets(&self) -> io::Result<u64>;
    /// Drops clean pages between two offsets from memory, so that the next read sees the disk.
    fn forget_cached(&self, from: u64, to: u64);
}

/// Reads until `into` is full or the file ends; says how much there was.
pub(crate) fn read_full(file: &dyn File, into: &mut [u8], at: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], at + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes all slices. After an error any part of them may be in the file.
pub(crate) fn write_full(file: &dyn File, mut parts: &mut [IoSlice<'_>], mut at: u64) -> io::Result<()> {
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        match file.write_at(parts, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                at += n as u64;
                IoSlice::advance_slices(&mut parts, n);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The machine's file system below one directory.
pub struct RealFs {
    dir: PathBuf,
    lock: Mutex<Option<fs::File>>,
}

impl RealFs {
    pub fn new(dir: &Path) -> RealFs {
        RealFs { dir: dir.to_owned(), lock: Mutex::new(None) }
    }

    fn make_private_dir(&self, dir: &Path) -> Result<(), OpenError> {
        let io = |error| OpenError::Io { file: dir.display().to_string(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
        let metadata = fs::metadata(dir).map_err(io)?;
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(OpenError::Owner(dir.to_owned()));
        }
        if metadata.mode() & 0o777 != 0o700 {
            tracing::warn!(dir = %dir.display(), "the spool's directory was open to others; it is private now");
            fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(io)?;
        }
        Ok(())
    }
}

impl Fs for RealFs {
    fn own(&self) -> Result<(), OpenError> {
        self.make_private_dir(&self.dir)?;
        let path = self.dir.join("lock");
        let io = |error| OpenError::Io { file: path.display().to_string(), error };
        let lock = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = lock.map_err(io)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(OpenError::InUse(self.dir.clone())),
            Err(errno) => return Err(io(errno.into())),
        }
        for folder in FOLDERS {
            self.make_private_dir(&self.dir.join(folder))?;
        }
        self.sync_dir("").map_err(io)?;
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = Some(lock);
        Ok(())
    }

    fn disown(&self) {
        // Closing the file gives the lock back.
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(self.dir.join(name))?;
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(true).open(self.dir.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.dir.join(from), self.dir.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.dir.join(name))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.dir.join(folder))? {
            // A name that is no UTF-8 is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        fs::File::open(self.dir.join(folder))?.sync_all()
    }
}

impl File for fs::File {
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        FileExt::read_at(self, into, at)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(self, parts, at)?)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn octets(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn forget_cached(&self, from: u64, to: u64) {
        // Whole pages only. Advice: where the system does not take it, the read is as good as memory is.
        let from = from - from % 4096;
        let _ = rustix::fs::fadvise(self, from, NonZeroU64::new(to.saturating_sub(from)), Advice::DontNeed);
    }
}
