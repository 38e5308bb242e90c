//! Who sends mail that cannot be delivered is told so: once, in a form that other programs can read (RFC 3464), and
//! only if a report is wanted and there is somebody to tell.

use e2e::{Relay, python};
use serde_json::Value;
use testkit::{Act, Message, Receipt, Server, Sink, Step};

/// The far end refuses `nobody@`, defers `later@`, takes all others; the sender's own server takes reports.
struct Correspondence {
    server: Server,
    recipients: Sink,
    senders: Sink,
}

impl Correspondence {
    fn start(name: &str, more: impl FnOnce(testkit::server::Builder) -> testkit::server::Builder) -> Correspondence {
        let recipients = Sink::scripted(|event| match event.step {
            Step::Rcpt if event.line.contains("<nobody") => Act::reply("550 5.1.1 no such user here"),
            Step::Rcpt if event.line.contains("<later") => Act::reply("451 4.7.1 come again"),
            _ => Act::Accept,
        });
        let senders = Sink::start();
        let builder = Server::builder(name)
            .live()
            .host("example.test", recipients.address())
            .host("sender.test", senders.address());
        Correspondence { server: more(builder).start(), recipients, senders }
    }

    /// The first report that arrives at the sender's, and what Python reads in it.
    #[track_caller]
    fn report(&self) -> (Receipt, Value) {
        let receipts = self.senders.wait_for(1);
        let receipt = receipts.into_iter().next().expect("one was waited for");
        let printed = python("parse_report.py").input(receipt.data.clone()).run().expect_success();
        let report: Value = serde_json::from_str(&printed.stdout).expect("the script prints JSON");
        assert_eq!(report["faults"], Value::Array(Vec::new()), "{report:#}\n{}", receipt.text());
        (receipt, report)
    }

    /// A message that is surely the last one at the far end, so that no report about an earlier one can follow.
    #[track_caller]
    fn expect_no_report(&self, id: &str) {
        let story = self.server.wait_for_state(id, "failed");
        // The message is closed only when a report that is due has been accepted.
        let closed = testkit::until("the message to be closed", || {
            let story = self.server.story(id);
            (!story["closed_at"].is_null()).then_some(story)
        });
        assert_eq!(closed["recipients"], story["recipients"]);
        self.server.login().send("", &["witness@sender.test"], &Message::new("witness").bytes());
        e2e::wait_for(&self.senders, "witness");
        assert_eq!(self.senders.receipts().len(), 1, "only the witness: {:#?}", self.senders.receipts());
    }
}

#[test]
fn a_refused_recipient_is_reported() {
    let mail = Correspondence::start("refused", |builder| builder);
    let mut client = mail.server.login();
    client.ask("MAIL FROM:<ada@sender.test> RET=HDRS ENVID=order+2B17", 250);
    client.ask("RCPT TO:<nobody@example.test> ORCPT=rfc822;somebody+40example.test", 250);
    client.ask("RCPT TO:<bob@example.test>", 250);
    let message = Message::new("refused").field("Subject", "An offer");
    assert_eq!(client.data(&message.bytes()).code, 250);
    let (receipt, report) = mail.report();
    assert_eq!(receipt.from, "", "a report has the null sender (RFC 5321 §6.1)");
    assert_eq!(receipt.to(), ["ada@sender.test"]);
    assert_eq!(report["auto_submitted"].as_str().map(|value| value.starts_with("auto-")), Some(true), "{report:#}");
    assert_eq!(report["message"]["original-envelope-id"], "order+17");
    let reporting = report["message"]["reporting-mta"].as_str().unwrap_or_default().replace(' ', "");
    assert_eq!(reporting, "dns;relay.test");
    let recipients = report["recipients"].as_array().expect("a list");
    assert_eq!(recipients.len(), 1, "Bob got his: {report:#}");
    let about = &recipients[0];
    assert_eq!(about["action"], "failed");
    assert_eq!(about["status"], "5.1.1");
    let field = |name: &str| about[name].as_str().unwrap_or_default().replace(' ', "");
    assert_eq!(field("final-recipient"), "rfc822;nobody@example.test");
    assert_eq!(field("original-recipient"), "rfc822;somebody@example.test");
    let diagnostic = about["diagnostic-code"].as_str().expect("text");
    assert!(
        diagnostic.replace(' ', "").starts_with("smtp;550") && diagnostic.contains("no such user here"),
        "{diagnostic}"
    );
    assert!(report["text"].as_str().is_some_and(|text| text.contains("nobody@example.test")), "{report:#}");
    let returned = report["returned"].as_str().expect("text");
    assert!(returned.contains("Subject: An offer"), "the header comes back: {returned}");
    assert!(!returned.contains("Hello Bob"), "the body does not (RET=HDRS): {returned}");
    e2e::wait_for(&mail.recipients, "refused");
}

#[test]
fn the_whole_message_comes_back_if_it_is_asked_for() {
    let mail = Correspondence::start("full", |builder| builder);
    let mut client = mail.server.login();
    client.ask("MAIL FROM:<ada@sender.test> RET=FULL", 250);
    client.ask("RCPT TO:<nobody@example.test>", 250);
    assert_eq!(client.data(&Message::new("full").bytes()).code, 250);
    let (_, report) = mail.report();
    assert!(report["returned"].as_str().is_some_and(|text| text.contains("Hello Bob")), "{report:#}");
}

#[test]
fn nobody_is_told_who_did_not_want_it() {
    let mail = Correspondence::start("never", |builder| builder);
    let mut client = mail.server.login();
    client.ask("MAIL FROM:<ada@sender.test>", 250);
    client.ask("RCPT TO:<nobody@example.test> NOTIFY=NEVER", 250);
    let reply = client.data(&Message::new("never").bytes());
    assert_eq!(reply.code, 250);
    mail.expect_no_report(&reply.message_id());
}

#[test]
fn nobody_is_told_about_a_message_without_sender() {
    let mail = Correspondence::start("null", |builder| builder);
    let reply = mail.server.login().send("", &["nobody@example.test"], &Message::new("null").bytes());
    mail.expect_no_report(&reply.message_id());
}

#[test]
fn success_is_reported_to_who_asks() {
    // The next server has no DSN, so it is for us to say that the mail went there (RFC 3461 §5.2.2).
    let recipients = Sink::builder().extensions(&["PIPELINING", "8BITMIME"]).start();
    let senders = Sink::start();
    let server = Server::builder("success")
        .live()
        .host("example.test", recipients.address())
        .host("sender.test", senders.address())
        .start();
    let mail = Correspondence { server, recipients, senders };
    let mut client = mail.server.login();
    client.ask("MAIL FROM:<ada@sender.test>", 250);
    client.ask("RCPT TO:<bob@example.test> NOTIFY=SUCCESS", 250);
    assert_eq!(client.data(&Message::new("success").bytes()).code, 250);
    let (_, report) = mail.report();
    assert_eq!(report["recipients"][0]["action"], "relayed", "{report:#}");
    assert_eq!(mail.recipients.violations(), Vec::<String>::new());
}

#[test]
fn the_next_server_is_told_what_is_wanted() {
    let relay = Relay::start("passed-on");
    let mut client = relay.server.login();
    client.ask("MAIL FROM:<ada@sender.test> RET=HDRS ENVID=order-17", 250);
    client.ask("RCPT TO:<bob@example.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;rob@example.test", 250);
    assert_eq!(client.data(&Message::new("passed-on").bytes()).code, 250);
    let receipt = relay.wait_for("passed-on");
    for parameter in ["RET=HDRS", "ENVID=order-17"] {
        assert!(receipt.parameters.iter().any(|got| got == parameter), "{parameter}: {:?}", receipt.parameters);
    }
    let recipient = &receipt.recipients[0].parameters;
    assert!(recipient.iter().any(|got| got == "ORCPT=rfc822;rob@example.test"), "{recipient:?}");
    let notify = recipient.iter().find_map(|got| got.strip_prefix("NOTIFY=")).expect("it is passed on");
    let mut notify: Vec<&str> = notify.split(',').collect();
    notify.sort_unstable();
    assert_eq!(notify, ["DELAY", "SUCCESS"]);
}

#[test]
fn a_delay_is_told_once_and_the_end_too() {
    let mail = Correspondence::start("delay", |builder| {
        builder.impatient().set("delivery", "delay_notice_after", "\"1s\"").set("delivery", "lifetime", "\"6s\"")
    });
    mail.server.login().send("ada@sender.test", &["later@example.test"], &Message::new("delay").bytes());
    let receipts = mail.senders.wait_for(2);
    let actions: Vec<String> = receipts
        .iter()
        .map(|receipt| {
            let printed = python("parse_report.py").input(receipt.data.clone()).run().expect_success();
            let report: Value = serde_json::from_str(&printed.stdout).expect("the script prints JSON");
            assert_eq!(report["faults"], Value::Array(Vec::new()), "{report:#}");
            report["recipients"][0]["action"].as_str().expect("text").to_owned()
        })
        .collect();
    assert_eq!(actions, ["delayed", "failed"]);
}

#[test]
fn a_report_that_cannot_be_delivered_ends_there() {
    // The sender's own server refuses the report.
    let senders = Sink::scripted(|event| match event.step {
        Step::Rcpt if event.line.contains("<ada") => Act::reply("550 5.1.1 no Ada here"),
        _ => Act::Accept,
    });
    let recipients = Sink::scripted(|event| match event.step {
        Step::Rcpt if event.line.contains("<nobody") => Act::reply("550 5.1.1 no such user here"),
        _ => Act::Accept,
    });
    let server = Server::builder("double")
        .live()
        .host("example.test", recipients.address())
        .host("sender.test", senders.address())
        .start();
    server.login().send("ada@sender.test", &["nobody@example.test"], &Message::new("double").bytes());
    senders.wait_for_step(Step::Rcpt, 1);
    server.login().send("", &["witness@sender.test"], &Message::new("witness").bytes());
    e2e::wait_for(&senders, "witness");
    testkit::until("an empty queue", || (server.admin("/queue")["queued"] == 0).then_some(()));
    assert_eq!(senders.receipts().len(), 1, "no report about a report");
    assert_eq!(senders.reached(Step::Rcpt), 2, "one refused report, one witness");
}
