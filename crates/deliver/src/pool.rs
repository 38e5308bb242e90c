//! Connections that are kept open between messages, by lane.
//!
//! Owned by the runner's task alone: no lock. What leaves the pool unused gets a polite QUIT from a
//! task of its own, so that nobody waits for it. A connection is only a saving, never a promise: the
//! server may close it at any time, which is noticed when it is taken out, or by the agent, which then
//! makes a new one (no attempt is counted for that).

use std::collections::HashMap;
use std::time::Duration;

use queue::LaneId;
use tokio::time::Instant;

use crate::agent::AgentConfig;
use crate::connection::OpenConnection;

/// Idle connections, the most recently used of a lane on top.
#[derive(Debug)]
pub struct Pool {
    lanes: HashMap<LaneId, Vec<OpenConnection>>,
    count: usize,
    idle_max: Duration,
    connections_max: usize,
    /// When the oldest may be due. Looked at before everything else, as most sweeps have nothing to do.
    sweep_at: Option<Instant>,
}

impl Pool {
    pub fn new(config: &AgentConfig) -> Pool {
        Pool {
            lanes: HashMap::new(),
            count: 0,
            idle_max: config.idle_max,
            connections_max: config.idle_connections_max,
            sweep_at: None,
        }
    }

    /// A connection of this lane that is still good, if there is one.
    pub fn take(&mut self, lane: LaneId) -> Option<OpenConnection> {
        let now = Instant::now();
        let kept = self.lanes.get_mut(&lane)?;
        let mut found = None;
        while let Some(mut connection) = kept.pop() {
            self.count -= 1;
            if now < connection.idle_since() + self.idle_max && connection.is_usable() {
                found = Some(connection);
                break;
            }
            close(connection);
        }
        if kept.is_empty() {
            self.lanes.remove(&lane);
        }
        found
    }

    /// Keeps a connection for the next message of this lane, or closes it if it has served
    /// `messages_max`, or there are enough.
    pub fn put(&mut self, lane: LaneId, connection: OpenConnection, messages_max: u32) {
        if !connection.has_turn(messages_max) || self.count >= self.connections_max {
            return close(connection);
        }
        let due = connection.idle_since() + self.idle_max;
        self.sweep_at = Some(self.sweep_at.map_or(due, |at| at.min(due)));
        self.count += 1;
        self.lanes.entry(lane).or_default().push(connection);
    }

    /// Lets go of a connection that is not to be kept, politely.
    pub fn close(&self, connection: OpenConnection) {
        close(connection);
    }

    /// Closes what has been idle for too long. Cheap when nothing is due.
    pub fn sweep(&mut self) {
        let now = Instant::now();
        if self.sweep_at.is_none_or(|at| now < at) {
            return;
        }
        let mut next: Option<Instant> = None;
        let idle_max = self.idle_max;
        self.lanes.retain(|_, kept| {
            // The oldest lie at the bottom.
            let overdue = kept.iter().take_while(|connection| connection.idle_since() + idle_max <= now).count();
            kept.drain(..overdue).for_each(close);
            self.count -= overdue;
            if let Some(oldest) = kept.first() {
                let due = oldest.idle_since() + idle_max;
                next = Some(next.map_or(due, |at| at.min(due)));
            }
            !kept.is_empty()
        });
        self.sweep_at = next;
    }

    /// When [`sweep`](Pool::sweep) has something to do at the earliest.
    pub fn sweep_at(&self) -> Option<Instant> {
        self.sweep_at
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Closes all, and waits for that a few seconds at most.
    pub async fn close_all(&mut self) {
        self.count = 0;
        self.sweep_at = None;
        let goodbyes: Vec<_> =
            self.lanes.drain().flat_map(|(_, kept)| kept).map(|c| tokio::spawn(c.goodbye())).collect();
        for goodbye in goodbyes {
            // A goodbye that failed is a connection that is closed all the same.
            let _ = goodbye.await;
        }
    }
}

fn close(connection: OpenConnection) {
    tokio::spawn(connection.goodbye());
}
