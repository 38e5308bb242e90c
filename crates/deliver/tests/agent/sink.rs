//! Somebody else's server, many connections, many messages: Postfix' smtp-sink, which counts.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use deliver::agent::Disposition;

use crate::mx::Mx;
use crate::world::*;

const SINK: &str = "/usr/sbin/smtp-sink";
const CONNECTIONS: usize = 20;
const MESSAGES_EACH: usize = 50;

#[tokio::test]
async fn a_thousand_messages_on_twenty_connections() {
    if !Path::new(SINK).exists() {
        eprintln!("{SINK} is not installed (Debian: postfix); nothing was tested");
        return;
    }
    let address = Mx::dead().await;
    let mut sink = tokio::process::Command::new(SINK)
        .args(unprivileged())
        .args(["-h", "sink.example", &address.to_string(), "100"])
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("smtp-sink starts");
    listens(address).await;
    let agent = Arc::new(agent());
    let runs: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let agent = Arc::clone(&agent);
            tokio::spawn(async move {
                let plan = plan(&[address]);
                let mut kept = None;
                for _ in 0..MESSAGES_EACH {
                    let report = agent.attempt(&plan, task(&["a@there"]), kept).await.expect("it is in memory");
                    assert_eq!(
                        outcomes(&report),
                        [(0, Disposition::Delivered { relayed: false }, 250)],
                        "it offers DSN"
                    );
                    kept = report.connection;
                }
                kept.map_or(0, |connection| connection.transactions())
            })
        })
        .collect();
    for run in runs {
        assert_eq!(run.await.expect("it ran"), MESSAGES_EACH as u32, "all went on one connection");
    }
    sink.kill().await.expect("smtp-sink can be ended");
}

/// It refuses to run as root.
fn unprivileged() -> &'static [&'static str] {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if is_root { &["-u", "nobody"] } else { &[] }
}

/// Waits until somebody listens there.
async fn listens(address: SocketAddr) {
    let reached = async {
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reached).await.expect("smtp-sink listens");
}
