//! `postrider send`: a message from a file or from words, through the server that runs here or over
//! SMTP to any other.

use std::io::Read;
use std::path::Path;

use base::Secret;
use data_encoding::BASE64;
use mail::compose::{Mailbox, Plain};
use serde_json::json;
use web::admin::types::{NewMessage, Sent};

use super::args::SendArgs;
use super::failure::{Code, Failure};
use super::output::{Align, Printed, Style, Table, Tone, count};
use super::submission::{Login, Submission, submit};
use crate::control::Control;

pub async fn run(args: SendArgs, control: &Control, style: Style) -> Result<Printed, Failure> {
    let content = content(&args)?;
    match args.server.clone() {
        None => through_control(args, content, control).await,
        Some(server) => {
            let login = args
                .user
                .zip(args.password)
                .map(|(user, password)| Login { user, password: Secret::from(password.as_str()) });
            let submission = Submission { server, login, from: args.from, to: args.to, content };
            over_smtp(submission, style).await
        }
    }
}

async fn through_control(args: SendArgs, content: Vec<u8>, control: &Control) -> Result<Printed, Failure> {
    let message = NewMessage {
        account: args.account,
        from: Some(args.from.into()),
        to: args.to.into_iter().map(String::from).collect(),
        content_base64: BASE64.encode(&content),
    };
    let sent: Sent = control.post("/send", &message).await?;
    let recipients = count(sent.recipients.into(), "recipient", "recipients");
    let text = format!(
        "message {} accepted for {recipients}; see what becomes of it: postrider message explain {}\n",
        sent.id, sent.id
    );
    Ok(Printed::new(&sent, text))
}

async fn over_smtp(submission: Submission, style: Style) -> Result<Printed, Failure> {
    let server = submission.server.to_string();
    let to = submission.to.clone();
    let results = submit(submission).await?;
    let mut table = Table::new(&[("recipient", Align::Left), ("", Align::Left), ("reply", Align::Left)]);
    let mut rows = Vec::new();
    for result in &results {
        let address = to.get(result.recipient).map(|address| address.as_str()).unwrap_or_default();
        let (tone, word) = if result.accepted { (Tone::Good, "accepted") } else { (Tone::Bad, "refused") };
        table.row([(Tone::Plain, address.to_owned()), (tone, word.to_owned()), (Tone::Quiet, result.reply.clone())]);
        rows.push(json!({ "recipient": address, "accepted": result.accepted, "reply": result.reply }));
    }
    let text = table.render(style);
    if results.iter().any(|result| !result.accepted) {
        return Err(Failure::failed(format!(
            "{server} did not take the message for all recipients:\n{}",
            text.trim_end()
        )));
    }
    Ok(Printed { json: json!({ "server": server, "results": rows }), text })
}

/// The message as it goes out: lines ended by CRLF.
fn content(args: &SendArgs) -> Result<Vec<u8>, Failure> {
    match (&args.file, &args.text) {
        (Some(file), _) => {
            let content = mail::compose::normalise(&read(file)?);
            if content.is_empty() {
                return Err(Failure::new(Code::Usage, format!("{} is empty", file.display())));
            }
            Ok(content)
        }
        (None, Some(text)) => {
            let to: Vec<Mailbox<'_>> = args.to.iter().map(|address| Mailbox { name: None, address }).collect();
            let from = Mailbox { name: None, address: &args.from };
            let subject = args.subject.as_deref().unwrap_or_default();
            mail::compose::plain(&Plain { from, to: &to, subject, text })
                .map_err(|error| Failure::new(Code::Usage, error.to_string()))
        }
        (None, None) => Err(Failure::new(Code::Usage, "say what to send: a file, or --text")),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut content = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut content)
    } else {
        std::fs::File::open(file).and_then(|mut file| file.read_to_end(&mut content))
    };
    read.map_err(|error| Failure::failed(format!("cannot read {}: {error}", file.display())))?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn args(file: Option<PathBuf>, text: Option<&str>, subject: Option<&str>) -> SendArgs {
        SendArgs {
            file,
            text: text.map(str::to_owned),
            subject: subject.map(str::to_owned),
            from: "ada@example.org".parse().expect("a valid address"),
            to: vec!["grace@example.com".parse().expect("a valid address")],
            account: None,
            server: None,
            user: None,
            password: None,
        }
    }

    #[test]
    fn words_become_a_message() {
        let made = content(&args(None, Some("Grüße\nAda"), Some("Hallo"))).expect("it can be written");
        let made = String::from_utf8(made).expect("it is ASCII");
        assert!(made.contains("To: ") && made.contains("grace@example.com"), "{made}");
        assert!(made.contains("Subject: Hallo\r\n"), "{made}");
        assert!(made.contains("Gr=C3=BC=C3=9Fe\r\nAda\r\n"), "{made}");
        let injected = content(&args(None, Some("x"), Some("a\r\nBcc: eve@example.net"))).expect_err("two lines");
        assert_eq!(injected.code(), Code::Usage);
    }

    #[test]
    fn a_file_gets_the_line_ends_of_the_wire() {
        let directory = tempfile::tempdir().expect("a directory for the test");
        let file = directory.path().join("m.eml");
        std::fs::write(&file, "Subject: x\n\nbody\n").expect("the file can be written");
        assert_eq!(content(&args(Some(file), None, None)).expect("it is read"), b"Subject: x\r\n\r\nbody\r\n");
        let missing = content(&args(Some(directory.path().join("none")), None, None)).expect_err("no such file");
        assert!(missing.to_string().contains("cannot read "), "{missing}");
        let empty = directory.path().join("empty");
        std::fs::write(&empty, "").expect("the file can be written");
        assert_eq!(content(&args(Some(empty), None, None)).expect_err("nothing in it").code(), Code::Usage);
    }
}
