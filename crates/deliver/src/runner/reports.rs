//! Reports to senders (RFC 3461, RFC 3464): which are due, and how one comes into being exactly once.
//!
//! A report is a message like any other: it is accepted into the spool, with an origin that says
//! which recipients of which message it covers. Until that is done it is owed, and its message is not
//! closed. After a crash the journal shows which outcomes have no report yet.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::{
    Attempt, Enhanced, MessageId, Meta, Notify, Origin, Outcome, Recipient, Reply, ReportKind, Stream, Timestamp,
};
use base::{BodyType, DsnReturn, Envelope};
use bytes::Bytes;
use mail::dsn;
use queue::Overdue;
use spool::{SpoolError, Stored};

use super::{Event, Runner};
use crate::attempt::{SANDBOX_SERVER, SIMULATOR_SERVER, Ways, blocking, read_whole};

/// The reports that one message still owes its sender.
#[derive(Debug, Default)]
pub(super) struct Owed {
    /// The oldest in front: it is the one that is being written.
    due: VecDeque<Due>,
    writing: bool,
}

/// One report that is to be written.
#[derive(Debug, Clone)]
pub(super) struct Due {
    meta: Arc<Meta>,
    kind: ReportKind,
    items: Vec<Item>,
}

/// What it says of one recipient.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) recipient: u32,
    pub(super) outcome: Outcome,
    pub(super) reply: Reply,
    pub(super) server: Box<str>,
    pub(super) last_attempt_at: Option<Timestamp>,
    pub(super) retry_until: Option<Timestamp>,
}

/// How the writing of one report ended.
#[derive(Debug)]
pub(crate) struct ReportEnd {
    about: MessageId,
    stored: Result<Stored, SpoolError>,
}

/// The last thing that went wrong with a site, for those who ask why their mail is late.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) reply: Reply,
    pub(super) server: Box<str>,
    pub(super) at: Timestamp,
}

/// Sites whose last trouble is remembered.
const TROUBLES_MAX: usize = 10_000;

/// The last trouble of each site, bounded.
#[derive(Debug, Default)]
pub(super) struct Troubles(HashMap<Arc<str>, Trouble>);

impl Troubles {
    pub(super) fn note(&mut self, site: &Arc<str>, trouble: Trouble) {
        if self.0.len() < TROUBLES_MAX || self.0.contains_key(site) {
            self.0.insert(Arc::clone(site), trouble);
        }
    }

    pub(super) fn over(&mut self, site: &str) {
        self.0.remove(site);
    }

    pub(super) fn of(&self, site: &str) -> Option<&Trouble> {
        self.0.get(site)
    }
}

impl Runner {
    /// Which reports an attempt makes due (RFC 3461 §4.1 and §5.2): failures unless the sender waived
    /// them, successes where he asked and nobody after us will tell him.
    pub(super) fn owe_reports(&mut self, meta: &Arc<Meta>, attempt: &Attempt) {
        let reached_the_end = ends_here(&attempt.server);
        for kind in [ReportKind::Failure, ReportKind::Success] {
            let items: Vec<Item> = attempt
                .results
                .iter()
                .filter(|result| is_due(kind, notify(meta, result.recipient), &result.outcome, reached_the_end))
                .map(|result| Item {
                    recipient: result.recipient,
                    outcome: result.outcome.clone(),
                    reply: result.reply.clone(),
                    server: attempt.server.clone(),
                    last_attempt_at: Some(attempt.finished_at),
                    retry_until: None,
                })
                .collect();
            self.owe(meta, kind, items);
        }
    }

    /// The sender is to hear that it still waits.
    pub(super) fn delayed(&mut self, overdue: Overdue) {
        let Some(meta) = self.meta_now(overdue.message) else { return };
        let retry_until = Some(meta.received_at.after(self.config.queue.schedule.lifetime));
        let trouble = self.troubles.of(&overdue.site).cloned();
        let items = overdue
            .recipients
            .iter()
            .filter(|recipient| notify(&meta, **recipient).delay)
            .map(|&recipient| Item {
                recipient,
                outcome: Outcome::Deferred { retry_at: self.now(), maybe_delivered: false },
                reply: trouble.as_ref().map_or_else(still_waiting, |t| t.reply.clone()),
                server: trouble.as_ref().map_or_else(|| "".into(), |t| t.server.clone()),
                last_attempt_at: trouble.as_ref().map(|t| t.at),
                retry_until,
            })
            .collect();
        self.owe(&meta, ReportKind::Delay, items);
    }

    /// Notes a report as due and begins to write it. No items, or nobody to tell: nothing happens.
    pub(super) fn owe(&mut self, meta: &Arc<Meta>, kind: ReportKind, items: Vec<Item>) {
        if items.is_empty() || meta.envelope.sender.is_none() {
            return;
        }
        let due = Due { meta: Arc::clone(meta), kind, items };
        self.owed.entry(meta.id).or_default().due.push_back(due);
        self.write_next_report(meta.id);
    }

    fn write_next_report(&mut self, about: MessageId) {
        let Some(owed) = self.owed.get_mut(&about) else { return };
        if owed.writing {
            return;
        }
        let Some(due) = owed.due.front().cloned() else {
            self.owed.remove(&about);
            self.close_if_done(about);
            return;
        };
        owed.writing = true;
        self.running += 1;
        let (ways, back, hostname) = (Arc::clone(&self.ways), self.to_self.clone(), self.config.hostname.clone());
        tokio::spawn(async move {
            let stored = ways.write_report(&hostname, &due).await;
            let _ = back.send(Event::Reported(ReportEnd { about, stored }));
        });
    }

    pub(super) fn reported(&mut self, end: ReportEnd) {
        self.running -= 1;
        let Some(owed) = self.owed.get_mut(&end.about) else { return };
        owed.writing = false;
        match end.stored {
            Ok(stored) => {
                owed.due.pop_front();
                self.counters.reports.fetch_add(1, Ordering::Relaxed);
                self.accepted(stored);
                self.write_next_report(end.about);
            }
            Err(error) => {
                tracing::warn!(message = %end.about, %error, "a report could not be stored; it is tried again");
                self.mend_soon();
            }
        }
    }

    pub(super) fn report_again(&mut self) {
        let waiting: Vec<MessageId> = self.owed.iter().filter(|(_, owed)| !owed.writing).map(|(id, _)| *id).collect();
        for about in waiting {
            self.write_next_report(about);
        }
    }
}

/// Whether a recipient's mail ends on this machine: then nobody after us reports its success.
pub(super) fn ends_here(server: &str) -> bool {
    matches!(server, SANDBOX_SERVER | SIMULATOR_SERVER)
}

pub(super) fn notify(meta: &Meta, recipient: u32) -> Notify {
    meta.envelope.recipients.get(recipient as usize).map_or(Notify::NEVER, Recipient::notify)
}

/// `reached_the_end`: we delivered it ourselves, so nobody after us reports success.
pub(super) fn is_due(kind: ReportKind, notify: Notify, outcome: &Outcome, reached_the_end: bool) -> bool {
    match (kind, outcome) {
        (ReportKind::Failure, outcome) => notify.failure && outcome.is_failure(),
        (ReportKind::Success, Outcome::Delivered { relayed }) => notify.success && (*relayed || reached_the_end),
        _ => false,
    }
}

fn still_waiting() -> Reply {
    Reply::new(451, Enhanced(4, 4, 1), "the recipient's server could not be reached yet")
}

impl Ways {
    /// Writes one report into the spool, addressed to the original's sender.
    async fn write_report(&self, hostname: &base::Domain, due: &Due) -> Result<Stored, SpoolError> {
        let meta = &due.meta;
        let Some(sender) = meta.envelope.sender.clone() else { return Err(SpoolError::Gone) };
        let original = self.original(meta).await?;
        let mut draft = self.spool.draft(meta.account);
        let items: Vec<(&Recipient, &Item)> = due
            .items
            .iter()
            .filter_map(|item| Some((meta.envelope.recipients.get(item.recipient as usize)?, item)))
            .collect();
        let reported: Vec<dsn::Reported<'_>> = items
            .iter()
            .map(|(recipient, item)| dsn::Reported {
                recipient,
                outcome: &item.outcome,
                reply: &item.reply,
                server: &item.server,
                said_by_server: !item.server.is_empty() && !matches!(item.outcome, Outcome::Expired),
                last_attempt_at: item.last_attempt_at,
                retry_until: item.retry_until,
            })
            .collect();
        let now = self.clock.now();
        let content = dsn::compose(&dsn::Report {
            kind: due.kind,
            id: draft.id(),
            now,
            reporting_mta: hostname,
            sender: &sender,
            envid: meta.envelope.envid.as_deref(),
            ret: meta.envelope.ret,
            arrived_at: meta.received_at,
            recipients: &reported,
            original: dsn::Original { octets: &original, complete: original.len() as u64 == meta.size_octets },
        });
        draft.write(&content)?;
        let report = report_meta(draft.id(), now, due, sender, content.len() as u64);
        draft.commit(report).await
    }

    /// The message that a report brings back, or its beginning. One that is damaged is reported without.
    async fn original(&self, meta: &Meta) -> Result<Bytes, SpoolError> {
        let (spool, id) = (self.spool.clone(), meta.id);
        let whole = meta.size_octets <= ORIGINAL_OCTETS_MAX && meta.envelope.ret == Some(DsnReturn::Full);
        let read = blocking(move || {
            if whole {
                return read_whole(&spool, id);
            }
            Ok(spool.body(id)?.next_chunk()?.unwrap_or_default())
        });
        match read.await {
            Err(SpoolError::Damaged { .. } | SpoolError::Gone) => Ok(Bytes::new()),
            read => read,
        }
    }
}

/// Larger messages are never brought back whole.
const ORIGINAL_OCTETS_MAX: u64 = dsn::FULL_OCTETS_MAX as u64;

fn report_meta(id: MessageId, now: Timestamp, due: &Due, to: base::Address, size_octets: u64) -> Meta {
    let utf8 = !to.is_ascii();
    let recipient = Recipient { address: to, notify: Some(Notify::NEVER), original: None };
    Meta {
        id,
        account: due.meta.account,
        credential: None,
        stream: Stream::Transactional,
        received_at: now,
        origin: Origin::Report {
            about: due.meta.id,
            kind: due.kind,
            recipients: due.items.iter().map(|item| item.recipient).collect(),
        },
        envelope: Envelope {
            sender: None,
            recipients: vec![recipient],
            body: if utf8 { BodyType::EightBitMime } else { BodyType::SevenBit },
            smtputf8: utf8,
            ret: None,
            envid: None,
        },
        size_octets,
        eight_bit: utf8,
        subject: Some("Delivery report".into()),
        message_id_header: None,
    }
}
