//! The keyed return path: each recipient's copy leaves with a reverse-path of its own, so that a
//! bounce that comes back names its message and recipient, whatever its text says, and nobody can
//! forge one.
//!
//! ```text
//! b+<32 letters: message id (16 octets) and recipient index (4, big-endian)>.<16 letters: MAC>@bounces.example.net
//! ```
//!
//! Base32 (RFC 4648 §6) in lower case: servers on the way may change the case of a local part. The MAC is
//! HMAC-SHA-256 over a purpose label, the id, the index and the domain, cut to 80 bits: a forger has one
//! chance in 2^80 per bounce, and the prize is a wrong bounce. The local part has 51 octets of the 64
//! that are allowed.

use aws_lc_rs::{constant_time, hmac};
use base::{Address, Domain, MessageId};
use data_encoding::BASE32_NOPAD;

const PREFIX: &str = "b+";
const PURPOSE: &[u8] = b"postrider return path 1";
const NAMED_OCTETS: usize = 20;
const MAC_OCTETS: usize = 10;

/// The return path for one recipient of one message. `domain` is where bounces are received.
///
/// # Errors
/// `None` where `domain` makes no valid address with it, which a valid domain cannot.
pub fn encode(key: &[u8; 32], id: MessageId, recipient: u32, domain: &Domain) -> Option<Address> {
    let named = named(id, recipient);
    let mac = mac(key, &named, &domain.ascii());
    let mut text = format!("{PREFIX}{}.{}", BASE32_NOPAD.encode(&named), BASE32_NOPAD.encode(&mac[..MAC_OCTETS]));
    text.make_ascii_lowercase();
    Address::parse(&format!("{text}@{domain}")).ok()
}

/// The message and the recipient's index that a return path of ours names. `None`: it is none, or was
/// made with another key or for another domain. Takes as long for a wrong MAC as for a right one.
pub fn decode(key: &[u8; 32], address: &Address) -> Option<(MessageId, u32)> {
    let local = address.local_part().to_ascii_uppercase();
    let (named_text, mac_text) = local.strip_prefix(&PREFIX.to_ascii_uppercase())?.split_once('.')?;
    let named: [u8; NAMED_OCTETS] = BASE32_NOPAD.decode(named_text.as_bytes()).ok()?.try_into().ok()?;
    let claimed: [u8; MAC_OCTETS] = BASE32_NOPAD.decode(mac_text.as_bytes()).ok()?.try_into().ok()?;
    let right = mac(key, &named, &address.domain_ascii());
    constant_time::verify_slices_are_equal(&right[..MAC_OCTETS], &claimed).ok()?;
    let (id, recipient) = named.split_first_chunk::<16>()?;
    let recipient = recipient.first_chunk::<4>()?;
    Some((MessageId::from_bytes(*id), u32::from_be_bytes(*recipient)))
}

fn named(id: MessageId, recipient: u32) -> [u8; NAMED_OCTETS] {
    let mut named = [0; NAMED_OCTETS];
    named[..16].copy_from_slice(id.as_bytes());
    named[16..].copy_from_slice(&recipient.to_be_bytes());
    named
}

fn mac(key: &[u8; 32], named: &[u8; NAMED_OCTETS], domain: &str) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    context.update(PURPOSE);
    context.update(named);
    // Last, so that no other text can take the place of what stands before it.
    context.update(domain.as_bytes());
    let tag = context.sign();
    let mut mac = [0; 32];
    mac.copy_from_slice(&tag.as_ref()[..32]);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: [u8; 32] = [3; 32];

    fn domain() -> Domain {
        Domain::parse("bounces.example.net").unwrap()
    }

    #[test]
    fn a_return_path_is_short_and_survives_a_change_of_case() {
        let id = MessageId::new(1_700_000_000_000, [0xab; 10]);
        let path = encode(&KEY, id, u32::MAX, &domain()).unwrap();
        assert_eq!(path.local_part().len(), 51);
        assert_eq!(path.as_str(), path.as_str().to_ascii_lowercase());
        let shouted = Address::parse(&path.as_str().to_ascii_uppercase()).unwrap();
        assert_eq!(decode(&KEY, &shouted), Some((id, u32::MAX)));
        let unicode = Domain::parse("bounces.münchen.example").unwrap();
        let path = encode(&KEY, id, 1, &unicode).unwrap();
        assert_eq!(decode(&KEY, &Address::parse(&path.canonical()).unwrap()), Some((id, 1)), "as A-labels");
    }

    #[test]
    fn a_return_path_of_another_key_domain_or_form_is_none() {
        let id = MessageId::from_bytes([9; 16]);
        let path = encode(&KEY, id, 0, &domain()).unwrap();
        assert_eq!(decode(&[4; 32], &path), None);
        let moved = format!("{}@evil.example", path.local_part());
        assert_eq!(decode(&KEY, &Address::parse(&moved).unwrap()), None);
        for text in ["b+@x", "b+.@x", "ada@x", "b+aa.bb@x", "\"b+a b\"@x", "b+ü.ü@x"].map(|t| Address::parse(t).ok())
        {
            assert_eq!(text.and_then(|address| decode(&KEY, &address)), None);
        }
    }

    proptest! {
        #[test]
        fn every_path_names_its_recipient_and_no_changed_one_does(id: [u8; 16], recipient: u32, at in 2_usize..51, to in "[a-z2-7]") {
            let id = MessageId::from_bytes(id);
            let path = encode(&KEY, id, recipient, &domain()).unwrap();
            prop_assert_eq!(decode(&KEY, &path), Some((id, recipient)));
            let mut changed = path.as_str().to_owned();
            changed.replace_range(at..=at, &to);
            if let Ok(address) = Address::parse(&changed) && changed != path.as_str() {
                prop_assert_eq!(decode(&KEY, &address), None);
            }
        }
    }
}
