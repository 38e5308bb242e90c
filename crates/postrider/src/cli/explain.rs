//! `postrider message explain`: the story of one message in words, for who asks "where is my mail?"

use base::Timestamp;
use web::admin::types::{AttemptStory, Delivery, Event, MessageStory, ResultStory, StepStory, WaitsFor};

use super::message::came;
use super::output::{Style, Tone, count, moment, moment_exact, printable, size, span, tone_of};

/// Recipients of one attempt that are told one by one; of more, the failures come first.
const RESULTS_MAX: usize = 50;

pub fn explain(story: &MessageStory, now: Timestamp, style: Style) -> String {
    let mut out = opening(story, style);
    if story.truncated {
        out.push_str("\n(Its story is very long; the beginning is left out.)\n");
    }
    let mut told = vec![false; story.attempts.len()];
    for event in &story.events {
        match event.attempt.map(|position| position as usize) {
            // One attempt is behind the events of all its recipients: it is told once.
            Some(position) => {
                if let (Some(attempt), Some(told @ false)) = (story.attempts.get(position), told.get_mut(position)) {
                    *told = true;
                    out.push_str(&attempt_told(attempt, story, style));
                }
            }
            None => out.push_str(&event_told(event, story, style)),
        }
    }
    out.push_str(&ending(story, now, style));
    out
}

fn opening(story: &MessageStory, style: Style) -> String {
    let subject = story.subject.as_deref().map_or("a message without a subject".to_owned(), |text| format!("“{text}”"));
    let recipients = match story.recipients.as_slice() {
        [only] => only.address.clone(),
        many => count(many.len() as u64, "recipient", "recipients"),
    };
    format!(
        "{}\nfrom {} to {}, {}, of account {}\n",
        style.paint(Tone::Strong, &subject),
        printable(story.from.as_deref().unwrap_or("<> (the null sender: nobody is told of its fate)")),
        printable(&recipients),
        size(story.size_octets),
        printable(&story.account),
    )
}

fn heading(at: Timestamp, words: &str, style: Style) -> String {
    format!("\n{}  {words}\n", style.paint(Tone::Quiet, &moment_exact(at)))
}

fn event_told(event: &Event, story: &MessageStory, style: Style) -> String {
    let reason = event.reason.as_deref().map(|reason| format!(": {}", printable(reason))).unwrap_or_default();
    let who = event
        .recipient
        .and_then(|position| story.recipients.get(position as usize))
        .map(|recipient| format!(" for {}", printable(&recipient.address)))
        .unwrap_or_default();
    let words = match event.kind.as_str() {
        "accepted" => format!("Accepted {}. It was on disk before the client was told 250.", came(&story.came)),
        "held" => format!("Held back{reason}. It waits until somebody releases it."),
        "released" => "Released: it goes on its way.".to_owned(),
        "quarantined" => format!("Put aside{reason}. It is never sent; its stored copy is damaged."),
        "cancelled" => format!("Taken back{who}{reason}."),
        "expired" => format!("Given up{who}: its time was over{reason}."),
        "delivered" => format!("Delivered{who}."),
        "deferred" => format!("Put off{who}{reason}."),
        "bounced" => format!("Refused for good{who}{reason}."),
        other => format!("{}{who}{reason}.", printable(other)),
    };
    heading(event.at.0, &words, style)
}

fn attempt_told(attempt: &AttemptStory, story: &MessageStory, style: Style) -> String {
    let mut out = heading(attempt.started_at.0, &attempt_words(attempt), style);
    for step in &attempt.dialogue {
        out.push_str(&step_told(step, style));
    }
    let mut results: Vec<&ResultStory> = attempt.results.iter().collect();
    results.sort_by_key(|result| result.outcome == "delivered");
    for result in results.iter().take(RESULTS_MAX) {
        out.push_str(&result_told(result, story, style));
    }
    let rest = results.len().saturating_sub(RESULTS_MAX);
    if rest > 0 {
        out.push_str(&format!("    and {}; --json has all.\n", count(rest as u64, "more result", "more results")));
    }
    out
}

/// Expiry and cancellation are written down as attempts too, of the number 0: nobody was asked.
fn attempt_words(attempt: &AttemptStory) -> String {
    if attempt.number == 0 {
        return "Decided here, without another attempt:".to_owned();
    }
    let took = span(attempt.finished_at.0.since(attempt.started_at.0));
    let where_to = match attempt.server.as_str() {
        "" => "no server was reached".to_owned(),
        "sandbox" => "kept in the sandbox inbox: nothing leaves this machine".to_owned(),
        "simulator" => "to the simulator".to_owned(),
        server => format!("to {}", printable(server)),
    };
    let tls = attempt.tls.as_deref().map(|tls| format!(" under {}", printable(tls))).unwrap_or_default();
    format!("Attempt {}, {where_to}{tls}; it took {took}.", attempt.number)
}

fn step_told(step: &StepStory, style: Style) -> String {
    let mut out = format!("    {} {}\n", style.paint(Tone::Quiet, ">"), printable(&step.sent));
    let mut lines = step.received.lines().peekable();
    while let Some(line) = lines.next() {
        // The time stands behind the last line: that is when the answer was whole.
        let took = if lines.peek().is_none() { format!("  ({})", milliseconds(step.took_us)) } else { String::new() };
        out.push_str(&format!(
            "    {} {}{}\n",
            style.paint(Tone::Quiet, "<"),
            printable(line),
            style.paint(Tone::Quiet, &took)
        ));
    }
    out
}

fn milliseconds(micros: u64) -> String {
    format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100)
}

fn result_told(result: &ResultStory, story: &MessageStory, style: Style) -> String {
    let address = story.recipients.get(result.recipient as usize).map_or("?", |recipient| recipient.address.as_str());
    let words = match result.outcome.as_str() {
        "delivered" => "delivered".to_owned(),
        "deferred" => {
            let maybe = if result.maybe_delivered {
                ", but the connection was lost after the last byte, so it may have arrived"
            } else {
                ""
            };
            let next = result.retry_at.map(|at| format!("; next try not before {}", moment(at.0))).unwrap_or_default();
            format!("not taken yet{maybe}{next}")
        }
        "bounced" => "refused for good".to_owned(),
        "expired" => "given up: its time was over".to_owned(),
        "cancelled" => "taken back".to_owned(),
        other => printable(other),
    };
    format!(
        "    {}: {}. {}\n",
        printable(address),
        style.paint(tone_of(&result.outcome), &words),
        style.paint(Tone::Quiet, &format!("[{}]", result.reply))
    )
}

fn ending(story: &MessageStory, now: Timestamp, style: Style) -> String {
    let mut out = String::new();
    for waiting in &story.waiting {
        out.push_str(&waiting_told(waiting, now));
    }
    if out.is_empty() {
        out = match (story.state.as_str(), story.closed_at) {
            (_, Some(at)) => format!("It is over; the content was destroyed {}.\n", moment(at.0)),
            ("quarantined", None) => "It waits for a person to look at it.\n".to_owned(),
            _ => "Nothing waits in the queue; the last facts may still be on their way to the history.\n".to_owned(),
        };
    }
    let state = style.paint(tone_of(&story.state), &story.state);
    format!("\nNow: {state}. {out}")
}

fn waiting_told(waiting: &Delivery, now: Timestamp) -> String {
    let who = count(waiting.recipients.into(), "recipient", "recipients");
    let place = printable(&waiting.destination);
    let until = match waiting.until.map(|until| (until.0, until.0.since(now))) {
        Some((at, wait)) if !wait.is_zero() => format!("until {} (in {})", moment(at), span(wait)),
        _ => "and is due".to_owned(),
    };
    let words = match waiting.waits_for {
        WaitsFor::Attempt => "is being tried at this moment".to_owned(),
        WaitsFor::Release => format!("is held; let it go with `postrider queue release --id {}`", waiting.id),
        WaitsFor::Retry => format!("waits for its next attempt {until}"),
        WaitsFor::SiteDown => format!("waits because the destination is out of reach, {until}"),
        WaitsFor::SiteSlow => format!("waits because the destination asked us to slow down, {until}"),
        WaitsFor::Rate => format!("waits for the destination's rate limit, {until}"),
        WaitsFor::Connection => {
            "waits for a free connection: as many as this destination may have are in use".to_owned()
        }
        WaitsFor::Turn => "waits for its turn".to_owned(),
    };
    format!(
        "For {place} ({who}) it {words}. If it does not arrive before, it is given up {}.\n",
        moment(waiting.expires_at.0)
    )
}

#[cfg(test)]
mod tests {
    use base::MessageId;
    use web::admin::types::{Came, RecipientStory, Time};

    use super::*;

    const NOON: Timestamp = Timestamp::from_secs(1_795_321_000);

    fn later(seconds: u64) -> Time {
        Time(Timestamp(NOON.0 + seconds * 1_000_000))
    }

    fn event(seconds: u64, kind: &str, recipient: Option<u32>, attempt: Option<u32>) -> Event {
        Event { at: later(seconds), kind: kind.into(), recipient, attempt, reason: None }
    }

    fn story() -> MessageStory {
        let recipient = |address: &str, state: &str| RecipientStory {
            address: address.into(),
            state: state.into(),
            changed_at: later(1),
            attempts: 1,
        };
        let result = |recipient, outcome: &str, reply: &str, retry_at| ResultStory {
            recipient,
            outcome: outcome.into(),
            reply: reply.into(),
            retry_at,
            maybe_delivered: false,
        };
        let id = MessageId::new(1, [0; 10]);
        MessageStory {
            id,
            account: "shop".into(),
            received_at: later(0),
            from: Some("ada@example.org".into()),
            subject: Some("Your order".into()),
            message_id_header: None,
            size_octets: 2_912,
            came: Came::Smtp { client: "192.0.2.9".into(), helo: "web1".into(), tls: true },
            state: "deferred".into(),
            closed_at: None,
            recipients: vec![recipient("bob@example.net", "deferred"), recipient("eve@example.net", "delivered")],
            events: vec![
                event(0, "accepted", None, None),
                event(1, "deferred", Some(0), Some(0)),
                event(1, "delivered", Some(1), Some(0)),
            ],
            attempts: vec![AttemptStory {
                started_at: later(1),
                finished_at: later(2),
                number: 1,
                server: "mx1.example.net [192.0.2.1]:25".into(),
                tls: Some("TLS 1.3".into()),
                results: vec![
                    result(1, "delivered", "250 2.0.0 queued", None),
                    result(0, "deferred", "450 4.2.0 greylisted", Some(later(900))),
                ],
                dialogue: vec![StepStory {
                    at_us: 0,
                    took_us: 23_400,
                    sent: "RCPT TO:<bob@example.net>".into(),
                    received: "450-4.2.0 first\n450 4.2.0 greylisted".into(),
                }],
            }],
            waiting: vec![Delivery {
                id,
                account: "shop".into(),
                destination: "example.net".into(),
                recipients: 1,
                attempts: 1,
                accepted_at: later(0),
                expires_at: later(432_000),
                waits_for: WaitsFor::Retry,
                until: Some(later(900)),
            }],
            truncated: false,
        }
    }

    #[test]
    fn a_story_has_a_beginning_a_middle_and_a_next() {
        assert_eq!(
            explain(&story(), later(60).0, Style::PLAIN),
            "“Your order”\n\
             from ada@example.org to 2 recipients, 2.9 KB, of account shop\n\
             \n2026-11-22 04:16:40.000 UTC  Accepted by SMTP from 192.0.2.9 (it called itself web1), under TLS. \
             It was on disk before the client was told 250.\n\
             \n2026-11-22 04:16:41.000 UTC  Attempt 1, to mx1.example.net [192.0.2.1]:25 under TLS 1.3; it took 1 s.\n    \
             > RCPT TO:<bob@example.net>\n    \
             < 450-4.2.0 first\n    \
             < 450 4.2.0 greylisted  (23.4 ms)\n    \
             bob@example.net: not taken yet; next try not before 2026-11-22 04:31:40 UTC. [450 4.2.0 greylisted]\n    \
             eve@example.net: delivered. [250 2.0.0 queued]\n\
             \nNow: deferred. For example.net (1 recipient) it waits for its next attempt \
             until 2026-11-22 04:31:40 UTC (in 14 min). If it does not arrive before, it is given up 2026-11-27 04:16:40 UTC.\n"
        );
    }

    #[test]
    fn what_is_over_says_so() {
        let mut over = story();
        over.waiting.clear();
        over.state = "delivered".into();
        over.closed_at = Some(later(5));
        let told = explain(&over, later(60).0, Style::PLAIN);
        assert!(
            told.ends_with("Now: delivered. It is over; the content was destroyed 2026-11-22 04:16:45 UTC.\n"),
            "{told}"
        );
    }

    #[test]
    fn a_lost_connection_and_a_hold_are_explained() {
        let mut odd = story();
        odd.attempts[0].results[1].maybe_delivered = true;
        odd.events.push(Event { reason: Some("the operator".into()), ..event(5, "held", None, None) });
        odd.waiting[0].waits_for = WaitsFor::Release;
        let told = explain(&odd, later(60).0, Style::PLAIN);
        assert!(told.contains("the connection was lost after the last byte, so it may have arrived"), "{told}");
        assert!(told.contains("Held back: the operator. It waits until somebody releases it."), "{told}");
        assert!(told.contains(&format!("postrider queue release --id {}", odd.id)), "{told}");
    }

    #[test]
    fn what_was_decided_without_an_attempt_is_no_attempt() {
        let mut taken_back = story();
        taken_back.attempts[0].number = 0;
        taken_back.attempts[0].server = String::new();
        taken_back.attempts[0].dialogue.clear();
        taken_back.attempts[0].results[1].outcome = "cancelled".into();
        let told = explain(&taken_back, later(60).0, Style::PLAIN);
        assert!(told.contains("Decided here, without another attempt:\n    bob@example.net: taken back."), "{told}");
        assert!(!told.contains("Attempt 0"), "{told}");
    }

    #[test]
    fn a_peers_words_cannot_steer_the_terminal() {
        let mut hostile = story();
        let canary = "\x1b[2J\x07";
        hostile.subject = Some(canary.into());
        hostile.attempts[0].server = canary.into();
        hostile.attempts[0].dialogue[0].received = canary.into();
        hostile.attempts[0].results[0].reply = canary.into();
        hostile.came = Came::Smtp { client: "192.0.2.9".into(), helo: canary.into(), tls: false };
        assert!(!explain(&hostile, NOON, Style::PLAIN).contains(['\x1b', '\x07']));
    }

    #[test]
    fn an_attempt_with_very_many_recipients_is_cut_failures_first() {
        let mut wide = story();
        wide.attempts[0].results = (0..1000)
            .map(|recipient| ResultStory {
                recipient,
                outcome: if recipient == 999 { "bounced".into() } else { "delivered".into() },
                reply: String::new(),
                retry_at: None,
                maybe_delivered: false,
            })
            .collect();
        let told = explain(&wide, NOON, Style::PLAIN);
        assert!(told.contains("refused for good") && told.contains("and 950 more results"), "{told}");
        assert!(told.lines().count() < 80);
    }
}
