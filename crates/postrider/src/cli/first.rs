//! What `postrider dev` does beside serving: an account to play with, and a first message that shows
//! each of its steps.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use base::{Actor, Address, Clock, MessageId, Secret, Timestamp};
use mail::compose::{Mailbox, Plain, plain};
use service::accounts::Accounts;
use store::Store;

use super::submission::{Login, Submission, submit};
use crate::config::HostPort;

/// The account that is made at the first start of `postrider dev`.
const ACCOUNT: &str = "dev";

/// What a program logs in with.
#[derive(Clone)]
pub struct DevCredential {
    pub username: String,
    pub password: String,
}

/// A fresh credential for this run: passwords are shown once and kept as hashes, so the last run's
/// cannot be shown again. That one is revoked.
pub async fn credential(store: &Store, accounts: &Accounts) -> Result<DevCredential> {
    let scope = Actor::Operator.scope();
    if store.account_find(scope, ACCOUNT).await?.is_none() {
        accounts.account_add(scope, ACCOUNT).await.context("cannot make the account `dev`")?;
    }
    let label = "made by postrider dev";
    for old in accounts.credential_list(scope, Some(ACCOUNT)).await? {
        if &*old.label == label && old.revoked_at.is_none() {
            accounts.credential_revoke(scope, &old.username).await?;
        }
    }
    let issued = accounts.credential_add(scope, ACCOUNT, None, label).await.context("cannot make a credential")?;
    Ok(DevCredential {
        username: issued.credential.username.into(),
        password: String::from_utf8_lossy(issued.secret.expose_secret()).into_owned(),
    })
}

/// One step of the first message, as it is shown.
pub struct Shown {
    pub what: &'static str,
    pub at: Timestamp,
    pub detail: String,
}

/// Submits the first message over SMTP and follows it until it is delivered.
pub async fn first_message(
    store: &Store,
    clock: &dyn Clock,
    server: SocketAddr,
    dev: &DevCredential,
) -> Result<Vec<Shown>> {
    let from: Address = "you@example.test".parse().context("a fixed address")?;
    let to: Address = "first@example.test".parse().context("a fixed address")?;
    let content = plain(&Plain {
        from: Mailbox { name: Some("Postrider"), address: &from },
        to: &[Mailbox { name: None, address: &to }],
        subject: "Hello from Postrider",
        text: TEXT,
    })
    .context("cannot write the first message")?;
    let submission = Submission {
        server: HostPort { host: server.ip().to_string(), port: server.port() },
        login: Some(Login { user: dev.username.clone(), password: Secret::from(dev.password.as_str()) }),
        from,
        to: vec![to],
        content,
    };
    let submitted = submit(submission).await.map_err(|failure| anyhow!("{failure}"))?;
    let acknowledged_at = clock.now();
    let reply = match submitted.into_iter().next() {
        Some(first) if first.accepted => first.reply,
        Some(first) => bail!("the server refused it: {}", first.reply),
        None => bail!("the server said nothing about its recipient"),
    };
    let id: MessageId = reply
        .split_whitespace()
        .find_map(|word| word.parse().ok())
        .with_context(|| format!("the server's reply names no message: {reply}"))?;
    follow(store, id, &reply, acknowledged_at).await
}

/// The history is a moment behind the journal; it is asked until the message has its outcome.
async fn follow(store: &Store, id: MessageId, reply: &str, acknowledged_at: Timestamp) -> Result<Vec<Shown>> {
    let scope = Actor::Operator.scope();
    for _ in 0..FOLLOW_TIMES_MAX {
        if let Some(story) = store.message_show(scope, id).await?
            && story.recipients.iter().all(|recipient| recipient.state.is_final())
        {
            // The sync was over before the 250 and before the first attempt: the earlier of the two is
            // the closest that can be seen from outside.
            let attempts = story.events.iter().filter_map(|event| event.attempt.as_ref());
            let synced_at = attempts.map(|attempt| attempt.started_at).chain([acknowledged_at]).min();
            let synced_at = synced_at.unwrap_or(acknowledged_at);
            let mut steps = vec![
                Shown { what: "accepted", at: story.summary.received_at, detail: format!("message {id}") },
                Shown { what: "synced", at: synced_at, detail: format!("on disk, and only then: {reply}") },
            ];
            for event in story.events {
                let Some(attempt) = event.attempt else { continue };
                let said = attempt.results.first().map(|result| result.reply.to_string());
                let to = format!("route: {}", attempt.server);
                steps.push(Shown { what: "attempted", at: attempt.started_at, detail: to });
                steps.push(Shown {
                    what: event.kind.as_str(),
                    at: attempt.finished_at,
                    detail: said.unwrap_or_default(),
                });
            }
            return Ok(steps);
        }
        tokio::time::sleep(FOLLOW_INTERVAL).await;
    }
    bail!("the first message was accepted as {id} but has no outcome yet; see `postrider message explain {id}`")
}

const FOLLOW_INTERVAL: Duration = Duration::from_millis(50);
const FOLLOW_TIMES_MAX: usize = 200;

const TEXT: &str = "This is the first message of this server. It came in over SMTP, was sealed and put on disk \
before the server said 250, and ended here: in the sandbox inbox. Nothing has left this machine.\n\n\
What to try next:\n\n\
- Send something yourself; the command is on the terminal.\n\
- Look at \"SMTP dialogue\" on this page.\n\
- Send to bounce@simulator.postrider.test and wait for the report.\n";
