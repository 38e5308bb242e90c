//! How others speak to the runner: they hand over accepted mail, and ask about the queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base::MessageId;
use queue::Selector;
use spool::Stored;
use tokio::sync::{mpsc, oneshot};

use crate::runner::Event;

/// Bodies that wait in memory between acceptance and the first attempt, in octets. What is over goes
/// through the disk: the spool has it anyway.
pub const HANDOVER_OCTETS_MAX: usize = 8 << 20;

/// The runner has stopped: the server is shutting down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the delivery runner has stopped; the server is shutting down")]
pub struct Stopped;

/// A handle on the runner; cheap to clone.
#[derive(Debug, Clone)]
pub struct QueueHandle {
    pub(crate) events: mpsc::UnboundedSender<Event>,
    /// Octets of bodies that are on their way to the runner or kept by it.
    pub(crate) handover_octets: Arc<AtomicUsize>,
}

/// What an operator orders about waiting mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Hold,
    Release,
    RetryNow,
    Cancel,
}

/// How many jobs an order met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Met {
    /// It is carried out on these.
    pub jobs: usize,
    /// These are being tried at this moment: it is carried out on what the attempt leaves over.
    pub in_flight: usize,
}

/// What asks the runner for something, with the way back.
#[derive(Debug)]
pub enum Command {
    Summary { reply: oneshot::Sender<Vec<queue::LaneView>> },
    List { selector: Selector, after: Option<queue::Cursor>, limit: usize, reply: oneshot::Sender<queue::Page> },
    Jobs { message: MessageId, reply: oneshot::Sender<Vec<queue::JobView>> },
    Order { order: Order, selector: Selector, reply: oneshot::Sender<Met> },
}

impl QueueHandle {
    /// Takes over an accepted message. Never waits and never fails: the spool has it; if the runner
    /// is gone it is delivered after the next start.
    pub fn accepted(&self, mut stored: Stored) {
        let octets = stored.body.as_ref().map_or(0, bytes::Bytes::len);
        if octets > 0 && self.handover_octets.fetch_add(octets, Ordering::Relaxed) + octets > HANDOVER_OCTETS_MAX {
            self.handover_octets.fetch_sub(octets, Ordering::Relaxed);
            stored.body = None;
        }
        // A closed channel means shutdown; the journal has the message.
        let _ = self.events.send(Event::Accepted(stored));
    }

    /// One line per destination.
    ///
    /// # Errors
    /// [`Stopped`], here and in all calls below.
    pub async fn summary(&self) -> Result<Vec<queue::LaneView>, Stopped> {
        self.ask(|reply| Command::Summary { reply }).await
    }

    /// A page of waiting jobs.
    pub async fn list(
        &self,
        selector: Selector,
        after: Option<queue::Cursor>,
        limit: usize,
    ) -> Result<queue::Page, Stopped> {
        self.ask(|reply| Command::List { selector, after, limit, reply }).await
    }

    /// What still waits of one message.
    pub async fn jobs(&self, message: MessageId) -> Result<Vec<queue::JobView>, Stopped> {
        self.ask(|reply| Command::Jobs { message, reply }).await
    }

    /// Carries out an order and says which jobs it met.
    pub async fn order(&self, order: Order, selector: Selector) -> Result<Met, Stopped> {
        self.ask(|reply| Command::Order { order, selector, reply }).await
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.events.send(Event::Command(command(reply))).map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }
}
