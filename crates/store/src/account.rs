//! Accounts, their credentials, and the directory that doors keep a copy of.

use base::{AccountId, CredentialId, Scope, Secret, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::sql::{micros, prepare, timestamp};
use crate::{Day, SecretHash, Store, StoreError};

/// One tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: AccountId,
    /// Short, unique, chosen by the operator.
    pub name: Box<str>,
    pub created_at: Timestamp,
    /// Since when its mail is refused.
    pub suspended_at: Option<Timestamp>,
}

/// What a program logs in with. The secret itself is nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    pub id: CredentialId,
    pub account: AccountId,
    pub username: Box<str>,
    /// The owner's words for it.
    pub label: Box<str>,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
    /// The last day on which it was used.
    pub last_used: Option<Day>,
}

/// A credential to be made.
#[derive(Debug)]
pub struct NewCredential {
    pub account: AccountId,
    pub username: Box<str>,
    /// Random, of 128 bits at least: it is kept as a fast hash.
    pub secret: Secret,
    pub label: Box<str>,
    pub created_at: Timestamp,
}

/// Everything a door needs to know whom it talks to, as of one moment.
#[derive(Debug, Clone)]
pub struct DirectoryRows {
    /// Grows with each change: a copy of another number is stale.
    pub revision: i64,
    pub accounts: Vec<Account>,
    pub credentials: Vec<(Credential, SecretHash)>,
}

const ACCOUNT: &str = "id, name, created_at, suspended_at";
const CREDENTIAL: &str = "id, account, username, label, created_at, revoked_at, last_used_day";

impl Store {
    /// # Errors
    /// [`StoreError::Taken`] when there is an account of that name.
    pub async fn account_add(&self, scope: Scope, name: &str, at: Timestamp) -> Result<Account, StoreError> {
        crate::instance_only(scope)?;
        let name: Box<str> = name.into();
        self.sqlite()
            .write(move |connection| {
                let sql = format!(
                    "INSERT INTO account (name, created_at) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING \
                     RETURNING {ACCOUNT}"
                );
                let added = prepare(connection, &sql)?.query_row((&*name, micros(at)), account).optional()?;
                let added = added.ok_or(StoreError::Taken { what: "an account" })?;
                directory_changed(connection)?;
                Ok(added)
            })
            .await
    }

    /// By name.
    pub async fn account_list(&self, scope: Scope) -> Result<Vec<Account>, StoreError> {
        self.sqlite().read(move |connection| accounts(connection, scope)).await
    }

    pub async fn account_find(&self, scope: Scope, name: &str) -> Result<Option<Account>, StoreError> {
        let name: Box<str> = name.into();
        self.sqlite()
            .read(move |connection| {
                let sql = format!("SELECT {ACCOUNT} FROM account WHERE name = $1");
                let found = prepare(connection, &sql)?.query_row([&*name], account).optional()?;
                Ok(found.filter(|account| scope.covers(account.id)))
            })
            .await
    }

    /// Its mail is refused from now on. A second time changes nothing. `None`: no such account.
    pub async fn account_suspend(
        &self,
        scope: Scope,
        id: AccountId,
        at: Timestamp,
    ) -> Result<Option<Account>, StoreError> {
        let sql =
            format!("UPDATE account SET suspended_at = COALESCE(suspended_at, $1) WHERE id = $2 RETURNING {ACCOUNT}");
        self.account_change(scope, id, sql, Some(at)).await
    }

    /// Its mail is taken again. `None`: no such account.
    pub async fn account_restore(&self, scope: Scope, id: AccountId) -> Result<Option<Account>, StoreError> {
        let sql = format!("UPDATE account SET suspended_at = $1 WHERE id = $2 RETURNING {ACCOUNT}");
        self.account_change(scope, id, sql, None).await
    }

    async fn account_change(
        &self,
        scope: Scope,
        id: AccountId,
        sql: String,
        at: Option<Timestamp>,
    ) -> Result<Option<Account>, StoreError> {
        crate::instance_only(scope)?;
        self.sqlite()
            .write(move |connection| {
                let changed = prepare(connection, &sql)?.query_row((at.map(micros), id.0), account).optional()?;
                directory_changed(connection)?;
                Ok(changed)
            })
            .await
    }

    /// `None`: there is no such account.
    ///
    /// # Errors
    /// [`StoreError::Taken`] when there is a credential of that user name.
    pub async fn credential_add(&self, scope: Scope, new: NewCredential) -> Result<Option<Credential>, StoreError> {
        if !scope.covers(new.account) {
            return Ok(None);
        }
        let hash = self.secret_hash(&new.username, &new.secret);
        self.sqlite()
            .write(move |connection| {
                let known = prepare(connection, "SELECT 1 FROM account WHERE id = $1")?.exists([new.account.0])?;
                if !known {
                    return Ok(None);
                }
                let sql = format!(
                    "INSERT INTO credential (account, username, secret_hash, label, created_at) \
                     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (username) DO NOTHING RETURNING {CREDENTIAL}"
                );
                let values = (new.account.0, &*new.username, hash.0, &*new.label, micros(new.created_at));
                let added = prepare(connection, &sql)?.query_row(values, credential).optional()?;
                let added = added.ok_or(StoreError::Taken { what: "a credential" })?;
                directory_changed(connection)?;
                Ok(Some(added))
            })
            .await
    }

    /// By user name, revoked ones too; of all accounts in scope, or of one.
    pub async fn credential_list(
        &self,
        scope: Scope,
        account: Option<AccountId>,
    ) -> Result<Vec<Credential>, StoreError> {
        self.sqlite()
            .read(move |connection| {
                let mut all = credentials(connection, scope)?;
                all.retain(|(credential, _)| account.is_none_or(|wanted| wanted == credential.account));
                Ok(all.into_iter().map(|(credential, _)| credential).collect())
            })
            .await
    }

    /// Refused from now on. A second time changes nothing. `None`: there is no such credential.
    pub async fn credential_revoke(
        &self,
        scope: Scope,
        username: &str,
        at: Timestamp,
    ) -> Result<Option<Credential>, StoreError> {
        let username: Box<str> = username.into();
        self.sqlite()
            .write(move |connection| {
                let sql = format!(
                    "UPDATE credential SET revoked_at = COALESCE(revoked_at, $1) \
                     WHERE username = $2 AND ($3 IS NULL OR account = $3) RETURNING {CREDENTIAL}"
                );
                let values = (micros(at), &*username, scope.only().map(|account| account.0));
                let revoked = prepare(connection, &sql)?.query_row(values, credential).optional()?;
                directory_changed(connection)?;
                Ok(revoked)
            })
            .await
    }

    /// Notes on which day these were last used. It does not count as a change of the directory.
    pub async fn credential_used(&self, scope: Scope, used: Vec<(CredentialId, Day)>) -> Result<(), StoreError> {
        crate::instance_only(scope)?;
        self.sqlite()
            .write(move |connection| {
                let mut statement = prepare(
                    connection,
                    "UPDATE credential SET last_used_day = $1 \
                     WHERE id = $2 AND (last_used_day IS NULL OR last_used_day < $1)",
                )?;
                for (id, day) in used {
                    statement.execute((day.0, id.0))?;
                }
                Ok(())
            })
            .await
    }

    /// The whole directory, as of one moment.
    pub async fn directory(&self, scope: Scope) -> Result<DirectoryRows, StoreError> {
        crate::instance_only(scope)?;
        self.sqlite()
            .read(move |connection| {
                Ok(DirectoryRows {
                    revision: directory_revision(connection)?,
                    accounts: accounts(connection, scope)?,
                    credentials: credentials(connection, scope)?,
                })
            })
            .await
    }

    /// Grows with each change of an account or a credential, whichever process made it.
    pub async fn directory_revision(&self, scope: Scope) -> Result<i64, StoreError> {
        crate::instance_only(scope)?;
        self.sqlite().read(directory_revision).await
    }

    /// The hash that stands for `secret` in the database. No database is asked.
    pub fn secret_hash(&self, username: &str, secret: &Secret) -> SecretHash {
        self.keys().secret_hash(username, secret)
    }
}

fn directory_changed(connection: &Connection) -> Result<(), StoreError> {
    prepare(connection, "UPDATE revision SET number = number + 1 WHERE topic = 'directory'")?.execute([])?;
    Ok(())
}

fn directory_revision(connection: &Connection) -> Result<i64, StoreError> {
    let sql = "SELECT number FROM revision WHERE topic = 'directory'";
    Ok(prepare(connection, sql)?.query_row([], |row| row.get(0))?)
}

fn accounts(connection: &Connection, scope: Scope) -> Result<Vec<Account>, StoreError> {
    let sql = format!("SELECT {ACCOUNT} FROM account WHERE $1 IS NULL OR id = $1 ORDER BY name");
    let mut statement = prepare(connection, &sql)?;
    let rows = statement.query_map([scope.only().map(|account| account.0)], account)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn credentials(connection: &Connection, scope: Scope) -> Result<Vec<(Credential, SecretHash)>, StoreError> {
    let sql =
        format!("SELECT {CREDENTIAL}, secret_hash FROM credential WHERE $1 IS NULL OR account = $1 ORDER BY username");
    let mut statement = prepare(connection, &sql)?;
    let rows = statement.query_map([scope.only().map(|account| account.0)], |row| {
        Ok((credential(row)?, SecretHash(row.get("secret_hash")?)))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account {
        id: AccountId(row.get("id")?),
        name: row.get("name")?,
        created_at: timestamp(row.get("created_at")?),
        suspended_at: row.get::<_, Option<i64>>("suspended_at")?.map(timestamp),
    })
}

fn credential(row: &Row<'_>) -> rusqlite::Result<Credential> {
    Ok(Credential {
        id: CredentialId(row.get("id")?),
        account: AccountId(row.get("account")?),
        username: row.get("username")?,
        label: row.get("label")?,
        created_at: timestamp(row.get("created_at")?),
        revoked_at: row.get::<_, Option<i64>>("revoked_at")?.map(timestamp),
        last_used: row.get::<_, Option<i64>>("last_used_day")?.map(Day),
    })
}
