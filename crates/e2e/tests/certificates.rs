//! The certificate comes from files, and a renewed one is shown without a restart. What is shown is what OpenSSL sees.

use testkit::tls::{Certificate, Pem, pem};
use testkit::{Program, Server, until};

/// The certificate that the server shows, in PEM, as `openssl s_client` gets it.
fn shown(server: &Server, implicit: bool) -> String {
    let address = if implicit { server.smtps() } else { server.smtp() };
    let mut program = Program::new("openssl").args(["s_client", "-connect", &address.to_string(), "-showcerts"]);
    if !implicit {
        program = program.args(["-starttls", "smtp"]);
    }
    let printed = program.input("QUIT\r\n").run();
    let from = printed.stdout.find("-----BEGIN CERTIFICATE-----").unwrap_or_else(|| panic!("none shown: {printed}"));
    let end = "-----END CERTIFICATE-----";
    let to = printed.stdout[from..].find(end).unwrap_or_else(|| panic!("cut off: {printed}"));
    printed.stdout[from..from + to + end.len()].to_owned()
}

fn same(shown: &str, pem: &Pem) -> bool {
    let bare = |text: &str| text.split_whitespace().collect::<String>();
    bare(shown) == bare(&pem.certificate)
}

#[test]
fn a_renewed_certificate_is_shown_without_a_restart() {
    let first = pem(Certificate::SelfSigned, &["relay.test"]);
    let second = pem(Certificate::SelfSigned, &["relay.test"]);
    let files = testkit::Scratch::new("certificate");
    let (certificate, key) = (files.write("cert.pem", &first.certificate), files.write("key.pem", &first.key));
    let server = Server::builder("certificate")
        .set("tls", "certificate", &format!("{certificate:?}"))
        .set("tls", "key", &format!("{key:?}"))
        .start();
    assert!(same(&shown(&server, false), &first), "STARTTLS");
    assert!(same(&shown(&server, true), &first), "implicit TLS");

    // Half of a renewal must not break anything: the old one stays until the new pair is whole.
    files.write("key.pem", &second.key);
    assert!(same(&shown(&server, true), &first));
    files.write("cert.pem", &second.certificate);
    until("the new certificate", || same(&shown(&server, true), &second).then_some(()));
    until("the new certificate", || same(&shown(&server, false), &second).then_some(()));
}

#[test]
fn without_files_one_is_made_and_kept() {
    let mut server = Server::builder("self-signed").start();
    let made = shown(&server, true);
    server.restart();
    assert_eq!(shown(&server, true), made, "it is the same after a restart");
}

#[test]
fn old_protocols_are_not_spoken() {
    let server = Server::builder("protocols").start();
    for protocol in ["-tls1", "-tls1_1"] {
        let printed = Program::new("openssl")
            .args(["s_client", protocol, "-cipher", "DEFAULT@SECLEVEL=0", "-connect", &server.smtps().to_string()])
            .input("QUIT\r\n")
            .run();
        assert!(!printed.stdout.contains("BEGIN CERTIFICATE"), "{protocol}: {printed}");
    }
    for protocol in ["-tls1_2", "-tls1_3"] {
        let printed = Program::new("openssl")
            .args(["s_client", protocol, "-connect", &server.smtps().to_string()])
            .input("QUIT\r\n")
            .run();
        assert!(printed.stdout.contains("BEGIN CERTIFICATE"), "{protocol}: {printed}");
    }
}
