//! `postrider doctor`: what on this machine keeps mail from being delivered well, and what to do about it.
//!
//! Each check looks, never changes anything that stays, ends within seconds whatever does not answer,
//! and says what it found, why that matters and what to do. `fail` means that mail will be lost from
//! sight, refused or unsafe until it is put right; `warn` that it will be worse than it could be.

mod certificate;
mod disk;
mod machine;
mod network;

use std::time::Duration;

use base::Clock;
use serde::Serialize;

use crate::cli::output::{Style, Tone, printable};
use crate::config::{Config, DeliveryMode};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    Warn,
    Fail,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: &'static str,
    pub state: State,
    /// What was seen, and why it matters.
    pub text: String,
    /// What to do; none where all is well.
    pub advice: Option<String>,
}

impl Finding {
    pub fn ok(check: &'static str, text: impl Into<String>) -> Finding {
        Finding { check, state: State::Ok, text: text.into(), advice: None }
    }

    pub fn warn(check: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { check, state: State::Warn, text: text.into(), advice: Some(advice.into()) }
    }

    pub fn fail(check: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { check, state: State::Fail, text: text.into(), advice: Some(advice.into()) }
    }

    /// A failure that does not matter while nothing leaves the machine.
    fn spared_in(mut self, mode: DeliveryMode) -> Finding {
        if mode == DeliveryMode::Sandbox && self.state == State::Fail {
            self.state = State::Warn;
            self.text.push_str(" (in sandbox mode nothing leaves this machine, so it does not matter yet)");
        }
        self
    }
}

/// How long the world may take to answer one question.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// Makes all checks, in the order of the report.
pub async fn examine(config: &Config, clock: &dyn Clock) -> Vec<Finding> {
    let mut findings = network::examine(config).await;
    findings.push(machine::clock(config, clock));
    findings.push(machine::files(config));
    findings.extend(disk::examine(config));
    findings.extend(certificate::examine(config, clock.now()));
    findings
}

/// For people: a line each, and what to do below it.
pub fn report(findings: &[Finding], style: Style) -> String {
    let mut text = String::new();
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    for finding in findings {
        let (tone, word) = match finding.state {
            State::Ok => (Tone::Good, "ok"),
            State::Warn => (Tone::Wait, "warn"),
            State::Fail => (Tone::Bad, "fail"),
        };
        let word = style.paint(tone, &format!("{word:<4}"));
        let indent = " ".repeat(width + 8);
        let room = LINE_CHARS_MAX.saturating_sub(indent.len());
        let seen = wrapped(&printable(&finding.text), room).join(&format!("\n{indent}"));
        text.push_str(&format!("{word}  {:<width$}  {seen}\n", finding.check));
        for line in finding.advice.iter().flat_map(|advice| wrapped(advice, room)) {
            text.push_str(&format!("{indent}{}\n", style.paint(Tone::Quiet, &line)));
        }
    }
    let count = |state| findings.iter().filter(|finding| finding.state == state).count();
    text.push_str(&match (count(State::Fail), count(State::Warn)) {
        (0, 0) => "\nAll is well.\n".to_owned(),
        (0, warned) => format!("\nNothing stands in the way; {warned} could be better.\n"),
        (failed, warned) => format!("\n{failed} must be put right, {warned} could be better.\n"),
    });
    text
}

/// As wide as most terminals, and as the eye likes.
const LINE_CHARS_MAX: usize = 100;

/// Lines of at most `room` characters, broken between words; a longer word has a line of its own.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_says_what_to_do() {
        let findings = [
            Finding::ok("clock", "synchronised"),
            Finding::warn("open files", "1024 at most", "Raise LimitNOFILE."),
            Finding::fail("port 25 out", "no answer", "Ask your provider."),
        ];
        assert_eq!(
            report(&findings, Style::PLAIN),
            "ok    clock        synchronised\n\
             warn  open files   1024 at most\n                   Raise LimitNOFILE.\n\
             fail  port 25 out  no answer\n                   Ask your provider.\n\
             \n1 must be put right, 1 could be better.\n"
        );
        assert!(report(&findings[..1], Style::PLAIN).ends_with("All is well.\n"));
        assert!(report(&findings[..2], Style::PLAIN).contains("Nothing stands in the way; 1 could"));
    }

    #[test]
    fn long_words_of_advice_fit_the_terminal() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("incomprehensibilities so", 7), ["incomprehensibilities", "so"]);
        let long = [Finding::fail("port 25 out", "no answer ".repeat(30), "Ask your provider. ".repeat(20))];
        assert!(report(&long, Style::PLAIN).lines().all(|line| line.chars().count() <= LINE_CHARS_MAX));
    }

    #[test]
    fn in_sandbox_mode_the_world_does_not_matter_yet() {
        let failed = Finding::fail("port 25 out", "no answer", "Ask your provider.");
        assert_eq!(failed.clone().spared_in(DeliveryMode::Live).state, State::Fail);
        let spared = failed.spared_in(DeliveryMode::Sandbox);
        assert_eq!(spared.state, State::Warn);
        assert!(spared.text.contains("sandbox mode"));
    }

    #[test]
    fn findings_are_json_for_programs() {
        let json = serde_json::to_value(Finding::warn("clock", "seen", "do")).expect("a finding can be written");
        assert_eq!(json, serde_json::json!({ "check": "clock", "state": "warn", "text": "seen", "advice": "do" }));
    }
}
