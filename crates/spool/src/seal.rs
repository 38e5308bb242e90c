//! Which key seals what, and what each seal is bound to.
//!
//! A nonce is never used twice under one key: metas and slots count up within their segment, whose
//! keys are drawn anew each time it is taken into use; a body's chunks are numbered under a key that
//! seals this one body only.

use base::{AccountId, MessageId};
use privacy::{Key, TAG_OCTETS};
use zeroize::Zeroizing;

use crate::format::{SLOT_OCTETS, SegmentHeader, SegmentState, WRAPPED_KEYS_OCTETS};

const SLOT_VERSION: [u8; 4] = *b"key1";
/// A slot without a key: never written, or destroyed.
pub(crate) const EMPTY_SLOT: [u8; SLOT_OCTETS] = [0; SLOT_OCTETS];

/// The two keys of one use of a segment.
pub(crate) struct SegmentKeys {
    meta: Key,
    slot: Key,
}

impl SegmentKeys {
    /// Draws new keys and the header that keeps them, wrapped under the instance's key.
    pub(crate) fn draw(instance: &Key, sequence: u64, octets: u64, synced_below: u64) -> (SegmentKeys, SegmentHeader) {
        let mut bytes = Zeroizing::new([0_u8; 64]);
        privacy::fill_random(&mut *bytes);
        let mut nonce = [0; 12];
        privacy::fill_random(&mut nonce);
        let wrapped_keys = [0; WRAPPED_KEYS_OCTETS];
        let state = SegmentState::InUse;
        let mut header = SegmentHeader { state, sequence, octets, synced_below, nonce, wrapped_keys };
        let aad = header.aad();
        let (text, tag) = header.wrapped_keys.split_at_mut(64);
        text.copy_from_slice(&*bytes);
        tag.copy_from_slice(&instance.seal_detached(nonce, &aad, text));
        (SegmentKeys::from_bytes(&bytes), header)
    }

    /// `None`: the instance's key is not the one that it was made with.
    pub(crate) fn open(instance: &Key, header: &SegmentHeader) -> Option<SegmentKeys> {
        let mut wrapped = Zeroizing::new(header.wrapped_keys);
        let bytes = instance.open(header.nonce, &header.aad(), &mut *wrapped)?;
        Some(SegmentKeys::from_bytes((&*bytes).try_into().ok()?))
    }

    fn from_bytes(bytes: &[u8; 64]) -> SegmentKeys {
        let (meta, slot) = bytes.split_at(32);
        let half = |half: &[u8]| Key::from_bytes(half.try_into().expect("half of 64 octets is 32"));
        SegmentKeys { meta: half(meta), slot: half(slot) }
    }

    pub(crate) fn seal_meta(&self, nonce: u64, aad: &[u8], meta: &mut Vec<u8>) {
        self.meta.seal(counted(nonce), aad, meta);
    }

    pub(crate) fn open_meta<'a>(&self, nonce: u64, aad: &[u8], sealed: &'a mut [u8]) -> Option<&'a mut [u8]> {
        self.meta.open(counted(nonce), aad, sealed)
    }

    /// The slot that keeps `key` for `message`.
    pub(crate) fn seal_slot(&self, nonce: u64, message: MessageId, key: &BodyKey) -> [u8; SLOT_OCTETS] {
        let mut slot = [0; SLOT_OCTETS];
        slot[..4].copy_from_slice(&SLOT_VERSION);
        let nonce = counted(nonce);
        slot[4..16].copy_from_slice(&nonce);
        let mut text = Zeroizing::new(*key.0);
        let tag = self.slot.seal_detached(nonce, &slot_aad(message), &mut *text);
        slot[16..48].copy_from_slice(&*text);
        slot[48..].copy_from_slice(&tag);
        slot
    }

    /// `None`: the slot is damaged, or another message's.
    pub(crate) fn open_slot(&self, message: MessageId, slot: &[u8; SLOT_OCTETS]) -> Option<BodyKey> {
        if slot[..4] != SLOT_VERSION {
            return None;
        }
        let nonce = slot[4..16].try_into().expect("4 to 16 are 12 octets");
        let mut sealed = Zeroizing::new(*slot);
        let bytes = self.slot.open(nonce, &slot_aad(message), &mut sealed[16..])?;
        Some(BodyKey(Zeroizing::new((&*bytes).try_into().ok()?)))
    }
}

fn counted(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&counter.to_le_bytes());
    nonce
}

fn slot_aad(message: MessageId) -> [u8; 20] {
    let mut aad = [0; 20];
    aad[..4].copy_from_slice(b"slot");
    aad[4..].copy_from_slice(message.as_bytes());
    aad
}

/// The key of one body.
pub(crate) struct BodyKey(Zeroizing<[u8; 32]>);

impl BodyKey {
    pub(crate) fn draw() -> BodyKey {
        let mut bytes = Zeroizing::new([0; 32]);
        privacy::fill_random(&mut *bytes);
        BodyKey(bytes)
    }

    pub(crate) fn cipher(&self, account: AccountId, message: MessageId) -> BodyCipher {
        BodyCipher { key: Key::from_bytes(&self.0), account, message }
    }
}

/// Seals and opens the numbered chunks of one body; the last one says so, so that none can be cut off.
pub(crate) struct BodyCipher {
    key: Key,
    account: AccountId,
    message: MessageId,
}

impl BodyCipher {
    /// Encrypts `chunk` in place and appends the tag. A number must be used once only.
    pub(crate) fn seal(&self, number: u64, last: bool, chunk: &mut Vec<u8>) {
        self.key.seal(chunk_nonce(number, last), &self.aad(number, last), chunk);
    }

    /// `None`: damaged, out of order, or another message's or account's.
    pub(crate) fn open(&self, number: u64, last: bool, sealed: &mut Vec<u8>) -> Option<()> {
        self.key.open(chunk_nonce(number, last), &self.aad(number, last), sealed)?;
        sealed.truncate(sealed.len() - TAG_OCTETS);
        Some(())
    }

    fn aad(&self, number: u64, last: bool) -> [u8; 33] {
        let mut aad = [0; 33];
        aad[..8].copy_from_slice(&self.account.0.to_le_bytes());
        aad[8..24].copy_from_slice(self.message.as_bytes());
        aad[24..32].copy_from_slice(&number.to_le_bytes());
        aad[32] = u8::from(last);
        aad
    }
}

fn chunk_nonce(number: u64, last: bool) -> [u8; 12] {
    let mut nonce = counted(number);
    nonce[8] = u8::from(last);
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_opens_for_its_message_and_segment_only() {
        let instance = Key::from_bytes(&[1; 32]);
        let (keys, header) = SegmentKeys::draw(&instance, 4, 1 << 20, 4);
        let message = MessageId::from_bytes([9; 16]);
        let key = BodyKey::draw();
        let slot = keys.seal_slot(1, message, &key);
        let again = SegmentKeys::open(&instance, &header).unwrap();
        assert_eq!(*again.open_slot(message, &slot).unwrap().0, *key.0);
        assert!(again.open_slot(MessageId::from_bytes([8; 16]), &slot).is_none());
        assert!(again.open_slot(message, &EMPTY_SLOT).is_none());
        let (other, _) = SegmentKeys::draw(&instance, 4, 1 << 20, 4);
        assert!(other.open_slot(message, &slot).is_none());
        assert!(SegmentKeys::open(&Key::from_bytes(&[2; 32]), &header).is_none());
    }

    #[test]
    fn chunks_can_not_be_moved_or_cut_off() {
        let cipher = BodyKey::draw().cipher(AccountId(5), MessageId::from_bytes([9; 16]));
        let mut sealed = b"part".to_vec();
        cipher.seal(3, false, &mut sealed);
        assert!(cipher.open(3, true, &mut sealed.clone()).is_none());
        assert!(cipher.open(2, false, &mut sealed.clone()).is_none());
        cipher.open(3, false, &mut sealed).unwrap();
        assert_eq!(sealed, b"part");
    }
}
