//! A file system in memory that loses power, tears writes, and fails at any operation.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard};

use fastrand::Rng;
use spool::OpenError;
use spool::fs::{File, Fs};

const SECTOR: usize = 512;

/// What a power cut leaves of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Nothing: the strictest disk.
    LoseAll,
    /// Some writes, some sectors of some writes, the first so many changes of names.
    Tear,
    /// Everything: the process died, the machine did not.
    KillOnly,
}

#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// The machine stops in the middle of the N-th change.
    CrashAt(u64),
    /// The N-th operation fails, whatever it is; the next goes well.
    FailAt(u64, io::ErrorKind),
    /// From the N-th operation on no file grows.
    FullFrom(u64),
}

#[derive(Default)]
struct Inode {
    /// As a reader sees it.
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<(usize, Vec<u8>)>,
}

#[derive(Clone)]
enum NameChange {
    Put(String, usize),
    Gone(String),
}

#[derive(Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    pending_names: Vec<NameChange>,
    changes: u64,
    operations: u64,
    fault: Option<Fault>,
    down: bool,
    hit: bool,
    owned: bool,
    failures: u64,
    written: Option<Vec<Vec<u8>>>,
}

/// The disk; clones are the same one.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<State>>);

fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn put(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if content.len() < at + bytes.len() {
        let missing = vec![0; at + bytes.len() - content.len()];
        content.extend_from_slice(&missing);
    }
    content[at..at + bytes.len()].copy_from_slice(bytes);
}

fn apply(names: &mut BTreeMap<String, usize>, change: NameChange) {
    match change {
        NameChange::Put(name, inode) => {
            names.insert(name, inode);
        }
        NameChange::Gone(name) => {
            names.remove(&name);
        }
    }
}

impl State {
    /// Counts an operation; says whether it fails.
    fn step(&mut self, changes: bool, grows: bool) -> io::Result<()> {
        if self.down {
            return Err(io::Error::other("the power is off"));
        }
        self.operations += 1;
        self.changes += u64::from(changes);
        match self.fault {
            Some(Fault::FailAt(at, kind)) if at == self.operations => {
                self.hit = true;
                Err(kind.into())
            }
            Some(Fault::FullFrom(at)) if grows && self.operations >= at => {
                self.hit = true;
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    /// After a change took place in memory: does the power go now?
    fn after_change(&mut self) -> io::Result<()> {
        if matches!(self.fault, Some(Fault::CrashAt(at)) if at == self.changes) {
            self.down = true;
            self.hit = true;
            return Err(io::Error::other("the power went off"));
        }
        Ok(())
    }

    fn rename_now(&mut self, change: NameChange) {
        apply(&mut self.names, change.clone());
        self.pending_names.push(change);
    }

    fn inode(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds the disk")
    }

    pub fn set_fault(&self, fault: Option<Fault>) {
        let mut state = self.state();
        (state.fault, state.changes, state.operations, state.hit) = (fault, 0, 0, false);
    }

    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    /// Whether the fault took place.
    pub fn was_hit(&self) -> bool {
        self.state().hit
    }

    pub fn is_down(&self) -> bool {
        self.state().down
    }

    /// Writes and syncs that failed while the power was on.
    pub fn failures(&self) -> u64 {
        self.state().failures
    }

    /// The power comes back; what was not synced is gone as `cut` says.
    pub fn reboot(&self, cut: Cut, rng: &mut Rng) {
        let mut state = self.state();
        for inode in &mut state.inodes {
            let pending = std::mem::take(&mut inode.pending);
            match cut {
                Cut::KillOnly => {
                    // The page cache lives on, and is still not synced.
                    inode.pending = pending;
                    continue;
                }
                Cut::LoseAll => {}
                Cut::Tear => {
                    for (at, bytes) in pending {
                        tear(&mut inode.durable, at, &bytes, rng);
                    }
                }
            }
            inode.now = inode.durable.clone();
        }
        let changes = std::mem::take(&mut state.pending_names);
        match cut {
            Cut::KillOnly => state.pending_names = changes,
            Cut::LoseAll => state.names = state.durable_names.clone(),
            Cut::Tear => {
                let kept = rng.usize(0..=changes.len());
                for change in changes.into_iter().take(kept) {
                    apply(&mut state.durable_names, change);
                }
                state.names = state.durable_names.clone();
            }
        }
        (state.down, state.owned, state.fault) = (false, false, None);
    }

    /// Keeps a copy of every write from now on, also of those that fail.
    pub fn keep_writes(&self) {
        self.state().written = Some(Vec::new());
    }

    pub fn kept_writes(&self) -> Vec<Vec<u8>> {
        self.state().written.clone().unwrap_or_default()
    }

    /// The contents of all files in a folder.
    pub fn files(&self, folder: &str) -> Vec<(String, Vec<u8>)> {
        let state = self.state();
        let inside = state.names.iter().filter(|(name, _)| folder_of(name) == folder);
        inside.map(|(name, inode)| (name.clone(), state.inodes[*inode].durable.clone())).collect()
    }
}

/// Each sector of a write reaches the disk, or does not.
fn tear(durable: &mut Vec<u8>, at: usize, bytes: &[u8], rng: &mut Rng) {
    let (all, none) = (rng.u8(0..4) == 0, rng.u8(0..4) == 0);
    let mut done = 0;
    while done < bytes.len() {
        let step = (SECTOR - (at + done) % SECTOR).min(bytes.len() - done);
        if all || (!none && rng.bool()) {
            put(durable, at + done, &bytes[done..done + step]);
        }
        done += step;
    }
}

impl Fs for Disk {
    fn own(&self) -> Result<(), OpenError> {
        let mut state = self.state();
        if state.owned {
            return Err(OpenError::InUse("disk".into()));
        }
        state.step(false, false).map_err(|error| OpenError::Io { file: "lock".into(), error })?;
        state.owned = true;
        Ok(())
    }

    fn disown(&self) {
        self.state().owned = false;
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut state = self.state();
        state.step(true, true)?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.inodes.push(Inode::default());
        let inode = state.inodes.len() - 1;
        state.rename_now(NameChange::Put(name.into(), inode));
        state.after_change()?;
        Ok(Arc::new(Handle { disk: self.clone(), inode }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut state = self.state();
        state.step(false, false)?;
        let inode = state.inode(name)?;
        Ok(Arc::new(Handle { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step(true, false)?;
        let inode = state.inode(from)?;
        // One change: a journalling file system does not show half a rename.
        state.names.remove(from);
        state.names.insert(to.into(), inode);
        state.pending_names.push(NameChange::Put(to.into(), inode));
        state.pending_names.push(NameChange::Gone(from.into()));
        state.after_change()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step(true, false)?;
        state.inode(name)?;
        state.rename_now(NameChange::Gone(name.into()));
        state.after_change()
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.step(false, false)?;
        let inside = state.names.keys().filter(|name| folder_of(name) == folder);
        Ok(inside.filter_map(|name| name.rsplit_once('/')).map(|(_, name)| name.to_owned()).collect())
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step(true, false)?;
        // The power may go before it is done.
        state.after_change()?;
        let (here, elsewhere) = std::mem::take(&mut state.pending_names).into_iter().partition(|change| {
            let (NameChange::Put(name, _) | NameChange::Gone(name)) = change;
            folder_of(name) == folder || name.contains('/') && folder.is_empty()
        });
        state.pending_names = elsewhere;
        let here: Vec<NameChange> = here;
        for change in here {
            apply(&mut state.durable_names, change);
        }
        Ok(())
    }
}

struct Handle {
    disk: Disk,
    inode: usize,
}

impl File for Handle {
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.step(false, false)?;
        let now = &state.inodes[self.inode].now;
        let from = (at as usize).min(now.len());
        let n = into.len().min(now.len() - from);
        into[..n].copy_from_slice(&now[from..from + n]);
        Ok(n)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend_from_slice(part);
        }
        if let Some(written) = &mut state.written {
            written.push(bytes.clone());
        }
        let at = at as usize;
        let grows = at + bytes.len() > state.inodes[self.inode].now.len();
        if let Err(error) = state.step(true, grows) {
            if !state.down {
                // A failed write leaves a part of itself.
                let half = bytes[..bytes.len() / 2].to_vec();
                put(&mut state.inodes[self.inode].now, at, &half);
                state.inodes[self.inode].pending.push((at, half));
                state.failures += 1;
            }
            return Err(error);
        }
        put(&mut state.inodes[self.inode].now, at, &bytes);
        let written = bytes.len();
        state.inodes[self.inode].pending.push((at, bytes));
        state.after_change()?;
        Ok(written)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let step = state.step(true, false);
        let down = state.down;
        if step.is_err() && !down {
            // What could not be written is dropped and called clean: the next sync says all is well.
            state.inodes[self.inode].pending.clear();
            state.failures += 1;
        }
        step?;
        state.after_change()?;
        let inode = &mut state.inodes[self.inode];
        for (at, bytes) in std::mem::take(&mut inode.pending) {
            put(&mut inode.durable, at, &bytes);
        }
        Ok(())
    }

    fn octets(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        state.step(false, false)?;
        Ok(state.inodes[self.inode].now.len() as u64)
    }

    fn forget_cached(&self, _: u64, _: u64) {
        let mut state = self.disk.state();
        let inode = &mut state.inodes[self.inode];
        let mut now = inode.durable.clone();
        for (at, bytes) in &inode.pending {
            put(&mut now, *at, bytes);
        }
        inode.now = now;
    }
}
