//! What the DNS says about a domain decides what happens to its mail. Nothing but an answer bounces.

use testkit::dns::Answer;
use testkit::{Message, Server, Zone};

#[track_caller]
fn start(zone: &Zone) -> Server {
    let servers = format!("[\"{}\"]", zone.address());
    Server::builder("names").live().impatient().set("dns", "servers", &servers).start()
}

/// Sends to `bob@domain` without a sender, so that no report follows, and waits for this state.
#[track_caller]
fn becomes(server: &Server, domain: &str, state: &str) -> String {
    let reply = server.login().send("", &[&format!("bob@{domain}")], &Message::new(domain).bytes());
    let story = server.wait_for_state(&reply.message_id(), state);
    story["attempts"][0]["results"][0]["reply"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn what_cannot_ever_work_comes_back_at_once() {
    let zone = Zone::start();
    zone.mx("null.test", &[(0, ".")]);
    zone.mx("loop.test", &[(10, "relay.test")]);
    let server = start(&zone);
    assert!(becomes(&server, "nowhere.test", "failed").contains("5.1.2"), "NXDOMAIN");
    assert!(becomes(&server, "null.test", "failed").contains("5.1.10"), "null MX (RFC 7505)");
    assert!(becomes(&server, "loop.test", "failed").contains("5.4.6"), "the MX is ourselves");
}

#[test]
fn what_nobody_knows_waits() {
    let zone = Zone::start();
    zone.fails("servfail.test", &Answer::ServFail);
    zone.fails("refused.test", &Answer::Refused);
    zone.mx_answer("half.test", Answer::Mx(vec![(10, "mx.half.test".to_owned())]));
    zone.fails("mx.half.test", &Answer::ServFail);
    zone.fails("silent.test", &Answer::Silent);
    let server = start(&zone);
    for domain in ["servfail.test", "refused.test", "half.test", "silent.test"] {
        let reply = becomes(&server, domain, "deferred");
        assert!(reply.starts_with('4'), "{domain}: {reply}");
    }
    // It gets better: then the answer counts.
    zone.mx("servfail.test", &[(0, ".")]);
    becomes(&server, "servfail.test", "failed");
}

#[test]
fn a_stranger_cannot_point_us_at_our_own_network() {
    let zone = Zone::start();
    zone.mx("inside.test", &[(10, "mx.inside.test")]).a("mx.inside.test", &[[127, 0, 0, 1]]);
    zone.mx("private.test", &[(10, "mx.private.test")]).a("mx.private.test", &[[10, 0, 0, 1], [192, 168, 1, 1]]);
    zone.a("direct.test", &[[169, 254, 169, 254]]);
    let server = start(&zone);
    for domain in ["inside.test", "private.test", "direct.test"] {
        let reply = server.login().send("", &[&format!("bob@{domain}")], &Message::new(domain).bytes());
        let story = testkit::until("an attempt", || {
            let story = server.story(&reply.message_id());
            story["attempts"].as_array().is_some_and(|attempts| !attempts.is_empty()).then_some(story)
        });
        assert_eq!(story["attempts"][0]["server"], "", "no server was reached: {story:#}");
        assert_ne!(story["state"], "delivered");
    }
}

#[test]
fn an_answer_too_large_for_udp_is_asked_for_again_by_tcp() {
    let zone = Zone::start();
    zone.mx_answer("large.test", Answer::OnlyByTcp(Box::new(Answer::Mx(vec![(0, ".".to_owned())]))));
    let server = start(&zone);
    assert!(becomes(&server, "large.test", "failed").contains("5.1.10"));
}
