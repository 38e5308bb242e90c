//! Use cases: what people and programs ask of the server, carried out on the store.
//!
//! - [`accounts`]: accounts and their credentials are made and taken back.
//! - [`directory`]: the copy of them in memory that the doors ask. It answers when the database is
//!   down too.
//! - [`events`]: the projector, which makes history from the spool's journal.
//! - [`sandbox`]: the inbox that keeps what is captured instead of sent.
//!
//! Invariants:
//! - Mail never waits for the database: doors ask the directory's copy, and history comes later.
//! - A secret is told once, when it is made; only its keyed hash is kept.
//! - Revoked and suspended means from now on, for sessions that are open too.
//! - The history has each fact once, whatever stops when.

pub mod accounts;
pub mod directory;
pub mod events;
pub mod sandbox;
