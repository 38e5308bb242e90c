//! How much happened on which day.

use base::{AccountId, Scope};

use super::state::Counter;
use crate::sql::prepare;
use crate::{Day, Store, StoreError};

/// One number of one account on one UTC day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayCount {
    pub account: AccountId,
    pub day: Day,
    pub counter: Counter,
    pub number: i64,
}

impl Store {
    /// The numbers of the accounts in scope from the day `first` to the day `last`, both included;
    /// by day, account and counter. What is zero is left out.
    pub async fn stats(&self, scope: Scope, first: Day, last: Day) -> Result<Vec<DayCount>, StoreError> {
        self.sqlite()
            .read(move |connection| {
                let mut statement = prepare(
                    connection,
                    "SELECT account, day, kind, number FROM counter \
                     WHERE ($1 IS NULL OR account = $1) AND day BETWEEN $2 AND $3 ORDER BY day, account, kind",
                )?;
                let only = scope.only().map(|account| account.0);
                let rows = statement.query_map((only, first.0, last.0), |row| {
                    Ok((AccountId(row.get(0)?), Day(row.get(1)?), row.get::<_, i64>(2)?, row.get(3)?))
                })?;
                let mut counts = Vec::new();
                for row in rows {
                    let (account, day, kind, number) = row?;
                    let unknown = StoreError::Unreadable { what: "the name of a counter" };
                    let counter = Counter::from_number(kind).ok_or(unknown)?;
                    counts.push(DayCount { account, day, counter, number });
                }
                Ok(counts)
            })
            .await
    }
}
