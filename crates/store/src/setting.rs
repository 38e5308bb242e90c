//! Settings of the whole instance that are changed while it runs.

use base::Scope;
use rusqlite::OptionalExtension;

use crate::sql::prepare;
use crate::{Store, StoreError};

impl Store {
    /// Sets `name`, whether or not it was set before.
    pub async fn setting_put(&self, scope: Scope, name: &str, value: &str) -> Result<(), StoreError> {
        crate::instance_only(scope)?;
        let (name, value) = (name.to_owned(), value.to_owned());
        self.sqlite()
            .write(move |connection| {
                let sql = "INSERT INTO setting (name, value) VALUES ($1, $2) \
                           ON CONFLICT (name) DO UPDATE SET value = excluded.value";
                prepare(connection, sql)?.execute((name, value))?;
                Ok(())
            })
            .await
    }

    /// `None`: it was never set.
    pub async fn setting_find(&self, scope: Scope, name: &str) -> Result<Option<String>, StoreError> {
        crate::instance_only(scope)?;
        let name = name.to_owned();
        self.sqlite()
            .read(move |connection| {
                let sql = "SELECT value FROM setting WHERE name = $1";
                Ok(prepare(connection, sql)?.query_row([name], |row| row.get(0)).optional()?)
            })
            .await
    }
}
