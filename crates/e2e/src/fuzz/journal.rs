use std::collections::{BTreeMap, HashMap};
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard};

use base::{AccountId, Address, BodyType, Clock, Envelope, MessageId, Meta, Origin, Recipient, Stream, Timestamp};
use privacy::MasterKey;
use spool::format::{parse_record, parse_segment_header};
use spool::fs::{File, Fs};
use spool::{OpenError, Options, Spool};

/// A healthy spool with a few messages, to be damaged.
pub struct Journal {
    files: BTreeMap<String, Vec<u8>>,
    bodies: HashMap<MessageId, Vec<u8>>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("files", &self.files.keys()).finish_non_exhaustive()
    }
}

impl Journal {
    /// Writes one, in memory.
    pub fn new() -> Journal {
        let fs = Arc::new(Memory::default());
        let (spool, _, hands) = open(Arc::clone(&fs)).expect("an empty spool opens");
        let mut bodies = HashMap::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without threads");
        for (number, octets) in [0_usize, 100, 3000, 40_000].into_iter().enumerate() {
            let body: Vec<u8> = (0..octets).map(|at| u8::try_from((at * 7 + number) % 251).unwrap_or(0)).collect();
            let mut draft = spool.draft(AccountId(1));
            draft.write(&body).expect("there is room");
            let stored = runtime.block_on(async {
                let commit = draft.commit(meta());
                let drive = async {
                    loop {
                        hands.large();
                        hands.sync();
                        tokio::task::yield_now().await;
                    }
                };
                tokio::select! {
                    stored = commit => stored,
                    () = drive => unreachable!("it goes on for ever"),
                }
            });
            bodies.insert(stored.expect("the disk is well").meta.id, body);
        }
        drop((spool, hands));
        let files = fs.lock().iter().map(|(name, file)| (name.clone(), file.content().clone())).collect();
        Journal { files, bodies }
    }

    /// Opens it, damaged as the input says. Whatever was damaged: nothing panics, and what still opens is what was
    /// written. The input is also read as a record and as a segment's header, for themselves.
    pub fn damaged(&self, input: &[u8]) {
        if let Ok(record) = parse_record(input) {
            assert!(record.meta.len() + record.body.len() <= input.len());
        }
        // It may be a good one: all that matters is that it is read.
        let _ = parse_segment_header(input);

        let mut files = self.files.clone();
        damage(&mut files, input);
        let fs = Arc::new(Memory::of(files));
        // To refuse a spool is always right.
        let Ok((spool, recovered, _hands)) = open(fs) else { return };
        for message in &recovered.messages {
            let id = message.meta.id;
            let Some(written) = self.bodies.get(&id) else { panic!("{id} was never written") };
            assert_eq!(message.meta.envelope, meta().envelope, "another envelope");
            if message.quarantined.is_some() {
                continue;
            }
            let Ok(mut body) = spool.body(id) else { continue };
            let mut read = Vec::new();
            let whole = loop {
                match body.next_chunk() {
                    Ok(Some(chunk)) => read.extend_from_slice(&chunk),
                    Ok(None) => break true,
                    Err(_) => break false,
                }
            };
            assert!(!whole || read == *written, "another body is taken for {id}'s");
        }
    }
}

impl Default for Journal {
    fn default() -> Journal {
        Journal::new()
    }
}

fn open(fs: Arc<Memory>) -> Result<(Spool, spool::Recovered, spool::Hands), OpenError> {
    let options = Options { segment_octets: 64 << 10, ..Options::default() };
    Spool::open_by_hand(fs, options, &MasterKey::from_bytes([7; 32]), Arc::new(Still))
}

/// Each 8 octets of the input are one blow: which file, where, what.
fn damage(files: &mut BTreeMap<String, Vec<u8>>, input: &[u8]) {
    for blow in input.chunks_exact(8) {
        let file = usize::from(blow[0]) % files.len().max(1);
        let Some(content) = files.values_mut().nth(file) else { return };
        if content.is_empty() {
            continue;
        }
        let at = u32::from_le_bytes([blow[2], blow[3], blow[4], 0]) as usize % content.len();
        let length = usize::from(blow[5]) + 1;
        let end = (at + length).min(content.len());
        match blow[1] % 4 {
            0 => content[at] ^= blow[6].max(1),
            1 => content[at..end].fill(blow[6]),
            2 => content.truncate(at),
            _ => {
                let from = usize::from(blow[7]) * 64 % content.len();
                let copied: Vec<u8> = content[from..(from + length).min(content.len())].to_vec();
                let end = (at + copied.len()).min(content.len());
                content[at..end].copy_from_slice(&copied[..end - at]);
            }
        }
    }
}

fn meta() -> Meta {
    Meta {
        id: MessageId::from_bytes([0; 16]),
        account: AccountId(1),
        credential: None,
        stream: Stream::Transactional,
        received_at: Timestamp::from_secs(1_800_000_000),
        origin: Origin::Local,
        envelope: Envelope {
            sender: None,
            recipients: vec![Recipient::new(Address::parse("bob@example.test").expect("a good address"))],
            body: BodyType::SevenBit,
            smtputf8: false,
            ret: None,
            envid: None,
        },
        size_octets: 1,
        eight_bit: false,
        subject: None,
        message_id_header: None,
    }
}

/// A clock that stands still.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(1_800_000_000)
    }
}

/// Files in memory.
#[derive(Default)]
struct Memory {
    files: Mutex<BTreeMap<String, Arc<MemoryFile>>>,
}

#[derive(Default)]
struct MemoryFile(Mutex<Vec<u8>>);

impl MemoryFile {
    fn content(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().expect("nobody panics with it")
    }
}

impl Memory {
    fn of(files: BTreeMap<String, Vec<u8>>) -> Memory {
        let files = files.into_iter().map(|(name, content)| (name, Arc::new(MemoryFile(Mutex::new(content)))));
        Memory { files: Mutex::new(files.collect()) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<MemoryFile>>> {
        self.files.lock().expect("nobody panics with it")
    }
}

impl Fs for Memory {
    fn own(&self) -> Result<(), OpenError> {
        Ok(())
    }

    fn disown(&self) {}

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = Arc::new(MemoryFile::default());
        self.lock().insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = self.lock().get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.lock();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.lock().remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let prefix = format!("{folder}/");
        Ok(self.lock().keys().filter_map(|name| name.strip_prefix(&prefix).map(str::to_owned)).collect())
    }

    fn sync_dir(&self, _folder: &str) -> io::Result<()> {
        Ok(())
    }
}

impl File for MemoryFile {
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let content = self.content();
        let there = usize::try_from(at).ok().and_then(|at| content.get(at..)).unwrap_or_default();
        let count = there.len().min(into.len());
        into[..count].copy_from_slice(&there[..count]);
        Ok(count)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        let mut content = self.content();
        let mut to = usize::try_from(at).map_err(io::Error::other)?;
        let mut count = 0;
        for part in parts {
            if content.len() < to + part.len() {
                content.resize(to + part.len(), 0);
            }
            content[to..to + part.len()].copy_from_slice(part);
            to += part.len();
            count += part.len();
        }
        Ok(count)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn octets(&self) -> io::Result<u64> {
        Ok(self.content().len() as u64)
    }

    fn forget_cached(&self, _from: u64, _to: u64) {}
}
