//! Mail comes in by SMTP, with a password or from a trusted network, and is in the spool before it is
//! acknowledged.

mod common;

use std::sync::atomic::Ordering;

use base::{AccountId, CredentialId, Origin};
use common::*;

#[tokio::test]
async fn a_message_is_stored_before_it_is_acknowledged() {
    let mut world = World::new(Setting { trust: trusted(), ..Setting::default() });
    let mut client = world.greeted().await;
    let said = client.message("From: ada@example.org\r\nSubject: Hello\r\n\r\n..dotted\r\nbody").await;
    let stored = world.next().await;
    let id = stored.meta.id;
    assert_eq!(said, format!("250 2.0.0 Ok, queued as {id}\r\n"));
    let body = String::from_utf8(world.body(&stored)).unwrap();
    assert!(body.starts_with("Received: by mx.example.net (Postrider) with ESMTP\r\n\tid "), "{body}");
    assert!(body.contains("\r\n\tfor <bob@example.com>;\r\n"), "{body}");
    assert!(body.contains(&format!("Message-ID: <{id}@mx.example.net>\r\n")) && body.contains("\r\nDate: "), "{body}");
    assert!(body.ends_with("\r\n\r\n.dotted\r\nbody\r\n"), "{body}");
    let meta = &*stored.meta;
    assert_eq!(meta.size_octets, body.len() as u64);
    assert_eq!(meta.subject.as_deref(), Some("Hello"));
    assert_eq!((meta.account, meta.credential), (AccountId(2), None));
    let Origin::Smtp { client: address, helo, tls } = &meta.origin else { panic!("it came by SMTP") };
    assert_eq!((address.to_string().as_str(), &**helo, *tls), ("127.0.0.1", "client.example", false));
    assert_eq!(client.code("QUIT").await, 221);
    client.closed().await;
    assert_eq!(world.counters().messages_accepted.load(Ordering::Relaxed), 1);
    assert_eq!(world.counters().octets_accepted.load(Ordering::Relaxed), body.len() as u64);
}

#[tokio::test]
async fn with_a_password_by_either_mechanism() {
    let mut world = World::new(Setting::default());
    let mut client = world.greeted().await;
    assert_eq!(client.code(ADA).await, 235);
    assert_eq!(code(&client.message("x").await), 250);
    let stored = world.next().await;
    assert_eq!((stored.meta.account, stored.meta.credential), (AccountId(1), Some(CredentialId(11))));
    assert!(String::from_utf8(world.body(&stored)).unwrap().contains(" with ESMTPA\r\n"));
    let mut client = world.greeted().await;
    assert_eq!(client.say("AUTH LOGIN").await, "334 VXNlcm5hbWU6\r\n");
    assert_eq!(client.code("YWRh").await, 334);
    assert_eq!(client.code("c2VjcmV0").await, 235);
    assert_eq!(code(&client.message("x").await), 250);
    assert_eq!(world.counters().auth_successes.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn nobody_relays_without_being_known() {
    let mut world = World::new(Setting::default());
    let mut client = world.greeted().await;
    for sender in ["<ada@example.org>", "<>", "<postmaster@mx.example.net>", "<a@[127.0.0.1]>"] {
        let said = client.say(&format!("MAIL FROM:{sender}")).await;
        assert_eq!(said, "530 5.7.0 Authentication required\r\n");
        assert_eq!(client.code("RCPT TO:<bob@example.com>").await, 503);
    }
    assert_eq!(client.code(WRONG).await, 535);
    assert_eq!(client.code("MAIL FROM:<ada@example.org>").await, 530, "also behind a failed login");
    assert_eq!(client.code("RSET").await, 250);
    assert_eq!(client.code("MAIL FROM:<ada@example.org>").await, 530);
    assert_eq!(client.code("DATA").await, 503);
    drop(client);
    assert!(world.counters().senders_refused.load(Ordering::Relaxed) >= 6);
    world.assert_nothing_stored().await;
}

#[tokio::test]
async fn a_sender_must_be_ones_own() {
    let world = World::new(Setting::default());
    let mut client = world.greeted().await;
    assert_eq!(client.code(ADA).await, 235);
    assert_eq!(client.say("MAIL FROM:<eve@foreign.example>").await, "550 5.7.1 This sender is not yours\r\n");
    assert_eq!(code(&client.message("x").await), 250, "the session goes on");
}

#[tokio::test]
async fn a_pipelined_client_sends_many_messages_on_one_connection() {
    let mut world = World::new(Setting { trust: trusted(), ..Setting::default() });
    let mut client = world.greeted().await;
    for n in 0..50 {
        let content = format!("Subject: {n}\r\n\r\nx\r\n");
        let group = format!(
            "MAIL FROM:<a@b> SIZE=20\r\nRCPT TO:<r{n}@example.com>\r\nBDAT {} LAST\r\n{content}",
            content.len()
        );
        client.send(group).await;
    }
    for n in 0..50 {
        for _ in 0..3 {
            assert_eq!(code(&client.reply().await), 250);
        }
        let stored = world.next().await;
        assert_eq!(stored.meta.subject.as_deref(), Some(n.to_string().as_str()));
        assert_eq!(stored.meta.envelope.recipients[0].address.as_str(), format!("r{n}@example.com"));
    }
}

#[tokio::test]
async fn headers_that_cannot_be_taken_are_refused() {
    let mut world = World::new(Setting { trust: trusted(), ..Setting::default() });
    let mut client = world.greeted().await;
    let hops = "Received: by x; Thu, 01 Jan 1970 00:00:00 +0000\r\n".repeat(50);
    for (header, reply) in [
        ("From: a@b\r\nFrom: c@d\r\n", "550 5.6.0 "),
        ("Subject: a\r\nSubject: b\r\n", "550 5.6.0 "),
        ("From : a@b\r\n", "550 5.6.0 "),
        (hops.as_str(), "554 5.4.6 "),
        (&format!("X: {}\r\n", "y".repeat(300_000)), "552 5.3.4 "),
    ] {
        let said = client.message(&format!("{header}\r\nbody")).await;
        assert!(said.starts_with(reply), "{said}");
    }
    assert_eq!(code(&client.message(&format!("{}\r\nbody", &hops[..hops.len() / 50 * 49])).await), 250);
    world.next().await;
    assert_eq!(world.counters().refused_header.load(Ordering::Relaxed), 5);
    assert_eq!(world.counters().messages_refused.load(Ordering::Relaxed), 5);
    assert_eq!(world.spool.stats().live_messages, 1);
}

#[tokio::test]
async fn smuggled_ends_are_refused_also_from_those_who_may_send() {
    let mut world = World::new(Setting { trust: trusted(), ..Setting::default() });
    for end in ["\n.\n", "\n.\r", "\r.\n", "\r.\r", "\n.\r\n", "\r.\r\n", "\r\n\0.\r\n", "\r\n.\r\r\n", "\r\r\n.\r\r\n"]
    {
        let mut client = world.greeted().await;
        let said = client.message(&format!("x{end}MAIL FROM:<evil@b>\r\nRCPT TO:<v@c>\r\nDATA\r\ny")).await;
        assert!(said.starts_with("550 5.6.11 "), "{end:?}: {said}");
        assert_eq!(client.code("RCPT TO:<x@y>").await, 503);
        assert_eq!(client.code("NOOP").await, 250);
    }
    assert_eq!(world.counters().refused_content.load(Ordering::Relaxed), 9);
    world.assert_nothing_stored().await;
}

#[tokio::test]
async fn who_goes_away_in_the_middle_has_sent_nothing() {
    let mut world = World::new(Setting { trust: trusted(), ..Setting::default() });
    for half in ["DATA\r\nSubject: x\r\n\r\nhalf", "BDAT 3\r\na\r\n", "BDAT 1000000\r\nhalf"] {
        let mut client = world.greeted().await;
        client
            .send(format!("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n{}", half.split_inclusive("\r\n").next().unwrap()))
            .await;
        client.reply().await;
        client.reply().await;
        if half.starts_with("DATA") {
            assert_eq!(code(&client.reply().await), 354);
        }
        client.send(half.split_once("\r\n").unwrap().1).await;
    }
    world.assert_nothing_stored().await;
    assert_eq!(world.counters().refused_unfinished.load(Ordering::Relaxed), 3);
    assert_eq!(world.counters().connections_open.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn more_than_the_spool_takes_is_552() {
    let world = World::new(Setting { trust: trusted(), message_octets_max: 1000, ..Setting::default() });
    let mut client = world.greeted().await;
    assert!(client.message(&"x".repeat(2000)).await.starts_with("552 5.3.4 "));
    assert_eq!(code(&client.message("x").await), 250);
    assert_eq!(world.counters().refused_storage.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_spool_that_does_not_work_keeps_the_client_waiting() {
    let world = World::new(Setting { trust: trusted(), ..Setting::default() });
    let mut client = world.greeted().await;
    world.spool.shutdown();
    let said = client.message("x").await;
    assert!(said.starts_with("451 4.3.0 "), "{said}");
    assert_eq!(world.counters().refused_storage.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn programs_use_the_same_door_and_it_can_be_closed() {
    let mut world = World::new(Setting { trust: trusted(), ..Setting::default() });
    let principal = accept::Principal {
        account: AccountId(3),
        credential: None,
        stream: base::Stream::Bulk,
        name: "program".into(),
    };
    let envelope = || base::Envelope {
        sender: None,
        recipients: vec![base::Recipient::new("bob@example.com".parse().unwrap())],
        body: base::BodyType::SevenBit,
        smtputf8: false,
        ret: None,
        envid: None,
    };
    let id = world.door.submit(&principal, local(), envelope(), b"Subject: x\r\n\r\nbody\r\n").await.unwrap();
    let stored = world.next().await;
    assert_eq!((stored.meta.id, stored.meta.account, &stored.meta.origin), (id, AccountId(3), &Origin::Local));
    assert!(String::from_utf8(world.body(&stored)).unwrap().starts_with("Received: by mx.example.net (Postrider)\r\n"));
    // A message that has begun may finish.
    let mut begun = world.door.begin(&principal, local(), envelope()).unwrap();
    world.door.close();
    begun.write(b"Subject: y\r\n\r\n");
    begun.finish().await.unwrap();
    for content in [&b"Subject: x\r\n\r\na\0b\r\n"[..], b"Subject: x\n\nb\n", b"Subject: x\r\n\r\na\rb\r\n"] {
        let refused = world.door.submit(&principal, local(), envelope(), content).await.unwrap_err();
        assert_eq!(refused.enhanced, Some(base::Enhanced(5, 6, 11)));
    }
    let refused = world.door.submit(&principal, local(), envelope(), b"\r\n").await.unwrap_err();
    assert_eq!(refused.code, 421);
    let mut client = world.greeted().await;
    client.send("MAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\nDATA\r\n").await;
    assert_eq!([client.reply().await, client.reply().await, client.reply().await].map(|r| code(&r)), [250, 250, 421]);
}
