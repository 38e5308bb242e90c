//! The schema, step by step: `migrations/NNNN_name.sql`, each applied once, in order.
//!
//! A step that was released is never edited; the next one corrects it.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::StoreError;

struct Migration {
    name: &'static str,
    sql: &'static str,
}

/// The number of a step is its place, from 1.
const MIGRATIONS: &[Migration] = &[
    Migration { name: "0001_accounts", sql: include_str!("../../migrations/0001_accounts.sql") },
    Migration { name: "0002_history", sql: include_str!("../../migrations/0002_history.sql") },
    Migration { name: "0003_sandbox", sql: include_str!("../../migrations/0003_sandbox.sql") },
];

/// All missing steps are one transaction under the write lock: two programs that start at once do
/// not both apply them, and a crash leaves the old schema or the new one.
pub(super) fn to_latest(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    to_number(connection, path, MIGRATIONS.len())
}

fn to_number(connection: &mut Connection, path: &Path, wanted: usize) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction
        .execute_batch("CREATE TABLE IF NOT EXISTS schema_migration (number BIGINT PRIMARY KEY, name TEXT NOT NULL)")?;
    let applied = applied(&transaction)?;
    let known = MIGRATIONS.len() as i64;
    if applied > known {
        return Err(StoreError::SchemaNewer { path: path.to_owned(), found: applied, known });
    }
    for (number, migration) in (1..).zip(MIGRATIONS).take(wanted).filter(|(number, _)| *number > applied) {
        transaction.execute_batch(migration.sql)?;
        transaction.execute("INSERT INTO schema_migration (number, name) VALUES ($1, $2)", (number, migration.name))?;
        tracing::info!(migration = migration.name, "the database schema was brought up to date");
    }
    Ok(transaction.commit()?)
}

fn applied(transaction: &Transaction<'_>) -> Result<i64, StoreError> {
    Ok(transaction.query_row("SELECT COALESCE(MAX(number), 0) FROM schema_migration", [], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(connection: &Connection) -> Vec<String> {
        let mut statement =
            connection.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    fn database() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "foreign_keys", true).unwrap();
        connection
    }

    #[test]
    fn from_every_earlier_schema_with_rows_in_it_the_latest_is_reached() {
        let mut fresh = database();
        to_latest(&mut fresh, Path::new("t.db")).unwrap();
        for earlier in 1..MIGRATIONS.len() {
            let mut connection = database();
            to_number(&mut connection, Path::new("t.db"), earlier).unwrap();
            connection.execute("INSERT INTO account (name, created_at) VALUES ('ada', 1)", []).unwrap();
            connection
                .execute(
                    "INSERT INTO credential (account, username, secret_hash, label, created_at) \
                     VALUES (1, 'ada-1', x'00', 'web', 1)",
                    [],
                )
                .unwrap();
            to_latest(&mut connection, Path::new("t.db")).unwrap();
            assert_eq!(schema(&connection), schema(&fresh), "from {earlier}");
            let kept: String = connection.query_row("SELECT username FROM credential", [], |row| row.get(0)).unwrap();
            assert_eq!(kept, "ada-1");
        }
    }

    #[test]
    fn twice_is_once() {
        let mut connection = database();
        to_latest(&mut connection, Path::new("t.db")).unwrap();
        let before = schema(&connection);
        to_latest(&mut connection, Path::new("t.db")).unwrap();
        assert_eq!(schema(&connection), before);
    }

    #[test]
    fn a_newer_schema_is_refused_and_left_alone() {
        let mut connection = database();
        to_latest(&mut connection, Path::new("t.db")).unwrap();
        connection.execute("INSERT INTO schema_migration VALUES (4000, 'from the future')", []).unwrap();
        let error = to_latest(&mut connection, Path::new("t.db")).unwrap_err().to_string();
        assert!(error.contains("newer version") && error.contains("4000"), "{error}");
    }

    #[test]
    fn the_numbers_in_the_names_are_right() {
        for (number, migration) in (1..).zip(MIGRATIONS) {
            assert!(migration.name.starts_with(&format!("{number:04}_")), "{}", migration.name);
        }
    }
}
