//! Postrider measured beside others, on one machine, in one run.
//!
//! The load comes from Postfix's smtp-source and ends in its smtp-sink; between them stands nothing ("direct": the
//! ceiling of the machine), Postfix, or Postrider. The sync before 250 is on everywhere. Absolute figures move with
//! the machine: the ratios within one run are what counts.
//!
//! How it is measured:
//! - **Rounds.** Each round runs every case with every server, one after the other, so that a slow minute of the
//!   machine falls on all. A figure is the median of the rounds.
//! - **Size of a run.** A short run first says how fast the server is; the measured one then has as many messages as
//!   take `--seconds`.
//! - **accepted/s**: until smtp-source ends, which has then seen 250 for each message. **end to end/s**: until
//!   smtp-sink's own counter (`-c`) has reached the number of messages. The same for all servers.
//! - **CPU**: user and system time of the server's whole process tree, from before the run until it is quiet again, so
//!   that work put off is counted too.
//! - **Memory**: for one process its peak (VmHWM, reset before the run); for several the highest sum of their
//!   proportional shares (Pss), looked at four times a second.
//! - **Syncs**: fsync and fdatasync calls of the tree, counted by strace in a short run of its own (tracing slows).
//!
//! smtp-source knows no AUTH, so Postrider has a listener that trusts loopback; all else is as in production.

mod case;
mod mta;
mod process;
mod queue;
mod report;
mod run;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::case::{CASES, Case};
use crate::mta::{Kind, Mta};
use crate::report::Row;
use crate::run::Plan;

/// Measures Postrider beside Postfix and a direct run.
#[derive(Debug, Parser)]
#[command(name = "postrider-bench")]
struct Arguments {
    /// One round, short runs, nothing written: a look, not a measurement.
    #[arg(long)]
    quick: bool,
    /// Rounds; figures are medians of them [default: 3, quick: 1].
    #[arg(long)]
    rounds: Option<usize>,
    /// How long one measured run should take, in seconds [default: 6, quick: 2].
    #[arg(long)]
    seconds: Option<f64>,
    /// What to measure.
    #[arg(long, value_delimiter = ',', default_values_t = [Kind::Direct, Kind::Postfix, Kind::Postrider])]
    mta: Vec<Kind>,
    /// Only cases whose name has this in it, such as `4096/20` or `reused`.
    #[arg(long)]
    case: Vec<String>,
    /// Messages waiting for a dead destination in the queue case; 0 leaves it out [default: 100000, quick: 10000].
    #[arg(long)]
    queue: Option<usize>,
    /// Only the queue case.
    #[arg(long)]
    queue_only: bool,
    /// Leaves out counting syncs.
    #[arg(long)]
    no_syncs: bool,
    /// The program to measure.
    #[arg(long, default_value = "target/release/postrider")]
    program: PathBuf,
    /// Where the servers keep their files; must be a real disk.
    #[arg(long, default_value = "target")]
    directory: PathBuf,
    /// Where the results go.
    #[arg(long, default_value = "bench/results")]
    results: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let directory = arguments
        .directory
        .canonicalize()
        .with_context(|| format!("{} is no directory", arguments.directory.display()))?;
    ensure!(!process::is_in_memory(&directory)?, "{} is in memory: a sync costs nothing there", directory.display());
    let program = arguments.program.canonicalize();
    if arguments.mta.contains(&Kind::Postrider) {
        program.as_ref().map_err(|error| anyhow::anyhow!("{}: {error}", arguments.program.display()))?;
    }
    let place = mta::Place { directory, program: program.unwrap_or_default() };
    println!("{}", process::machine());

    if !arguments.queue_only {
        let rows = measure(&arguments, &place)?;
        println!("\n{}", report::table(&rows));
        if !arguments.quick && arguments.case.is_empty() {
            let path = report::write(&arguments.results, "latest.json", &rows)?;
            println!("written: {}", path.display());
        }
    }
    let waiting = arguments.queue.unwrap_or(if arguments.quick { 10_000 } else { 100_000 });
    if waiting > 0 && arguments.mta.contains(&Kind::Postrider) {
        let queue = queue::measure(&place, waiting)?;
        println!("\n{queue}");
        if !arguments.quick {
            let path = report::write(&arguments.results, "queue.json", &queue)?;
            println!("written: {}", path.display());
        }
    }
    Ok(())
}

fn measure(arguments: &Arguments, place: &mta::Place) -> Result<Vec<Row>> {
    let rounds = arguments.rounds.unwrap_or(if arguments.quick { 1 } else { 3 });
    let seconds = arguments.seconds.unwrap_or(if arguments.quick { 2.0 } else { 6.0 });
    let chosen = |case: &Case| {
        arguments.case.is_empty() || arguments.case.iter().any(|part| case.to_string().contains(part.as_str()))
    };
    let cases: Vec<Case> = CASES.into_iter().filter(chosen).collect();
    ensure!(!cases.is_empty(), "no case has {:?} in its name", arguments.case);

    let mut servers = Vec::new();
    for kind in &arguments.mta {
        servers.push(Mta::start(*kind, place, &[])?);
    }
    let mut plan = Plan::new(seconds);
    let mut measured = Vec::new();
    for round in 1..=rounds {
        for case in &cases {
            for server in &mut servers {
                let figures = plan.run(server, *case)?;
                println!(
                    "round {round}/{rounds}  {:<10} {:<22} {figures}",
                    server.kind().to_string(),
                    case.to_string()
                );
                measured.push((server.kind(), *case, figures));
            }
        }
    }
    drop(servers);

    let mut rows = report::medians(&measured);
    if !arguments.no_syncs {
        for row in &mut rows {
            row.syncs_per_message = run::syncs_per_message(row.kind, place, row.case)?;
        }
    }
    Ok(rows)
}
