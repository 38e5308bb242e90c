//! `postrider message show`: what is known of one message, as a short sheet.

use base::Timestamp;
use web::admin::types::{Came, MessageStory};

use super::args::MessageCommand;
use super::explain;
use super::failure::Failure;
use super::output::{Align, Printed, Style, Table, Tone, moment, printable, size, tone_of};
use crate::control::Control;

pub async fn run(command: MessageCommand, control: &Control, now: Timestamp, style: Style) -> Result<Printed, Failure> {
    match command {
        MessageCommand::Show { id } => {
            let story: MessageStory = control.get(&format!("/messages/{id}")).await?;
            Ok(Printed::new(&story, show(&story, style)))
        }
        MessageCommand::Explain { id } => {
            let story: MessageStory = control.get(&format!("/messages/{id}")).await?;
            Ok(Printed::new(&story, explain::explain(&story, now, style)))
        }
    }
}

fn show(story: &MessageStory, style: Style) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        out.push_str(&format!("{}{value}\n", style.paint(Tone::Quiet, &format!("{name:<12}"))));
    };
    line("message", &story.id.to_string());
    line("state", &style.paint(tone_of(&story.state), &story.state));
    line("account", &printable(&story.account));
    line("from", &printable(story.from.as_deref().unwrap_or("<>")));
    if let Some(subject) = &story.subject {
        line("subject", &printable(subject));
    }
    if let Some(id) = &story.message_id_header {
        line("message-id", &printable(id));
    }
    line("size", &size(story.size_octets));
    line("received", &format!("{}, {}", moment(story.received_at.0), came(&story.came)));
    match story.closed_at {
        Some(at) => line("content", &format!("destroyed {}", moment(at.0))),
        None => line("content", "kept, sealed, until the last recipient has a final outcome"),
    }
    out.push('\n');
    let columns =
        [("recipient", Align::Left), ("state", Align::Left), ("attempts", Align::Right), ("since", Align::Left)];
    let mut table = Table::new(&columns);
    for recipient in &story.recipients {
        table.row([
            (Tone::Plain, recipient.address.clone()),
            (tone_of(&recipient.state), recipient.state.clone()),
            (Tone::Plain, recipient.attempts.to_string()),
            (Tone::Quiet, moment(recipient.changed_at.0)),
        ]);
    }
    out.push_str(&table.render(style));
    out.push_str(&format!("\nThe whole story: postrider message explain {}\n", story.id));
    out
}

/// How it came in, as the end of a sentence.
pub fn came(came: &Came) -> String {
    match came {
        Came::Smtp { client, helo, tls } => {
            let how = if *tls { "under TLS" } else { "in the clear" };
            format!("by SMTP from {} (it called itself {}), {how}", printable(client), printable(helo))
        }
        Came::Local => "from a program on this machine".to_owned(),
        Came::Report { about, report } => {
            let kind = match report.as_str() {
                "failure" => "a failure report",
                "delay" => "a delay notice",
                "success" => "a delivery receipt",
                _ => "a report",
            };
            format!("written here, as {kind} about {about}")
        }
    }
}
