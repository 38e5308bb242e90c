//! No byte of what is sealed is in any file, whatever was done.

use std::sync::Arc;

use base::{Enhanced, Fact, Origin, Outcome, Reply, Secret};
use store::{Capture, NewCredential, SandboxLimits};

use crate::kit::{ADA, NEW_YEAR, World, accepted, address, at, attempt, deferred, meta, operator};

const MARKERS: &[&str] = &[
    "markersender",
    "markerrecipient",
    "markersubject",
    "markerheader",
    "markerhelo",
    "markerreply",
    "markerserver",
    "markerdialogue",
    "markerreason",
    "markersecret",
    "markerbody",
];

#[tokio::test]
async fn no_file_has_a_word_of_what_is_sealed() {
    let mut world = World::new();
    tell(&mut world).await;
    assert_sealed(&world, "with the WAL full");
    world.store.sandbox_clear(operator()).await.unwrap();
    world.store.close().await;
    assert_sealed(&world, "after closing");
}

/// One of each thing that is stored, a marker in each of its texts.
async fn tell(world: &mut World) {
    world.store.account_add(operator(), "ada", NEW_YEAR).await.unwrap();
    let new = NewCredential {
        account: ADA,
        username: "ada-1".into(),
        secret: Secret::from("markersecret"),
        label: "web".into(),
        created_at: NEW_YEAR,
    };
    world.store.credential_add(operator(), new).await.unwrap();
    let mut meta = meta(1, ADA, &["markerrecipient@one.example", "ada@markerrecipient.example"]);
    meta.envelope.sender = Some(address("markersender@ada.example"));
    meta.subject = Some("markersubject".into());
    meta.message_id_header = Some("<markerheader@ada.example>".into());
    meta.origin = Origin::Smtp { client: [192, 0, 2, 1].into(), helo: "markerhelo.example".into(), tls: false };
    let mut attempt = attempt(1, at(2), &[(0, deferred()), (1, Outcome::Bounced)]);
    attempt.server = "markerserver.example".into();
    attempt.dialogue[0].sent = "RCPT TO:<markerdialogue@one.example>".into();
    attempt.results[0].reply = Reply::new(450, Enhanced(4, 2, 1), "markerreply@one.example is full");
    world.append(vec![accepted(&meta)]).await;
    world
        .append(vec![
            (meta.id, Fact::Attempted(attempt)),
            (meta.id, Fact::Held { at: at(3), reason: "markerreason".into(), recipients: vec![0] }),
        ])
        .await;
    let content = "markerbody ".repeat(10_000);
    let capture = Capture { meta: Arc::new(meta), recipients: vec![0, 1], content, at: at(4) };
    world.store.sandbox_add(operator(), capture, SandboxLimits::default()).await.unwrap();
}

fn assert_sealed(world: &World, when: &str) {
    let mut octets = 0;
    for entry in std::fs::read_dir(world.directory.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        octets += bytes.len();
        for marker in MARKERS {
            let found = bytes.windows(marker.len()).any(|window| window.eq_ignore_ascii_case(marker.as_bytes()));
            assert!(!found, "{marker} is in {} {when}", path.display());
        }
    }
    assert!(octets > 50_000, "the files were really looked at: {octets} octets");
}
