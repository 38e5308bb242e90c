//! EHLO and what it shows, RSET, STARTTLS: the commands that begin anew.

use std::fmt::Write as _;

use super::AuthOffer;
use super::session::{Phase, Session, State, Step};

impl Session {
    /// EHLO or HELO: also ends a transaction (RFC 5321 §4.1.4).
    pub(super) fn hello(&mut self, name: &str, extended: bool, phase: Phase) -> Step {
        let step = forget(&phase);
        self.state = State::Commands(Phase::Named);
        if !matches!(phase, Phase::Unnamed) && !self.is_junk_left() {
            return step;
        }
        self.client.helo = name.into();
        self.client.extended = extended;
        if extended {
            let listed = self.extensions();
            self.replies.line(&listed);
        } else {
            self.replies.format(format_args!("250 {}", self.offer.hostname));
        }
        step
    }

    fn extensions(&self) -> String {
        let (offer, limits) = (&self.offer, &self.limits);
        let mut text = String::with_capacity(320);
        // Writing to a String cannot fail.
        let _ = write!(text, "250-{}\r\n250-PIPELINING\r\n250-8BITMIME\r\n", offer.hostname);
        let _ = write!(text, "250-SIZE {}\r\n", limits.message_octets_max);
        if self.client.tls || offer.auth == AuthOffer::Always {
            text.push_str(if offer.auth == AuthOffer::Never { "" } else { "250-AUTH PLAIN LOGIN\r\n" });
        }
        for (offered, line) in [
            (offer.starttls && !self.client.tls, "250-STARTTLS\r\n"),
            (offer.chunking, "250-CHUNKING\r\n"),
            (offer.dsn, "250-DSN\r\n"),
            (offer.smtputf8, "250-SMTPUTF8\r\n"),
        ] {
            text.push_str(if offered { line } else { "" });
        }
        let _ = write!(text, "250-LIMITS RCPTMAX={} MAILMAX={}\r\n", limits.recipients_max, limits.transactions_max);
        text.push_str("250 ENHANCEDSTATUSCODES");
        text
    }

    pub(super) fn reset(&mut self, phase: Phase) -> Step {
        let step = forget(&phase);
        self.state = State::Commands(if matches!(phase, Phase::Unnamed) { Phase::Unnamed } else { Phase::Named });
        if self.is_junk_left() {
            self.replies.line("250 2.0.0 Ok");
        }
        step
    }

    pub(super) fn start_tls(&mut self, phase: Phase) -> Step {
        let refusal = if self.client.tls {
            "503 5.5.1 TLS is already started"
        } else if !self.offer.starttls {
            "502 5.5.1 STARTTLS is not offered"
        } else if !matches!(phase, Phase::Named) || !self.client.extended {
            "503 5.5.1 STARTTLS comes behind EHLO and outside of a transaction"
        } else if self.client.authenticated {
            "503 5.5.1 STARTTLS comes before AUTH"
        } else {
            self.replies.line("220 2.0.0 Ready to start TLS");
            self.state = State::Handshake { started: false };
            return Step::Again;
        };
        self.state = State::Commands(phase);
        self.complain(refusal);
        Step::Again
    }
}

/// A content of which chunks have come is dropped, and the caller told.
fn forget(phase: &Phase) -> Step {
    match phase {
        Phase::Chunks(_) => Step::AbortData,
        _ => Step::Again,
    }
}
