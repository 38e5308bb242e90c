//! The part of a report that people read: who did not get the message, what the other server said, and
//! what can be done about it.

use base::{Enhanced, Outcome, ReportKind};

use super::{Report, Reported, push, status};
use crate::header;
use crate::trace;

/// Whether a character stays where it is put: no control character, no line end, nothing that
/// changes the direction of the text around it.
pub(super) fn is_harmless(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

fn harmless(text: &str) -> String {
    text.chars().map(|c| if is_harmless(c) { c } else { '\u{FFFD}' }).collect()
}

/// The text, CRLF line ends.
pub(super) fn text(report: &Report<'_>) -> String {
    let mut out = String::with_capacity(1024);
    push(&mut out, format_args!("This is the mail server {}.\r\n\r\n", report.reporting_mta.ascii()));
    out.push_str(match report.kind {
        ReportKind::Failure => "Your message could not be delivered to:\r\n",
        ReportKind::Delay => "Your message has not been delivered yet to:\r\n",
        ReportKind::Success => "Your message has left this server for:\r\n",
    });
    for reported in report.recipients {
        push(&mut out, format_args!("\r\n  <{}>\r\n", reported.recipient.address));
        push_what_happened(&mut out, report.kind, reported);
    }
    out.push_str(match report.kind {
        ReportKind::Failure => {
            "\r\nNo further attempt will be made for these recipients. Other recipients of\r\nthe message, if any, are not concerned.\r\n"
        }
        ReportKind::Delay => "\r\nThis is only a warning. You need not send the message again.\r\n",
        ReportKind::Success => "",
    });
    push_about(&mut out, report);
    out
}

fn push_what_happened(out: &mut String, kind: ReportKind, reported: &Reported<'_>) {
    let server = harmless(reported.server.split_whitespace().next().unwrap_or_default());
    match (reported.said_by_server, server.is_empty()) {
        (true, false) => push(out, format_args!("    The server {server} said:\r\n")),
        (true, true) => out.push_str("    The recipient's server said:\r\n"),
        (false, false) => push(out, format_args!("    With the server {server}:\r\n")),
        (false, true) => {}
    }
    for (number, line) in reported.reply.text.lines().enumerate() {
        out.push_str("      ");
        if number == 0 && reported.said_by_server {
            push(out, format_args!("{} ", reported.reply.code));
            if let Some(enhanced) = reported.reply.enhanced {
                push(out, format_args!("{enhanced} "));
            }
        }
        push(out, format_args!("{}\r\n", harmless(line)));
    }
    match kind {
        ReportKind::Failure => push(out, format_args!("    {}\r\n", advice(reported))),
        ReportKind::Delay => match reported.retry_until {
            Some(until) => push(out, format_args!("    It will be tried again until {}.\r\n", trace::date(until))),
            None => out.push_str("    It will be tried again.\r\n"),
        },
        ReportKind::Success if matches!(reported.outcome, Outcome::Delivered { relayed: true }) => out.push_str(
            "    That server does not confirm deliveries: you will hear of this message\r\n    again only if it comes back.\r\n",
        ),
        ReportKind::Success => out.push_str("    It was delivered.\r\n"),
    }
}

/// What the sender can do about a failure, by the status code (RFC 3463 §3).
fn advice(reported: &Reported<'_>) -> &'static str {
    if *reported.outcome == Outcome::Expired {
        return "It was tried again and again without success, and its time is over. Try\r\n    again later, or reach the recipient in another way.";
    }
    match status(ReportKind::Failure, reported) {
        Enhanced(_, 1, 2 | 10) | Enhanced(_, 4, 4) => {
            "The part behind the @ receives no mail. Check it for typing mistakes."
        }
        Enhanced(_, 1, 7 | 8) | Enhanced(_, 7, 26..=27) => {
            "Your own address was refused, not the recipient's. Ask whoever runs your\r\n    mail domain."
        }
        Enhanced(_, 6, 7) => {
            "An address has characters that the recipient's server cannot handle. Ask\r\n    for an address in plain letters."
        }
        Enhanced(_, 1, _) => {
            "The address does not exist there. Check it for typing mistakes, or ask the\r\n    recipient for the right one."
        }
        Enhanced(_, 2, 2) => "The mailbox is full. Try again when the recipient has made room.",
        Enhanced(_, 2, 1) => "The mailbox is closed. Reach the recipient in another way.",
        Enhanced(_, 2 | 3, 3 | 4) => "The message is too large for the recipient. Send a smaller one, or a link.",
        Enhanced(_, 4, 6) => "The message went in circles between servers. Tell the recipient's postmaster.",
        Enhanced(_, 6, _) => "The recipient's server cannot handle the form of this message.",
        Enhanced(_, 7, _) => {
            "The recipient's side does not want this message. Sending it again will not\r\n    help; its words above may say why."
        }
        _ => "The refusal is final. The recipient's server may have said why, above.",
    }
}

/// Which message it is, so that its sender recognises it.
fn push_about(out: &mut String, report: &Report<'_>) {
    out.push_str("\r\nThe message:\r\n\r\n");
    if let Some(subject) = header::find(report.original.octets, "Subject") {
        let subject: String = header::decode_words(subject.value()).chars().take(200).collect();
        push(out, format_args!("    Subject:  {}\r\n", harmless(&subject)));
    }
    push(out, format_args!("    Accepted: {}\r\n", trace::date(report.arrived_at)));
}
