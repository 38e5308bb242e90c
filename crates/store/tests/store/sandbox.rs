use std::sync::Arc;

use base::{AccountId, Actor};
use store::{Capture, SandboxLimits};

use crate::kit::{ADA, BOB, World, at, meta, operator};

fn capture(number: u64, account: AccountId, content: &str) -> Capture<String> {
    let meta = Arc::new(meta(number, account, &["x@one.example", "y@one.example"]));
    Capture { meta, recipients: vec![1], content: content.to_owned(), at: at(number) }
}

async fn ids(world: &World, account: AccountId) -> Vec<i64> {
    let list = world.store.sandbox_list(Actor::Account(account).scope(), None, 100).await.unwrap();
    list.iter().map(|summary| summary.id).collect()
}

#[tokio::test]
async fn what_was_captured_is_shown_to_its_owner() {
    let world = World::new();
    let limits = SandboxLimits::default();
    world.store.sandbox_add(operator(), capture(1, ADA, "Subject: Hi\r\n\r\nHello\r\n"), limits).await.unwrap();
    let ada = Actor::Account(ADA).scope();
    let list = world.store.sandbox_list(ada, None, 100).await.unwrap();
    assert_eq!(list[0].recipients[0].as_str(), "y@one.example");
    assert_eq!((list[0].recipients.len(), list[0].subject.as_deref()), (1, Some("Your order")));
    let shown = world.store.sandbox_show(ada, list[0].id).await.unwrap().unwrap();
    assert_eq!(shown.summary, list[0]);
    assert_eq!(shown.content.as_deref(), Some(b"Subject: Hi\r\n\r\nHello\r\n".as_slice()));
    let bob = Actor::Account(BOB).scope();
    assert_eq!(world.store.sandbox_show(bob, list[0].id).await.unwrap(), None);
    assert_eq!(world.store.sandbox_clear(bob).await.unwrap(), 0);
    assert_eq!(world.store.sandbox_clear(ada).await.unwrap(), 1);
    assert!(ids(&world, ADA).await.is_empty());
}

#[tokio::test]
async fn capturing_again_replaces() {
    let world = World::new();
    let limits = SandboxLimits::default();
    world.store.sandbox_add(operator(), capture(1, ADA, "before the crash"), limits).await.unwrap();
    world.store.sandbox_add(operator(), capture(1, ADA, "after the crash"), limits).await.unwrap();
    let list = ids(&world, ADA).await;
    assert_eq!(list.len(), 1);
    let shown = world.store.sandbox_show(operator(), list[0]).await.unwrap().unwrap();
    assert_eq!(shown.content.as_deref(), Some(b"after the crash".as_slice()));
}

#[tokio::test]
async fn the_oldest_of_a_full_inbox_go_and_nobody_elses() {
    let world = World::new();
    let limits = SandboxLimits { messages_max: 3, octets_max: 100 };
    world.store.sandbox_add(operator(), capture(1, BOB, "bob's"), limits).await.unwrap();
    for number in 2..=6 {
        world.store.sandbox_add(operator(), capture(number, ADA, "ten octets"), limits).await.unwrap();
    }
    assert_eq!(ids(&world, ADA).await, [6, 5, 4]);
    world.store.sandbox_add(operator(), capture(7, ADA, &"x".repeat(85)), limits).await.unwrap();
    assert_eq!(ids(&world, ADA).await, [7, 6], "85 and 10 octets fit, 20 more do not");
    assert_eq!(ids(&world, BOB).await, [1]);
}

#[tokio::test]
async fn of_a_message_over_the_limit_the_envelope_is_kept() {
    let world = World::new();
    let limits = SandboxLimits { messages_max: 3, octets_max: 100 };
    world.store.sandbox_add(operator(), capture(1, ADA, "small"), limits).await.unwrap();
    world.store.sandbox_add(operator(), capture(2, ADA, &"x".repeat(101)), limits).await.unwrap();
    assert_eq!(ids(&world, ADA).await, [2, 1], "it pushes nothing out");
    let shown = world.store.sandbox_show(operator(), 2).await.unwrap().unwrap();
    assert_eq!((shown.content, shown.summary.size_octets), (None, 0));
}
