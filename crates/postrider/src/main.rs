//! The program `postrider`: configuration, wiring, command line.
//!
//! - [`config`]: what is written, and what holds.
//! - [`serve`]: starts the rooms in order and stops them in the order of the data.
//! - [`cli`]: what the operator types; [`control`] is its line to a running server.
//! - [`doctor`]: what on this machine keeps mail from being delivered well.

mod cli;
mod config;
mod control;
mod doctor;
mod serve;

use std::process::ExitCode;

/// Connections come and go by the thousand; the system's allocator keeps what they leave.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
