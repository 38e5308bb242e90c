//! Servers that refuse, leave, dawdle or do not know what they are doing.

use super::*;

const BOTH: [&str; 2] = ["a@x", "b@x"];

#[test]
fn a_refused_sender_is_everybodys_answer() {
    for keywords in [&["PIPELINING"][..], &[]] {
        let mut stage = Stage::ready(settings(), keywords);
        stage.begins(transaction(&BOTH));
        if keywords.is_empty() {
            stage.says("550 5.7.1 not you\r\n");
        } else {
            stage.says("550 5.7.1 not you\r\n503 no\r\n503 no\r\n503 no\r\n");
        }
        let report = stage.report();
        assert_eq!(outcomes(&report), [(0, NEVER, 550), (1, NEVER, 550)]);
        assert_eq!(report.ending, Ending::Settled);
        assert!(stage.connection.is_idle());
    }
}

#[test]
fn all_recipients_refused() {
    let mut stage = Stage::ready(settings(), &["PIPELINING"]);
    stage.begins(transaction(&BOTH));
    assert_eq!(stage.says("250 a\r\n550 b\r\n451 c\r\n554 no valid recipients\r\n"), "");
    assert_eq!(outcomes(&stage.report()), [(0, NEVER, 550), (1, LATER, 451)]);
    // What is left at the server is cleared before the next sender is named.
    assert!(stage.begins(transaction(&["c@x"])).starts_with("RSET\r\nMAIL FROM:"));
    stage.says("250 reset\r\n250 a\r\n250 b\r\n354 c\r\n");
    stage.says("250 d\r\n");
    assert_eq!(outcomes(&stage.report()), [(0, DELIVERED, 250)]);

    let mut stage = Stage::ready(settings(), &[]);
    stage.begins(transaction(&["a@x"]));
    stage.says("250 a\r\n");
    assert_eq!(stage.says("550 b\r\n"), "", "no DATA for nobody");
    stage.report();
    assert_eq!(stage.begins(transaction(&["c@x"])), "RSET\r\n");
    assert!(stage.says("250 reset\r\n").starts_with("MAIL FROM"));
}

#[test]
fn all_recipients_refused_and_content_is_wanted_nevertheless() {
    let mut stage = Stage::ready(settings(), &["PIPELINING"]);
    stage.begins(transaction(&BOTH));
    assert_eq!(stage.says("250 a\r\n550 b\r\n550 c\r\n354 go on\r\n"), ".\r\n");
    stage.says("554 no valid recipients\r\n");
    assert_eq!(outcomes(&stage.report()), [(0, NEVER, 550), (1, NEVER, 550)]);
    assert!(stage.connection.is_idle());

    // Nor is anybody delivered to by a server that takes the nothing.
    stage.begins(transaction(&["a@x"]));
    assert_eq!(stage.says("550 who\r\n550 b\r\n354 go on\r\n"), ".\r\n");
    stage.says("250 taken\r\n");
    assert_eq!(outcomes(&stage.report()), [(0, NEVER, 550)]);
}

#[test]
fn no_empty_message_is_made_of_a_refused_sender() {
    let mut stage = Stage::ready(settings(), &["PIPELINING"]);
    stage.begins(transaction(&["a@x"]));
    assert_eq!(stage.says("451 not now\r\n250 b\r\n354 go on\r\n"), "");
    assert!(stage.closed);
    assert_eq!(outcomes(&stage.report()), [(0, LATER, 451)]);
}

#[test]
fn data_is_refused() {
    for (reply, disposition) in [("451 later", LATER), ("554 never", NEVER)] {
        let mut stage = Stage::ready(settings(), &["PIPELINING"]);
        stage.begins(transaction(&BOTH));
        assert_eq!(stage.says(&format!("250 a\r\n250 b\r\n550 who\r\n{reply}\r\n")), "");
        let report = stage.report();
        assert_eq!((report.results[0].disposition, report.results[1].disposition), (disposition, NEVER));
        assert!(stage.connection.is_idle());
    }
    let mut stage = Stage::ready(settings(), &["PIPELINING"]);
    stage.begins(transaction(&["a@x"]));
    assert_eq!(stage.says("250 a\r\n250 b\r\n250 what\r\n"), "");
    assert!(stage.closed);
    assert_eq!(stage.report().results[0].disposition, LATER);
}

#[test]
fn content_is_refused() {
    for (reply, disposition, code) in
        [("550 spam", NEVER, 550), ("451 later", LATER, 451), ("999 what", LATER, 999), ("130 hm", LATER, 130)]
    {
        let mut stage = Stage::ready(settings(), &["PIPELINING"]);
        stage.begins(transaction(&["a@x"]));
        stage.says("250 a\r\n250 b\r\n354 c\r\n");
        stage.says(&format!("{reply}\r\n"));
        let report = stage.report();
        assert_eq!(outcomes(&report), [(0, disposition, code)]);
        assert!(stage.connection.is_idle());
    }
}

#[test]
fn content_is_refused_before_it_is_said() {
    let mut stage = Stage::ready(settings(), &["PIPELINING"]);
    stage.begins(transaction(&["a@x"]));
    stage.takes = 10;
    stage.says("250 a\r\n250 b\r\n354 c\r\n");
    stage.takes = 0;
    stage.says("552 5.3.4 too big\r\n");
    let report = stage.report();
    assert_eq!((outcomes(&report), report.ending), (vec![(0, NEVER, 552)], Ending::Cut));
    assert!(stage.closed, "the rest of the content must not become commands");

    let mut stage = Stage::ready(settings(), &["PIPELINING"]);
    stage.begins(transaction(&["a@x"]));
    stage.takes = 10;
    stage.says("250 a\r\n250 b\r\n354 c\r\n");
    stage.takes = 0;
    stage.says("250 taken already\r\n");
    assert_eq!(stage.report().results[0].disposition, LATER, "it cannot have taken what it has not seen");
}

#[test]
fn the_server_leaves() {
    // After so many of its replies.
    let replies = ["250 a\r\n", "250 b\r\n", "250 b\r\n", "354 c\r\n"];
    for (said, disposition, ending) in [
        (0, LATER, Ending::Unheard),
        (1, LATER, Ending::Cut),
        (2, LATER, Ending::Cut),
        (3, LATER, Ending::Cut),
        (4, MAYBE, Ending::Cut),
    ] {
        for input in ["closed", "broken", "timed out"] {
            let mut stage = Stage::ready(settings(), &["PIPELINING"]);
            stage.begins(transaction(&BOTH));
            for reply in &replies[..said] {
                stage.says(reply);
            }
            stage.says("25");
            match input {
                "closed" => stage.is_told(Input::Closed),
                "broken" => stage.is_told(Input::Broken("reset by peer")),
                _ => stage.is_told(Input::TimedOut),
            };
            let report = stage.report();
            assert_eq!(outcomes(&report), [(0, disposition, 451), (1, disposition, 451)], "after {said} replies");
            assert_eq!(report.ending, ending);
            assert_eq!(report.dialogue.len(), said + 1, "the open step is there too");
            assert!(stage.closed && !stage.connection.is_free());
        }
    }
}

#[test]
fn the_server_leaves_before_the_dot_has_left() {
    let mut stage = Stage::ready(settings(), &["PIPELINING"]);
    stage.begins(transaction(&["a@x"]));
    stage.takes = MESSAGE_ON_WIRE.len() - 1;
    stage.says("250 a\r\n250 b\r\n354 c\r\n");
    stage.takes = 0;
    stage.is_told(Input::Broken("reset by peer"));
    assert_eq!(stage.report().results[0].disposition, LATER);
}

#[test]
fn the_server_says_that_it_leaves() {
    for (said, ending) in [
        ("", Ending::Unheard),
        ("250 a\r\n", Ending::Cut),
        ("250 a\r\n250 b\r\n", Ending::Cut),
        ("250 a\r\n250 b\r\n354 c\r\n", Ending::Cut),
    ] {
        let mut stage = Stage::ready(settings(), &["PIPELINING"]);
        stage.begins(transaction(&["a@x"]));
        stage.says(said);
        stage.says("421 4.3.2 shutting down\r\n");
        let report = stage.report();
        assert_eq!(outcomes(&report), [(0, LATER, 421)]);
        assert_eq!(report.ending, ending);
        assert!(stage.closed);
    }
    // Who was refused for good before stays so.
    let mut stage = Stage::ready(settings(), &["PIPELINING"]);
    stage.begins(transaction(&BOTH));
    stage.says("250 a\r\n550 b\r\n421 bye\r\n");
    assert_eq!(outcomes(&stage.report()), [(0, NEVER, 550), (1, LATER, 421)]);
}

#[test]
fn the_next_one_is_not_hurt_by_what_happens_to_the_first() {
    for end in ["421 bye\r\n", "closed"] {
        let mut stage = Stage::ready(Settings { next: Next::BehindDot, ..settings() }, &["PIPELINING"]);
        stage.begins(transaction(&["a@x"]));
        stage.begins(transaction(&["b@x"]));
        stage.says("250 a\r\n250 b\r\n354 c\r\n");
        if end == "closed" {
            stage.is_told(Input::Closed)
        } else {
            stage.says(end)
        };
        let next = stage.reports.pop().expect("the second came back");
        assert_eq!((next.results[0].disposition, next.ending), (LATER, Ending::Unheard));
        let first = stage.report();
        assert_eq!(first.results[0].disposition, if end == "closed" { MAYBE } else { LATER });
    }
}

#[test]
fn a_server_that_dawdles() {
    let mut stage = Stage::ready(settings(), &["PIPELINING"]);
    stage.begins(transaction(&["a@x"]));
    assert_eq!(stage.connection.deadline_us(), Some(stage.now_us + 120_000_000));
    stage.says("2");
    stage.says("5");
    let before = stage.now_us;
    assert_eq!(stage.connection.deadline_us(), Some(before - 2000 + 120_000_000), "an octet gains no time");
    stage.says("0 a\r\n");
    assert_eq!(stage.connection.deadline_us(), Some(stage.now_us + 120_000_000), "a reply does");
    stage.says("250 b\r\n354 c\r\n");
    assert_eq!(stage.connection.deadline_us(), Some(stage.now_us + 20 * 60 * 1_000_000), "the dot has left");
    // RFC 5321 gives it ten minutes; one that needs fifteen gets no second copy.
    stage.now_us += 15 * 60 * 1_000_000;
    stage.says("250 at last\r\n");
    assert_eq!(outcomes(&stage.report()), [(0, DELIVERED, 250)]);
}

#[test]
fn a_server_that_takes_content_slowly() {
    let content = Bytes::from("x\r\n".repeat(1 << 20));
    let big =
        Transaction { size_octets: content.len() as u64, content: Content::Whole(content), ..transaction(&["a@x"]) };
    let mut stage = Stage::ready(settings(), &["PIPELINING"]);
    stage.begins(big.clone());
    stage.takes = 1000;
    stage.says("250 a\r\n250 b\r\n354 c\r\n");
    assert_eq!(stage.connection.deadline_us(), Some(stage.now_us + 120_000_000), "nothing for so long is dead");
    let began = stage.now_us;
    // 1,000 octets every 10 seconds: alive, but not worth a slot for nine hours.
    while !stage.closed {
        stage.takes = 1000;
        stage.now_us += 10_000_000;
        match stage.connection.deadline_us() {
            Some(deadline) if deadline <= stage.now_us => stage.is_told(Input::TimedOut),
            _ => stage.is_told(Input::Written(0)),
        };
    }
    let took_s = (stage.now_us - began) / 1_000_000;
    assert!((120 + 192..120 + 192 + 20).contains(&took_s), "3 MiB at 16 KiB/s and 2 minutes, not {took_s} s");
    let report = stage.report();
    assert_eq!(report.results[0].disposition, LATER);
    assert!(report.results[0].reply.text.contains("the content"), "{}", report.results[0].reply);
}

#[test]
fn what_must_not_leave_does_not_leave() {
    for content in ["a\n.\nMAIL FROM:<x@y>\r\n", "a\r\n.\rb", "a\r"] {
        let mut stage = Stage::ready(Settings { next: Next::BehindDot, ..settings() }, &["PIPELINING"]);
        stage.begins(Transaction { content: Content::Whole(content.into()), ..transaction(&["a@x"]) });
        stage.begins(transaction(&["b@x"]));
        assert_eq!(stage.says("250 a\r\n250 b\r\n354 c\r\n"), "");
        assert!(stage.closed);
        let next = stage.reports.pop().expect("the second came back");
        assert_eq!((next.results[0].disposition, next.ending), (LATER, Ending::Unheard));
        let report = stage.report();
        assert_eq!(report.results[0].disposition, NEVER);
        assert_eq!(report.results[0].reply.enhanced, Some(base::Enhanced(5, 6, 0)));
    }
}

#[test]
fn content_that_cannot_be_read_here() {
    let mut stage = Stage::ready(settings(), &["PIPELINING"]);
    stage.begins(Transaction { content: Content::Pulled, ..transaction(&["a@x"]) });
    stage.says("250 a\r\n250 b\r\n354 c\r\n");
    stage.is_told(Input::Body(b"half of it\r\n"));
    assert_eq!(stage.is_told(Input::BodyFailed), "", "half a message has no dot");
    assert!(stage.closed);
    assert_eq!(stage.report().results[0].disposition, LATER);
}

#[test]
fn replies_that_nobody_asked_for() {
    let mut stage = Stage::ready(settings(), &["PIPELINING"]);
    stage.begins(transaction(&["a@x"]));
    stage.says("250 a\r\n250 b\r\n354 c\r\n");
    stage.says("250 taken\r\n250 and one more\r\n");
    assert_eq!(outcomes(&stage.report()), [(0, DELIVERED, 250)], "that one is sure");
    assert!(stage.closed, "what comes next is not");

    let mut stage = Stage::ready(settings(), &[]);
    stage.begins(transaction(&["a@x"]));
    assert_eq!(stage.says("250 a\r\n250 b\r\n354 c\r\n"), "");
    assert!(stage.closed, "it answers what was not said");
    assert_eq!(stage.report().results[0].disposition, LATER);
}

#[test]
fn a_refused_reset_ends_the_connection_before_harm_is_done() {
    let mut stage = Stage::ready(settings(), &["PIPELINING"]);
    stage.begins(transaction(&["a@x"]));
    stage.says("250 a\r\n550 b\r\n554 c\r\n");
    stage.report();
    stage.begins(transaction(&["b@x"]));
    stage.says("500 what is RSET\r\n");
    let report = stage.report();
    assert_eq!((report.results[0].disposition, report.ending), (LATER, Ending::Unheard));
    assert!(stage.closed);
}
