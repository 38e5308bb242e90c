//! One captured message, in tabs.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base::{Address, Attempt, Origin, Outcome, ReplyClass, Step, Timestamp};
use mail::view::View;
use serde::Deserialize;

use super::frame;
use super::list;
use crate::page::{self, Moment};
use crate::refusal::Refusal;
use crate::site::{Captured, Site};

/// Octets of the source that are shown; the download has all.
const SOURCE_OCTETS_MAX: usize = 512 * 1024;
/// Recipients named above the message.
const NAMED_MAX: usize = 20;
/// Steps of one dialogue and results of one attempt that are shown.
const STEPS_MAX: usize = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Tab {
    Html,
    Text,
    Headers,
    Source,
    Conversation,
    Attachments,
}

#[derive(Deserialize)]
pub(crate) struct MessageQuery {
    view: Option<Tab>,
}

struct TabLink {
    name: &'static str,
    title: &'static str,
    count: usize,
    current: bool,
}

#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage {
    id: i64,
    subject: String,
    from: String,
    to: Vec<String>,
    to_more: usize,
    at: Moment,
    came: String,
    size: String,
    downloadable: bool,
    complete: bool,
    tabs: Vec<TabLink>,
    body: Body,
}

/// What stands below the tabs.
enum Body {
    /// The message was too large to be kept.
    Missing,
    /// The words say what there is none of.
    Nothing(&'static str),
    Text(String),
    Source(String),
    Html {
        blocked: usize,
    },
    Headers(Vec<(String, String)>),
    Attachments(Vec<AttachmentRow>),
    Conversation(Vec<AttemptBlock>),
}

struct AttachmentRow {
    name: String,
    content_type: String,
    size: String,
}

struct AttemptBlock {
    number: u32,
    server: String,
    tls: Option<String>,
    at: Moment,
    took: String,
    steps: Vec<StepRow>,
    outcomes: Vec<OutcomeRow>,
}

struct StepRow {
    at: String,
    took: String,
    sent: String,
    received: String,
    /// Not a command but something that happened: a connection, a handshake.
    aside: bool,
    mood: &'static str,
}

struct OutcomeRow {
    word: &'static str,
    mood: &'static str,
    recipient: String,
    reply: String,
}

/// The page, or with `.eml` behind the id the bytes.
pub(crate) async fn show(
    State(site): State<Site>,
    Path(name): Path<String>,
    query: Result<Query<MessageQuery>, QueryRejection>,
) -> Result<Response, Response> {
    if let Some(id) = name.strip_suffix(".eml") {
        let captured = find(&site, id).await.map_err(|refusal| page::refused(&refusal))?;
        return download(captured).map_err(|refusal| page::refused(&refusal));
    }
    let Query(MessageQuery { view: tab }) =
        query.map_err(|error| page::refused(&Refusal::Invalid(error.body_text())))?;
    let captured = find(&site, &name).await.map_err(|refusal| page::refused(&refusal))?;
    Ok(page::render(&compose(captured, tab, site.clock.now())))
}

/// The HTML part alone, for the frame. It carries its own policy: styles of its own, images of its
/// own, no script, no network, and an origin that is nobody's.
pub(crate) async fn html_frame(State(site): State<Site>, Path(id): Path<String>) -> Result<Response, Response> {
    let captured = find(&site, &id).await.map_err(|refusal| page::refused(&refusal))?;
    let html = captured.content.as_deref().map(mail::view::view).and_then(|view| view.html).unwrap_or_default();
    let mut response = page::render(&frame::sanitise(&html));
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, frame::POLICY);
    Ok(response)
}

async fn find(site: &Site, id: &str) -> Result<Captured, Refusal> {
    let absent =
        || Refusal::NotFound("This message is not in the inbox, or no longer: the oldest make room.".to_owned());
    let id: i64 = id.parse().map_err(|_| absent())?;
    site.inbox.show(id).await?.ok_or_else(absent)
}

fn download(captured: Captured) -> Result<Response, Refusal> {
    let too_large =
        || Refusal::NotFound("The message was larger than the inbox keeps: only its envelope is here.".to_owned());
    let content = captured.content.ok_or_else(too_large)?;
    let name = format!("attachment; filename=\"postrider-{}.eml\"", captured.entry.id);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("message/rfc822")),
        (header::CONTENT_DISPOSITION, HeaderValue::try_from(name).unwrap_or(HeaderValue::from_static("attachment"))),
    ];
    Ok((headers, content).into_response())
}

fn compose(captured: Captured, asked: Option<Tab>, now: Timestamp) -> MessagePage {
    let Captured { entry, content, origin, recipients, attempts } = captured;
    let view = content.as_deref().map(mail::view::view);
    let tab = asked.unwrap_or(first_tab(view.as_ref()));
    let complete = view.as_ref().is_none_or(|view| view.complete);
    let subject = match &view {
        Some(View { subject: Some(subject), .. }) => subject.trim().to_owned(),
        _ => list::subject(entry.subject.as_deref()),
    };
    let to_all: Vec<String> = entry.to.iter().map(|address| address.as_str().to_owned()).collect();
    MessagePage {
        id: entry.id,
        subject,
        from: list::sender(entry.from.as_ref()),
        to_more: to_all.len().saturating_sub(NAMED_MAX),
        to: to_all.into_iter().take(NAMED_MAX).collect(),
        at: Moment::new(entry.received_at, now),
        came: came(origin.as_ref()),
        size: page::size(entry.size_octets),
        downloadable: content.is_some(),
        complete,
        tabs: tabs(tab, view.as_ref()),
        body: body(tab, content.as_deref(), view, &attempts, &recipients, now),
    }
}

/// What most readers want to see first.
fn first_tab(view: Option<&View>) -> Tab {
    match view {
        Some(View { html: Some(_), .. }) => Tab::Html,
        Some(View { text: None, attachments, .. }) if !attachments.is_empty() => Tab::Attachments,
        _ => Tab::Text,
    }
}

fn tabs(current: Tab, view: Option<&View>) -> Vec<TabLink> {
    let attachments = view.map_or(0, |view| view.attachments.len());
    let all = [
        (Tab::Html, "html", "HTML", 0),
        (Tab::Text, "text", "Text", 0),
        (Tab::Attachments, "attachments", "Attachments", attachments),
        (Tab::Headers, "headers", "Headers", 0),
        (Tab::Source, "source", "Source", 0),
        (Tab::Conversation, "conversation", "SMTP dialogue", 0),
    ];
    all.into_iter().map(|(tab, name, title, count)| TabLink { name, title, count, current: tab == current }).collect()
}

fn body(
    tab: Tab,
    content: Option<&[u8]>,
    view: Option<View>,
    attempts: &[Attempt],
    recipients: &[Address],
    now: Timestamp,
) -> Body {
    if tab == Tab::Conversation {
        return match attempts {
            [] => Body::Nothing("Nothing was said yet: the first attempt is still to come."),
            attempts => Body::Conversation(attempts.iter().map(|attempt| block(attempt, recipients, now)).collect()),
        };
    }
    let (Some(content), Some(view)) = (content, view) else { return Body::Missing };
    match tab {
        Tab::Text => view.text.map_or(Body::Nothing("This message has no plain text part."), Body::Text),
        Tab::Html => match view.html {
            Some(html) => Body::Html { blocked: frame::sanitise(&html).blocked },
            None => Body::Nothing("This message has no HTML part."),
        },
        Tab::Headers => Body::Headers(view.headers),
        Tab::Source => Body::Source(source(content)),
        Tab::Attachments if view.attachments.is_empty() => Body::Nothing("Nothing is attached."),
        Tab::Attachments => Body::Attachments(view.attachments.into_iter().map(attachment).collect()),
        Tab::Conversation => Body::Missing,
    }
}

fn source(content: &[u8]) -> String {
    let shown = &content[..content.len().min(SOURCE_OCTETS_MAX)];
    let mut text = String::from_utf8_lossy(shown).into_owned();
    if shown.len() < content.len() {
        text.push_str(&format!("\n… {} more octets; the download has all.", content.len() - shown.len()));
    }
    text
}

fn attachment(attachment: mail::view::Attachment) -> AttachmentRow {
    AttachmentRow {
        name: attachment.name.unwrap_or_else(|| "no name".to_owned()),
        content_type: attachment.content_type,
        size: page::size(attachment.octets),
    }
}

/// How it came in, as the end of a sentence.
fn came(origin: Option<&Origin>) -> String {
    match origin {
        None => "by SMTP".to_owned(),
        Some(Origin::Local) => "from a program on this machine".to_owned(),
        Some(Origin::Report { .. }) => "written here: a report about another message".to_owned(),
        Some(Origin::Smtp { client, helo, tls }) => {
            let how = if *tls { "under TLS" } else { "in the clear" };
            format!("by SMTP from {client} ({helo}), {how}")
        }
    }
}

fn block(attempt: &Attempt, recipients: &[Address], now: Timestamp) -> AttemptBlock {
    let took = attempt.finished_at.since(attempt.started_at);
    AttemptBlock {
        number: attempt.number,
        server: attempt.server.to_string(),
        tls: attempt.tls.as_deref().map(str::to_owned),
        at: Moment::new(attempt.started_at, now),
        took: page::duration(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
        steps: attempt.dialogue.iter().take(STEPS_MAX).map(step).collect(),
        outcomes: attempt
            .results
            .iter()
            .take(STEPS_MAX)
            .map(|result| {
                let (word, mood) = match result.outcome {
                    Outcome::Delivered { .. } => ("delivered", "good"),
                    Outcome::Deferred { maybe_delivered: true, .. } => ("deferred, may have arrived", "wait"),
                    Outcome::Deferred { .. } => ("deferred", "wait"),
                    Outcome::Bounced => ("bounced", "bad"),
                    Outcome::Expired => ("expired", "bad"),
                    Outcome::Cancelled => ("cancelled", "bad"),
                };
                let recipient = recipients.get(result.recipient as usize).map(Address::as_str).unwrap_or_default();
                OutcomeRow { word, mood, recipient: recipient.to_owned(), reply: result.reply.to_string() }
            })
            .collect(),
    }
}

fn step(step: &Step) -> StepRow {
    let code = step.received.get(..3).and_then(|code| code.parse::<u16>().ok());
    let class = code.map(|code| base::Reply { code, enhanced: None, text: "".into() }.class());
    StepRow {
        at: page::duration(step.at_us),
        took: page::duration(step.took_us),
        sent: step.sent.to_string(),
        received: step.received.to_string(),
        aside: step.sent.starts_with('['),
        mood: match class {
            Some(ReplyClass::Success | ReplyClass::Intermediate) => "good",
            Some(ReplyClass::Temporary) => "wait",
            Some(ReplyClass::Permanent) => "bad",
            None => "",
        },
    }
}
