//! Delivery status notifications (RFC 3464 in the `multipart/report` of RFC 6522): what we write to a sender
//! about the fate of a message.
//!
//! Three parts: a text for people, the same for programs, and the message it is about (its header
//! only, unless the sender asked for all of it with RET=FULL and it is small).
//!
//! Who is told, and when, is decided elsewhere (RFC 3461 §4.1). The report itself leaves with the
//! null reverse-path, and never goes to one.
//!
//! - All of it is ASCII, so that it reaches any server, whatever the original was. The exception: to a
//!   sender whose address is not ASCII, who can only be reached with SMTPUTF8 anyway, it is written in
//!   UTF-8 with the media types of RFC 6533.
//! - What the remote server said is data. Control characters in it are replaced, so that it
//!   cannot add a line, a field or a part.

mod human;
mod original;

use std::fmt::Write as _;

use base::{Address, Domain, DsnReturn, Enhanced, MessageId, Outcome, Recipient, Reply, ReportKind, Timestamp};
use memchr::memmem;

use crate::encoding::{LINE_OCTETS_MAX, is_seven_bit_clean, push_quoted_printable};
use crate::header;
use crate::intake::message_id_for;
use crate::trace;

/// A message is brought back whole (RET=FULL) up to this size.
pub const FULL_OCTETS_MAX: usize = 64 * 1024;
/// Of a larger header section, the fields that fit.
pub const HEADER_OCTETS_MAX: usize = 64 * 1024;

/// Everything that a report tells.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    pub kind: ReportKind,
    /// Of the report, for its `Message-ID`.
    pub id: MessageId,
    pub now: Timestamp,
    /// Our name.
    pub reporting_mta: &'a Domain,
    /// To whom the report goes: the original's reverse-path.
    pub sender: &'a Address,
    /// ENVID, decoded.
    pub envid: Option<&'a str>,
    /// RET. Absent: the header only, as less of a message travels less.
    pub ret: Option<DsnReturn>,
    /// When we accepted the original.
    pub arrived_at: Timestamp,
    pub recipients: &'a [Reported<'a>],
    pub original: Original<'a>,
}

/// One recipient's fate.
#[derive(Debug, Clone, Copy)]
pub struct Reported<'a> {
    pub recipient: &'a Recipient,
    pub outcome: &'a Outcome,
    pub reply: &'a Reply,
    /// The server of the last attempt, as [`base::Attempt::server`] has it; empty where none was reached.
    pub server: &'a str,
    /// Whether `reply` is what that server said; else it is our own words.
    pub said_by_server: bool,
    pub last_attempt_at: Option<Timestamp>,
    /// Until when it will be tried, for a delay.
    pub retry_until: Option<Timestamp>,
}

/// The message that the report is about, as it was accepted.
#[derive(Debug, Clone, Copy)]
pub struct Original<'a> {
    pub octets: &'a [u8],
    /// Whether `octets` is all of it. The header section and a little more is enough, unless RET=FULL.
    pub complete: bool,
}

/// The report as a message, CRLF line ends, not yet dot-stuffed. It needs SMTPUTF8 and 8BITMIME exactly
/// when the sender's address is not ASCII.
pub fn compose(report: &Report<'_>) -> Vec<u8> {
    let utf8 = !report.sender.is_ascii();
    let text = human::text(report);
    let status = delivery_status(report, utf8);
    let returned = original::returned(report, utf8);
    let boundary = boundary(report, &[text.as_bytes(), status.as_bytes(), &returned.octets]);

    let mut out = Vec::with_capacity(2048 + text.len() + status.len() + returned.octets.len());
    push_header(&mut out, report, &boundary);
    push_part(&mut out, &boundary, "Content-Description: Notification\r\nContent-Type: text/plain; charset=utf-8");
    if is_seven_bit_clean(text.as_bytes()) {
        out.extend_from_slice(b"Content-Transfer-Encoding: 7bit\r\n\r\n");
        out.extend_from_slice(text.as_bytes());
    } else {
        out.extend_from_slice(b"Content-Transfer-Encoding: quoted-printable\r\n\r\n");
        push_quoted_printable(&mut out, text.as_bytes());
    }
    let status_type = if utf8 {
        "Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit"
    } else {
        "Content-Type: message/delivery-status"
    };
    push_part(&mut out, &boundary, &format!("Content-Description: Delivery report\r\n{status_type}"));
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(status.as_bytes());
    push_part(&mut out, &boundary, &format!("Content-Description: {}\r\n{}", returned.what, returned.labels));
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&returned.octets);
    out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    out
}

fn push_part(out: &mut Vec<u8>, boundary: &str, labels: &str) {
    out.extend_from_slice(format!("\r\n--{boundary}\r\n{labels}\r\n").as_bytes());
}

fn push_header(out: &mut Vec<u8>, report: &Report<'_>, boundary: &str) {
    let host = report.reporting_mta.ascii();
    let subject = match report.kind {
        ReportKind::Failure => "Your message could not be delivered",
        ReportKind::Delay => "Your message is delayed",
        ReportKind::Success => "Your message was delivered or passed on",
    };
    let mut fields = format!(
        "From: Mail Delivery System <MAILER-DAEMON@{host}>\r\nTo: <{}>\r\nSubject: {subject}\r\nDate: {}\r\nMessage-ID: {}\r\n",
        report.sender,
        trace::date(report.now),
        message_id_for(report.id, report.reporting_mta),
    );
    if let Some(id) = original_message_id(report.original.octets) {
        push(&mut fields, format_args!("In-Reply-To: {id}\r\nReferences: {id}\r\n"));
    }
    push(
        &mut fields,
        format_args!(
            "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"{boundary}\"\r\n"
        ),
    );
    out.extend_from_slice(fields.as_bytes());
    out.extend_from_slice(b"\r\nThis is a delivery report in several parts (RFC 3464).\r\n");
}

/// The original's `Message-ID` where it is one that can be repeated: `<…>`, printable ASCII.
fn original_message_id(message: &[u8]) -> Option<String> {
    let id = header::find(message, "Message-ID")?.text();
    let inner = id.strip_prefix('<')?.strip_suffix('>')?;
    let harmless = |b: u8| matches!(b, b'!'..=b'~') && b != b'<' && b != b'>';
    (id.len() <= LINE_OCTETS_MAX - 20 && inner.bytes().all(harmless)).then_some(id)
}

/// A boundary that stands in none of the parts.
fn boundary(report: &Report<'_>, parts: &[&[u8]]) -> String {
    (0_u32..)
        .map(|number| format!("=_report_{}_{number}", report.id))
        .find(|boundary| parts.iter().all(|part| memmem::find(part, boundary.as_bytes()).is_none()))
        .expect("parts of finite length do not hold four billion boundaries")
}

/// The part for programs (RFC 3464 §2).
fn delivery_status(report: &Report<'_>, utf8: bool) -> String {
    let mut out = String::with_capacity(512 * (report.recipients.len() + 1));
    if let Some(envid) = report.envid {
        push_field(&mut out, "Original-Envelope-Id", envid, utf8);
    }
    push_field(&mut out, "Reporting-MTA", &format!("dns; {}", report.reporting_mta.ascii()), utf8);
    push_field(&mut out, "Arrival-Date", &trace::date(report.arrived_at), utf8);
    for reported in report.recipients {
        out.push_str("\r\n");
        push_recipient(&mut out, report.kind, reported, utf8);
    }
    out
}

fn push_recipient(out: &mut String, kind: ReportKind, reported: &Reported<'_>, utf8: bool) {
    if let Some(original) = &reported.recipient.original {
        let (kind, address) = original.split_once(';').unwrap_or(("rfc822", original));
        push_field(out, "Original-Recipient", &typed_address(kind, address, utf8), utf8);
    }
    let address = &reported.recipient.address;
    let final_recipient = if utf8 || address.is_ascii() {
        let kind = if address.is_ascii() { "rfc822" } else { "utf-8" };
        typed_address(kind, address.as_str(), utf8)
    } else if address.local_part().is_ascii() {
        typed_address("rfc822", &address.canonical(), utf8)
    } else {
        typed_address("utf-8", &address.canonical(), utf8)
    };
    push_field(out, "Final-Recipient", &final_recipient, utf8);
    push_field(out, "Action", action(kind, reported.outcome), utf8);
    push_field(out, "Status", &status(kind, reported).to_string(), utf8);
    // `mx1.example.org [192.0.2.1]:25`: the name.
    if let Some(name) = reported.server.split_whitespace().next() {
        push_field(out, "Remote-MTA", &format!("dns; {name}"), utf8);
    }
    let said_by = if reported.said_by_server { "smtp" } else { "x-postrider" };
    push_field(out, "Diagnostic-Code", &format!("{said_by}; {}", reported.reply), utf8);
    if let Some(at) = reported.last_attempt_at {
        push_field(out, "Last-Attempt-Date", &trace::date(at), utf8);
    }
    if let (ReportKind::Delay, Some(until)) = (kind, reported.retry_until) {
        push_field(out, "Will-Retry-Until", &trace::date(until), utf8);
    }
}

/// RFC 3464 §2.3.3.
fn action(kind: ReportKind, outcome: &Outcome) -> &'static str {
    match (kind, outcome) {
        (ReportKind::Failure, _) => "failed",
        (ReportKind::Delay, _) => "delayed",
        (ReportKind::Success, Outcome::Delivered { relayed: true }) => "relayed",
        (ReportKind::Success, _) => "delivered",
    }
}

/// The status code (RFC 3463): what the server gave, if it goes with the report; it is final that a
/// message's time is over, whatever the last reply was.
fn status(kind: ReportKind, reported: &Reported<'_>) -> Enhanced {
    let class = match kind {
        ReportKind::Failure => 5,
        ReportKind::Delay => 4,
        ReportKind::Success => 2,
    };
    match reported.reply.enhanced {
        _ if *reported.outcome == Outcome::Expired => Enhanced(5, 4, 7),
        Some(enhanced) if enhanced.0 == class => enhanced,
        _ => Enhanced(class, 0, 0),
    }
}

/// `type; address`. An address in UTF-8 is escaped where only ASCII may stand (RFC 6533 §3,
/// `utf-8-addr-xtext`).
fn typed_address(kind: &str, address: &str, utf8: bool) -> String {
    let mut out = format!("{};", kind.trim());
    let escape = !utf8 && kind.trim().eq_ignore_ascii_case("utf-8");
    for c in address.trim().chars() {
        if escape && (!c.is_ascii_graphic() || matches!(c, '+' | '=' | '\\')) {
            push(&mut out, format_args!("\\x{{{:02X}}}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// Where a line of the part for programs is folded, if it has a space there.
const FOLD_COLUMN: usize = 76;
/// A word longer than this is cut, so that no line passes the limit of RFC 5322 §2.1.1.
const WORD_OCTETS_MAX: usize = 800;

/// Writes one field, folded. Whatever the value holds, it stays one field: control characters are
/// replaced, and characters outside ASCII where they may not stand.
fn push_field(out: &mut String, name: &str, value: &str, utf8: bool) {
    let line_from = out.len();
    push(out, format_args!("{name}:"));
    let mut column = out.len() - line_from;
    let mut word_octets = 0;
    for word in value.split_ascii_whitespace() {
        if column + 1 + word.len() > FOLD_COLUMN && column > name.len() + 1 {
            out.push_str("\r\n");
            column = 0;
        }
        out.push(' ');
        column += 1;
        for c in word.chars() {
            let c = if human::is_harmless(c) && (utf8 || c.is_ascii()) { c } else { '?' };
            if word_octets + c.len_utf8() > WORD_OCTETS_MAX {
                out.push_str("\r\n ");
                (column, word_octets) = (1, 0);
            }
            out.push(c);
            column += c.len_utf8();
            word_octets += c.len_utf8();
        }
        word_octets = 0;
    }
    out.push_str("\r\n");
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a String does not fail");
}

#[cfg(test)]
mod tests;
