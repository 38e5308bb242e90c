//! The command line, as clap reads it. The doc comments are the help, the man pages and the
//! completions.

use std::path::PathBuf;

use base::{Address, MessageId};
use clap::{Args, Parser, Subcommand};

use super::failure::EXIT_CODES;
use crate::config::HostPort;

/// A mail relay: takes mail over SMTP, keeps it safe, delivers it.
///
/// To try it on this machine, run `postrider dev`: nothing leaves the machine, and every message
/// appears on a page.
#[derive(Debug, Parser)]
#[command(name = "postrider", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Taken by every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The configuration file (TOML). Without it, /etc/postrider/postrider.toml where there is one.
    #[arg(long, global = true, value_name = "FILE", env = "POSTRIDER_CONFIG")]
    pub config: Option<PathBuf>,
    /// The data directory; wins over the setting `data`.
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a server to develop against: on loopback, in sandbox mode, with an account ready to use.
    Dev(ServeArgs),
    /// Run a server.
    Serve(ServeArgs),
    /// Tenants: who sends mail.
    #[command(subcommand)]
    Account(AccountCommand),
    /// SMTP user names and passwords.
    #[command(subcommand)]
    Credential(CredentialCommand),
    /// Mail that waits; without a further command, a summary by destination.
    Queue(QueueArgs),
    /// One message: what it is, and what became of it.
    #[command(subcommand)]
    Message(MessageCommand),
    /// Send a message: a file, or the words of `--text`.
    Send(SendArgs),
    /// The configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look at this machine, and say what keeps it from delivering mail well.
    Doctor,
    /// Print completions for a shell: `postrider completions bash > /etc/bash_completion.d/postrider`.
    Completions { shell: clap_complete::Shell },
    /// Print the manual page, or write one for each command to a directory.
    Man {
        /// Where to write `postrider.1`, `postrider-queue.1` and the others.
        #[arg(long, value_name = "DIR")]
        directory: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Write this file once mail is accepted: JSON with pid, smtp, smtps and http; with `dev` also
    /// username and password.
    #[arg(long, value_name = "PATH")]
    pub ready_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Make an account.
    Add {
        /// A short name of your choice, such as `shop`.
        name: String,
    },
    /// List the accounts.
    List,
    /// Refuse an account's mail from now on. What waits is still delivered: see `queue cancel`.
    Revoke { name: String },
}

#[derive(Debug, Subcommand)]
pub enum CredentialCommand {
    /// Make a credential. Its password is shown once and kept nowhere.
    Add {
        /// The account it belongs to.
        account: String,
        /// The user name; without it, one is made up from the account's name.
        #[arg(long, value_name = "NAME")]
        username: Option<String>,
        /// Your words for what uses it, such as "web shop".
        #[arg(long, value_name = "TEXT", default_value = "")]
        label: String,
    },
    /// List the credentials, revoked ones too.
    List {
        /// Only those of this account.
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
    },
    /// Refuse a credential from now on.
    Revoke { username: String },
}

#[derive(Debug, Args)]
pub struct QueueArgs {
    #[command(subcommand)]
    pub command: Option<QueueCommand>,
}

#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// List what waits, the oldest first, a page at a time.
    List {
        #[command(flatten)]
        narrow: Narrow,
        /// How many lines at most.
        #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// Go on where the page before ended.
        #[arg(long, value_name = "PLACE")]
        after: Option<String>,
    },
    /// Keep mail back until it is released.
    Hold(Which),
    /// Let held mail go.
    Release(Which),
    /// Try now what waits for its next attempt.
    Retry(Which),
    /// Take mail back: it is not delivered, and its content is destroyed.
    Cancel(Which),
}

/// Which part of a list; nothing narrows nothing.
#[derive(Debug, Clone, Args)]
#[group(multiple = false)]
pub struct Narrow {
    /// One message.
    #[arg(long, value_name = "ID")]
    pub id: Option<MessageId>,
    /// Mail of one account.
    #[arg(long, value_name = "NAME")]
    pub account: Option<String>,
    /// Mail to one recipient domain.
    #[arg(long, value_name = "DOMAIN")]
    pub destination: Option<String>,
}

/// Which mail is meant. Everything is never meant by default.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// One message.
    #[arg(long, value_name = "ID")]
    pub id: Option<MessageId>,
    /// Mail of one account.
    #[arg(long, value_name = "NAME")]
    pub account: Option<String>,
    /// Mail to one recipient domain.
    #[arg(long, value_name = "DOMAIN")]
    pub destination: Option<String>,
    /// Everything that waits.
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Subcommand)]
pub enum MessageCommand {
    /// What is known of a message: its envelope and where each recipient stands.
    Show { id: MessageId },
    /// The story of a message: each decision, each dialogue, and what happens next.
    Explain { id: MessageId },
}

#[derive(Debug, Args)]
pub struct SendArgs {
    /// A message in a file, with its headers; `-` is standard input.
    #[arg(value_name = "FILE", required_unless_present = "text", conflicts_with_all = ["text", "subject"])]
    pub file: Option<PathBuf>,
    /// The words of a message of plain text.
    #[arg(long)]
    pub text: Option<String>,
    /// Its subject.
    #[arg(long)]
    pub subject: Option<String>,
    /// The sender; bounces go there.
    #[arg(long, value_name = "ADDRESS")]
    pub from: Address,
    /// A recipient; may be given many times.
    #[arg(long, value_name = "ADDRESS", required = true)]
    pub to: Vec<Address>,
    /// Whose message it is; without it, the oldest account's.
    #[arg(long, value_name = "NAME", conflicts_with = "server")]
    pub account: Option<String>,
    /// Send over SMTP to this server, instead of through the server that runs on the data directory.
    #[arg(long, value_name = "HOST:PORT", value_parser = host_port)]
    pub server: Option<HostPort>,
    /// The user name for that server.
    #[arg(long, value_name = "NAME", requires_all = ["server", "password"])]
    pub user: Option<String>,
    /// The password for that server. On the command line others on this machine can see it: better in
    /// the environment.
    #[arg(long, value_name = "PASSWORD", env = "POSTRIDER_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
}

fn host_port(text: &str) -> Result<HostPort, String> {
    HostPort::parse(text).ok_or_else(|| "expected a host and a port, such as 127.0.0.1:2525".to_owned())
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say what is wrong with the configuration; nothing, where nothing is.
    Check,
    /// Print every setting with its value, and where the value came from.
    Show,
    /// Print what every setting means: docs/configuration.md.
    Reference,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, String> {
        Cli::try_parse_from(line.split(' ')).map_err(|error| error.to_string())
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_flag_is_explained() {
        fn check(command: &clap::Command, path: &str) {
            for argument in command.get_arguments().filter(|argument| !argument.is_positional()) {
                assert!(argument.get_help().is_some(), "{path} {} needs a doc comment", argument.get_id());
            }
            for inner in command.get_subcommands() {
                let path = format!("{path} {}", inner.get_name());
                assert!(inner.get_about().is_some(), "{path} needs a doc comment");
                check(inner, &path);
            }
        }
        check(&Cli::command(), "postrider");
    }

    #[test]
    fn flags_for_all_may_stand_before_or_behind_the_command() {
        for line in [
            "postrider --json --data d queue",
            "postrider queue --json --data d",
            "postrider queue list --json --data d",
        ] {
            let cli = parse(line).expect("the line is right");
            assert!(cli.global.json, "{line}");
            assert_eq!(cli.global.data.as_deref(), Some(std::path::Path::new("d")), "{line}");
        }
    }

    #[test]
    fn an_order_to_the_queue_must_say_which_mail() {
        for order in ["hold", "release", "retry", "cancel"] {
            let told = parse(&format!("postrider queue {order}")).expect_err("nothing is named");
            assert!(told.contains("--all"), "{told}");
            assert!(parse(&format!("postrider queue {order} --all")).is_ok());
            assert!(parse(&format!("postrider queue {order} --destination example.org")).is_ok());
            assert!(parse(&format!("postrider queue {order} --all --account shop")).is_err());
        }
        assert!(parse("postrider queue cancel --id nonsense").is_err());
        assert!(parse("postrider queue list --limit 0").is_err());
        assert!(parse("postrider queue list --limit 1000 --account shop").is_ok());
    }

    #[test]
    fn a_message_comes_from_a_file_or_from_words() {
        assert!(parse("postrider send --from a@x.example --to b@y.example --text hello --subject hi").is_ok());
        assert!(parse("postrider send mail.eml --from a@x.example --to b@y.example --to c@z.example").is_ok());
        assert!(parse("postrider send - --from a@x.example --to b@y.example").is_ok());
        assert!(parse("postrider send --from a@x.example --to b@y.example").is_err());
        assert!(parse("postrider send mail.eml --text x --from a@x.example --to b@y.example").is_err());
        assert!(parse("postrider send mail.eml --from nonsense --to b@y.example").is_err());
        assert!(parse("postrider send mail.eml --from a@x.example --to b@y.example --user ada").is_err());
        assert!(
            parse("postrider send mail.eml --from a@x.example --to b@y.example --server mx --user a --password p")
                .is_err()
        );
    }

    #[test]
    fn both_servers_take_the_same_flags() {
        for command in ["dev", "serve"] {
            let line = format!("postrider {command} --config c.toml --data d --ready-file r.json");
            assert!(parse(&line).is_ok(), "{line}");
        }
    }
}
