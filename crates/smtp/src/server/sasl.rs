//! AUTH (RFC 4954) with PLAIN (RFC 4616) and LOGIN.

use base::Secret;
use bytes::{Buf, BytesMut};
use data_encoding::BASE64;

use super::line::{Fault, Line};
use super::session::{Phase, Question, Session, State, Step};
use super::{AuthOffer, CREDENTIAL_OCTETS_MAX, Credentials, Mechanism};

/// What the client's next line answers.
#[derive(Debug)]
pub(super) enum Exchange {
    Plain,
    LoginUser,
    LoginSecret { user: Secret },
}

impl Session {
    pub(super) fn auth(&mut self, mechanism: &str, initial: Option<&[u8]>, phase: Phase) -> Step {
        let exchange = self.may_authenticate(mechanism, &phase);
        self.state = State::Commands(phase);
        match (exchange, initial) {
            (Err(refusal), _) => {
                self.complain(refusal);
                Step::Again
            }
            (Ok(exchange), None) => self.challenge(exchange),
            // RFC 4954 §4: `=` is the empty response.
            (Ok(exchange), Some(b"=")) => self.respond(exchange, b""),
            (Ok(exchange), Some(response)) => self.respond(exchange, response),
        }
    }

    fn may_authenticate(&self, mechanism: &str, phase: &Phase) -> Result<Exchange, &'static str> {
        if matches!(phase, Phase::Unnamed) || !self.client.extended {
            return Err("503 5.5.1 Send EHLO first");
        }
        if !matches!(phase, Phase::Named) {
            return Err("503 5.5.1 AUTH is not for within a transaction");
        }
        if self.client.authenticated {
            return Err("503 5.5.1 Already authenticated");
        }
        match self.offer.auth {
            AuthOffer::Never => return Err("502 5.5.1 AUTH is not offered"),
            AuthOffer::WhenTls if !self.client.tls => return Err("538 5.7.11 Encryption is required for AUTH"),
            AuthOffer::WhenTls | AuthOffer::Always => {}
        }
        if mechanism.eq_ignore_ascii_case("PLAIN") {
            Ok(Exchange::Plain)
        } else if mechanism.eq_ignore_ascii_case("LOGIN") {
            Ok(Exchange::LoginUser)
        } else {
            Err("504 5.5.4 Mechanism not known")
        }
    }

    fn challenge(&mut self, exchange: Exchange) -> Step {
        self.replies.line(match &exchange {
            Exchange::Plain => "334 ",
            // "Username:" and "Password:": clients compare these.
            Exchange::LoginUser => "334 VXNlcm5hbWU6",
            Exchange::LoginSecret { .. } => "334 UGFzc3dvcmQ6",
        });
        self.state = State::Sasl(exchange);
        Step::Again
    }

    /// Reads the client's answer to a challenge.
    pub(super) fn read_response(&mut self, exchange: Exchange, input: &mut BytesMut) -> Step {
        match self.next_line(input, self.limits.auth_line_octets_max) {
            Line::Partial => {
                self.state = State::Sasl(exchange);
                Step::Rest
            }
            Line::Broken(fault) => {
                // The exchange is over, as after any other error in it.
                self.state = State::Commands(Phase::Named);
                match fault {
                    Fault::TooLong => self.complain("500 5.5.6 Authentication line too long"),
                    fault => self.broken_line(fault),
                }
                Step::Again
            }
            Line::Whole(octets) => {
                let whole = octets + 2;
                self.state = State::Commands(Phase::Named);
                let step = if input.len() > whole {
                    self.out_of_step();
                    Step::Again
                } else if input[..octets] == *b"*" {
                    self.complain("501 5.7.0 Authentication cancelled");
                    Step::Again
                } else {
                    self.respond(exchange, &input[..octets])
                };
                // A password may be in it.
                input[..octets].fill(0);
                input.advance(whole);
                step
            }
        }
    }

    fn respond(&mut self, exchange: Exchange, response: &[u8]) -> Step {
        let Ok(response) = BASE64.decode(response).map(Secret::new) else {
            self.complain("501 5.5.2 The response is no base64");
            return Step::Again;
        };
        let credentials = match exchange {
            Exchange::LoginUser => return self.challenge(Exchange::LoginSecret { user: response }),
            Exchange::LoginSecret { user } => {
                credentials(Mechanism::Login, user.expose_secret(), response.expose_secret())
            }
            Exchange::Plain => plain(response.expose_secret()),
        };
        let Some(credentials) = credentials else {
            self.login_failed();
            return Step::Again;
        };
        self.state = State::Asked(Question::Login);
        Step::Authenticate(credentials)
    }
}

/// `[authzid] NUL authcid NUL passwd`. To act for somebody else is nobody's right here.
fn plain(response: &[u8]) -> Option<Credentials> {
    let mut parts = response.split(|b| *b == 0);
    let (authorization, user, secret) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !(authorization.is_empty() || authorization == user) {
        return None;
    }
    credentials(Mechanism::Plain, user, secret)
}

/// `None` for what cannot be anybody's.
fn credentials(mechanism: Mechanism, user: &[u8], secret: &[u8]) -> Option<Credentials> {
    let plausible = |text: &[u8]| !text.is_empty() && text.len() <= CREDENTIAL_OCTETS_MAX && !text.contains(&0);
    if !plausible(user) || !plausible(secret) {
        return None;
    }
    let user = std::str::from_utf8(user).ok()?.to_owned();
    Some(Credentials { mechanism, user, secret: Secret::new(secret) })
}
