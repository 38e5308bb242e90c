//! Stories of the store, each on a database of its own.

mod accounts;
mod batching;
mod crash;
mod history;
mod kit;
mod plaintext;
mod sandbox;
