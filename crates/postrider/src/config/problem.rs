//! What is wrong with a configuration, told so that the reader knows where to look and what to write.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where a setting's value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    File {
        path: PathBuf,
        line: Option<usize>,
    },
    Environment {
        variable: String,
    },
    /// On the command line, such as `--data`.
    Flag {
        name: &'static str,
    },
}

impl Origin {
    /// Relative paths in a file are meant from where the file is; all others from where the program runs.
    pub fn base_directory(&self) -> Option<&Path> {
        match self {
            Origin::File { path, .. } => path.parent(),
            Origin::Default | Origin::Environment { .. } | Origin::Flag { .. } => None,
        }
    }

    /// The same origin, at a line that is known more exactly.
    pub fn at_line(&self, exact: Option<usize>) -> Origin {
        match self {
            Origin::File { path, line } => Origin::File { path: path.clone(), line: exact.or(*line) },
            other => other.clone(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Origin::File { path, line: None } => write!(f, "{}", path.display()),
            Origin::Environment { variable } => f.write_str(variable),
            Origin::Flag { name } => write!(f, "--{name}"),
        }
    }
}

/// One mistake in one value, seen from inside that value: its reader does not know the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where inside the value: `[0].address`, or empty.
    pub path: String,
    pub line: Option<usize>,
    pub text: String,
}

impl Fault {
    pub fn new(line: Option<usize>, text: impl Into<String>) -> Fault {
        Fault { path: String::new(), line, text: text.into() }
    }

    /// The same fault, seen from the value around it.
    pub fn within(mut self, outer: &str) -> Fault {
        self.path.insert_str(0, outer);
        self
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub origin: Origin,
    /// The full name: `smtp.listeners[0].address`; empty where the whole file is meant.
    pub key: String,
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.text)
    }
}

/// All that is wrong, so that it can be put right in one go. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration has ")?;
        match self.problems.len() {
            1 => f.write_str("a mistake:")?,
            many => write!(f, "{many} mistakes:")?,
        }
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// `; did you mean …?` with the known name that is nearest to `written`, or the list of all where
/// none is near.
pub fn suggestion<'a>(written: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let near = known
        .clone()
        .map(|name| (strsim::damerau_levenshtein(written, name), strsim::jaro_winkler(written, name), name))
        .filter(|(edits, likeness, _)| *edits <= 1 || *likeness > 0.75)
        .max_by(|a, b| a.1.total_cmp(&b.1));
    match near {
        Some((_, _, name)) => format!("did you mean {name}?"),
        None => format!("known here: {}", known.collect::<Vec<_>>().join(", ")),
    }
}
