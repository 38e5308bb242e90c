//! The ready file: tells a script that mail is accepted now, and where.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// What the file says, as JSON.
#[derive(Debug, Clone, Serialize)]
pub struct Ready {
    pub pid: u32,
    /// The first listener without implicit TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp: Option<SocketAddr>,
    /// The first listener with implicit TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtps: Option<SocketAddr>,
    pub http: SocketAddr,
    /// In `postrider dev` only: a credential to send with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

impl Ready {
    /// Who waits for the file sees it whole or not at all; it may hold a password, so only its owner
    /// may read it.
    pub fn write(&self, path: &Path) -> Result<()> {
        let beside = path.with_extension("new");
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.write_all(b"\n")?;
            fs::rename(&beside, path)
        };
        write().with_context(|| format!("cannot write the ready file {}", path.display()))
    }
}
