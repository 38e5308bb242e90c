//! The command line: parse, do one thing, print one answer, end with an exit code that says how it
//! went ([`failure::EXIT_CODES`]).
//!
//! Each command is a function from its arguments to a [`output::Printed`] (text for people, JSON for
//! programs) or a [`failure::Failure`]; only this file prints and exits. What comes from outside
//! (subjects, a peer's words) is made harmless for a terminal where it is written into text.

mod accounts;
mod args;
mod configuration;
mod explain;
pub mod failure;
mod first;
mod message;
pub mod output;
mod pages;
mod queue;
mod send;
mod server;
mod submission;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use base::{Clock, SystemClock};
use clap::Parser;

use crate::config::{Config, Purpose, Sources};
use crate::control::{Control, SOCKET_NAME};
use crate::doctor;
use args::{Cli, Command, Global};
use failure::{Code, Failure};
use output::{Printed, Style};

/// Read where no other file is named.
const CONFIG_FILE: &str = "/etc/postrider/postrider.toml";

/// Does what the process was started for.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let as_json = cli.global.json;
    let done = match cli.command {
        Command::Dev(args) => server::run(&sources(Purpose::Dev, &cli.global), args),
        Command::Serve(args) => server::run(&sources(Purpose::Serve, &cli.global), args),
        command => answer(command, &cli.global).and_then(|answer| {
            answer.printed.print(as_json)?;
            Ok(answer.code)
        }),
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            report(&failure, as_json);
            ExitCode::from(failure.code() as u8)
        }
    }
}

fn report(failure: &Failure, as_json: bool) {
    let mut out = std::io::stderr().lock();
    let text = failure.to_string();
    // Where not even the error can be written, the exit code still tells.
    let _ = if as_json {
        writeln!(out, "{}", serde_json::json!({ "error": text, "code": failure.code() as u8 }))
    } else {
        writeln!(out, "postrider: {text}")
    };
}

/// What is printed, and how the process ends.
struct Answer {
    printed: Printed,
    code: ExitCode,
}

impl From<Printed> for Answer {
    fn from(printed: Printed) -> Answer {
        Answer { printed, code: ExitCode::SUCCESS }
    }
}

fn answer(command: Command, global: &Global) -> Result<Answer, Failure> {
    let style = Style::of_terminal();
    let sources = sources(operator_purpose(global), global);
    match command {
        Command::Completions { shell } => return Ok(pages::completions(shell).into()),
        Command::Man { directory } => return Ok(pages::man(directory.as_deref())?.into()),
        Command::Config(command) => return Ok(configuration::run(&command, &sources, style)?.into()),
        _ => {}
    }
    let config = Config::load(&sources)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(ask(command, config, style))
}

/// The commands that talk: to the running server, to the database, to the world.
async fn ask(command: Command, config: Config, style: Style) -> Result<Answer, Failure> {
    let control = Control::new(&config.data);
    let now = SystemClock.now();
    match command {
        Command::Account(command) => {
            let errand = match command {
                args::AccountCommand::Add { .. } => accounts::Errand::Make,
                _ => accounts::Errand::Look,
            };
            let office = accounts::Office::open(&config, errand).await?;
            let printed = accounts::account(command, &office, style).await;
            office.close().await;
            Ok(printed?.into())
        }
        Command::Credential(command) => {
            let office = accounts::Office::open(&config, accounts::Errand::Look).await?;
            let printed = accounts::credential(command, &office, style).await;
            office.close().await;
            Ok(printed?.into())
        }
        Command::Queue(args) => Ok(queue::run(args, &control, now, style).await?.into()),
        Command::Message(command) => Ok(message::run(command, &control, now, style).await?.into()),
        Command::Send(args) => Ok(send::run(args, &control, style).await?.into()),
        Command::Doctor => {
            let findings = doctor::examine(&config, &SystemClock).await;
            let sick = findings.iter().any(|finding| finding.state == doctor::State::Fail);
            let printed = Printed::new(&findings, doctor::report(&findings, style));
            Ok(Answer { printed, code: if sick { ExitCode::FAILURE } else { ExitCode::SUCCESS } })
        }
        Command::Dev(_)
        | Command::Serve(_)
        | Command::Config(_)
        | Command::Completions { .. }
        | Command::Man { .. } => {
            Err(Failure::new(Code::Usage, "this command is carried out before a configuration is read"))
        }
    }
}

fn sources(purpose: Purpose, global: &Global) -> Sources {
    let standard = || Some(Path::new(CONFIG_FILE)).filter(|file| purpose == Purpose::Serve && file.exists());
    let file = global.config.clone().or_else(|| standard().map(Path::to_owned));
    Sources::of_process(purpose, file, global.data.clone())
}

/// Whose instance a command means that starts no server: the developer's in `./data`, where one is
/// there and nothing else is named; else the machine's.
fn operator_purpose(global: &Global) -> Purpose {
    let named = global.config.is_some() || global.data.is_some() || std::env::var_os("POSTRIDER_DATA").is_some();
    let beside = Path::new("data");
    let is_ours = beside.join(SOCKET_NAME).exists() || beside.join("master.key").exists();
    if !named && is_ours { Purpose::Dev } else { Purpose::Serve }
}
