//! Who may hand us mail: the copy in memory that the doors ask.
//!
//! It is one immutable snapshot behind a pointer that is swapped: a login takes no lock and asks no
//! database. It is read anew after each change made through [`crate::accounts`], and when another
//! process changed something: the database counts the changes, and that number is looked at each
//! second. When the database is down, the last snapshot goes on answering.

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use accept::Principal;
use arc_swap::ArcSwap;
use base::{AccountId, Actor, Address, Clock, CredentialId, Enhanced, Reply, Scope, Secret, Stream};
use store::{Day, DirectoryRows, SecretHash, Store, StoreError};
use tokio::time::{MissedTickBehavior, interval};

const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Days of last use are written once in so many polls.
const POLLS_PER_NOTE: u32 = 60;

/// The doors' view of accounts and credentials.
pub struct Directory {
    store: Store,
    clock: Arc<dyn Clock>,
    snapshot: ArcSwap<Snapshot>,
    /// One reload at a time, so that an older one never replaces a newer.
    reloading: tokio::sync::Mutex<()>,
    /// Credentials used since the last note, with the day.
    used: Mutex<HashMap<CredentialId, Day>>,
}

/// All that a door needs, as of one moment.
struct Snapshot {
    revision: i64,
    by_username: HashMap<Box<str>, Entry>,
    refusals: Refusals,
}

struct Entry {
    credential: CredentialId,
    account: AccountId,
    account_name: Arc<str>,
    secret: SecretHash,
}

/// Who is refused, for sessions that logged in before.
#[derive(Default)]
struct Refusals {
    accounts: HashMap<AccountId, Standing>,
    credentials: HashMap<CredentialId, Standing>,
}

/// Whether mail is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Good,
    /// The account was revoked, or is gone.
    AccountRevoked,
    /// The credential was revoked, or is gone.
    CredentialRevoked,
}

impl Directory {
    /// Reads it for the first time.
    ///
    /// # Errors
    /// The store's: without one snapshot there is nothing to answer from.
    pub async fn load(store: Store, clock: Arc<dyn Clock>) -> Result<Arc<Directory>, StoreError> {
        let rows = store.directory(scope()).await?;
        Ok(Arc::new(Directory {
            store,
            clock,
            snapshot: ArcSwap::from_pointee(Snapshot::new(rows)),
            reloading: tokio::sync::Mutex::default(),
            used: Mutex::default(),
        }))
    }

    /// Reads it anew.
    ///
    /// # Errors
    /// The store's; the last snapshot stays in force.
    pub async fn reload(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.reloading.lock().await;
        let rows = self.store.directory(scope()).await?;
        self.snapshot.store(Arc::new(Snapshot::new(rows)));
        Ok(())
    }

    /// Looks for changes by other processes until `shutdown` comes, and notes what was used.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let mut poll = interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut fault = Fault::default();
        for polls in 1_u32.. {
            tokio::select! {
                () = &mut shutdown => break,
                _ = poll.tick() => fault.tell(self.refresh().await),
            }
            if polls % POLLS_PER_NOTE == 0 {
                fault.tell(self.note_used().await);
            }
        }
        fault.tell(self.note_used().await);
    }

    /// Reads it anew if somebody changed it.
    async fn refresh(&self) -> Result<(), StoreError> {
        let revision = self.store.directory_revision(scope()).await?;
        if revision != self.snapshot.load().revision { self.reload().await } else { Ok(()) }
    }

    /// Whether mail of this account, by this credential, is still taken: a session may have logged in
    /// before it was revoked. Mail of the instance itself always is.
    pub fn standing(&self, account: AccountId, credential: Option<CredentialId>) -> Standing {
        self.snapshot.load().refusals.of(account, credential)
    }

    /// Writes down on which day credentials were last used.
    ///
    /// # Errors
    /// The store's; what could not be written is kept for the next time.
    pub async fn note_used(&self) -> Result<(), StoreError> {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        if used.is_empty() {
            return Ok(());
        }
        let noted = self.store.credential_used(scope(), used.iter().map(|(id, day)| (*id, *day)).collect()).await;
        if noted.is_err() {
            let mut again = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            for (id, day) in used {
                again.entry(id).or_insert(day);
            }
        }
        noted
    }
}

impl accept::Directory for Directory {
    /// `None`: no such user, a wrong secret, or one that is refused; which of them, nobody learns,
    /// also not from how long it takes.
    fn authenticate(&self, user: &str, secret: &Secret, _client: IpAddr) -> Option<Principal> {
        // Hashed before anything is looked up, whoever it is.
        let given = self.store.secret_hash(user, secret);
        let snapshot = self.snapshot.load();
        let entry = snapshot.by_username.get(user);
        let nobodys = SecretHash::nobodys();
        let right = given == *entry.map_or(&nobodys, |entry| &entry.secret);
        let entry = entry.filter(|_| right)?;
        if snapshot.refusals.of(entry.account, Some(entry.credential)) != Standing::Good {
            return None;
        }
        let today = Day::of(self.clock.now());
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(entry.credential, today);
        Some(Principal {
            account: entry.account,
            credential: Some(entry.credential),
            stream: Stream::Transactional,
            name: Arc::clone(&entry.account_name),
        })
    }

    /// Any sender's name so far; but who was revoked meanwhile sends no more.
    fn may_send(&self, principal: &Principal, _sender: Option<&Address>) -> Result<(), Reply> {
        let text = match self.standing(principal.account, principal.credential) {
            Standing::Good => return Ok(()),
            Standing::AccountRevoked => "This account may not send mail; ask the operator of this server",
            Standing::CredentialRevoked => "This credential was revoked; log in with another one",
        };
        Err(Reply::new(550, Enhanced(5, 7, 1), text))
    }
}

fn scope() -> Scope {
    Actor::Server.scope()
}

impl Snapshot {
    fn new(rows: DirectoryRows) -> Snapshot {
        let mut refusals = Refusals::default();
        let mut names = HashMap::new();
        for account in rows.accounts {
            let standing = if account.suspended_at.is_some() { Standing::AccountRevoked } else { Standing::Good };
            refusals.accounts.insert(account.id, standing);
            names.insert(account.id, Arc::<str>::from(account.name));
        }
        let mut by_username = HashMap::with_capacity(rows.credentials.len());
        for (credential, secret) in rows.credentials {
            let standing = if credential.revoked_at.is_some() { Standing::CredentialRevoked } else { Standing::Good };
            refusals.credentials.insert(credential.id, standing);
            let account_name = names.get(&credential.account).cloned().unwrap_or_default();
            let entry = Entry { credential: credential.id, account: credential.account, account_name, secret };
            by_username.insert(credential.username, entry);
        }
        Snapshot { revision: rows.revision, by_username, refusals }
    }
}

impl Refusals {
    fn of(&self, account: AccountId, credential: Option<CredentialId>) -> Standing {
        if account != AccountId::INSTANCE && self.accounts.get(&account) != Some(&Standing::Good) {
            return Standing::AccountRevoked;
        }
        match credential.map(|credential| self.credentials.get(&credential)) {
            None | Some(Some(Standing::Good)) => Standing::Good,
            Some(_) => Standing::CredentialRevoked,
        }
    }
}

/// Tells of a failure once, and of its end.
#[derive(Default)]
struct Fault {
    told: bool,
}

impl Fault {
    fn tell(&mut self, result: Result<(), StoreError>) {
        match result {
            Err(StoreError::Closed) => {}
            Err(error) if !self.told => {
                tracing::warn!(%error, "the directory cannot be read; logins are answered from the last copy");
                self.told = true;
            }
            Ok(()) if self.told => {
                tracing::info!("the directory can be read again");
                self.told = false;
            }
            _ => {}
        }
    }
}
