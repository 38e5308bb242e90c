//! The only way in: a draft is written to, then committed or dropped.

use std::io::IoSlice;
use std::mem;
use std::pin::pin;
use std::sync::Arc;

use base::{AccountId, Fact, MessageId, Meta, Origin};
use bytes::Bytes;

use crate::core::{Core, count};
use crate::error::SpoolError;
use crate::format::Kind;
use crate::fs::{File, write_full};
use crate::large::large_name;
use crate::seal::{BodyCipher, BodyKey};
use crate::writer::{Appended, Claim, Entry, Refusal};

/// Large bodies are sealed in chunks of this; with its tag each takes 16 octets more on disk.
pub const CHUNK_OCTETS: usize = 64 << 10;

/// A message on its way in. Dropping it leaves nothing behind.
pub struct Draft {
    core: Arc<Core>,
    id: MessageId,
    account: AccountId,
    key: BodyKey,
    octets: u64,
    content: Content,
}

enum Content {
    /// All of it, in plaintext.
    Small(Vec<u8>),
    Large(LargeDraft),
    /// A write failed: the draft cannot be committed.
    Broken(SpoolError),
    /// It belongs to a record now.
    Committed,
}

struct LargeDraft {
    file: Arc<dyn File>,
    cipher: BodyCipher,
    /// Not yet written: at most a chunk, as the last one is sealed differently.
    rest: Vec<u8>,
    chunks: u64,
    file_octets: u64,
}

/// A message on stable storage.
#[derive(Debug, Clone)]
pub struct Stored {
    pub meta: Arc<Meta>,
    /// The body in plaintext where it is small, so that the first attempt needs no read.
    pub body: Option<Bytes>,
}

impl Draft {
    pub(crate) fn new(core: Arc<Core>, account: AccountId) -> Draft {
        let mut random = [0; 10];
        privacy::fill_random(&mut random);
        let id = MessageId::new(core.clock.now().as_millis(), random);
        Draft { core, id, account, key: BodyKey::draw(), octets: 0, content: Content::Small(Vec::new()) }
    }

    pub fn id(&self) -> MessageId {
        self.id
    }

    /// How much was written so far.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Adds to the body. Blocks no longer than a write into the page cache.
    ///
    /// # Errors
    /// [`SpoolError::TooLarge`], [`SpoolError::Full`], or the disk's. After an error the draft can
    /// only be dropped.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), SpoolError> {
        let result = self.add(bytes);
        if let Err(error) = &result {
            self.discard();
            self.content = Content::Broken(error.clone());
        }
        result
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), SpoolError> {
        self.octets += bytes.len() as u64;
        if self.octets > self.core.options.message_octets_max {
            return Err(SpoolError::TooLarge);
        }
        match &mut self.content {
            Content::Small(body) => {
                body.extend_from_slice(bytes);
                if body.len() <= self.core.options.inline_octets_max {
                    return Ok(());
                }
                let rest = mem::take(body);
                let file = self.core.fs.create(&large_name(self.id))?;
                let cipher = self.key.cipher(self.account, self.id);
                let mut large = LargeDraft { file, cipher, rest, chunks: 0, file_octets: 0 };
                let spilled = large.spill();
                self.content = Content::Large(large);
                spilled
            }
            Content::Large(large) => {
                large.rest.extend_from_slice(bytes);
                large.spill()
            }
            Content::Broken(error) => Err(error.clone()),
            Content::Committed => Err(SpoolError::Gone),
        }
    }

    /// Puts the message on stable storage: when this returns `Ok`, 250 may be said. The meta's id
    /// and account are the draft's, whatever they were.
    ///
    /// Should the future be dropped before it is done, the message is closed again: nobody was told
    /// that it was accepted.
    ///
    /// # Errors
    /// Nothing is stored then, and everything but [`SpoolError::TooLarge`] is temporary.
    pub async fn commit(mut self, mut meta: Meta) -> Result<Stored, SpoolError> {
        self.core.accepting()?;
        (meta.id, meta.account) = (self.id, self.account);
        let report = matches!(meta.origin, Origin::Report { .. });
        let fact = Fact::Accepted(meta);
        let encoded = postcard::to_stdvec(&fact).map_err(|_| SpoolError::TooLarge)?;
        let sealed = self.finish().await?;
        let entry = Entry {
            report,
            large: sealed.is_none(),
            body: sealed.as_deref().unwrap_or_default(),
            body_crc: crc32fast::hash(sealed.as_deref().unwrap_or_default()),
            plain_octets: self.octets,
            key: Some(&self.key),
            ..Entry::fact(Kind::Accepted, self.id, &encoded)
        };
        append_when_there_is_room(&self.core, &entry).await?;
        drop(sealed);
        // From here on the record owns the large file, and the guard the record.
        let content = mem::replace(&mut self.content, Content::Committed);
        let mut guard = Unacknowledged { core: &self.core, id: self.id, armed: true };
        let synced = self.core.await_sync(Claim::Accept).await;
        guard.armed = synced.is_err();
        synced.unwrap_or(Err(SpoolError::ReadOnly("it is shut down".into())))?;
        count(&self.core.counters.commits);
        let Fact::Accepted(meta) = fact else { return Err(SpoolError::Gone) };
        let body = match content {
            Content::Small(body) => Some(Bytes::from(body)),
            _ => None,
        };
        Ok(Stored { meta: Arc::new(meta), body })
    }

    /// Seals what is not sealed yet: a small body whole, a large one's last chunk, whose file is
    /// synced here. `None`: it is large.
    async fn finish(&mut self) -> Result<Option<Vec<u8>>, SpoolError> {
        match &mut self.content {
            Content::Small(body) => {
                let mut sealed = Vec::with_capacity(body.len() + privacy::TAG_OCTETS);
                sealed.extend_from_slice(body);
                self.key.cipher(self.account, self.id).seal(0, true, &mut sealed);
                Ok(Some(sealed))
            }
            Content::Large(large) => {
                large.write_chunk(large.rest.len(), true)?;
                let synced = self.core.large.sync(Arc::clone(&large.file)).await;
                synced.unwrap_or(Err(SpoolError::ReadOnly("it is shut down".into())))?;
                Ok(None)
            }
            Content::Broken(error) => Err(error.clone()),
            Content::Committed => Err(SpoolError::Gone),
        }
    }

    fn discard(&mut self) {
        if let Content::Large(_) = self.content {
            self.core.large.remove(self.id);
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        self.discard();
    }
}

impl LargeDraft {
    /// Writes all whole chunks that cannot be the last.
    fn spill(&mut self) -> Result<(), SpoolError> {
        while self.rest.len() > CHUNK_OCTETS {
            self.write_chunk(CHUNK_OCTETS, false)?;
        }
        Ok(())
    }

    fn write_chunk(&mut self, octets: usize, last: bool) -> Result<(), SpoolError> {
        let left = self.rest.split_off(octets);
        let mut chunk = mem::replace(&mut self.rest, left);
        self.cipher.seal(self.chunks, last, &mut chunk);
        // Counted before it is written: should the write fail, the number is not used again.
        self.chunks += 1;
        write_full(&*self.file, &mut [IoSlice::new(&chunk)], self.file_octets)?;
        self.file_octets += chunk.len() as u64;
        Ok(())
    }
}

/// Closes a message again whose commit nobody waits for any more.
struct Unacknowledged<'a> {
    core: &'a Arc<Core>,
    id: MessageId,
    armed: bool,
}

impl Drop for Unacknowledged<'_> {
    fn drop(&mut self) {
        if self.armed {
            let now = self.core.clock.now();
            if let Err(error) = self.core.close(self.id, now) {
                tracing::warn!(message = %self.id, %error, "cannot close a message that was not acknowledged");
            }
        }
    }
}

async fn append_when_there_is_room(core: &Core, entry: &Entry<'_>) -> Result<Appended, SpoolError> {
    loop {
        match core.append(entry, Claim::Accept) {
            Ok(appended) => return Ok(appended),
            Err(Refusal::Error(error)) => return Err(error),
            Err(Refusal::Wait) => {}
        }
        let mut room = pin!(core.room.notified());
        room.as_mut().enable();
        // Again, as room may have been made before we listened.
        match core.append(entry, Claim::Accept) {
            Ok(appended) => return Ok(appended),
            Err(Refusal::Error(error)) => return Err(error),
            Err(Refusal::Wait) => {
                core.bell.ring();
                room.await;
            }
        }
    }
}
