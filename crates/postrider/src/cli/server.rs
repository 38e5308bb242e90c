//! `postrider dev` and `postrider serve`: from the configuration to a server that runs until it is told
//! to stop.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use base::{Actor, Timestamp};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::args::ServeArgs;
use super::failure::Failure;
use super::first::{DevCredential, Shown, credential, first_message};
use super::output::{Style, Tone};
use crate::config::{Config, DeliveryMode, ListenerAuth, ListenerTls, Log, LogFormat, Purpose, Sources};
use crate::serve::{self, Ready, Running};

pub fn run(sources: &Sources, args: ServeArgs) -> Result<ExitCode, Failure> {
    let config = Config::load(sources)?;
    start_log(&config.log)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(&config, args.ready_file.as_deref()))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(config: &Config, ready_file: Option<&Path>) -> Result<(), Failure> {
    // From the first moment on: a signal that comes while the server starts is not lost.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let running = serve::start(config).await?;
    let served = announce(config, &running, ready_file).await;
    if served.is_ok() {
        told_to_stop(&mut interrupt, &mut terminate).await;
        tracing::info!("stopping; a second signal stops at once, which is as safe");
    }
    tokio::select! {
        () = running.stop() => {}
        () = told_to_stop(&mut interrupt, &mut terminate) => tracing::warn!("stopped at once"),
    }
    served
}

async fn told_to_stop(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Says that mail is accepted: to scripts in the ready file, to people on the terminal.
async fn announce(config: &Config, running: &Running, ready_file: Option<&Path>) -> Result<(), Failure> {
    let dev = match config.purpose {
        Purpose::Dev => Some(credential(&running.store, &running.accounts).await?),
        Purpose::Serve => None,
    };
    if let Some(path) = ready_file {
        let ready = Ready {
            pid: std::process::id(),
            smtp: running.smtp.first().copied(),
            smtps: running.smtps.first().copied(),
            http: running.http,
            username: dev.as_ref().map(|dev| dev.username.clone()),
            password: dev.as_ref().map(|dev| dev.password.clone()),
        };
        ready.write(path)?;
    }
    for address in running.smtp.iter().chain(&running.smtps) {
        tracing::info!(%address, "mail is accepted");
    }
    tracing::info!(url = %format!("http://{}", running.http), "pages are served");
    if let Some(dev) = dev {
        welcome(config, running, &dev);
        first(config, running, &dev).await;
    }
    Ok(())
}

/// What a newcomer needs, on standard output; the log goes to standard error.
fn welcome(config: &Config, running: &Running, dev: &DevCredential) {
    let style = Style::of_terminal();
    let mut text = format!("\n{}\n\n", style.paint(Tone::Strong, "Postrider takes your mail"));
    let mut line = |name: &str, value: &str| {
        text.push_str(&format!("  {}{value}\n", style.paint(Tone::Quiet, &format!("{name:<10}"))));
    };
    for address in &running.smtp {
        line("SMTP", &address.to_string());
    }
    for address in &running.smtps {
        line("SMTPS", &address.to_string());
    }
    line("username", &dev.username);
    line("password", &dev.password);
    line("inbox", &format!("http://{}/sandbox", running.http));
    line("data", &config.data.display().to_string());
    let mode = match config.delivery.mode {
        DeliveryMode::Sandbox => "sandbox: nothing leaves this machine",
        DeliveryMode::Live => "live: mail is sent to its recipients",
    };
    line("mode", mode);
    if let Some(address) = running.smtp.first() {
        text.push_str(&format!("\nSend something:\n\n  {}\n", swaks(*address, dev)));
    }
    text.push_str("\nCtrl-C stops.\n\n");
    print(&text);
}

fn swaks(server: SocketAddr, dev: &DevCredential) -> String {
    format!(
        "swaks --server {server} --auth PLAIN --auth-user {} --auth-password {} \\\n        \
         --from ada@example.org --to grace@example.com --header 'Subject: First light'",
        dev.username, dev.password
    )
}

/// Shows the way of a first message, once: where the inbox has one already, the newcomer knows.
async fn first(config: &Config, running: &Running, dev: &DevCredential) {
    // It goes in plaintext, so only to a listener on loopback that takes a password so.
    let plaintext = config.smtp.listeners.iter().filter(|listener| listener.tls != ListenerTls::Implicit);
    let open = plaintext
        .zip(&running.smtp)
        .find(|(listener, address)| listener.auth == ListenerAuth::Always && address.ip().is_loopback());
    let (Some((_, address)), DeliveryMode::Sandbox) = (open, config.delivery.mode) else { return };
    match running.store.sandbox_list(Actor::Operator.scope(), None, 1).await {
        Ok(inbox) if inbox.is_empty() => {}
        Ok(_) => return,
        Err(error) => return tracing::warn!(%error, "the inbox cannot be read"),
    }
    let began_at = running.clock.now();
    match first_message(&running.store, &*running.clock, *address, dev).await {
        Ok(steps) => print(&first_told(&steps, began_at, Style::of_terminal())),
        Err(error) => tracing::warn!("the first message did not arrive: {error:#}"),
    }
}

fn first_told(steps: &[Shown], began_at: Timestamp, style: Style) -> String {
    let mut text = "A first message to yourself, step by step:\n\n".to_owned();
    for step in steps {
        let after = step.at.since(began_at).as_micros() as f64 / 1e3;
        let when = style.paint(Tone::Quiet, &format!("{after:>8.1} ms"));
        let what = style.paint(Tone::Strong, &format!("{:<10}", step.what));
        text.push_str(&format!("  {when}  {what}  {}\n", style.paint(Tone::Plain, &step.detail)));
    }
    text.push('\n');
    text
}

/// A terminal that has gone away is no reason to stop serving.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn start_log(log: &Log) -> Result<(), Failure> {
    let filter = EnvFilter::builder().parse(&log.level).map_err(|error| Failure::failed(error.to_string()))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    let started = match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| Failure::failed(format!("the log cannot be started: {error}")))
}

/// Each connection is a file; the soft limit of most systems, 1024, is from another time.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the file limit cannot be raised; `postrider doctor` says what it is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_messages_steps_are_shown_with_their_times() {
        let began = Timestamp::from_secs(1_795_321_000);
        let step =
            |what, after_us, detail: &str| Shown { what, at: Timestamp(began.0 + after_us), detail: detail.into() };
        let steps = [step("accepted", 1_200, "message 0190"), step("synced", 12_900, "on disk: 250 2.0.0 \x1b[31m")];
        assert_eq!(
            first_told(&steps, began, Style::PLAIN),
            "A first message to yourself, step by step:\n\n       \
             1.2 ms  accepted    message 0190\n      \
             12.9 ms  synced      on disk: 250 2.0.0 \u{FFFD}[31m\n\n"
        );
    }

    #[test]
    fn the_command_to_try_is_complete() {
        let dev = DevCredential { username: "dev-x7c2ma".into(), password: "p4ss".into() };
        let command = swaks(SocketAddr::from(([127, 0, 0, 1], 2525)), &dev);
        assert!(command.starts_with("swaks --server 127.0.0.1:2525 --auth PLAIN --auth-user dev-x7c2ma"));
        assert!(command.contains("--auth-password p4ss"));
    }
}
