//! One run: so many messages from smtp-source through a server to smtp-sink.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use testkit::peers::SmtpSink;
use testkit::wait::{try_until, until_within};
use testkit::{Program, Scratch};

use crate::case::{Case, Connection};
use crate::mta::{Kind, Mta, Place, SINK_DOMAIN};
use crate::process::MemoryWatch;

/// A run that takes longer has failed.
const RUN_WITHIN: Duration = Duration::from_secs(180);
/// Messages of the run that only says how fast a server is.
const TRIAL: usize = 300;
const MESSAGES_MIN: usize = 500;
const MESSAGES_MAX: usize = 200_000;
/// Messages of the run under strace.
const TRACED: usize = 1000;

/// What one run showed.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    pub accepted_per_s: f64,
    pub end_to_end_per_s: f64,
    pub cpu_s_per_1000: Option<f64>,
    pub peak_rss_mb: Option<f64>,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8.0} accepted/s {:>8.0} end to end/s", self.accepted_per_s, self.end_to_end_per_s)?;
        if let (Some(cpu), Some(memory)) = (self.cpu_s_per_1000, self.peak_rss_mb) {
            write!(f, " {cpu:>6.2} CPU s/1000 {memory:>6.0} MB")?;
        }
        Ok(())
    }
}

/// Knows how many messages a run of a server in a case should have.
pub struct Plan {
    seconds: f64,
    rates: HashMap<(String, String), f64>,
}

impl Plan {
    pub fn new(seconds: f64) -> Plan {
        Plan { seconds, rates: HashMap::new() }
    }

    pub fn run(&mut self, mta: &mut Mta, case: Case) -> Result<Figures> {
        let key = (mta.kind().to_string(), case.to_string());
        let rate = match self.rates.get(&key) {
            Some(rate) => *rate,
            None => {
                // The first messages meet cold caches, so a second trial is the one that counts.
                run(mta, case, TRIAL)?;
                run(mta, case, TRIAL * 4)?.end_to_end_per_s
            }
        };
        let messages = ((rate * self.seconds) as usize).clamp(MESSAGES_MIN, MESSAGES_MAX);
        let figures = run(mta, case, messages)?;
        self.rates.insert(key, figures.end_to_end_per_s);
        Ok(figures)
    }
}

fn run(mta: &Mta, case: Case, messages: usize) -> Result<Figures> {
    let sink = SmtpSink::start_at(mta.sink(), &["-m", "1000"]);
    let tree = mta.tree();
    let cpu_before = tree.map(|tree| tree.cpu_s());
    let memory = tree.map(MemoryWatch::start);
    let started = Instant::now();
    send(mta.address(), case, messages, SINK_DOMAIN)?;
    let accepted = started.elapsed();
    let arrived = try_until(RUN_WITHIN, || (sink.messages() >= messages).then(|| started.elapsed()));
    let Some(arrived) = arrived else {
        anyhow::bail!("{}: not all of {messages} messages had arrived after {RUN_WITHIN:?}", mta.kind());
    };
    let peak = memory.map(MemoryWatch::finish);
    let cpu = tree.zip(cpu_before).map(|(tree, before)| {
        tree.wait_until_quiet();
        tree.cpu_s() - before
    });
    let per_second = |time: Duration| messages as f64 / time.as_secs_f64();
    Ok(Figures {
        accepted_per_s: per_second(accepted),
        end_to_end_per_s: per_second(arrived),
        cpu_s_per_1000: cpu.map(|seconds| seconds * 1000.0 / messages as f64),
        peak_rss_mb: peak.map(|bytes| bytes as f64 / 1e6),
    })
}

/// Sends the messages, and returns when the last was answered.
pub fn send(to: SocketAddr, case: Case, messages: usize, domain: &str) -> Result<()> {
    let mut program = Program::new("smtp-source")
        .args(["-s", &case.sessions.to_string(), "-m", &messages.to_string(), "-l", &case.size_bytes.to_string()])
        .args(["-f", "load@sender.test", "-t", &format!("bob@{domain}")])
        .deadline(RUN_WITHIN);
    if case.connection == Connection::Reused {
        program = program.arg("-d");
    }
    let finished = program.arg(format!("inet:{to}")).run();
    ensure!(finished.status.success(), "{finished}");
    Ok(())
}

/// fsync and fdatasync calls a message, by strace; none for the direct run.
pub fn syncs_per_message(kind: Kind, place: &Place, case: Case) -> Result<Option<f64>> {
    if kind == Kind::Direct {
        return Ok(None);
    }
    let scratch = Scratch::new("bench-strace");
    let trace = scratch.join("trace");
    let strace =
        ["strace", "--seccomp-bpf", "-f", "-qq", "-e", "trace=fsync,fdatasync,sync_file_range,syncfs,msync", "-o"];
    let mut under: Vec<String> = strace.map(str::to_owned).to_vec();
    under.push(trace.display().to_string());
    let mta = Mta::start(kind, place, &under)?;
    run(&mta, case, TRACED)?;
    let before = count_syncs(&trace);
    run(&mta, case, TRACED)?;
    // What was put off is counted too: the figures were taken when the server was quiet.
    let after = until_within(Duration::from_secs(1), "the trace", || Some(count_syncs(&trace)));
    Ok(Some((after - before) as f64 / TRACED as f64))
}

fn count_syncs(trace: &Path) -> usize {
    let text = std::fs::read_to_string(trace).unwrap_or_default();
    // A call that strace shows in two parts is begun once.
    text.lines().filter(|line| !line.contains("resumed>") && line.contains("sync")).count()
}
