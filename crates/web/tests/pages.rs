//! The pages as a browser gets them: what they show, what they carry, whom they answer.

mod common;

use axum::http::StatusCode;
use base::{Enhanced, Outcome, RecipientResult, Reply, Step};
use common::{CANARY, Fetched, World, captured, get, get_from, hostile};
use web::ListedMessage;

#[tokio::test]
async fn every_answer_is_protected_errors_too() {
    let world = World::with(vec![captured(1)]);
    let paths = [
        "/",
        "/sandbox",
        "/sandbox?after=nonsense",
        "/sandbox/rows",
        "/sandbox/messages.json",
        "/sandbox/messages.json?limit=0",
        "/sandbox/messages/1",
        "/sandbox/messages/1.eml",
        "/sandbox/messages/1/frame",
        "/sandbox/messages/99",
        "/sandbox/messages/none",
        "/nothing/here",
        "/healthz",
        "/readyz",
        "/metrics",
        "/assets/style.css",
        "/assets/inbox.js",
    ];
    for path in paths {
        let fetched = get(&world, path).await;
        let policy = fetched.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; "), "{path}: {policy}");
        let is_frame = path.ends_with("/frame");
        let ancestors = if is_frame { "frame-ancestors 'self'" } else { "frame-ancestors 'none'" };
        assert!(policy.contains(ancestors), "{path}: {policy}");
        assert_eq!(policy.contains("unsafe-inline"), is_frame, "{path}: only the frame has styles of its own");
        assert_eq!(fetched.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(fetched.header("referrer-policy"), "no-referrer", "{path}");
        if path.starts_with("/sandbox") {
            assert_eq!(fetched.header("cache-control"), "no-store", "{path}");
        }
    }
}

#[tokio::test]
async fn the_frame_is_sandboxed_twice() {
    let world = World::with(vec![captured(1)]);
    let page = get(&world, "/sandbox/messages/1?view=html").await.body;
    assert!(page.contains("<iframe class=\"html\""));
    assert!(page.contains("sandbox=\"allow-popups allow-popups-to-escape-sandbox\""));
    let frame = get(&world, "/sandbox/messages/1/frame").await;
    let policy = frame.header("content-security-policy");
    assert!(policy.contains("sandbox allow-popups") && !policy.contains("allow-scripts"), "{policy}");
    assert!(!policy.contains("allow-same-origin"), "{policy}");
    assert!(frame.body.contains("<p>Hello <b>Grace</b></p>"), "{}", frame.body);
}

#[tokio::test]
async fn nothing_from_outside_becomes_markup_anywhere() {
    let world = World::with(vec![hostile(1)]);
    let views = ["html", "text", "attachments", "headers", "source", "conversation"];
    let mut paths: Vec<String> = views.iter().map(|view| format!("/sandbox/messages/1?view={view}")).collect();
    paths.extend(["/sandbox", "/sandbox/rows", "/sandbox/messages/1", "/sandbox/messages/1/frame"].map(String::from));
    for path in paths {
        let page = get(&world, &path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(!page.body.contains(CANARY), "{path} lets markup through: {}", page.body);
        assert!(!path.ends_with("/frame") || !page.body.contains("onerror"), "{path}: {}", page.body);
    }
    // The canary did arrive, as text: otherwise this test would prove nothing.
    for (path, times) in [
        ("/sandbox", 1),
        ("/sandbox/messages/1?view=text", 2),
        ("/sandbox/messages/1?view=headers", 3),
        ("/sandbox/messages/1?view=attachments", 2),
        ("/sandbox/messages/1?view=conversation", 6),
    ] {
        let found = get(&world, path).await.body.matches("&#60;img src=x").count();
        assert!(found >= times, "{path} shows the canary {found} times, not {times}");
    }
}

#[tokio::test]
async fn what_is_asked_for_in_the_address_does_not_come_back_as_markup() {
    let world = World::with(vec![captured(1)]);
    let asked = "%3Cimg%20src=x%20onerror=steal()%3E";
    for path in [
        format!("/sandbox/messages/{asked}"),
        format!("/sandbox/messages/1?view={asked}"),
        format!("/sandbox?after={asked}"),
        format!("/{asked}"),
    ] {
        let page = get(&world, &path).await;
        assert!(page.status.is_client_error(), "{path}: {}", page.status);
        assert!(!page.body.contains("<img"), "{path}: {}", page.body);
    }
}

#[tokio::test]
async fn a_site_that_points_its_name_at_us_reads_nothing() {
    let world = World::with(vec![captured(1)]);
    for path in
        ["/", "/sandbox", "/sandbox/messages.json", "/sandbox/messages/1", "/sandbox/messages/1.eml", "/nothing"]
    {
        let page = get_from(&world, path, Some("evil.example")).await;
        assert_eq!(page.status, StatusCode::MISDIRECTED_REQUEST, "{path}");
        assert!(!page.body.contains("grace@example.com"), "{path}");
        assert!(page.body.contains("http.hosts"), "the page says which setting lets a proxy in");
        assert_eq!(get_from(&world, path, None).await.status, StatusCode::MISDIRECTED_REQUEST, "{path}");
    }
    assert_eq!(get_from(&world, "/sandbox", Some("panel.example.org")).await.status, StatusCode::OK);
    // Machines that watch ask by whatever name they know; there is nothing private in the answer.
    assert_eq!(get_from(&world, "/healthz", Some("evil.example")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_empty_inbox_says_how_to_send_the_first_message() {
    let page = get(&World::with(Vec::new()), "/sandbox").await.body;
    assert!(page.contains("No mail yet"));
    assert!(page.contains("swaks --server 127.0.0.1:2525 --tls --auth PLAIN --auth-user &#39;dev&#39;"), "{page}");
    assert!(page.contains("simulator.postrider.test"));
}

#[tokio::test]
async fn the_list_is_paged() {
    let world = World::with((1..=120).rev().map(captured).collect());
    let first = get(&world, "/sandbox").await.body;
    assert_eq!(first.matches("<li><a href=\"/sandbox/messages/").count(), 50);
    assert!(first.contains("/sandbox?after=71"), "the next page begins after the last one shown");
    let last = get(&world, "/sandbox?after=21").await.body;
    assert_eq!(last.matches("<li><a href=\"/sandbox/messages/").count(), 20);
    assert!(!last.contains("/sandbox?after="), "the last page leads no further");
    assert!(!last.contains("inbox.js"), "only the first page refreshes itself");
}

#[tokio::test]
async fn programs_get_the_list_as_json() {
    let world = World::with((1..=3).rev().map(captured).collect());
    let fetched = get(&world, "/sandbox/messages.json?limit=2").await;
    assert_eq!(fetched.header("content-type"), "application/json");
    let list: Vec<ListedMessage> = serde_json::from_str(&fetched.body).expect("the list is JSON");
    assert_eq!(list.iter().map(|message| message.id).collect::<Vec<_>>(), [3, 2]);
    let raw: serde_json::Value = serde_json::from_str(&fetched.body).expect("the list is JSON");
    assert_eq!(raw[0]["from"], "ada@example.org");
    assert_eq!(raw[0]["to"], serde_json::json!(["grace@example.com"]));
    assert_eq!(raw[0]["subject"], "Grüße");
    assert_eq!(raw[0]["size"], 321);
    assert_eq!(raw[0]["received_at"], "2026-11-22T04:16:40Z");
    let rest = get(&world, "/sandbox/messages.json?after=2").await.body;
    assert_eq!(serde_json::from_str::<Vec<ListedMessage>>(&rest).expect("JSON").len(), 1);
    let refused = get(&world, "/sandbox/messages.json?limit=100000").await;
    assert_eq!((refused.status, refused.header("content-type")), (StatusCode::BAD_REQUEST, "application/problem+json"));
}

#[tokio::test]
async fn the_bytes_can_be_downloaded_as_they_are() {
    let world = World::with(vec![captured(7)]);
    let fetched = get(&world, "/sandbox/messages/7.eml").await;
    assert_eq!(fetched.header("content-type"), "message/rfc822");
    assert_eq!(fetched.header("content-disposition"), "attachment; filename=\"postrider-7.eml\"");
    assert_eq!(fetched.body.as_bytes(), captured(7).content.expect("the sample has content"));
}

#[tokio::test]
async fn a_message_without_content_still_has_a_page() {
    let mut large = captured(1);
    large.content = None;
    let world = World::with(vec![large]);
    let page = get(&world, "/sandbox/messages/1").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("larger than the inbox keeps"));
    assert!(!page.body.contains("1.eml"), "there is nothing to download");
    assert_eq!(get(&world, "/sandbox/messages/1.eml").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_conversation_is_told_with_its_times() {
    let mut message = captured(1);
    message.attempts[0].dialogue = vec![
        Step { at_us: 0, took_us: 400, sent: "[connect 192.0.2.1:25]".into(), received: "220 mx".into() },
        Step {
            at_us: 4_000,
            took_us: 23_400,
            sent: "RCPT TO:<grace@example.com>".into(),
            received: "550 5.1.1 no".into(),
        },
    ];
    message.attempts[0].results = vec![RecipientResult {
        recipient: 0,
        outcome: Outcome::Bounced,
        reply: Reply::new(550, Enhanced(5, 1, 1), "no"),
    }];
    let page = get(&World::with(vec![message]), "/sandbox/messages/1?view=conversation").await.body;
    assert!(page.contains("<li class=\"aside\">"), "what is no command stands apart");
    assert!(page.contains("RCPT TO:&#60;grace@example.com&#62;"), "{page}");
    assert!(page.contains("23 ms"));
    assert!(page.contains("received bad"));
    assert!(page.contains("<span class=\"badge bad\">bounced</span> <bdi>grace@example.com</bdi>"), "{page}");
}

#[tokio::test]
async fn an_attempts_results_are_about_the_right_recipients() {
    // A copy holds the recipients of one destination; attempts count those of the whole envelope.
    let mut message = captured(1);
    message.recipients = ["eve@example.net", "grace@example.com"].map(|text| text.parse().expect("valid")).to_vec();
    message.attempts[0].results[0].recipient = 1;
    let page = get(&World::with(vec![message.clone()]), "/sandbox/messages/1?view=conversation").await.body;
    assert!(page.contains("delivered</span> <bdi>grace@example.com</bdi>"), "{page}");
    message.recipients.clear();
    let page = get(&World::with(vec![message]), "/sandbox/messages/1?view=conversation").await;
    assert_eq!(page.status, StatusCode::OK, "a history that is gone is no error");
}

#[tokio::test]
async fn health_is_told_to_machines() {
    let mut world = World::with(Vec::new());
    let Fetched { status, body, .. } = get(&world, "/readyz").await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "{\"ready\":true,\"faults\":[]}"));
    world.fault = Some("the spool is read-only: a sync failed".to_owned());
    let Fetched { status, body, .. } = get(&world, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains("a sync failed"));
    assert_eq!(get(&world, "/healthz").await.status, StatusCode::OK, "a restart would not help");
}

#[tokio::test]
async fn metrics_are_those_of_the_registry() {
    let page = get(&World::with(Vec::new()), "/metrics").await;
    assert!(page.header("content-type").starts_with("application/openmetrics-text"));
    assert!(page.body.contains("accepted_total 3"), "{}", page.body);
    assert!(page.body.ends_with("# EOF\n"));
}

#[tokio::test]
async fn only_reading_is_possible() {
    let world = World::with(vec![captured(1)]);
    let page = common::request(&world, "POST", "/sandbox", Some("localhost")).await;
    assert_eq!(page.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
}

#[tokio::test]
async fn a_store_that_fails_is_told_without_its_secrets() {
    let mut world = World::with(Vec::new());
    world.broken = true;
    for path in ["/sandbox", "/sandbox/messages.json", "/sandbox/messages/1"] {
        let page = get(&world, path).await;
        assert_eq!(page.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        assert!(!page.body.contains("/var/lib"), "{path}: {}", page.body);
    }
}
