//! The queue case: very many messages for a destination that does not answer.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;
use testkit::{Client, free_address};

use crate::case::{Case, Connection};
use crate::mta::{DEAD_DOMAIN, Place, Postrider};
use crate::run::send;

const CASE: Case = Case { size_bytes: 4096, sessions: 20, connection: Connection::Reused };
/// Messages in the queue before the measurement, so that buffers that are made once are there.
const WARM: usize = 2000;

/// What was seen.
#[derive(Debug, Clone, Serialize)]
pub struct Queue {
    pub messages: usize,
    pub accepted_per_s: f64,
    /// Resident memory with a few messages waiting, and with all.
    pub rss_before_mb: f64,
    pub rss_after_mb: f64,
    pub bytes_per_message: f64,
    /// From the start after SIGKILL until mail is accepted.
    pub restart_ready_s: f64,
    /// Until a message was in fact answered with 250.
    pub restart_first_250_s: f64,
    pub rss_after_restart_mb: f64,
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} messages of 4 KB waiting for a dead destination: {:.0} accepted/s, {:.0} -> {:.0} MB, {:.0} bytes a message; \
             restarted after SIGKILL: ready in {:.2} s, first 250 after {:.2} s, {:.0} MB",
            self.messages,
            self.accepted_per_s,
            self.rss_before_mb,
            self.rss_after_mb,
            self.bytes_per_message,
            self.restart_ready_s,
            self.restart_first_250_s,
            self.rss_after_restart_mb,
        )
    }
}

pub fn measure(place: &Place, messages: usize) -> Result<Queue> {
    let mut server = Postrider::start(place, free_address(), &[]);
    send(server.address(), CASE, WARM, DEAD_DOMAIN)?;
    server.tree().wait_until_quiet();
    let before = server.tree().rss_bytes();
    let started = Instant::now();
    send(server.address(), CASE, messages, DEAD_DOMAIN)?;
    let accepted = started.elapsed();
    server.tree().wait_until_quiet();
    let after = server.tree().rss_bytes();

    let restarted = Instant::now();
    let ready = server.kill_and_restart();
    let mut client = Client::connect(server.address());
    client.ehlo();
    let reply = client.submit("load@sender.test", &[&format!("bob@{DEAD_DOMAIN}")], b"Subject: first\r\n\r\n");
    ensure!(reply.code == 250, "after the restart: {reply}");
    let first: Duration = restarted.elapsed();
    server.tree().wait_until_quiet();
    Ok(Queue {
        messages,
        accepted_per_s: messages as f64 / accepted.as_secs_f64(),
        rss_before_mb: before as f64 / 1e6,
        rss_after_mb: after as f64 / 1e6,
        bytes_per_message: after.saturating_sub(before) as f64 / messages as f64,
        restart_ready_s: ready.as_secs_f64(),
        restart_first_250_s: first.as_secs_f64(),
        rss_after_restart_mb: server.tree().rss_bytes() as f64 / 1e6,
    })
}
