//! What follows from an attempt: the fact in the journal, the reports that are due, the closing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::{Attempt, Enhanced, Fact, MessageId, Meta, Outcome, RecipientResult, Reply, Timestamp};
use queue::{Fate, Next, Overdue, Remainder, SiteFeedback};
use spool::SpoolError;

use super::reports::Trouble;
use super::{MEND_INTERVAL, Runner};
use crate::agent::{Disposition, RecipientReport};
use crate::attempt::{AttemptEnd, Attempted};
use crate::connection::OpenConnection;

impl Runner {
    pub(super) fn attempted(&mut self, end: AttemptEnd) {
        self.running -= 1;
        match end {
            AttemptEnd::Attempted(attempted) => self.settle(*attempted),
            AttemptEnd::Unreadable { assignment, error } => self.unreadable(&assignment, &error),
        }
    }

    fn settle(&mut self, mut attempted: Attempted) {
        self.counters.attempts.fetch_add(1, Ordering::Relaxed);
        if let Some(connection) = attempted.connection.take() {
            self.keep(connection, &attempted);
        }
        let fates: Vec<(u32, Fate)> = attempted
            .verdicts
            .iter()
            .map(|verdict| {
                let fate = match verdict.disposition {
                    Disposition::Delivered { .. } | Disposition::Permanent => Fate::Done,
                    Disposition::Temporary { .. } => Fate::Retry,
                };
                (verdict.recipient, fate)
            })
            .collect();
        let now = self.now();
        let remainders = self.planner.finished(now, attempted.assignment.job, &fates, attempted.site);
        self.remember_trouble(&attempted);
        let meta = Arc::clone(&attempted.meta);
        match attempted.written.take() {
            Some(written) => self.recorded(&meta, &written),
            None => self.record(&meta, attempted.fact(results(&attempted, &remainders))),
        }
        for remainder in &remainders {
            self.record_held_in_flight(meta.id, remainder);
        }
    }

    /// A connection on which nobody was taken is not used again: some servers refuse everything after
    /// so many recipients or errors in one session, and a retry on it would never get through.
    fn keep(&mut self, connection: OpenConnection, attempted: &Attempted) {
        let refused = |verdict: &RecipientReport| matches!(verdict.disposition, Disposition::Temporary { .. });
        if attempted.verdicts.iter().all(refused) {
            return self.pool.close(connection);
        }
        let lane = attempted.assignment.lane;
        let limits = self.planner.limits(lane).unwrap_or(self.config.queue.limits);
        self.pool.put(lane, connection, limits.messages_per_connection_max.into());
    }

    /// Writes an attempt down, and does what follows from it.
    pub(super) fn record(&mut self, meta: &Arc<Meta>, attempt: Attempt) {
        let fact = Fact::Attempted(attempt);
        if let Err(error) = self.spool().record(meta.id, &fact) {
            // The outcome stands all the same; after a crash now, it would be attempted once more.
            tracing::error!(message = %meta.id, %error, "an outcome could not be written to the journal");
        }
        if let Fact::Attempted(attempt) = fact {
            self.recorded(meta, &attempt);
        }
    }

    /// What follows from an attempt in the journal: the reports that are due, and the end of the message
    /// if that was the last of it.
    fn recorded(&mut self, meta: &Arc<Meta>, attempt: &Attempt) {
        for result in &attempt.results {
            self.counters.count(&result.outcome);
        }
        self.owe_reports(meta, attempt);
        self.close_if_done(meta.id);
    }

    pub(super) fn close_if_done(&mut self, id: MessageId) {
        if self.owed.contains_key(&id) || self.planner.jobs_of(id) > 0 {
            return;
        }
        self.take_fresh(id);
        match self.spool().close(id, self.now()) {
            Ok(()) | Err(SpoolError::Gone) => {
                self.unclosed.remove(&id);
            }
            Err(error) => {
                tracing::error!(message = %id, %error, "a message could not be closed; it is tried again");
                self.unclosed.insert(id);
                self.mend_soon();
            }
        }
    }

    /// The spool cannot give the message back. Damage is final: it is set aside, never sent. Anything
    /// else may pass.
    fn unreadable(&mut self, assignment: &queue::Assignment, error: &SpoolError) {
        let now = self.now();
        match error {
            SpoolError::Damaged { .. } => self.damaged(assignment, error),
            SpoolError::Gone => {
                let done: Vec<(u32, Fate)> = assignment.recipients.iter().map(|r| (*r, Fate::Done)).collect();
                self.planner.finished(now, assignment.job, &done, SiteFeedback::Reached);
                tracing::error!(message = %assignment.message, "a message in the queue is not in the spool");
            }
            _ => {
                let retry: Vec<(u32, Fate)> = assignment.recipients.iter().map(|r| (*r, Fate::Retry)).collect();
                self.planner.finished(now, assignment.job, &retry, SiteFeedback::Reached);
                tracing::error!(message = %assignment.message, %error, "a message could not be read; it is tried again");
            }
        }
    }

    /// Its content cannot be opened, and never will be: no recipient gets it, and its sender is told.
    fn damaged(&mut self, assignment: &queue::Assignment, error: &SpoolError) {
        let (now, message) = (self.now(), assignment.message);
        tracing::error!(%message, %error, "a message is damaged on disk and cannot be sent");
        self.counters.quarantined.fetch_add(1, Ordering::Relaxed);
        let fact = Fact::Quarantined { at: now, reason: error.to_string().into() };
        if let Err(error) = self.spool().record(message, &fact) {
            tracing::error!(%message, %error, "damage could not be written to the journal");
        }
        let done: Vec<(u32, Fate)> = assignment.recipients.iter().map(|r| (*r, Fate::Done)).collect();
        self.planner.finished(now, assignment.job, &done, SiteFeedback::Reached);
        let mut recipients = assignment.recipients.clone();
        // Those that are in flight find out by themselves.
        for other in self.planner.cancel(now, &queue::Selector::Message(message)) {
            if !other.in_flight {
                recipients.extend(other.recipients);
            }
        }
        let reply =
            Reply::new(554, Enhanced(5, 3, 0), "the message was damaged on this server's disk and cannot be sent");
        self.decide_here(&recipients, message, assignment.number, Outcome::Bounced, reply);
    }

    /// What a site's servers said last, for those who ask later why their mail is late.
    fn remember_trouble(&mut self, attempted: &Attempted) {
        let refusal = attempted
            .verdicts
            .iter()
            .find(|verdict| matches!(verdict.disposition, Disposition::Temporary { .. }))
            .map(|verdict| &verdict.reply)
            .or(attempted.site_reply.as_ref());
        match refusal {
            Some(reply) => self.troubles.note(
                &attempted.assignment.site,
                Trouble { reply: reply.clone(), server: attempted.server.clone(), at: attempted.finished_at },
            ),
            None => self.troubles.over(&attempted.assignment.site),
        }
    }

    /// Its lifetime is over: the rest of its recipients are given up.
    pub(super) fn expired(&mut self, overdue: Overdue) {
        let last = self.troubles.of(&overdue.site).map(|trouble| format!("; the last answer was: {}", trouble.reply));
        let text = format!("not delivered within its lifetime{}", last.unwrap_or_default());
        let reply = Reply::new(554, Enhanced(5, 4, 7), text);
        self.decide_here(&overdue.recipients, overdue.message, overdue.attempts, Outcome::Expired, reply);
    }

    pub(super) fn cancelled(&mut self, message: MessageId, recipients: &[u32]) {
        let reply = Reply::new(550, Enhanced(5, 7, 0), "cancelled");
        self.decide_here(recipients, message, 0, Outcome::Cancelled, reply);
    }

    /// An outcome that no server decided.
    fn decide_here(&mut self, recipients: &[u32], message: MessageId, number: u32, outcome: Outcome, reply: Reply) {
        let Some(meta) = self.meta_now(message) else { return };
        let now = self.now();
        let results = recipients
            .iter()
            .map(|&recipient| RecipientResult { recipient, outcome: outcome.clone(), reply: reply.clone() })
            .collect();
        let attempt = Attempt {
            started_at: now,
            finished_at: now,
            number,
            server: "".into(),
            tls: None,
            results,
            dialogue: Vec::new(),
        };
        self.record(&meta, attempt);
    }

    /// Reads an envelope back at once; only where that is rare.
    pub(super) fn meta_now(&self, message: MessageId) -> Option<Arc<Meta>> {
        match self.spool().meta(message) {
            Ok(meta) => meta.map(Arc::new),
            Err(error) => {
                tracing::error!(%message, %error, "an envelope could not be read back from the spool");
                None
            }
        }
    }

    fn record_held_in_flight(&mut self, message: MessageId, remainder: &Remainder) {
        if matches!(remainder.next, Next::Held { .. }) {
            self.record_held(message, remainder.recipients.clone());
        }
    }

    pub(super) fn mend_soon(&mut self) {
        let at = self.now().after(MEND_INTERVAL);
        self.mend_at.get_or_insert(at);
    }

    /// Tries again what the disk refused before.
    pub(super) fn mend(&mut self) {
        self.mend_at = None;
        for id in std::mem::take(&mut self.unclosed) {
            self.close_if_done(id);
        }
        self.report_again();
    }
}

/// One result for each recipient that had a verdict or is left over.
fn results(attempted: &Attempted, remainders: &[Remainder]) -> Vec<RecipientResult> {
    let next_of = |recipient: u32| remainders.iter().find(|r| r.recipients.contains(&recipient)).map(|r| r.next);
    let mut results = Vec::with_capacity(attempted.assignment.recipients.len());
    for &recipient in &attempted.assignment.recipients {
        let verdict = attempted.verdicts.iter().find(|v| v.recipient == recipient);
        let (outcome, reply) = match verdict {
            Some(verdict) => {
                let outcome = match verdict.disposition {
                    Disposition::Delivered { relayed } => Outcome::Delivered { relayed },
                    Disposition::Permanent => Outcome::Bounced,
                    Disposition::Temporary { maybe_delivered } => {
                        left_over(next_of(recipient), attempted.finished_at, maybe_delivered)
                    }
                };
                (outcome, verdict.reply.clone())
            }
            None => {
                let reply = attempted.site_reply.clone();
                match (reply, next_of(recipient)) {
                    // Its turn did not come in this transaction and comes at once: nothing to tell.
                    (None, Some(Next::Retry { .. })) => continue,
                    (reply, next) => {
                        let reply = reply.unwrap_or_else(|| Reply::new(451, Enhanced(4, 4, 0), "not attempted"));
                        (left_over(next, attempted.finished_at, false), reply)
                    }
                }
            }
        };
        results.push(RecipientResult { recipient, outcome, reply });
    }
    results
}

fn left_over(next: Option<Next>, now: Timestamp, maybe_delivered: bool) -> Outcome {
    match next {
        Some(Next::Retry { at, .. }) => Outcome::Deferred { retry_at: at, maybe_delivered },
        Some(Next::Held { .. }) | None => Outcome::Deferred { retry_at: now, maybe_delivered },
        Some(Next::Cancelled) => Outcome::Cancelled,
    }
}
