//! A seeded life of a spool on a simulated disk, and the model that knows what must be true.

pub mod disk;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use base::{Fact, MessageId, Outcome, Timestamp};
use fastrand::Rng;
use spool::format::{Kind, RECORD_MAGIC, SEGMENT_HEADER_OCTETS, SLOT_OCTETS, parse_record, parse_segment_header};
use spool::{Cursor, Hands, Options, Recovered, Spool, SpoolError, Stored};

use crate::common::*;
use disk::Disk;

pub const SEGMENT_OCTETS: u64 = 32 << 10;

type Commit = Pin<Box<dyn Future<Output = Result<Stored, SpoolError>>>>;

/// What the world knows of one message.
#[derive(Default, Clone)]
struct Known {
    body: Vec<u8>,
    acked: bool,
    refused: bool,
    /// Final outcomes that were recorded; true: and a later sync went well.
    finals: BTreeMap<u32, bool>,
    /// Close was asked for; `Some(true)`: and a later sync went well.
    closed: Option<bool>,
    /// The request to close failed: it may be recorded or not.
    doubtful: bool,
    report_about: Option<MessageId>,
}

/// One process life after another on one disk.
pub struct World {
    pub disk: Disk,
    pub rng: Rng,
    spool: Option<(Spool, Hands)>,
    commits: Vec<(MessageId, Commit)>,
    messages: BTreeMap<MessageId, Known>,
    /// What the projector has taken over, and how far.
    cursor: Cursor,
    told: Vec<(MessageId, Kind)>,
    now: Instant,
}

fn options() -> Options {
    Options { segment_octets: SEGMENT_OCTETS, inline_octets_max: 4096, spares_max: 1, ..Options::default() }
}

impl World {
    pub fn new(disk: Disk, seed: u64) -> World {
        World {
            disk,
            rng: Rng::with_seed(seed),
            spool: None,
            commits: Vec::new(),
            messages: BTreeMap::new(),
            cursor: Cursor::START,
            told: Vec::new(),
            now: Instant::now(),
        }
    }

    /// Opens the spool; `None` when the disk does not let it.
    pub fn open(&mut self) -> Option<Recovered> {
        let opened =
            Spool::open_by_hand(Arc::new(self.disk.clone()), options(), &keys(), Arc::new(StepClock::default()));
        match opened {
            Ok((spool, recovered, hands)) => {
                spool.projected(self.cursor);
                self.spool = Some((spool, hands));
                Some(recovered)
            }
            Err(error) => {
                assert!(self.disk.was_hit(), "the spool opens on a good disk: {error}");
                use spool::fs::Fs;
                self.disk.disown();
                None
            }
        }
    }

    /// The process is gone, without a goodbye.
    pub fn die(&mut self) {
        self.commits.clear();
        self.spool = None;
        for known in self.messages.values_mut() {
            known.refused |= !known.acked;
        }
    }

    pub fn live(&mut self, steps: usize) {
        for _ in 0..steps {
            if self.disk.is_down() {
                return;
            }
            match self.rng.u8(0..100) {
                0..30 => self.submit(),
                30..55 => self.sync(),
                55..67 => self.attempt(),
                67..82 => self.close(),
                82..90 => self.keep(),
                90..94 => self.project(),
                94..98 => self.with(|_, hands| hands.large()),
                _ => self.with(|_, hands| hands.mark()),
            }
        }
        self.settle();
    }

    fn with(&self, act: impl FnOnce(&Spool, &Hands)) {
        if let Some((spool, hands)) = &self.spool {
            act(spool, hands);
        }
    }

    fn submit(&mut self) {
        let octets = match self.rng.u8(0..10) {
            0 => self.rng.usize(4000..4200),
            1 => self.rng.usize(5000..80_000),
            _ => self.rng.usize(0..1500),
        };
        let mut body = vec![0; octets];
        self.rng.fill(&mut body);
        let about = self.any_live().filter(|_| self.rng.u8(0..4) == 0);
        let Some((spool, _)) = &self.spool else { return };
        let mut draft = spool.draft(ACCOUNT);
        let id = draft.id();
        if body.chunks(9000).any(|part| draft.write(part).is_err()) {
            return;
        }
        if self.rng.u8(0..15) == 0 {
            // The client went away.
            return;
        }
        let meta = about.map_or_else(meta, report_about);
        self.messages.insert(id, Known { body, report_about: about, ..Known::default() });
        self.commits.push((id, Box::pin(draft.commit(meta))));
        self.poll();
    }

    fn poll(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        let mut waiting = Vec::new();
        for (id, mut commit) in std::mem::take(&mut self.commits) {
            let known = self.messages.get_mut(&id).expect("what is committed is known");
            match commit.as_mut().poll(&mut context) {
                Poll::Pending => waiting.push((id, commit)),
                Poll::Ready(Ok(stored)) => {
                    assert_eq!(stored.meta.id, id);
                    known.acked = true;
                }
                Poll::Ready(Err(_)) => {
                    assert!(self.disk.was_hit(), "a good disk refuses nothing");
                    known.refused = true;
                }
            }
        }
        self.commits = waiting;
    }

    /// A group sync. What was recorded before it is safe when it went well.
    fn sync(&mut self) {
        let Some((spool, hands)) = &self.spool else { return };
        let anchor = self.messages.iter().find(|(_, known)| known.acked && known.closed.is_none()).map(|(id, _)| *id);
        // Whether the sync went well is learnt as a caller would learn it.
        let fact = Fact::Released { at: Timestamp(1), recipients: vec![] };
        let mut witness = anchor
            .map(|id| (spool.clone(), id))
            .map(|(spool, id)| Box::pin(async move { spool.record_synced(id, &fact).await }));
        let mut context = Context::from_waker(Waker::noop());
        let waits = witness.as_mut().is_some_and(|witness| witness.as_mut().poll(&mut context).is_pending());
        assert!(waits || anchor.is_none() || self.disk.was_hit(), "a good disk records");
        hands.sync();
        let well = witness
            .filter(|_| waits)
            .is_some_and(|mut witness| matches!(witness.as_mut().poll(&mut context), Poll::Ready(Ok(()))));
        if well {
            for known in self.messages.values_mut() {
                known.finals.values_mut().for_each(|synced| *synced = true);
                if let Some(synced) = known.closed.as_mut().filter(|_| !known.doubtful) {
                    *synced = true;
                }
            }
        }
        self.poll();
    }

    fn any_live(&mut self) -> Option<MessageId> {
        let live = self.messages.iter().filter(|(_, known)| known.acked && known.closed.is_none());
        let live: Vec<MessageId> = live.map(|(id, _)| *id).collect();
        self.rng.choice(live)
    }

    fn attempt(&mut self) {
        let Some(id) = self.any_live() else { return };
        let Some((spool, _)) = &self.spool else { return };
        let (recipient, is_final) = (self.rng.u32(0..2), self.rng.bool());
        let outcome = if is_final { delivered(recipient) } else { deferred(recipient, 50) };
        let known = self.messages.get_mut(&id).expect("it was just found");
        if known.finals.contains_key(&recipient) {
            return;
        }
        let recorded = spool.record(id, &attempted(self.rng.u32(1..5), &[outcome]));
        assert!(recorded.is_ok() || self.disk.was_hit(), "{recorded:?}");
        if is_final && recorded.is_ok() {
            known.finals.insert(recipient, false);
        }
    }

    fn close(&mut self) {
        let Some(id) = self.any_live() else { return };
        let Some((spool, _)) = &self.spool else { return };
        let closed = spool.close(id, Timestamp(9));
        assert!(closed.is_ok() || self.disk.was_hit(), "{closed:?}");
        if closed.is_ok() {
            assert!(spool.body(id).is_err(), "a closed message cannot be read");
        }
        // Where it failed half-way nobody knows.
        let known = self.messages.get_mut(&id).expect("it was just found");
        known.closed = Some(false);
        known.doubtful = closed.is_err();
    }

    fn keep(&mut self) {
        self.now += Duration::from_secs(if self.rng.u8(0..6) == 0 { 4000 } else { 301 });
        let now = self.now;
        self.with(|_, hands| hands.keep(now));
        self.poll();
    }

    /// Takes facts over and says so, as one durable step.
    fn project(&mut self) {
        let Some((spool, _)) = &self.spool else { return };
        let mut journal = spool.journal(self.cursor);
        let Ok(batch) = journal.next_batch(self.rng.usize(1..60)) else { return };
        for (cursor, recorded) in batch {
            self.cursor = cursor;
            if !recorded.carried {
                self.told.push((recorded.message, Kind::of(&recorded.fact)));
            }
        }
        spool.projected(self.cursor);
    }

    /// Everything that waits gets its chance.
    fn settle(&mut self) {
        for _ in 0..3 {
            self.with(|_, hands| hands.large());
            self.poll();
            self.keep();
            self.sync();
        }
    }

    /// Asserts everything that must be true of a spool that was just opened.
    pub fn check(&mut self, recovered: &Recovered) {
        let waiting: BTreeMap<MessageId, _> = recovered.messages.iter().map(|m| (m.meta.id, m)).collect();
        assert_eq!(waiting.len(), recovered.messages.len(), "no message is there twice");
        if self.disk.failures() == 0 {
            assert_eq!(recovered.damage, [], "a power cut is no damage");
        }
        let (spool, _) = self.spool.as_ref().expect("it was just opened");
        for (id, known) in &self.messages {
            let Some(message) = waiting.get(id) else {
                let lost = known.acked && known.closed.is_none();
                assert!(!lost, "{id} was acknowledged and is lost");
                continue;
            };
            assert_ne!(known.closed, Some(true), "{id} was closed and came back");
            let body = read_body(spool, *id);
            if known.acked {
                assert_eq!(body.expect("an acknowledged body opens"), known.body);
            } else if let Ok(body) = body {
                assert_eq!(body, known.body, "what was not acknowledged may be there, but whole");
            } else {
                assert!(self.disk.failures() > 0, "{id}: {body:?}");
            }
            for (recipient, synced) in &known.finals {
                let progress = message.recipients[*recipient as usize].as_ref();
                let is_final =
                    progress.is_some_and(|progress| progress.outcome == Outcome::Delivered { relayed: false });
                assert!(is_final || !synced, "{id}: the outcome of {recipient} is lost");
            }
        }
        for (report, known) in self.messages.iter().filter(|(_, known)| known.acked) {
            if let Some(about) = known.report_about.and_then(|about| waiting.get(&about)) {
                let noted = about.reports.iter().any(|noted| noted.report == *report);
                assert!(noted, "{report} reported on {} and nobody remembers", about.meta.id);
            }
        }
        for message in recovered.messages.iter() {
            assert!(self.messages.contains_key(&message.meta.id));
        }
        self.check_journal();
        // What was not safe is now known to have survived, or not.
        for (id, known) in &mut self.messages {
            let message = waiting.get(id);
            known.doubtful = false;
            known.closed = known.closed.and(message.is_none().then_some(true));
            known.finals.retain(|recipient, _| {
                message.is_some_and(|message| {
                    message.recipients[*recipient as usize].as_ref().is_some_and(|progress| progress.outcome.is_final())
                })
            });
        }
    }

    /// What the projector has, and what the journal still tells, are together all that is safe, once.
    fn check_journal(&mut self) {
        let (spool, _) = self.spool.as_ref().expect("it was just opened");
        let mut journal = spool.journal(self.cursor);
        let mut told = self.told.clone();
        loop {
            let batch = journal.next_batch(50).expect("the journal reads");
            if batch.is_empty() {
                break;
            }
            let new = batch.into_iter().filter(|(_, recorded)| !recorded.carried);
            told.extend(new.map(|(_, recorded)| (recorded.message, Kind::of(&recorded.fact))));
        }
        let once: BTreeSet<MessageId> =
            told.iter().filter(|(_, kind)| *kind == Kind::Accepted).map(|(id, _)| *id).collect();
        let accepted = told.iter().filter(|(_, kind)| *kind == Kind::Accepted).count();
        assert_eq!(once.len(), accepted, "nobody is told twice that a message was accepted");
        for (id, known) in self.messages.iter().filter(|(_, known)| known.acked) {
            assert!(once.contains(id), "the journal has forgotten {id}");
            let closed = told.contains(&(*id, Kind::Closed));
            assert!(closed || known.closed != Some(true), "the journal has forgotten that {id} was closed");
        }
    }

    /// No key of a closed message is in any file. Reads the files by the format alone.
    pub fn check_keys_are_gone(&self) {
        for (name, bytes) in self.disk.files("segments") {
            let Ok(header) = parse_segment_header(&bytes) else { continue };
            let records =
                (SEGMENT_HEADER_OCTETS..bytes.len()).step_by(8).filter(|at| bytes[*at..].starts_with(&RECORD_MAGIC));
            for record in records.filter_map(|at| parse_record(&bytes[at..]).ok()) {
                let known = self.messages.get(&record.header.message);
                let closed = known.is_some_and(|known| known.closed == Some(true));
                let ours = record.header.kind == Kind::Accepted && record.header.segment == header.sequence;
                if closed && ours && record.header.slot != u32::MAX {
                    let at = bytes.len() - SEGMENT_HEADER_OCTETS - SLOT_OCTETS * (record.header.slot as usize + 1);
                    let slot = &bytes[at..at + SLOT_OCTETS];
                    assert!(slot.iter().all(|octet| *octet == 0), "{name} still has a closed message's key");
                }
            }
        }
    }
}
