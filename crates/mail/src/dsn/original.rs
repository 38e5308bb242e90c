//! The third part of a report: the message that it is about, or its header.

use std::borrow::Cow;

use base::{DsnReturn, ReportKind};

use super::{FULL_OCTETS_MAX, HEADER_OCTETS_MAX, Report};
use crate::downgrade;
use crate::encoding::{LINE_OCTETS_MAX, is_seven_bit_clean, push_quoted_printable};
use crate::header;

/// What is brought back, ready to stand in its part.
pub(super) struct Returned<'a> {
    pub what: &'static str,
    /// The part's own fields, without the last CRLF.
    pub labels: &'static str,
    pub octets: Cow<'a, [u8]>,
}

pub(super) fn returned<'a>(report: &Report<'a>, utf8: bool) -> Returned<'a> {
    full(report, utf8).unwrap_or_else(|| headers(report.original.octets, utf8))
}

/// The whole message, where it was asked for and can stand in a report of this kind.
fn full<'a>(report: &Report<'a>, utf8: bool) -> Option<Returned<'a>> {
    let message = report.original.octets;
    // RET is about failures only (RFC 3461 §4.3).
    let wanted = report.ret == Some(DsnReturn::Full) && report.kind == ReportKind::Failure;
    if !wanted || !report.original.complete || message.len() > FULL_OCTETS_MAX {
        return None;
    }
    let what = "Undelivered message";
    if utf8 && is_eight_bit_clean(message) {
        let labels = "Content-Type: message/global\r\nContent-Transfer-Encoding: 8bit";
        return Some(Returned { what, labels, octets: Cow::Borrowed(message) });
    }
    // An attached message may not be encoded as a whole (RFC 2046 §5.2.1), so its parts must be.
    let octets = downgrade::to_seven_bit(message).ok().filter(|octets| is_seven_bit_clean(octets))?;
    Some(Returned { what, labels: "Content-Type: message/rfc822", octets })
}

fn headers(message: &[u8], utf8: bool) -> Returned<'_> {
    let what = "Header of the message";
    let mut octets = 0;
    for field in header::fields(message) {
        if octets + field.raw.len() > HEADER_OCTETS_MAX {
            break;
        }
        octets += field.raw.len();
    }
    let section = &message[..octets];
    if is_seven_bit_clean(section) {
        return Returned { what, labels: "Content-Type: text/rfc822-headers", octets: Cow::Borrowed(section) };
    }
    if utf8 && is_eight_bit_clean(section) {
        let labels = "Content-Type: message/global-headers\r\nContent-Transfer-Encoding: 8bit";
        return Returned { what, labels, octets: Cow::Borrowed(section) };
    }
    let labels = if std::str::from_utf8(section).is_ok() {
        "Content-Type: text/rfc822-headers; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable"
    } else {
        "Content-Type: text/rfc822-headers; charset=unknown-8bit\r\nContent-Transfer-Encoding: quoted-printable"
    };
    let mut octets = Vec::with_capacity(section.len() * 2);
    push_quoted_printable(&mut octets, section);
    Returned { what, labels, octets: Cow::Owned(octets) }
}

/// Whether it may travel as `8bit`: UTF-8 in lines that end with CRLF and are not too long.
fn is_eight_bit_clean(octets: &[u8]) -> bool {
    std::str::from_utf8(octets).is_ok_and(|text| {
        text.split("\r\n").all(|line| line.len() <= LINE_OCTETS_MAX && !line.contains(['\r', '\n', '\0']))
    })
}
