//! Why a command did not do what it was asked to, and the exit code that tells it to scripts.

use std::fmt;
use std::io;

use crate::config::ConfigError;

/// Said by `postrider --help`: scripts may rely on these numbers.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  it could not be done; the message says why
  2  the command line is wrong
  3  the configuration is wrong
  4  no server is running here, and the command needs one
  5  what was named (a message, an account, a credential) does not exist

Environment:
  POSTRIDER_CONFIG               the configuration file, as --config
  POSTRIDER_<SECTION>_<KEY>      overrides a setting: POSTRIDER_SMTP_RECIPIENTS_MAX=50
  POSTRIDER_MASTER_KEY           the master key, instead of the file master.key
  NO_COLOR                       no colours, even on a terminal";

/// What went wrong, in words for the person who typed the command.
#[derive(Debug)]
pub struct Failure {
    code: Code,
    text: String,
    /// What to do about it.
    advice: Option<String>,
}

/// The exit codes of [`EXIT_CODES`], but for 0 and for 2, which is given by the parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    Failed = 1,
    Usage = 2,
    Configuration = 3,
    NotRunning = 4,
    NotFound = 5,
}

impl Failure {
    pub fn new(code: Code, text: impl Into<String>) -> Failure {
        Failure { code, text: text.into(), advice: None }
    }

    pub fn failed(text: impl Into<String>) -> Failure {
        Failure::new(Code::Failed, text)
    }

    pub fn advise(mut self, advice: impl Into<String>) -> Failure {
        self.advice = Some(advice.into());
        self
    }

    pub fn code(&self) -> Code {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if let Some(advice) = &self.advice {
            write!(f, "\n{advice}")?;
        }
        Ok(())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::new(Code::Configuration, error.to_string())
            .advise("docs/configuration.md lists every setting, as does `postrider config reference`.")
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::failed(format!("{error:#}"))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::failed(error.to_string())
    }
}
