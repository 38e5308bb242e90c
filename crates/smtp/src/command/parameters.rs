//! The parameters of MAIL and RCPT (RFC 5321 §4.1.2 `esmtp-param`, and the extensions we offer).

use base::{BodyType, DsnReturn, Notify};

use super::{CommandError, ForwardPath, Mail, Rcpt, number, xtext};

/// RFC 3461 §4.4.
const ENVID_OCTETS_MAX: usize = 100;
/// RFC 3461 §4.2: 500 for the parameter.
const ORIGINAL_OCTETS_MAX: usize = 500;

/// Which extensions a command made use of: a server takes only those that it offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parameters {
    /// Any parameter at all: they are for clients that said EHLO.
    pub any: bool,
    /// RET, ENVID, NOTIFY, ORCPT.
    pub dsn: bool,
}

/// Keyword and value of each parameter.
fn each<'a>(
    text: Option<&'a [u8]>,
    mut take: impl FnMut(&[u8], Option<&'a [u8]>) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let Some(text) = text else { return Ok(()) };
    for parameter in text.split(|b| *b == b' ') {
        let (keyword, value) = match memchr::memchr(b'=', parameter) {
            Some(equals) => (&parameter[..equals], Some(&parameter[equals + 1..])),
            None => (parameter, None),
        };
        let alphanumeric = |b: &u8| b.is_ascii_alphanumeric();
        let keyword_valid =
            keyword.first().is_some_and(alphanumeric) && keyword.iter().all(|b| alphanumeric(b) || *b == b'-');
        // Octets above 127 are for SMTPUTF8 (RFC 6531 §3.3); who takes the value looks at them.
        let value_valid = value.is_none_or(|v| !v.is_empty() && v.iter().all(|b| *b > b' ' && *b != b'=' && *b != 127));
        if !keyword_valid || !value_valid {
            return Err(CommandError::ParameterSyntax);
        }
        take(keyword, value)?;
    }
    Ok(())
}

/// Sets what was not set yet.
fn once<T>(place: &mut Option<T>, name: &'static str, value: Option<T>) -> Result<(), CommandError> {
    match value {
        Some(value) if place.is_none() => {
            *place = Some(value);
            Ok(())
        }
        _ => Err(CommandError::Parameter(name)),
    }
}

pub(super) fn mail_parameters(text: Option<&[u8]>) -> Result<Mail, CommandError> {
    let mut mail = Mail {
        sender: None,
        size: None,
        body: None,
        smtputf8: false,
        ret: None,
        envid: None,
        parameters: Parameters { any: text.is_some(), dsn: false },
    };
    let (mut smtputf8, mut auth) = (None, None);
    each(text, |keyword, value| {
        if keyword.eq_ignore_ascii_case(b"SIZE") {
            once(&mut mail.size, "SIZE", value.and_then(size))
        } else if keyword.eq_ignore_ascii_case(b"BODY") {
            once(&mut mail.body, "BODY", value.map(body).transpose()?)
        } else if keyword.eq_ignore_ascii_case(b"SMTPUTF8") {
            once(&mut smtputf8, "SMTPUTF8", value.is_none().then_some(()))
        } else if keyword.eq_ignore_ascii_case(b"RET") {
            mail.parameters.dsn = true;
            once(&mut mail.ret, "RET", value.and_then(ret))
        } else if keyword.eq_ignore_ascii_case(b"ENVID") {
            mail.parameters.dsn = true;
            once(&mut mail.envid, "ENVID", value.and_then(envid))
        } else if keyword.eq_ignore_ascii_case(b"AUTH") {
            // RFC 4954 §5: who may not vouch for others is not believed, but may say it.
            once(&mut auth, "AUTH", value.filter(|v| *v == b"<>" || xtext::decode(v).is_some()).map(|_| ()))
        } else {
            Err(CommandError::ParameterUnknown)
        }
    })?;
    mail.smtputf8 = smtputf8.is_some();
    Ok(mail)
}

/// RFC 1870 §3: `1*20DIGIT`.
fn size(value: &[u8]) -> Option<u64> {
    if value.len() > 20 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(number(value).unwrap_or(u64::MAX))
}

fn body(value: &[u8]) -> Result<BodyType, CommandError> {
    if value.eq_ignore_ascii_case(b"8BITMIME") {
        Ok(BodyType::EightBitMime)
    } else if value.eq_ignore_ascii_case(b"7BIT") {
        Ok(BodyType::SevenBit)
    } else if value.eq_ignore_ascii_case(b"BINARYMIME") {
        // A word that we know, of an extension that we do not offer (RFC 3030).
        Err(CommandError::ParameterUnknown)
    } else {
        Err(CommandError::Parameter("BODY"))
    }
}

fn ret(value: &[u8]) -> Option<DsnReturn> {
    if value.eq_ignore_ascii_case(b"FULL") {
        Some(DsnReturn::Full)
    } else if value.eq_ignore_ascii_case(b"HDRS") {
        Some(DsnReturn::Headers)
    } else {
        None
    }
}

fn envid(value: &[u8]) -> Option<Box<str>> {
    if value.len() > ENVID_OCTETS_MAX {
        return None;
    }
    xtext::decode(value).map(Into::into)
}

pub(super) fn rcpt_parameters(path: ForwardPath, text: Option<&[u8]>) -> Result<Rcpt, CommandError> {
    let parameters = Parameters { any: text.is_some(), dsn: text.is_some() };
    let mut rcpt = Rcpt { path, notify: None, original: None, parameters };
    each(text, |keyword, value| {
        if keyword.eq_ignore_ascii_case(b"NOTIFY") {
            once(&mut rcpt.notify, "NOTIFY", value.and_then(notify))
        } else if keyword.eq_ignore_ascii_case(b"ORCPT") {
            let value = value.filter(|v| v.len() <= ORIGINAL_OCTETS_MAX);
            once(&mut rcpt.original, "ORCPT", value.and_then(xtext::decode_original).map(Into::into))
        } else {
            Err(CommandError::ParameterUnknown)
        }
    })?;
    Ok(rcpt)
}

/// `NEVER`, or a list of the other three without repetition (RFC 3461 §4.1).
fn notify(value: &[u8]) -> Option<Notify> {
    if value.eq_ignore_ascii_case(b"NEVER") {
        return Some(Notify::NEVER);
    }
    let mut notify = Notify::NEVER;
    for word in value.split(|b| *b == b',') {
        let place = if word.eq_ignore_ascii_case(b"SUCCESS") {
            &mut notify.success
        } else if word.eq_ignore_ascii_case(b"FAILURE") {
            &mut notify.failure
        } else if word.eq_ignore_ascii_case(b"DELAY") {
            &mut notify.delay
        } else {
            return None;
        };
        if std::mem::replace(place, true) {
            return None;
        }
    }
    Some(notify)
}
