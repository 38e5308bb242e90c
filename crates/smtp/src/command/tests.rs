use proptest::prelude::*;

use super::*;

fn parsed_mail(line: &str) -> Mail {
    match parse_command(line.as_bytes()) {
        Ok(Command::Mail(mail)) => mail,
        other => panic!("{line}: {other:?}"),
    }
}

fn parsed_rcpt(line: &str) -> Rcpt {
    match parse_command(line.as_bytes()) {
        Ok(Command::Rcpt(rcpt)) => rcpt,
        other => panic!("{line}: {other:?}"),
    }
}

fn code(line: &str) -> u16 {
    match parse_command(line.as_bytes()) {
        Ok(command) => panic!("{line} was taken: {command:?}"),
        Err(error) => error.codes().0,
    }
}

#[test]
fn verbs_are_read_in_any_case() {
    for (line, command) in [
        ("ehlo client.example", Command::Ehlo("client.example")),
        ("HeLo [IPv6:2001:db8::1]", Command::Helo("[IPv6:2001:db8::1]")),
        ("starttls", Command::StartTls),
        ("AUTH plain AGEAYg==", Command::Auth { mechanism: "plain", initial: Some(b"AGEAYg==") }),
        ("AUTH LOGIN", Command::Auth { mechanism: "LOGIN", initial: None }),
        ("Data", Command::Data),
        ("data  \t", Command::Data),
        ("bdat 0 last", Command::Bdat { octets: 0, last: true }),
        ("BDAT 4096", Command::Bdat { octets: 4096, last: false }),
        ("rset", Command::Rset),
        ("NOOP whatever it is", Command::Noop),
        ("VRFY ü", Command::Vrfy),
        ("EXPN list", Command::Expn),
        ("help", Command::Help),
        ("quit ", Command::Quit),
    ] {
        assert_eq!(parse_command(line.as_bytes()), Ok(command), "{line}");
    }
}

#[test]
fn what_is_no_command_is_unknown() {
    for line in ["", " ", "X", "MAILFROM:<a@b>", "STARTTLSX", " EHLO x", "EHLO\tx", "\u{0}", "GET / HTTP/1.1", "ü"] {
        assert_eq!(parse_command(line.as_bytes()), Err(CommandError::Unknown), "{line:?}");
    }
}

#[test]
fn wrong_arguments_are_501() {
    for line in [
        "EHLO",
        "EHLO ",
        "HELO",
        "EHLO a b",
        "EHLO gr\u{fc}n",
        "EHLO a(b)",
        "EHLO a<b",
        "DATA x",
        "RSET x",
        "QUIT now",
        "STARTTLS x",
        "VRFY",
        "EXPN",
        "AUTH",
        "AUTH PLAIN a b",
        "AUTH (X",
        "BDAT",
        "BDAT x",
        "BDAT 1 FIRST",
        "BDAT -1",
        "BDAT +1",
        "BDAT 0x10",
        "BDAT 007",
        "BDAT 00",
        "BDAT 18446744073709551615",
        "BDAT 99999999999999999999999",
        "BDAT 1e9",
        "BDAT  1",
        "BDAT 1  LAST",
        "BDAT 1 LAST x",
    ] {
        assert_eq!(code(line), 501, "{line}");
    }
    assert_eq!(code(&format!("EHLO {}", "x".repeat(256))), 501);
}

#[test]
fn paths_are_strict() {
    assert_eq!(parsed_mail("MAIL FROM:<>").sender, None);
    assert_eq!(parsed_mail("mail from:<a@Example.org>").sender, Address::parse("a@example.org").ok());
    // The one courtesy: many clients put a space behind the colon.
    assert_eq!(parsed_mail("MAIL FROM: <a@b>").sender, Address::parse("a@b").ok());
    assert_eq!(parsed_mail("MAIL FROM:<\"a>b\\\"@\"@c>").sender, Address::parse("\"a>b\\\"@\"@c").ok());
    for path in ["Postmaster", "postmaster", "POSTMASTER"] {
        assert_eq!(parsed_rcpt(&format!("RCPT TO:<{path}>")).path, ForwardPath::Postmaster);
    }
    for line in [
        "MAIL",
        "MAIL FROM",
        "MAIL FROM:",
        "MAIL FROM:a@b",
        "MAIL FROM:<a@b",
        "MAIL FROM:<a>",
        "MAIL FROM:<a@b>x",
        "MAIL FROM:  <a@b>",
        "MAIL FROM :<a@b>",
        "MAIL  FROM:<a@b>",
        "MAIL TO:<a@b>",
        "MAIL FROM:<@x:a@b>",
        "MAIL FROM:<a@b>  SIZE=1",
        "MAIL FROM:<<a@b>>",
        "MAIL FROM:<\"a@b>",
        "MAIL FROM:<a b@c>",
        "MAIL FROM:< >",
        "RCPT TO:<>",
        "RCPT TO:a@b",
        "RCPT TO:<@x,@y:a@b>",
        "RCPT FROM:<a@b>",
        "RCPT TO:<a@b> ORCPT",
        "RCPT TO:<(x)a@b>",
    ] {
        assert_eq!(code(line), 501, "{line}");
    }
}

#[test]
fn an_address_beyond_ascii_needs_the_extension() {
    assert_eq!(code("MAIL FROM:<gr\u{e5}@example.org>"), 553);
    assert!(parsed_mail("MAIL FROM:<gr\u{e5}@example.org> SMTPUTF8").smtputf8);
    assert_eq!(parse_command(b"MAIL FROM:<gr\xe5@example.org> SMTPUTF8"), Err(CommandError::NotAscii));
    assert_eq!(parse_command(b"RCPT TO:<gr\xe5@example.org>"), Err(CommandError::NotAscii));
}

#[test]
fn mail_parameters_are_read() {
    let mail = parsed_mail("MAIL FROM:<a@b> SIZE=10 body=8bitmime SMTPUTF8 RET=HDRS ENVID=a+2Bb AUTH=<>");
    assert_eq!((mail.size, mail.body, mail.smtputf8), (Some(10), Some(BodyType::EightBitMime), true));
    assert_eq!((mail.ret, mail.envid.as_deref()), (Some(DsnReturn::Headers), Some("a+b")));
    assert_eq!(parsed_mail("MAIL FROM:<> SIZE=99999999999999999999").size, Some(u64::MAX));
    assert_eq!(parsed_mail("MAIL FROM:<> BODY=7BIT AUTH=a+40b").body, Some(BodyType::SevenBit));
}

#[test]
fn bad_mail_parameters_are_refused() {
    for parameters in [
        "SIZE=1 SIZE=1",
        "SIZE",
        "SIZE=",
        "SIZE=abc",
        "SIZE=-1",
        "SIZE=100000000000000000000",
        "BODY=9BIT",
        "BODY",
        "BODY=7BIT BODY=7BIT",
        "SMTPUTF8=1",
        "SMTPUTF8 SMTPUTF8",
        "RET=ALL",
        "RET=FULL RET=FULL",
        "ENVID=a+00b",
        "ENVID=a+0Ab",
        "ENVID=a+2b",
        "ENVID=+",
        "ENVID=a=b",
        "ENVID=a+7F",
        "AUTH=a+00",
        "=x",
        "-A=1",
        "A,B",
        " SIZE=1",
    ] {
        assert_eq!(code(&format!("MAIL FROM:<a@b> {parameters}")), 501, "{parameters}");
    }
    assert_eq!(code(&format!("MAIL FROM:<a@b> ENVID={}", "x".repeat(101))), 501);
    for parameters in ["BODY=BINARYMIME", "FOO", "FOO=bar", "HOLDFOR=1", "NOTIFY=NEVER", "XFOO=1 SIZE=1"] {
        assert_eq!(code(&format!("MAIL FROM:<a@b> {parameters}")), 555, "{parameters}");
    }
}

#[test]
fn rcpt_parameters_are_read() {
    let rcpt = parsed_rcpt("RCPT TO:<a@b> NOTIFY=success,DELAY ORCPT=rfc822;ada+2Bx@example.org");
    assert_eq!(rcpt.notify, Some(Notify { success: true, failure: false, delay: true }));
    assert_eq!(rcpt.original.as_deref(), Some("rfc822;ada+x@example.org"));
    assert_eq!(parsed_rcpt("RCPT TO:<a@b> NOTIFY=NEVER").notify, Some(Notify::NEVER));
    let utf8 = parsed_rcpt("RCPT TO:<a@b> ORCPT=utf-8;gr\\x{E5}@m\u{fc}nchen.example");
    assert_eq!(utf8.original.as_deref(), Some("utf-8;gr\\x{E5}@m\u{fc}nchen.example"));
}

#[test]
fn bad_rcpt_parameters_are_refused() {
    for parameters in [
        "NOTIFY=NEVER,FAILURE",
        "NOTIFY=FAILURE,FAILURE",
        "NOTIFY=",
        "NOTIFY=,",
        "NOTIFY",
        "NOTIFY=ALWAYS",
        "NOTIFY=NEVER NOTIFY=NEVER",
        "ORCPT=rfc822",
        "ORCPT=rfc822;",
        "ORCPT=;a@b",
        "ORCPT=rfc822;a+00b",
        "ORCPT=rfc822;a+0db",
        "ORCPT=rfc822;a+2bb",
        "ORCPT=rfc822;\u{fc}@b",
        "ORCPT=utf-8;a\\b",
        "ORCPT=utf-8;a\\x{0}",
        "ORCPT=utf-8;a\\x{110000}",
        "ORCPT=utf-8;a+2B",
        "ORCPT=utf-8;\u{85}",
        "ORCPT=a b;c",
    ] {
        assert_eq!(code(&format!("RCPT TO:<a@b> {parameters}")) / 500, 1, "{parameters}");
    }
    assert_eq!(code("RCPT TO:<a@b> SIZE=1"), 555);
    assert_eq!(code(&format!("RCPT TO:<a@b> ORCPT=rfc822;{}", "x".repeat(500))), 501);
}

proptest! {
    #[test]
    fn no_line_makes_it_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_command(&line);
    }

    #[test]
    fn no_argument_makes_it_panic(verb in "(?i)(MAIL FROM:<|RCPT TO:<|BDAT |AUTH |EHLO )", rest in any::<String>()) {
        let _ = parse_command(format!("{verb}{rest}").as_bytes());
    }

    #[test]
    fn what_is_written_as_xtext_is_read_back(text in "[ -~]{1,80}") {
        let xtext: String = text.bytes().map(|b| format!("+{b:02X}")).collect();
        prop_assert_eq!(xtext::decode(xtext.as_bytes()), Some(text));
    }
}
