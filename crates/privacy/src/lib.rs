//! How we keep things to ourselves: sealing under keys, and finding without reading.
//!
//! Pure but for [`MasterKey::load_or_make`], which owns the one key file.
//!
//! ```text
//! master key (32 random bytes: data/master.key, mode 0600, or POSTRIDER_MASTER_KEY)
//!   └─ derive(label) ── HKDF-SHA256 ──> Key       AES-256-GCM; one label, one purpose
//!                                    └> KeyedHash HMAC-SHA256, to find a value without keeping it
//! ```
//!
//! Invariants:
//! - One label is used for one purpose, so that a key never serves two.
//! - What is sealed is bound to its place by the associated data: moved elsewhere, it does not open.
//! - A key's bytes are wiped from memory when it is dropped, and no key can be printed.
//!
//! Wire format of [`Sealer::seal`]: version (1 octet, `1`), nonce (12, random), ciphertext, tag (16).

mod hash;
mod master;
mod sealing;

pub use hash::KeyedHash;
pub use master::{MasterKey, MasterKeyError};
pub use sealing::{Key, NONCE_OCTETS, Sealer, TAG_OCTETS, fill_random};
