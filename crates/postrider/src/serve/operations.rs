//! What the command line asks of the running server, answered by the rooms.

use std::collections::HashMap;
use std::sync::Arc;

use accept::{Arrival, Door, Principal};
use base::{AccountId, Actor, Envelope, MessageId, Recipient, Scope, Stream, Timestamp};
use deliver::{QueueHandle, Stopped};
use queue::{JobView, LaneState, Selector, Waits};
use service::accounts::{Accounts, AccountsError};
use store::{Source, Store};
use web::admin::types::{
    Account, AttemptStory, Came, Credential, DESTINATIONS_MAX, Delivery, Destination, DestinationState, Event, Health,
    IssuedCredential, MessageStory, NewAccount, NewCredential, Order, Ordered, QueuePage, QueueSummary, RecipientStory,
    Selection, Sent, WaitsFor,
};
use web::admin::{Operations, Submission};
use web::{Answer, Refusal, Vitals};

use super::inbox::refusal;

/// Everything the answers are made from.
pub struct Desk {
    pub store: Store,
    pub accounts: Accounts,
    pub queue: QueueHandle,
    pub door: Door,
    pub vitals: Arc<dyn Vitals>,
    pub mode: &'static str,
    pub started_at: Timestamp,
}

impl Desk {
    fn scope() -> Scope {
        // Who can open the control socket is the operator: its file mode is the authentication.
        Actor::Operator.scope()
    }

    /// Names of accounts, for what people read.
    async fn names(&self) -> Result<HashMap<AccountId, String>, Refusal> {
        let accounts = self.store.account_list(Self::scope()).await.map_err(refusal)?;
        Ok(accounts.into_iter().map(|account| (account.id, account.name.into())).collect())
    }

    async fn account_named(&self, name: &str) -> Result<store::Account, Refusal> {
        let found = self.store.account_find(Self::scope(), name).await.map_err(refusal)?;
        found
            .ok_or_else(|| Refusal::NotFound(format!("there is no account {name}; `postrider account list` shows all")))
    }

    async fn selector(&self, selection: Selection) -> Result<Selector, Refusal> {
        match selection {
            Selection { id: Some(id), .. } => Ok(Selector::Message(id)),
            Selection { account: Some(name), .. } => Ok(Selector::Account(self.account_named(&name).await?.id)),
            Selection { destination: Some(domain), .. } => {
                let domain: base::Domain =
                    domain.parse().map_err(|error| Refusal::Invalid(format!("{domain} is no destination: {error}")))?;
                Ok(Selector::Destination(domain.ascii().into()))
            }
            Selection { all: true, .. } => Ok(Selector::All),
            _ => Err(Refusal::Invalid("say which deliveries are meant".to_owned())),
        }
    }

    /// Whose message it is, when the operator hands one in.
    async fn sender_account(&self, name: Option<String>) -> Result<AccountId, Refusal> {
        if let Some(name) = name {
            return Ok(self.account_named(&name).await?.id);
        }
        let accounts = self.store.account_list(Self::scope()).await.map_err(refusal)?;
        let oldest =
            accounts.into_iter().filter(|account| account.suspended_at.is_none()).min_by_key(|account| account.id);
        let oldest = oldest.map(|account| account.id);
        oldest.ok_or_else(|| {
            Refusal::Conflict("there is no account yet; make one with `postrider account add NAME`".into())
        })
    }
}

fn stopped(_: Stopped) -> Refusal {
    Refusal::Unavailable("the server is stopping".to_owned())
}

fn of_accounts(error: AccountsError) -> Refusal {
    match error {
        AccountsError::Store(error) => refusal(error),
        AccountsError::Taken(_) => Refusal::Conflict(error.to_string()),
        AccountsError::Unknown(_) => Refusal::NotFound(error.to_string()),
        AccountsError::Invalid(_) => Refusal::Invalid(error.to_string()),
    }
}

impl Operations for Desk {
    fn health(&self) -> Answer<'_, Health> {
        Box::pin(async move {
            let faults = self.vitals.faults();
            Ok(Health {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                mode: self.mode.to_owned(),
                started_at: self.started_at.into(),
                ready: faults.is_empty(),
                faults,
            })
        })
    }

    fn queue_summary(&self) -> Answer<'_, QueueSummary> {
        Box::pin(async move {
            let mut lanes = self.queue.summary().await.map_err(stopped)?;
            let total = |count: fn(&queue::LaneView) -> u32| lanes.iter().map(|lane| u64::from(count(lane))).sum();
            let mut summary = QueueSummary {
                queued: total(|lane| lane.queued),
                in_flight: total(|lane| lane.in_flight),
                held: total(|lane| lane.held),
                destinations: Vec::new(),
                more: lanes.len().saturating_sub(DESTINATIONS_MAX) as u64,
            };
            lanes.sort_by_key(|lane| std::cmp::Reverse(lane.queued + lane.in_flight + lane.held));
            summary.destinations = lanes.into_iter().take(DESTINATIONS_MAX).map(destination).collect();
            Ok(summary)
        })
    }

    fn queue_list(&self, selection: Selection, after: Option<String>, limit: u32) -> Answer<'_, QueuePage> {
        Box::pin(async move {
            let selector = self.selector(selection).await?;
            let after = match after {
                Some(text) => {
                    Some(text.parse().map_err(|_| Refusal::Invalid("`after` is no place in the list".into()))?)
                }
                None => None,
            };
            let names = self.names().await?;
            let page = self.queue.list(selector, after, limit as usize).await.map_err(stopped)?;
            let deliveries = page.jobs.iter().map(|job| delivery(job, &names)).collect();
            Ok(QueuePage { deliveries, total: Some(page.total as u64), next: page.next.map(|next| next.to_string()) })
        })
    }

    fn queue_order(&self, order: Order, selection: Selection) -> Answer<'_, Ordered> {
        Box::pin(async move {
            let selector = self.selector(selection).await?;
            let order = match order {
                Order::Hold => deliver::Order::Hold,
                Order::Release => deliver::Order::Release,
                Order::Retry => deliver::Order::RetryNow,
                Order::Cancel => deliver::Order::Cancel,
            };
            let met = self.queue.order(order, selector).await.map_err(stopped)?;
            Ok(Ordered { deliveries: met.jobs as u64, in_flight: met.in_flight as u64 })
        })
    }

    fn message(&self, id: MessageId) -> Answer<'_, MessageStory> {
        Box::pin(async move {
            let story = self.store.message_show(Self::scope(), id).await.map_err(refusal)?;
            let story = story.ok_or_else(|| Refusal::NotFound(format!("there is no message {id}")))?;
            let names = self.names().await?;
            let waiting = self.queue.jobs(id).await.map_err(stopped)?;
            let waiting = waiting.iter().map(|job| delivery(job, &names)).collect();
            Ok(told(story, &names, waiting))
        })
    }

    fn accounts(&self) -> Answer<'_, Vec<Account>> {
        Box::pin(async move {
            let accounts = self.store.account_list(Self::scope()).await.map_err(refusal)?;
            Ok(accounts.into_iter().map(account).collect())
        })
    }

    fn account_add(&self, new: NewAccount) -> Answer<'_, Account> {
        Box::pin(
            async move { Ok(account(self.accounts.account_add(Self::scope(), &new.name).await.map_err(of_accounts)?)) },
        )
    }

    fn account_revoke(&self, name: String) -> Answer<'_, Account> {
        Box::pin(
            async move { Ok(account(self.accounts.account_revoke(Self::scope(), &name).await.map_err(of_accounts)?)) },
        )
    }

    fn credentials(&self, account: Option<String>) -> Answer<'_, Vec<Credential>> {
        Box::pin(async move {
            let names = self.names().await?;
            let found = self.accounts.credential_list(Self::scope(), account.as_deref()).await.map_err(of_accounts)?;
            Ok(found.into_iter().map(|found| credential(found, &names)).collect())
        })
    }

    fn credential_add(&self, new: NewCredential) -> Answer<'_, IssuedCredential> {
        Box::pin(async move {
            let issued = self
                .accounts
                .credential_add(Self::scope(), &new.account, new.username.as_deref(), &new.label)
                .await
                .map_err(of_accounts)?;
            Ok(IssuedCredential {
                username: issued.credential.username.into(),
                password: String::from_utf8_lossy(issued.secret.expose_secret()).into_owned(),
                account: new.account,
            })
        })
    }

    fn credential_revoke(&self, username: String) -> Answer<'_, Credential> {
        Box::pin(async move {
            let revoked = self.accounts.credential_revoke(Self::scope(), &username).await.map_err(of_accounts)?;
            Ok(credential(revoked, &self.names().await?))
        })
    }

    fn send(&self, submission: Submission) -> Answer<'_, Sent> {
        Box::pin(async move {
            let account = self.sender_account(submission.account).await?;
            let recipients = submission.to.len() as u32;
            let principal =
                Principal { account, credential: None, stream: Stream::Transactional, name: "operator".into() };
            let smtputf8 = submission.from.iter().chain(&submission.to).any(|address| !address.is_ascii());
            let envelope = Envelope {
                sender: submission.from,
                recipients: submission.to.into_iter().map(Recipient::new).collect(),
                body: base::BodyType::EightBitMime,
                smtputf8,
                ret: None,
                envid: None,
            };
            let id =
                self.door.submit(&principal, Arrival::local(), envelope, &submission.content).await.map_err(refused)?;
            Ok(Sent { id, recipients })
        })
    }
}

/// A door's answer in SMTP words, for who asked over HTTP.
fn refused(reply: base::Reply) -> Refusal {
    match (reply.code, reply.class()) {
        (552, _) => Refusal::TooLarge(reply.to_string()),
        (_, base::ReplyClass::Permanent) => Refusal::Invalid(reply.to_string()),
        _ => Refusal::Unavailable(reply.to_string()),
    }
}

fn destination(lane: queue::LaneView) -> Destination {
    let (state, until) = match lane.state {
        LaneState::Ready => (DestinationState::Ready, None),
        LaneState::Down { until } => (DestinationState::Down, Some(until.into())),
        LaneState::Throttled { until } => (DestinationState::Throttled, Some(until.into())),
    };
    Destination {
        destination: lane.site.to_string(),
        queued: lane.queued.into(),
        in_flight: lane.in_flight.into(),
        held: lane.held.into(),
        oldest_at: lane.oldest.map(Into::into),
        state,
        until,
    }
}

fn delivery(job: &JobView, names: &HashMap<AccountId, String>) -> Delivery {
    let (waits_for, until) = match job.waits {
        Waits::Attempt => (WaitsFor::Attempt, None),
        Waits::Release => (WaitsFor::Release, None),
        Waits::Retry { at } => (WaitsFor::Retry, Some(at)),
        Waits::SiteDown { until } => (WaitsFor::SiteDown, Some(until)),
        Waits::SiteSlow { until } => (WaitsFor::SiteSlow, Some(until)),
        Waits::Rate { until } => (WaitsFor::Rate, Some(until)),
        Waits::Connection => (WaitsFor::Connection, None),
        Waits::Turn => (WaitsFor::Turn, None),
    };
    Delivery {
        id: job.message,
        account: name_of(job.account, names),
        destination: job.site.to_string(),
        recipients: job.recipients.len() as u32,
        attempts: job.attempts,
        accepted_at: job.accepted_at.into(),
        expires_at: job.expires_at.into(),
        waits_for,
        until: until.map(Into::into),
    }
}

fn name_of(account: AccountId, names: &HashMap<AccountId, String>) -> String {
    match names.get(&account) {
        Some(name) => name.clone(),
        None if account == AccountId::INSTANCE => "(the instance)".to_owned(),
        None => account.to_string(),
    }
}

fn account(account: store::Account) -> Account {
    Account {
        id: account.id.0,
        name: account.name.into(),
        created_at: account.created_at.into(),
        revoked_at: account.suspended_at.map(Into::into),
    }
}

fn credential(credential: store::Credential, names: &HashMap<AccountId, String>) -> Credential {
    Credential {
        username: credential.username.into(),
        account: name_of(credential.account, names),
        label: credential.label.into(),
        created_at: credential.created_at.into(),
        revoked_at: credential.revoked_at.map(Into::into),
        last_used: credential.last_used.map(|day| day.to_string()),
    }
}

/// The history's story in the words of the control socket.
fn told(story: store::Story, names: &HashMap<AccountId, String>, waiting: Vec<Delivery>) -> MessageStory {
    let mut attempts: Vec<Arc<base::Attempt>> = Vec::new();
    let mut events = Vec::with_capacity(story.events.len());
    for event in story.events {
        let attempt =
            event.attempt.map(|attempt| match attempts.iter().position(|known| Arc::ptr_eq(known, &attempt)) {
                Some(position) => position as u32,
                None => {
                    attempts.push(attempt);
                    attempts.len() as u32 - 1
                }
            });
        events.push(Event {
            at: event.at.into(),
            kind: event.kind.as_str().to_owned(),
            recipient: event.recipient,
            attempt,
            reason: event.reason.map(|reason| reason.to_string()),
        });
    }
    let summary = story.summary;
    MessageStory {
        id: summary.id,
        account: name_of(summary.account, names),
        received_at: summary.received_at.into(),
        from: summary.sender.map(|sender| sender.to_string()),
        subject: summary.subject.map(|subject| mail::header::decode_words(subject.as_bytes())),
        message_id_header: summary.message_id_header.map(Into::into),
        size_octets: summary.size_octets,
        came: came(story.source),
        state: summary.state.as_str().to_owned(),
        closed_at: summary.closed_at.map(Into::into),
        recipients: story
            .recipients
            .into_iter()
            .map(|recipient| RecipientStory {
                address: recipient.address.to_string(),
                state: recipient.state.as_str().to_owned(),
                changed_at: recipient.changed_at.into(),
                attempts: recipient.attempts,
            })
            .collect(),
        events,
        attempts: attempts.iter().map(|attempt| AttemptStory::from(&**attempt)).collect(),
        waiting,
        truncated: story.truncated,
    }
}

fn came(source: Source) -> Came {
    match source {
        Source::Smtp { client, helo, tls } => Came::Smtp { client: client.to_string(), helo: helo.into(), tls },
        Source::Local => Came::Local,
        Source::Report { about, kind } => {
            let report = match kind {
                base::ReportKind::Failure => "failure",
                base::ReportKind::Delay => "delay",
                base::ReportKind::Success => "success",
            };
            Came::Report { about, report: report.to_owned() }
        }
    }
}
