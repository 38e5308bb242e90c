//! Finding a value without keeping it.

use std::fmt;

use aws_lc_rs::hmac;

/// HMAC-SHA256 under a derived key, cut to 16 octets: equal values have equal hashes, and without
/// the key nobody can try values out.
#[derive(Clone)]
pub struct KeyedHash {
    key: hmac::Key,
}

impl KeyedHash {
    pub(crate) fn new(key: &[u8; 32]) -> KeyedHash {
        KeyedHash { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// The hash of `value` in `context`: the same value in another context (another account, another
    /// use) has another hash, so that tables cannot be joined on it.
    pub fn hash(&self, context: &[u8], value: &[u8]) -> [u8; 16] {
        let full = self.full(context, value);
        let mut out = [0; 16];
        out.copy_from_slice(&full[..16]);
        out
    }

    /// All 32 octets, where the hash stands for a secret that is checked.
    pub fn full(&self, context: &[u8], value: &[u8]) -> [u8; 32] {
        let mut hmac = hmac::Context::with_key(&self.key);
        // The length parts context and value: ("ab", "c") and ("a", "bc") differ.
        hmac.update(&(context.len() as u64).to_be_bytes());
        hmac.update(context);
        hmac.update(value);
        let tag = hmac.sign();
        let mut out = [0; 32];
        out.copy_from_slice(tag.as_ref());
        out
    }
}

impl fmt::Debug for KeyedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyedHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_depend_on_key_context_and_value() {
        let one = KeyedHash::new(&[1; 32]);
        assert_eq!(one.hash(b"a", b"x"), one.hash(b"a", b"x"));
        assert_ne!(one.hash(b"a", b"x"), one.hash(b"b", b"x"));
        assert_ne!(one.hash(b"ab", b"c"), one.hash(b"a", b"bc"));
        assert_ne!(one.hash(b"a", b"x"), KeyedHash::new(&[2; 32]).hash(b"a", b"x"));
    }
}
