//! AES-256-GCM (NIST SP 800-38D), by aws-lc-rs.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

pub const NONCE_OCTETS: usize = 12;
pub const TAG_OCTETS: usize = 16;
const VERSION: u8 = 1;

/// Random bytes from the machine's generator.
///
/// # Panics
/// When the machine has no randomness: nothing here may go on without it.
pub fn fill_random(out: &mut [u8]) {
    aws_lc_rs::rand::fill(out).expect("the operating system gives randomness");
}

/// A key for sealing and opening. Who calls [`Key::seal`] must never use a nonce twice.
pub struct Key {
    cipher: LessSafeKey,
}

impl Key {
    pub fn from_bytes(bytes: &[u8; 32]) -> Key {
        let unbound = UnboundKey::new(&AES_256_GCM, bytes).expect("AES-256-GCM takes 32 octets of key");
        Key { cipher: LessSafeKey::new(unbound) }
    }

    /// Encrypts in place and appends the tag of [`TAG_OCTETS`].
    pub fn seal(&self, nonce: [u8; NONCE_OCTETS], aad: &[u8], text: &mut Vec<u8>) {
        self.cipher
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), text)
            .expect("a text is shorter than 64 GiB");
    }

    /// Encrypts `text` in place and gives the tag apart, for who lays out the record himself.
    pub fn seal_detached(&self, nonce: [u8; NONCE_OCTETS], aad: &[u8], text: &mut [u8]) -> [u8; TAG_OCTETS] {
        let tag = self
            .cipher
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), text)
            .expect("a text is shorter than 64 GiB");
        tag.as_ref().try_into().expect("a GCM tag has 16 octets")
    }

    /// Decrypts in place. `None`: the bytes are damaged, belong elsewhere, or the key is another.
    pub fn open<'a>(&self, nonce: [u8; NONCE_OCTETS], aad: &[u8], sealed: &'a mut [u8]) -> Option<&'a mut [u8]> {
        self.cipher.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), sealed).ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Seals small values, each under a random nonce: good for 2³² values under one key.
#[derive(Debug)]
pub struct Sealer {
    key: Key,
}

impl Sealer {
    pub fn new(key: Key) -> Sealer {
        Sealer { key }
    }

    /// `aad` names the place of the value; the same must be given to open it.
    pub fn seal(&self, aad: &[u8], text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(1 + NONCE_OCTETS + text.len() + TAG_OCTETS);
        let mut nonce = [0; NONCE_OCTETS];
        fill_random(&mut nonce);
        out.push(VERSION);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(text);
        let tag = self.key.seal_detached(nonce, aad, &mut out[1 + NONCE_OCTETS..]);
        out.extend_from_slice(&tag);
        out
    }

    /// `None`: damaged, moved, or sealed under another key.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (version, rest) = sealed.split_first()?;
        if *version != VERSION || rest.len() < NONCE_OCTETS + TAG_OCTETS {
            return None;
        }
        let (nonce, sealed) = rest.split_at(NONCE_OCTETS);
        let mut text = Zeroizing::new(sealed.to_vec());
        let octets = self.key.open(nonce.try_into().ok()?, aad, &mut text)?.len();
        text.truncate(octets);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_only_in_its_place() {
        let sealer = Sealer::new(Key::from_bytes(&[7; 32]));
        let sealed = sealer.seal(b"message/1", b"ada@example.org");
        assert!(!sealed.windows(3).any(|w| w == b"ada"));
        assert_eq!(sealer.open(b"message/1", &sealed).unwrap().as_slice(), b"ada@example.org");
        assert!(sealer.open(b"message/2", &sealed).is_none());
        assert!(Sealer::new(Key::from_bytes(&[8; 32])).open(b"message/1", &sealed).is_none());
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(sealer.open(b"message/1", &damaged).is_none(), "flip at {at}");
            assert!(sealer.open(b"message/1", &sealed[..at]).is_none(), "cut at {at}");
        }
        assert_ne!(sealed, sealer.seal(b"message/1", b"ada@example.org"), "a nonce is never used twice");
    }

    #[test]
    fn keys_are_not_printed() {
        assert_eq!(format!("{:?}", Key::from_bytes(&[7; 32])), "Key(…)");
    }
}
