//! Stories of the use cases, on a store and a spool of their own.

mod accounts;
mod events;
mod kit;
mod sandbox;
