//! Accounts and their credentials, as the operator and their owners manage them.

use std::sync::Arc;

use base::{Clock, Scope, Secret};
use data_encoding::BASE32_NOPAD;
use store::{Account, Credential, NewCredential, Store, StoreError};
use zeroize::Zeroizing;

use crate::directory::Directory;

const ACCOUNT_NAME_OCTETS_MAX: usize = 32;
const USERNAME_OCTETS_MAX: usize = 64;
const LABEL_OCTETS_MAX: usize = 200;
/// 160 bits, which are 32 letters and digits: nobody guesses them, so a fast hash keeps them.
const SECRET_OCTETS: usize = 20;
/// A name drawn by chance may be taken; one more of 30 bits will not be.
const USERNAME_DRAWS_MAX: usize = 4;

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    #[error(transparent)]
    Store(StoreError),
    #[error("{0} is taken; choose another name")]
    Taken(String),
    #[error("there is no {0}")]
    Unknown(String),
    #[error("{0}")]
    Invalid(String),
}

/// A new credential, and the only time that its secret is told.
#[derive(Debug)]
pub struct Issued {
    pub credential: Credential,
    /// 32 lower-case letters and digits.
    pub secret: Secret,
}

/// The use cases. Each change is in the directory before it is answered.
#[derive(Clone)]
pub struct Accounts {
    store: Store,
    directory: Arc<Directory>,
    clock: Arc<dyn Clock>,
}

impl Accounts {
    pub fn new(store: Store, directory: Arc<Directory>, clock: Arc<dyn Clock>) -> Accounts {
        Accounts { store, directory, clock }
    }

    /// # Errors
    /// [`AccountsError::Invalid`] for a name that is not 1 to 32 of a-z, 0-9 and `-`.
    pub async fn account_add(&self, scope: Scope, name: &str) -> Result<Account, AccountsError> {
        account_name_check(name)?;
        let added = self.store.account_add(scope, name, self.clock.now()).await;
        let added = added.map_err(|error| taken(error, format!("an account named {name}")))?;
        self.changed().await;
        Ok(added)
    }

    /// By name.
    pub async fn account_list(&self, scope: Scope) -> Result<Vec<Account>, AccountsError> {
        self.store.account_list(scope).await.map_err(AccountsError::Store)
    }

    /// Its mail is refused from now on; what is queued is still delivered.
    pub async fn account_revoke(&self, scope: Scope, name: &str) -> Result<Account, AccountsError> {
        let account = self.account(scope, name).await?;
        let revoked = self.store.account_suspend(scope, account.id, self.clock.now()).await;
        let revoked = revoked.map_err(AccountsError::Store)?.ok_or_else(|| no_account(name))?;
        self.changed().await;
        Ok(revoked)
    }

    /// Takes a revocation back.
    pub async fn account_restore(&self, scope: Scope, name: &str) -> Result<Account, AccountsError> {
        let account = self.account(scope, name).await?;
        let restored = self.store.account_restore(scope, account.id).await;
        let restored = restored.map_err(AccountsError::Store)?.ok_or_else(|| no_account(name))?;
        self.changed().await;
        Ok(restored)
    }

    /// Makes a credential of an account. Without a user name one is drawn: `<account>-x7c2ma`. The
    /// label is the owner's words for it.
    pub async fn credential_add(
        &self,
        scope: Scope,
        account: &str,
        username: Option<&str>,
        label: &str,
    ) -> Result<Issued, AccountsError> {
        label_check(label)?;
        if let Some(username) = username {
            username_check(username)?;
        }
        let account = self.account(scope, account).await?;
        for _ in 1..USERNAME_DRAWS_MAX {
            match self.issue(scope, &account, username, label).await {
                Err(AccountsError::Taken(_)) if username.is_none() => {}
                answer => return answer,
            }
        }
        self.issue(scope, &account, username, label).await
    }

    async fn issue(
        &self,
        scope: Scope,
        account: &Account,
        username: Option<&str>,
        label: &str,
    ) -> Result<Issued, AccountsError> {
        let username = match username {
            Some(username) => username.to_owned(),
            None => format!("{}-{}", account.name, drawn(4).get(..6).unwrap_or_default()),
        };
        let secret = Secret::new(drawn(SECRET_OCTETS).as_bytes());
        let new = NewCredential {
            account: account.id,
            username: username.as_str().into(),
            secret: secret.clone(),
            label: label.into(),
            created_at: self.clock.now(),
        };
        let added = self.store.credential_add(scope, new).await;
        let added = added.map_err(|error| taken(error, format!("the user name {username}")))?;
        let credential = added.ok_or_else(|| no_account(&account.name))?;
        self.changed().await;
        Ok(Issued { credential, secret })
    }

    /// By user name, revoked ones too; of one account or of all in scope.
    pub async fn credential_list(&self, scope: Scope, account: Option<&str>) -> Result<Vec<Credential>, AccountsError> {
        let account = match account {
            Some(name) => Some(self.account(scope, name).await?.id),
            None => None,
        };
        self.store.credential_list(scope, account).await.map_err(AccountsError::Store)
    }

    /// It is refused from now on, in sessions that are open too.
    pub async fn credential_revoke(&self, scope: Scope, username: &str) -> Result<Credential, AccountsError> {
        let revoked = self.store.credential_revoke(scope, username, self.clock.now()).await;
        let unknown = || AccountsError::Unknown(format!("credential {username}"));
        let revoked = revoked.map_err(AccountsError::Store)?.ok_or_else(unknown)?;
        self.changed().await;
        Ok(revoked)
    }

    async fn account(&self, scope: Scope, name: &str) -> Result<Account, AccountsError> {
        let found = self.store.account_find(scope, name).await.map_err(AccountsError::Store)?;
        found.ok_or_else(|| no_account(name))
    }

    async fn changed(&self) {
        // The change itself is done; the directory looks again each second.
        if let Err(error) = self.directory.reload().await {
            tracing::warn!(%error, "a change of the accounts is not in force yet, the directory cannot be read");
        }
    }
}

fn no_account(name: &str) -> AccountsError {
    AccountsError::Unknown(format!("account {name}"))
}

fn taken(error: StoreError, what: String) -> AccountsError {
    match error {
        StoreError::Taken { .. } => AccountsError::Taken(what),
        error => AccountsError::Store(error),
    }
}

/// Random lower-case letters and digits (RFC 4648 base 32: no 0, 1, 8 or 9 to be misread).
fn drawn(octets: usize) -> Zeroizing<String> {
    let mut random = Zeroizing::new(vec![0; octets]);
    privacy::fill_random(&mut random);
    let mut text = Zeroizing::new(BASE32_NOPAD.encode(&random));
    text.make_ascii_lowercase();
    text
}

fn account_name_check(name: &str) -> Result<(), AccountsError> {
    let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !letters || name.is_empty() || name.len() > ACCOUNT_NAME_OCTETS_MAX || name.starts_with('-') {
        let text = format!("an account's name is 1 to {ACCOUNT_NAME_OCTETS_MAX} of a-z, 0-9 and -, and no - first");
        return Err(AccountsError::Invalid(text));
    }
    Ok(())
}

/// No `@`: user names stand in the database as they are, and addresses never do.
fn username_check(username: &str) -> Result<(), AccountsError> {
    let letters = username.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !letters || username.is_empty() || username.len() > USERNAME_OCTETS_MAX {
        let text = format!("a user name is 1 to {USERNAME_OCTETS_MAX} of a-z, A-Z, 0-9, -, _ and .");
        return Err(AccountsError::Invalid(text));
    }
    Ok(())
}

fn label_check(label: &str) -> Result<(), AccountsError> {
    if label.len() > LABEL_OCTETS_MAX || label.contains(char::is_control) {
        let text = format!("a label is one line of at most {LABEL_OCTETS_MAX} octets");
        return Err(AccountsError::Invalid(text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_long_and_never_the_same() {
        let secret = drawn(SECRET_OCTETS);
        assert_eq!(secret.len(), 32);
        assert!(secret.bytes().all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b)), "{}", *secret);
        assert_ne!(*secret, *drawn(SECRET_OCTETS));
    }

    #[test]
    fn names_are_checked() {
        for good in ["a", "web-shop", "7"] {
            assert!(account_name_check(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a b", "a@b", "ä", &"a".repeat(33)] {
            assert!(account_name_check(bad).is_err(), "{bad}");
        }
        assert!(username_check("Shop_1.eu-2").is_ok());
        for bad in ["", "ada@example.org", "a b", &"a".repeat(65)] {
            assert!(username_check(bad).is_err(), "{bad}");
        }
        assert!(label_check("the shop in Vienna").is_ok() && label_check("two\nlines").is_err());
    }
}
