//! MAIL and RCPT as they go to a server: with those parameters that it offered.

use std::io::Write;

use base::{Address, BodyType, DsnReturn, Notify, Recipient};

use super::capabilities::Capabilities;
use super::transaction::{Alphabet, Transaction};
use super::xtext;

/// Whether the server can be given this path at all.
pub(super) fn is_sayable(address: &Address, capabilities: &Capabilities) -> bool {
    // A domain has a second spelling in ASCII, a local part has none (RFC 6531 §3.2).
    capabilities.smtputf8 || address.local_part().is_ascii()
}

/// `MAIL FROM:<…>` with SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), RET and ENVID (RFC 3461).
pub(super) fn mail(transaction: &Transaction, capabilities: &Capabilities, out: &mut Vec<u8>) {
    let envelope = &transaction.meta.envelope;
    out.extend_from_slice(b"MAIL FROM:<");
    if let Some(sender) = &transaction.sender {
        path(sender, capabilities, out);
    }
    out.push(b'>');
    if capabilities.size_octets_max.is_some() {
        // Writing to a Vec cannot fail.
        let _ = write!(out, " SIZE={}", transaction.size_octets);
    }
    if capabilities.eight_bit_mime && body(transaction.alphabet) == BodyType::EightBitMime {
        out.extend_from_slice(b" BODY=8BITMIME");
    }
    if capabilities.smtputf8 && needs_smtputf8(transaction) {
        out.extend_from_slice(b" SMTPUTF8");
    }
    if capabilities.dsn {
        match envelope.ret {
            Some(DsnReturn::Full) => out.extend_from_slice(b" RET=FULL"),
            Some(DsnReturn::Headers) => out.extend_from_slice(b" RET=HDRS"),
            None => {}
        }
        if let Some(envid) = &envelope.envid {
            out.extend_from_slice(b" ENVID=");
            xtext::encode(envid, out);
        }
    }
}

/// `RCPT TO:<…>` with NOTIFY and ORCPT (RFC 3461 §5.2.2): what the client gave is passed on, what
/// it did not give is not invented.
pub(super) fn rcpt(recipient: &Recipient, capabilities: &Capabilities, out: &mut Vec<u8>) {
    out.extend_from_slice(b"RCPT TO:<");
    path(&recipient.address, capabilities, out);
    out.push(b'>');
    if !capabilities.dsn {
        return;
    }
    if let Some(wish) = recipient.notify {
        out.extend_from_slice(b" NOTIFY=");
        notify(wish, out);
    }
    match &recipient.original {
        Some(original) => {
            out.extend_from_slice(b" ORCPT=");
            xtext::encode_original(original, out);
        }
        // Whoever asked for a report wants to find the address there that he wrote.
        None if recipient.notify.is_some() && recipient.address.is_ascii() => {
            out.extend_from_slice(b" ORCPT=rfc822;");
            xtext::encode(recipient.address.as_str(), out);
        }
        None => {}
    }
}

fn notify(wish: Notify, out: &mut Vec<u8>) {
    if wish == Notify::NEVER {
        return out.extend_from_slice(b"NEVER");
    }
    let words = [(wish.success, "SUCCESS"), (wish.failure, "FAILURE"), (wish.delay, "DELAY")];
    let mut comma = false;
    for (_, word) in words.iter().filter(|(asked, _)| *asked) {
        if comma {
            out.push(b',');
        }
        out.extend_from_slice(word.as_bytes());
        comma = true;
    }
}

fn path(address: &Address, capabilities: &Capabilities, out: &mut Vec<u8>) {
    if capabilities.smtputf8 || address.is_ascii() {
        return out.extend_from_slice(address.as_str().as_bytes());
    }
    out.extend_from_slice(address.local_part().as_bytes());
    out.push(b'@');
    out.extend_from_slice(address.domain_ascii().as_bytes());
}

fn body(alphabet: Alphabet) -> BodyType {
    match alphabet {
        Alphabet::SevenBit => BodyType::SevenBit,
        Alphabet::EightBitBody | Alphabet::Utf8Headers => BodyType::EightBitMime,
    }
}

fn needs_smtputf8(transaction: &Transaction) -> bool {
    let recipients = &transaction.meta.envelope.recipients;
    let index = |i: &u32| usize::try_from(*i).ok().and_then(|i| recipients.get(i));
    transaction.alphabet == Alphabet::Utf8Headers
        || transaction.sender.as_ref().is_some_and(|sender| !sender.is_ascii())
        || transaction.recipients.iter().filter_map(index).any(|recipient| !recipient.address.is_ascii())
}
