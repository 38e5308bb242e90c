//! The list of captured mail, for people and for programs.

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use base::{Address, MessageId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::page::{self, Moment};
use crate::refusal::{JsonRefusal, Refusal};
use crate::site::{Entry, Site, WayIn};

const PAGE: u32 = 50;
const JSON_LIMIT_DEFAULT: u32 = 100;
const JSON_LIMIT_MAX: u32 = 1000;
/// Recipients named in a row; the rest is a number.
const NAMED_MAX: usize = 2;

#[derive(Deserialize)]
pub(crate) struct InboxQuery {
    after: Option<i64>,
}

#[derive(Template)]
#[template(path = "inbox.html")]
struct InboxPage {
    rows: Vec<Row>,
    older: Option<i64>,
    first_page: bool,
    way_in: Arc<WayIn>,
    swaks: String,
}

#[derive(Template)]
#[template(path = "rows.html")]
struct RowsFragment {
    rows: Vec<Row>,
    older: Option<i64>,
    first_page: bool,
    way_in: Arc<WayIn>,
    swaks: String,
}

struct Row {
    id: i64,
    subject: String,
    from: String,
    to: String,
    to_more: usize,
    size: String,
    at: Moment,
}

pub(crate) async fn inbox(
    State(site): State<Site>,
    query: Result<Query<InboxQuery>, QueryRejection>,
) -> Result<Response, Response> {
    let Query(InboxQuery { after }) = query.map_err(|error| page::refused(&Refusal::Invalid(error.body_text())))?;
    let (rows, older) = read(&site, after).await.map_err(|refusal| page::refused(&refusal))?;
    let swaks = swaks(&site.way_in);
    Ok(page::render(&InboxPage { rows, older, first_page: after.is_none(), way_in: site.way_in, swaks }))
}

pub(crate) async fn rows(State(site): State<Site>) -> Result<Response, Response> {
    let (rows, older) = read(&site, None).await.map_err(|refusal| page::refused(&refusal))?;
    let swaks = swaks(&site.way_in);
    Ok(page::render(&RowsFragment { rows, older, first_page: true, way_in: site.way_in, swaks }))
}

/// A page of rows, and after which id the next begins.
async fn read(site: &Site, after: Option<i64>) -> Result<(Vec<Row>, Option<i64>), Refusal> {
    // One more than is shown tells whether there is a next page.
    let mut entries = site.inbox.list(after, PAGE + 1).await?;
    let more = entries.len() > PAGE as usize;
    entries.truncate(PAGE as usize);
    let older = if more { entries.last().map(|entry| entry.id) } else { None };
    let now = site.clock.now();
    Ok((entries.into_iter().map(|entry| row(entry, now)).collect(), older))
}

fn row(entry: Entry, now: Timestamp) -> Row {
    let named: Vec<&str> = entry.to.iter().take(NAMED_MAX).map(Address::as_str).collect();
    Row {
        id: entry.id,
        subject: subject(entry.subject.as_deref()),
        from: sender(entry.from.as_ref()),
        to: named.join(", "),
        to_more: entry.to.len().saturating_sub(NAMED_MAX),
        size: page::size(entry.size_octets),
        at: Moment::new(entry.received_at, now),
    }
}

/// The Subject field, its encoded words decoded.
pub(super) fn subject(raw: Option<&str>) -> String {
    raw.map(|raw| mail::header::decode_words(raw.as_bytes()).trim().to_owned()).unwrap_or_default()
}

pub(super) fn sender(from: Option<&Address>) -> String {
    from.map_or_else(|| "<>".to_owned(), |address| address.as_str().to_owned())
}

/// The first command to try, as it has to be typed here. Swaks asks for the password.
fn swaks(way_in: &WayIn) -> String {
    let mut command = format!("swaks --server {}", way_in.smtp);
    if way_in.starttls {
        command.push_str(" --tls");
    }
    // In single quotes, for the shell; a name with one inside is no name that we give.
    let user = way_in.username.as_deref().unwrap_or("USERNAME").replace('\'', "");
    command.push_str(&format!(" --auth PLAIN --auth-user '{user}'"));
    command
        .push_str(" \\\n      --from ada@example.org --to grace@example.com \\\n      --header 'Subject: First light'");
    command
}

/// One message in `/sandbox/messages.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedMessage {
    /// In the paths of this message; grows in the order of arrival.
    pub id: i64,
    /// The message that this is (a copy of): the id in the reply to DATA and in the history.
    pub message: MessageId,
    /// The envelope's sender; empty is the null sender.
    pub from: String,
    /// The envelope's recipients.
    pub to: Vec<String>,
    /// Decoded; none where the message has no Subject field.
    pub subject: Option<String>,
    /// In octets.
    pub size: u64,
    /// RFC 3339.
    pub received_at: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JsonQuery {
    after: Option<i64>,
    limit: Option<u32>,
}

/// Newest first: `?limit=` of them (100 where it is not given, 1,000 at most), older than `?after=`.
pub(crate) async fn json(
    State(site): State<Site>,
    query: Result<Query<JsonQuery>, QueryRejection>,
) -> Result<Response, JsonRefusal> {
    let Query(query) = query.map_err(|error| Refusal::Invalid(error.body_text()))?;
    let limit = query.limit.unwrap_or(JSON_LIMIT_DEFAULT);
    if !(1..=JSON_LIMIT_MAX).contains(&limit) {
        return Err(Refusal::Invalid(format!("limit is from 1 to {JSON_LIMIT_MAX}")).into());
    }
    let entries = site.inbox.list(query.after, limit).await?;
    Ok(Json(entries.into_iter().map(ListedMessage::from).collect::<Vec<_>>()).into_response())
}

impl From<Entry> for ListedMessage {
    fn from(entry: Entry) -> ListedMessage {
        ListedMessage {
            id: entry.id,
            message: entry.message,
            from: entry.from.map(String::from).unwrap_or_default(),
            to: entry.to.into_iter().map(String::from).collect(),
            subject: entry.subject.is_some().then(|| subject(entry.subject.as_deref())),
            size: entry.size_octets,
            received_at: page::rfc3339(entry.received_at),
        }
    }
}
