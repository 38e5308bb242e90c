//! The spool from outside: on real files, and on a disk that fails.

mod basics;
mod common;
mod faults;
mod files;
mod life;
mod sim;
