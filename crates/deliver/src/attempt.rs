//! One attempt, from the planner's word to what came of it. Each runs as a task of its own; what it
//! needs it is given, what it learns goes back to the runner, which alone decides what follows.

use std::sync::Arc;

use base::{Attempt, Clock, Enhanced, Fact, MessageId, Meta, Outcome, RecipientResult, Reply, Step, Timestamp};
use bytes::Bytes;
use queue::{Assignment, RouteId, SiteFeedback};
use spool::{Spool, SpoolError};

use crate::agent::{Agent, AttemptReport, BodySource, Disposition, RecipientReport, SiteReport, Task};
use crate::connection::OpenConnection;
use crate::sandbox::{Captured, SandboxSink};
use crate::simulator;

/// Straight to the recipients' servers.
pub const DIRECT: RouteId = RouteId(0);
/// Into the sandbox inbox.
pub const SANDBOX: RouteId = RouteId(1);
/// To the simulated recipients.
pub const SIMULATOR: RouteId = RouteId(2);

/// What stands for a server's name where mail ended on this machine.
pub(crate) const SANDBOX_SERVER: &str = "sandbox";
pub(crate) const SIMULATOR_SERVER: &str = "simulator";

/// The ways out, shared by all attempts.
pub(crate) struct Ways {
    pub(crate) spool: Spool,
    pub(crate) agent: Agent,
    pub(crate) resolver: route::Resolver,
    pub(crate) sandbox: Arc<dyn SandboxSink>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// What an attempt came to.
#[derive(Debug)]
pub(crate) struct Attempted {
    pub(crate) assignment: Assignment,
    pub(crate) meta: Arc<Meta>,
    pub(crate) verdicts: Vec<RecipientReport>,
    /// What is recorded for recipients that no server spoke about.
    pub(crate) site_reply: Option<Reply>,
    pub(crate) site: SiteFeedback,
    pub(crate) server: Box<str>,
    pub(crate) tls: Option<Box<str>>,
    pub(crate) dialogue: Vec<Step>,
    pub(crate) started_at: Timestamp,
    pub(crate) finished_at: Timestamp,
    pub(crate) connection: Option<OpenConnection>,
    /// The fact, if it is in the journal already: see [`Attempted::final_attempt`].
    pub(crate) written: Option<Attempt>,
}

impl Attempted {
    /// What is to be written where nothing is left for the planner to decide: every recipient has its
    /// final outcome. That is done here and at once, so that a crash right after the peer's reply
    /// repeats as little as can be.
    fn final_attempt(&self) -> Option<Attempt> {
        let mut results = Vec::with_capacity(self.verdicts.len());
        for verdict in &self.verdicts {
            let outcome = match verdict.disposition {
                Disposition::Delivered { relayed } => Outcome::Delivered { relayed },
                Disposition::Permanent => Outcome::Bounced,
                Disposition::Temporary { .. } => return None,
            };
            results.push(RecipientResult { recipient: verdict.recipient, outcome, reply: verdict.reply.clone() });
        }
        (results.len() == self.assignment.recipients.len()).then(|| self.fact(results))
    }

    /// This attempt with these results, as the journal has it.
    pub(crate) fn fact(&self, results: Vec<RecipientResult>) -> Attempt {
        Attempt {
            started_at: self.started_at,
            finished_at: self.finished_at,
            number: self.assignment.number,
            server: self.server.clone(),
            tls: self.tls.clone(),
            results,
            dialogue: self.dialogue.clone(),
        }
    }
}

/// How an attempt's task ends.
#[derive(Debug)]
pub(crate) enum AttemptEnd {
    Attempted(Box<Attempted>),
    /// The message could not be read back from the spool.
    Unreadable {
        assignment: Assignment,
        error: SpoolError,
    },
}

/// What an attempt starts with.
pub(crate) struct Start {
    pub(crate) assignment: Assignment,
    /// The message as it was handed over at acceptance, if it is still in memory.
    pub(crate) fresh: Option<(Arc<Meta>, Option<Bytes>)>,
    /// An open connection to the same site.
    pub(crate) connection: Option<OpenConnection>,
}

impl Ways {
    pub(crate) async fn attempt(self: Arc<Ways>, start: Start) -> AttemptEnd {
        let Start { assignment, fresh, connection } = start;
        let (meta, body) = match fresh {
            Some((meta, body)) => (meta, body),
            None => match self.read_meta(&assignment).await {
                Ok(meta) => (Arc::new(meta), None),
                Err(error) => return AttemptEnd::Unreadable { assignment, error },
            },
        };
        let started_at = self.clock.now();
        let outcome = match assignment.route {
            SIMULATOR => Ok(self.simulate(&assignment, &meta).await),
            SANDBOX => self.capture(&assignment, &meta, body).await,
            _ => self.send(&assignment, &meta, body, connection).await,
        };
        let found = match outcome {
            Ok(found) => found,
            Err(error) => return AttemptEnd::Unreadable { assignment, error },
        };
        let mut attempted = Attempted {
            assignment,
            meta,
            verdicts: found.verdicts,
            site_reply: found.site_reply,
            site: found.site,
            server: found.server,
            tls: found.tls,
            dialogue: found.dialogue,
            started_at,
            finished_at: self.clock.now(),
            connection: found.connection,
            written: None,
        };
        if let Some(attempt) = attempted.final_attempt() {
            attempted.written = self.write(attempted.meta.id, attempt);
        }
        AttemptEnd::Attempted(Box::new(attempted))
    }

    /// Writes an outcome into the journal, and gives it back if it is there.
    fn write(&self, message: MessageId, attempt: Attempt) -> Option<Attempt> {
        let fact = Fact::Attempted(attempt);
        let written = self.spool.record(message, &fact);
        match (written, fact) {
            (Ok(()), Fact::Attempted(attempt)) => Some(attempt),
            // The runner tries again.
            _ => None,
        }
    }

    async fn read_meta(&self, assignment: &Assignment) -> Result<Meta, SpoolError> {
        let (spool, id) = (self.spool.clone(), assignment.message);
        blocking(move || spool.meta(id)?.ok_or(SpoolError::Gone)).await
    }

    /// Through DNS to the recipients' servers.
    async fn send(
        &self,
        assignment: &Assignment,
        meta: &Arc<Meta>,
        body: Option<Bytes>,
        connection: Option<OpenConnection>,
    ) -> Result<Found, SpoolError> {
        let plan = match self.resolver.plan(&assignment.site).await {
            Ok(plan) => plan,
            Err(error) => return Ok(Found::unroutable(assignment, error)),
        };
        let body = match body {
            Some(bytes) => BodySource::Memory(bytes),
            None => BodySource::Spool { spool: self.spool.clone(), id: assignment.message },
        };
        let task = Task {
            meta: Arc::clone(meta),
            sender: meta.envelope.sender.clone(),
            recipients: assignment.recipients.clone(),
            body,
        };
        Ok(Found::from(self.agent.attempt(&plan, task, connection).await?))
    }

    /// Into the sandbox inbox: delivered once it is kept there.
    async fn capture(
        &self,
        assignment: &Assignment,
        meta: &Arc<Meta>,
        body: Option<Bytes>,
    ) -> Result<Found, SpoolError> {
        let content = match body {
            Some(content) => content,
            None => {
                let (spool, id) = (self.spool.clone(), assignment.message);
                blocking(move || read_whole(&spool, id)).await?
            }
        };
        let captured = Captured {
            meta: Arc::clone(meta),
            recipients: assignment.recipients.clone(),
            content,
            at: self.clock.now(),
        };
        let (site, disposition, reply) = match self.sandbox.capture(captured).await {
            Ok(()) => (
                SiteFeedback::Reached,
                Disposition::Delivered { relayed: false },
                Reply::new(250, Enhanced(2, 0, 0), "captured in the sandbox inbox; nothing left this machine"),
            ),
            Err(why) => (
                SiteFeedback::Slow,
                Disposition::Temporary { maybe_delivered: false },
                Reply::new(451, Enhanced(4, 3, 0), format!("the sandbox inbox cannot keep it now: {why}")),
            ),
        };
        Ok(Found::here(SANDBOX_SERVER, site, assignment, |_| (disposition, reply.clone())))
    }

    async fn simulate(&self, assignment: &Assignment, meta: &Meta) -> Found {
        let behaviours: Vec<_> = assignment
            .recipients
            .iter()
            .filter_map(|index| {
                Some((*index, simulator::behaviour(&meta.envelope.recipients.get(*index as usize)?.address)))
            })
            .collect();
        let delay = behaviours.iter().map(|(_, behaviour)| behaviour.delay).max().unwrap_or_default();
        tokio::time::sleep(delay).await;
        Found::here(SIMULATOR_SERVER, SiteFeedback::Reached, assignment, |index| {
            let reply = behaviours.iter().find(|(i, _)| *i == index).map_or_else(
                || Reply::new(451, Enhanced(4, 3, 0), "the recipient is missing"),
                |(_, behaviour)| behaviour.reply.clone(),
            );
            (disposition_of(&reply), reply)
        })
    }
}

fn disposition_of(reply: &Reply) -> Disposition {
    match reply.class() {
        base::ReplyClass::Success => Disposition::Delivered { relayed: false },
        base::ReplyClass::Permanent => Disposition::Permanent,
        _ => Disposition::Temporary { maybe_delivered: false },
    }
}

/// What one of the ways found out.
struct Found {
    verdicts: Vec<RecipientReport>,
    site_reply: Option<Reply>,
    site: SiteFeedback,
    server: Box<str>,
    tls: Option<Box<str>>,
    dialogue: Vec<Step>,
    connection: Option<OpenConnection>,
}

impl Found {
    /// An outcome that was decided on this machine.
    fn here(
        server: &str,
        site: SiteFeedback,
        assignment: &Assignment,
        decide: impl Fn(u32) -> (Disposition, Reply),
    ) -> Found {
        let verdicts: Vec<RecipientReport> = assignment
            .recipients
            .iter()
            .map(|&recipient| {
                let (disposition, reply) = decide(recipient);
                RecipientReport { recipient, disposition, reply }
            })
            .collect();
        let steps = verdicts.first().map(|v| Step {
            at_us: 0,
            took_us: 0,
            sent: format!("[{server}]").into(),
            received: v.reply.to_string().into(),
        });
        Found {
            verdicts,
            site_reply: None,
            site,
            server: server.into(),
            tls: None,
            dialogue: steps.into_iter().collect(),
            connection: None,
        }
    }

    /// DNS gave no way: for good, or for now.
    fn unroutable(assignment: &Assignment, error: route::RouteError) -> Found {
        match error {
            route::RouteError::Permanent(reply) => {
                let mut found =
                    Found::here("", SiteFeedback::Reached, assignment, |_| (Disposition::Permanent, reply.clone()));
                found.dialogue = resolving(&assignment.site, &reply);
                found
            }
            route::RouteError::Temporary(reply) => Found {
                verdicts: Vec::new(),
                dialogue: resolving(&assignment.site, &reply),
                site_reply: Some(reply),
                site: SiteFeedback::Unreachable,
                server: "".into(),
                tls: None,
                connection: None,
            },
        }
    }
}

fn resolving(site: &str, reply: &Reply) -> Vec<Step> {
    vec![Step { at_us: 0, took_us: 0, sent: format!("[resolve {site}]").into(), received: reply.to_string().into() }]
}

impl From<AttemptReport> for Found {
    fn from(report: AttemptReport) -> Found {
        let (site, site_reply) = match report.site {
            SiteReport::Reached => (SiteFeedback::Reached, None),
            SiteReport::Slow => (SiteFeedback::Slow, None),
            SiteReport::Unreachable(reply) => (SiteFeedback::Unreachable, Some(reply)),
        };
        Found {
            verdicts: report.results,
            site_reply,
            site,
            server: report.server,
            tls: report.tls,
            dialogue: report.dialogue,
            connection: report.connection,
        }
    }
}

/// Reads a whole body; only where the whole is needed at once (sandbox, reports).
pub(crate) fn read_whole(spool: &Spool, id: base::MessageId) -> Result<Bytes, SpoolError> {
    let mut body = spool.body(id)?;
    let first = body.next_chunk()?.unwrap_or_default();
    if first.len() as u64 == body.octets() {
        return Ok(first);
    }
    let mut whole = Vec::with_capacity(usize::try_from(body.octets()).unwrap_or(0));
    whole.extend_from_slice(&first);
    while let Some(chunk) = body.next_chunk()? {
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.into())
}

/// Runs what reads the disk, or computes for long, where that is allowed.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SpoolError> + Send + 'static,
) -> Result<T, SpoolError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(SpoolError::Failed(format!("reading the spool was interrupted: {error}").into())),
    }
}
