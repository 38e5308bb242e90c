//! The certificate that listeners show: does it fit its key, is it ours, until when.

use std::path::Path;
use std::time::Duration;

use base::Timestamp;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;

use super::Finding;
use crate::cli::output::{moment, span};
use crate::config::{Certificate, Config, Purpose};

const TLS: &str = "certificate";
/// Most renewals happen a month before; who is this late has a renewal that does not work.
const RENEWED_BEFORE: Duration = Duration::from_secs(14 * 86_400);

pub fn examine(config: &Config, now: Timestamp) -> Option<Finding> {
    match (&config.certificate, config.purpose) {
        (Certificate::Files { certificate, key }, _) => Some(files(certificate, key, config, now)),
        (Certificate::SelfSigned, Purpose::Dev) => Some(Finding::ok(TLS, "self-signed, as it should be for a try")),
        (Certificate::SelfSigned, Purpose::Serve) => Some(Finding::warn(
            TLS,
            "self-signed: mail programs that check certificates will not send through this server",
            "Get one from a public authority (certbot, lego) and set tls.certificate and tls.key.",
        )),
    }
}

fn files(certificate: &Path, key: &Path, config: &Config, now: Timestamp) -> Finding {
    let shown = certificate.display();
    let chain: Vec<CertificateDer<'static>> =
        match CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect) {
            Ok(chain) => chain,
            Err(error) => {
                let advice = "tls.certificate must be a PEM file that the server's user may read.";
                return Finding::fail(TLS, format!("{shown} cannot be read: {error}"), advice);
            }
        };
    let Some(leaf) = chain.first() else {
        return Finding::fail(
            TLS,
            format!("{shown} has no certificate in it"),
            "Set tls.certificate to the full chain.",
        );
    };
    if let Some(finding) = key_problem(key, &chain) {
        return finding;
    }
    let Some((begins, ends)) = validity(leaf) else {
        return Finding::warn(TLS, format!("the dates in {shown} cannot be read"), "Look at it with `openssl x509`.");
    };
    if now < begins {
        let text = format!("{shown} is valid only from {}", moment(begins));
        return Finding::fail(TLS, text, "Check the clock, or wait.");
    }
    let renew = "Renew it; the server takes up the new file by itself.";
    if now >= ends {
        return Finding::fail(TLS, format!("{shown} ended {}", moment(ends)), renew);
    }
    let left = ends.since(now);
    if left < RENEWED_BEFORE {
        return Finding::warn(TLS, format!("{shown} ends in {}", span(left)), renew);
    }
    if !is_for(leaf, &config.hostname.ascii()) {
        let text = format!("{shown} is not for {}, so programs that check names refuse it", config.hostname);
        return Finding::warn(TLS, text, "Get one for that name, or set hostname to the name it is for.");
    }
    Finding::ok(TLS, format!("{shown}, for {}, until {}", config.hostname, moment(ends)))
}

fn key_problem(path: &Path, chain: &[CertificateDer<'static>]) -> Option<Finding> {
    let shown = path.display();
    let key = match PrivateKeyDer::from_pem_file(path) {
        Ok(key) => key,
        Err(error) => {
            let advice = "tls.key must be a PEM file that the server's user may read.";
            return Some(Finding::fail(TLS, format!("{shown} cannot be read: {error}"), advice));
        }
    };
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let misfit = CertifiedKey::from_der(chain.to_vec(), key, &provider).err()?;
    Some(Finding::fail(
        TLS,
        format!("{shown} does not fit the certificate: {misfit}"),
        "tls.certificate and tls.key must be of the same pair, the server's own certificate first in its file.",
    ))
}

fn is_for(leaf: &CertificateDer<'_>, hostname: &str) -> bool {
    let (Ok(parsed), Ok(name)) = (ParsedCertificate::try_from(leaf), ServerName::try_from(hostname)) else {
        return false;
    };
    verify_server_name(&parsed, &name).is_ok()
}

/// From when until when (RFC 5280 §4.1.2.5). No library in the house tells it, so the few octets are
/// read here: `Certificate { tbs { [0] version?, serial, algorithm, issuer, validity { from, to } … } … }`.
fn validity(certificate: &[u8]) -> Option<(Timestamp, Timestamp)> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let (outer, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) = element(outer, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        (_, fields) = element(fields, VERSION)?;
    }
    for tag in [0x02, SEQUENCE, SEQUENCE] {
        (_, fields) = element(fields, tag)?;
    }
    let (dates, _) = element(fields, SEQUENCE)?;
    let (begins, rest) = date(dates)?;
    let (ends, _) = date(rest)?;
    Some((begins, ends))
}

/// The content of the DER element at the start, which must have this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let octets;
        (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f)).filter(|(octets, _)| octets.len() <= 4)?;
        length = octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet));
    }
    let (content, rest) = rest.split_at_checked(length)?;
    (found == tag).then_some((content, rest))
}

/// UTCTime `YYMMDDHHMMSSZ` or GeneralizedTime `YYYYMMDDHHMMSSZ`, and what follows it.
fn date(der: &[u8]) -> Option<(Timestamp, &[u8])> {
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let (text, rest, century) = match der.first()? {
        &UTC_TIME => {
            let (text, rest) = element(der, UTC_TIME)?;
            // RFC 5280 §4.1.2.5.1: from 50 on it is the last century.
            let century = if text.first()? >= &b'5' { "19" } else { "20" };
            (text, rest, century)
        }
        _ => {
            let (text, rest) = element(der, GENERALIZED_TIME)?;
            (text, rest, "")
        }
    };
    let text = format!("{century}{}", std::str::from_utf8(text).ok()?);
    let time = jiff::civil::DateTime::strptime("%Y%m%d%H%M%SZ", &text).ok()?;
    let seconds = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second();
    Some((Timestamp::from_secs(u64::try_from(seconds).ok()?), rest))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::State;
    use super::*;
    use crate::config::Sources;

    /// A certificate for mail.example.org in files of `directory`, and the configuration with it.
    fn setup(directory: &Path) -> Config {
        let made = rcgen::generate_simple_self_signed(vec!["mail.example.org".to_owned()]).expect("it can be made");
        std::fs::write(directory.join("c.pem"), made.cert.pem()).expect("it can be written");
        std::fs::write(directory.join("k.pem"), made.signing_key.serialize_pem()).expect("it can be written");
        config(directory, "mail.example.org")
    }

    fn config(directory: &Path, machine_name: &str) -> Config {
        let file = directory.join("postrider.toml");
        std::fs::write(&file, "[tls]\ncertificate = \"c.pem\"\nkey = \"k.pem\"\n").expect("it can be written");
        let sources = Sources {
            purpose: Purpose::Serve,
            file: Some(file),
            data: None,
            environment: Vec::new(),
            directory: PathBuf::from("/"),
            machine_name: machine_name.into(),
        };
        Config::load(&sources).expect("the configuration is right")
    }

    fn found(config: &Config, now: Timestamp) -> Finding {
        examine(config, now).expect("there is a finding")
    }

    /// 2026-11-22; rcgen's certificates are valid from 1975 to 4096.
    const NOW: Timestamp = Timestamp::from_secs(1_795_321_000);
    const YEAR_4095: Timestamp = Timestamp::from_secs(67_060_000_000);

    #[test]
    fn a_good_certificate_is_told_with_its_end() {
        let directory = tempfile::tempdir().expect("a directory for the test");
        let good = found(&setup(directory.path()), NOW);
        assert_eq!(good.state, State::Ok, "{}", good.text);
        assert!(good.text.contains("for mail.example.org, until 4096-01-01"), "{}", good.text);
    }

    #[test]
    fn the_end_is_seen_before_it_comes() {
        let directory = tempfile::tempdir().expect("a directory for the test");
        let config = setup(directory.path());
        let (_, ends) = {
            let pem = std::fs::read(directory.path().join("c.pem")).expect("it is there");
            validity(&CertificateDer::from_pem_slice(&pem).expect("it is PEM")).expect("it has dates")
        };
        assert!(ends > YEAR_4095);
        let near = Timestamp(ends.0 - 3 * 86_400 * 1_000_000);
        assert_eq!(found(&config, near).state, State::Warn);
        assert!(found(&config, near).text.contains("ends in 3 d"));
        assert_eq!(found(&config, ends).state, State::Fail);
        assert_eq!(found(&config, Timestamp(0)).state, State::Fail, "it is not valid yet");
    }

    #[test]
    fn another_name_and_another_key_are_seen() {
        let directory = tempfile::tempdir().expect("a directory for the test");
        setup(directory.path());
        let other = found(&config(directory.path(), "mx.example.net"), NOW);
        assert_eq!(other.state, State::Warn, "{}", other.text);
        assert!(other.text.contains("is not for mx.example.net"), "{}", other.text);
        let strange = rcgen::generate_simple_self_signed(vec!["x.example".to_owned()]).expect("it can be made");
        std::fs::write(directory.path().join("k.pem"), strange.signing_key.serialize_pem()).expect("it can be written");
        let misfit = found(&config(directory.path(), "mail.example.org"), NOW);
        assert_eq!(misfit.state, State::Fail);
        assert!(misfit.text.contains("does not fit the certificate"), "{}", misfit.text);
    }

    #[test]
    fn what_is_no_certificate_never_panics() {
        let directory = tempfile::tempdir().expect("a directory for the test");
        let config = setup(directory.path());
        for content in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(directory.path().join("c.pem"), content).expect("it can be written");
            assert_eq!(found(&config, NOW).state, State::Fail, "{content:?}");
        }
        std::fs::remove_file(directory.path().join("c.pem")).expect("it is there");
        assert!(found(&config, NOW).text.contains("cannot be read"));
        for der in [
            &b""[..],
            b"\x30",
            b"\x30\x84\xff\xff\xff\xff",
            b"\x30\x80",
            b"\x30\x02\x30\x05",
            b"\x30\x04\x30\x02\xa0\x09",
        ] {
            assert_eq!(validity(der), None);
        }
    }
}
