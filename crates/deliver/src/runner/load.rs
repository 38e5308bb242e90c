//! Taking over what the spool recovered: every recipient without a final outcome waits again, and
//! every report that an outcome made due and that was not accepted is owed again.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::{Fact, MessageId, ReportKind};
use queue::{LaneKey, NewJob};
use spool::{Progress, Recovered, RecoveredMessage, SpoolError};

use super::reports::{Item, is_due, notify};
use super::{Runner, by_lane};

impl Runner {
    pub(super) fn load(&mut self, recovered: Recovered) {
        let waiting: HashSet<MessageId> = recovered.messages.iter().map(|message| message.meta.id).collect();
        for damage in &recovered.damage {
            self.counters.quarantined.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                what = ?damage.what,
                segment = damage.segment,
                offset = damage.offset,
                message = ?damage.message,
                kept_in = damage.kept_in.as_deref(),
                "found damaged in the spool; it was set aside and is not sent"
            );
            // One that still waits was damaged elsewhere (a fact about it): it is sent.
            if let Some(message) = damage.message.filter(|message| !waiting.contains(message)) {
                self.tell_of_damage(message);
            }
        }
        for message in recovered.messages {
            self.load_message(message);
        }
    }

    /// So that whoever asks for the message learns what became of it.
    fn tell_of_damage(&self, message: MessageId) {
        let fact = Fact::Quarantined { at: self.now(), reason: "found damaged on disk at start".into() };
        match self.spool().record(message, &fact) {
            // Nothing of it is left that a fact could be about.
            Ok(()) | Err(SpoolError::Gone) => {}
            Err(error) => tracing::error!(%message, %error, "damage could not be written to the journal"),
        }
    }

    fn load_message(&mut self, message: RecoveredMessage) {
        self.enqueue_recovered(&message);
        let RecoveredMessage { meta, recipients, reports, .. } = message;
        let meta = Arc::new(meta);
        let reported = |kind: ReportKind, recipient: u32| {
            reports.iter().any(|report| report.kind == kind && report.recipients.contains(&recipient))
        };
        for kind in [ReportKind::Failure, ReportKind::Success] {
            let items = (0_u32..)
                .zip(&recipients)
                .filter_map(|(recipient, progress)| Some((recipient, progress.as_ref()?)))
                .filter(|(recipient, progress)| {
                    is_due(
                        kind,
                        notify(&meta, *recipient),
                        &progress.outcome,
                        super::reports::ends_here(&progress.server),
                    )
                })
                .filter(|(recipient, _)| !reported(kind, *recipient))
                .map(|(recipient, progress)| item(recipient, progress))
                .collect();
            self.owe(&meta, kind, items);
        }
        self.close_if_done(meta.id);
    }

    /// Recipients with the same number of attempts and the same waiting time stay one job.
    fn enqueue_recovered(&mut self, message: &RecoveredMessage) {
        let now = self.now();
        let meta = &message.meta;
        let open = |recipient: u32| {
            message
                .recipients
                .get(recipient as usize)
                .is_some_and(|progress| progress.as_ref().is_none_or(|progress| !progress.outcome.is_final()))
        };
        let delay_noticed = message.reports.iter().any(|report| report.kind == ReportKind::Delay);
        for (site, route, recipients) in by_lane(self.config.mode, meta, open) {
            for group in by_schedule(message, &recipients) {
                let new = NewJob {
                    message: meta.id,
                    account: meta.account,
                    stream: meta.stream,
                    lane: LaneKey { site: &site, route },
                    recipients: &group.recipients,
                    accepted_at: meta.received_at,
                    attempts: group.attempts,
                    not_before: group.retry_at,
                    held: group.held,
                    delay_noticed,
                };
                self.planner.enqueue(now, new);
            }
        }
    }
}

struct Group {
    recipients: Vec<u32>,
    attempts: u32,
    retry_at: Option<base::Timestamp>,
    held: bool,
}

fn by_schedule(message: &RecoveredMessage, recipients: &[u32]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for &recipient in recipients {
        let progress = message.recipients.get(recipient as usize).and_then(Option::as_ref);
        let attempts = progress.map_or(0, |progress| progress.attempt);
        let retry_at = progress.and_then(|progress| match progress.outcome {
            base::Outcome::Deferred { retry_at, .. } => Some(retry_at),
            _ => None,
        });
        let held = message.held.contains(&recipient);
        match groups.iter_mut().find(|g| (g.attempts, g.retry_at, g.held) == (attempts, retry_at, held)) {
            Some(group) => group.recipients.push(recipient),
            None => groups.push(Group { recipients: vec![recipient], attempts, retry_at, held }),
        }
    }
    groups
}

fn item(recipient: u32, progress: &Progress) -> Item {
    Item {
        recipient,
        outcome: progress.outcome.clone(),
        reply: progress.reply.clone(),
        server: progress.server.clone(),
        last_attempt_at: Some(progress.at),
        retry_until: None,
    }
}
