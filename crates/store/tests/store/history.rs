use std::sync::Arc;

use base::{Actor, Fact, MessageId, Outcome, Recorded, Scope};
use store::{
    Appended, Counter, Day, EventKind, MessageFilter, MessageState, MessageSummary, Position, RecipientState, Source,
    StoreError,
};

use crate::kit::{ADA, BOB, NEW_YEAR, World, accepted, address, at, attempt, deferred, delivered, id, meta, operator};

async fn listed(world: &World, scope: Scope, filter: MessageFilter) -> Vec<MessageSummary> {
    world.store.message_list(scope, filter, None, 100).await.unwrap()
}

fn ids(list: &[MessageSummary]) -> Vec<MessageId> {
    list.iter().map(|summary| summary.id).collect()
}

#[tokio::test]
async fn a_message_to_three_tells_its_story() {
    let mut world = World::new();
    let meta = meta(1, ADA, &["x@one.example", "y@one.example", "z@two.example"]);
    let first = attempt(1, at(2), &[(0, delivered()), (1, deferred())]);
    let second = attempt(1, at(3), &[(2, Outcome::Bounced)]);
    let third = attempt(2, at(1000), &[(1, delivered())]);
    world.append(vec![accepted(&meta), (meta.id, Fact::Attempted(first.clone()))]).await;

    let story = world.store.message_show(operator(), meta.id).await.unwrap().unwrap();
    assert_eq!(story.summary.state, MessageState::Deferred);
    assert_eq!((story.summary.tally.delivered, story.summary.tally.pending()), (1, 2));

    // The later attempts are in batches of their own, so that rows in the database change.
    world.append(vec![(meta.id, Fact::Attempted(second.clone()))]).await;
    world.append(vec![(meta.id, Fact::Attempted(third.clone())), (meta.id, Fact::Closed { at: at(1001) })]).await;

    let story = world.store.message_show(operator(), meta.id).await.unwrap().unwrap();
    assert_eq!(story.summary.state, MessageState::Failed);
    assert_eq!(story.summary.closed_at, Some(at(1001)));
    assert_eq!(story.summary.subject.as_deref(), Some("Your order"));
    assert_eq!(story.summary.sender, meta.envelope.sender);
    assert!(matches!(&story.source, Source::Smtp { helo, tls: true, .. } if &**helo == "client.example"));
    let recipients: Vec<_> = story.recipients.iter().map(|r| (r.address.as_str(), r.state, r.attempts)).collect();
    assert_eq!(
        recipients,
        [
            ("x@one.example", RecipientState::Delivered, 1),
            ("y@one.example", RecipientState::Delivered, 2),
            ("z@two.example", RecipientState::Bounced, 1),
        ]
    );
    let events: Vec<_> = story.events.iter().map(|e| (e.kind, e.recipient, e.attempt.as_deref())).collect();
    assert_eq!(
        events,
        [
            (EventKind::Accepted, None, None),
            (EventKind::Delivered, Some(0), Some(&first)),
            (EventKind::Deferred, Some(1), Some(&first)),
            (EventKind::Bounced, Some(2), Some(&second)),
            (EventKind::Delivered, Some(1), Some(&third)),
        ]
    );
    let numbers: Vec<_> = story.events.iter().map(|e| e.seq).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5], "numbers have no gaps");
}

#[tokio::test]
async fn held_recipients_wait_and_go_on() {
    let mut world = World::new();
    let meta = meta(1, ADA, &["x@one.example", "y@one.example", "z@two.example"]);
    let tried = attempt(1, at(2), &[(0, delivered()), (1, deferred())]);
    let held = Fact::Held { at: at(3), reason: "the operator looks at it".into(), recipients: vec![0, 1, 2] };
    world.append(vec![accepted(&meta), (meta.id, Fact::Attempted(tried))]).await;
    world.append(vec![(meta.id, held)]).await;
    let story = world.store.message_show(operator(), meta.id).await.unwrap().unwrap();
    assert_eq!((story.summary.state, story.summary.tally.held), (MessageState::Held, 2), "what is delivered is so");
    let told: Vec<_> = story.events[3..].iter().map(|e| (e.kind, e.recipient, e.reason.as_deref())).collect();
    let reason = Some("the operator looks at it");
    assert_eq!(told, [(EventKind::Held, Some(1), reason), (EventKind::Held, Some(2), reason)]);

    // An attempt that ran meanwhile puts it off: it still waits for somebody.
    world.append(vec![(meta.id, Fact::Attempted(attempt(2, at(4), &[(1, deferred())])))]).await;
    world.append(vec![(meta.id, Fact::Released { at: at(5), recipients: vec![0, 1, 2] })]).await;
    let story = world.store.message_show(operator(), meta.id).await.unwrap().unwrap();
    let states: Vec<_> = story.recipients.iter().map(|r| (r.state, r.attempts)).collect();
    assert_eq!(
        states,
        [(RecipientState::Delivered, 1), (RecipientState::Deferred, 2), (RecipientState::Queued, 0)],
        "each is again what it was"
    );

    world.append(vec![(meta.id, Fact::Quarantined { at: at(6), reason: "damaged".into() })]).await;
    let story = world.store.message_show(operator(), meta.id).await.unwrap().unwrap();
    assert_eq!((story.summary.state, story.quarantined_at), (MessageState::Quarantined, Some(at(6))));
    assert_eq!(story.events.last().unwrap().reason.as_deref(), Some("damaged"));
}

#[tokio::test]
async fn giving_up_is_no_attempt() {
    let mut world = World::new();
    let meta = meta(1, ADA, &["x@one.example", "y@one.example"]);
    let mut expiry = attempt(3, at(9), &[(0, Outcome::Expired), (1, Outcome::Cancelled)]);
    expiry.server = "".into();
    world.append(vec![accepted(&meta), (meta.id, Fact::Attempted(expiry))]).await;
    let story = world.store.message_show(operator(), meta.id).await.unwrap().unwrap();
    assert_eq!((story.summary.state, story.recipients[0].attempts), (MessageState::Failed, 0));
    let counts = world.store.stats(operator(), Day::of(NEW_YEAR), Day::of(NEW_YEAR)).await.unwrap();
    assert!(!counts.iter().any(|count| count.counter == Counter::Attempts));
}

#[tokio::test]
async fn a_batch_handed_in_twice_counts_once() {
    let world = World::new();
    let meta = meta(1, ADA, &["x@one.example"]);
    let fact = |position, fact| (Position(3, position), Recorded { message: meta.id, fact, carried: false });
    let batch = Arc::new(vec![
        fact(100, Fact::Accepted(meta.clone())),
        fact(200, Fact::Attempted(attempt(1, at(2), &[(0, deferred())]))),
    ]);
    let append = |batch: &Arc<Vec<_>>, cursor| world.store.history_append(operator(), Arc::clone(batch), cursor);
    assert_eq!(append(&batch, Position(3, 200)).await.unwrap().applied, 2);
    assert_eq!(append(&batch, Position(3, 200)).await.unwrap(), Appended { repeated: 2, ..Appended::default() });
    // Half of it again, with something new behind it.
    let overlapping = Arc::new(vec![
        batch[1].clone(),
        fact(300, Fact::Attempted(attempt(2, at(3), &[(0, delivered())]))),
        (Position(4, 0), Recorded { message: meta.id, fact: Fact::Accepted(meta.clone()), carried: true }),
    ]);
    let report = append(&overlapping, Position(4, 0)).await.unwrap();
    assert_eq!(report, Appended { applied: 1, repeated: 1, carried: 1, orphaned: 0 });
    assert_eq!(world.store.history_cursor(operator()).await.unwrap(), Position(4, 0));

    // An old cursor does not set it back.
    append(&batch, Position(3, 200)).await.unwrap();
    assert_eq!(world.store.history_cursor(operator()).await.unwrap(), Position(4, 0));
    let story = world.store.message_show(operator(), meta.id).await.unwrap().unwrap();
    assert_eq!(story.events.len(), 3);
    assert_eq!(story.recipients[0].attempts, 2);
    let counts = world.store.stats(operator(), Day::of(NEW_YEAR), Day::of(NEW_YEAR)).await.unwrap();
    let number = |counter| counts.iter().find(|c| c.counter == counter).map_or(0, |c| c.number);
    assert_eq!(
        [Counter::Messages, Counter::Octets, Counter::Attempts, Counter::Deferred, Counter::Delivered].map(number),
        [1, 4000, 2, 1, 1]
    );
}

#[tokio::test]
async fn after_a_rewind_what_is_known_stays() {
    let mut world = World::new();
    let meta = meta(1, ADA, &["x@one.example"]);
    world.append(vec![accepted(&meta), (meta.id, Fact::Attempted(attempt(1, at(2), &[(0, delivered())])))]).await;
    world.store.history_rewind(operator(), Position(0, 0)).await.unwrap();
    let again =
        vec![(Position(1, 1), Recorded { message: meta.id, fact: Fact::Accepted(meta.clone()), carried: false })];
    world.store.history_append(operator(), Arc::new(again), Position(1, 1)).await.unwrap();
    let story = world.store.message_show(operator(), meta.id).await.unwrap().unwrap();
    assert_eq!(story.summary.state, MessageState::Delivered);
}

#[tokio::test]
async fn facts_about_nothing_known_are_counted_and_harmless() {
    let mut world = World::new();
    let meta = meta(1, ADA, &["x@one.example"]);
    let stray = Fact::Attempted(attempt(1, at(2), &[(7, delivered()), (0, delivered())]));
    let report = world.append(vec![(id(9), Fact::Closed { at: at(1) }), accepted(&meta), (meta.id, stray)]).await;
    assert_eq!(report, Appended { applied: 2, orphaned: 2, ..Appended::default() });
    let story = world.store.message_show(operator(), meta.id).await.unwrap().unwrap();
    assert_eq!(story.summary.tally.delivered, 1);
    assert!(story.events[1].attempt.is_some(), "the first event that is told has the attempt");
}

#[tokio::test]
async fn an_attempt_that_decided_nothing_is_still_told() {
    let mut world = World::new();
    let meta = meta(1, ADA, &["x@one.example"]);
    world.append(vec![accepted(&meta), (meta.id, Fact::Attempted(attempt(1, at(2), &[])))]).await;
    let story = world.store.message_show(operator(), meta.id).await.unwrap().unwrap();
    assert_eq!((story.events[1].kind, story.summary.state), (EventKind::Attempted, MessageState::Queued));
    assert!(story.events[1].attempt.is_some());
}

#[tokio::test]
async fn a_report_about_a_message_says_so() {
    let mut world = World::new();
    let mut report = meta(2, base::AccountId::INSTANCE, &["sender@ada.example"]);
    let about = id(1);
    report.envelope.sender = None;
    report.origin = base::Origin::Report { about, kind: base::ReportKind::Failure, recipients: vec![0] };
    world.append(vec![accepted(&report)]).await;
    let story = world.store.message_show(operator(), report.id).await.unwrap().unwrap();
    assert_eq!(story.source, Source::Report { about, kind: base::ReportKind::Failure });
    assert_eq!(story.summary.sender, None);
}

#[tokio::test]
async fn anothers_message_is_an_absent_one() {
    let mut world = World::new();
    let meta = meta(1, ADA, &["x@one.example"]);
    world.append(vec![accepted(&meta)]).await;
    let (ada, bob) = (Actor::Account(ADA).scope(), Actor::Account(BOB).scope());
    assert!(world.store.message_show(ada, meta.id).await.unwrap().is_some());
    assert_eq!(world.store.message_show(bob, meta.id).await.unwrap(), None);
    assert_eq!(world.store.message_show(bob, id(77)).await.unwrap(), None);
    let to_x = MessageFilter { recipient: Some(address("x@one.example")), ..MessageFilter::default() };
    assert_eq!(listed(&world, ada, to_x.clone()).await.len(), 1);
    assert!(listed(&world, bob, to_x).await.is_empty());
    assert!(listed(&world, bob, MessageFilter::default()).await.is_empty());
    assert!(world.store.stats(bob, Day(0), Day(i64::MAX)).await.unwrap().is_empty());
    let nothing = world.store.history_append(bob, Arc::default(), Position(9, 9)).await;
    assert!(matches!(nothing, Err(StoreError::InstanceOnly)));
}

#[tokio::test]
async fn messages_are_found_by_each_filter_and_by_several() {
    let mut world = World::new();
    world.store.account_add(operator(), "ada", NEW_YEAR).await.unwrap();
    world.store.account_add(operator(), "bob", NEW_YEAR).await.unwrap();
    let mut metas = Vec::new();
    for number in 1..=8 {
        let account = if number % 2 == 0 { ADA } else { BOB };
        let recipient = format!("user{}@one.example", number % 4);
        let mut meta = meta(number * 3600, account, &[&recipient, "all@one.example"]);
        if number > 4 {
            meta.envelope.sender = Some(address("Other@ada.example"));
        }
        metas.push(meta);
    }
    world.append(metas.iter().map(accepted).collect()).await;
    let bounce = attempt(1, at(9 * 3600), &[(0, Outcome::Bounced), (1, delivered())]);
    world.append(vec![(metas[3].id, Fact::Attempted(bounce))]).await;
    let numbers = |list: Vec<MessageSummary>| -> Vec<usize> {
        list.iter().map(|s| metas.iter().position(|m| m.id == s.id).unwrap() + 1).collect()
    };
    let all = MessageFilter::default();
    let ada = Actor::Account(ADA).scope();

    assert_eq!(numbers(listed(&world, operator(), all.clone()).await), [8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(numbers(listed(&world, ada, all.clone()).await), [8, 6, 4, 2]);
    let to = |text: &str| MessageFilter { recipient: Some(address(text)), ..MessageFilter::default() };
    assert_eq!(numbers(listed(&world, ada, to("USER2@ONE.example")).await), [6, 2]);
    assert_eq!(numbers(listed(&world, operator(), to("all@one.example")).await), [8, 7, 6, 5, 4, 3, 2, 1]);
    let from = MessageFilter { sender: Some(address("other@ada.example")), ..all.clone() };
    assert_eq!(numbers(listed(&world, operator(), from.clone()).await), [8, 7, 6, 5]);
    let both = MessageFilter { recipient: Some(address("user2@one.example")), ..from };
    assert_eq!(numbers(listed(&world, operator(), both).await), [6]);
    let failed = MessageFilter { state: Some(MessageState::Failed), ..all.clone() };
    assert_eq!(numbers(listed(&world, operator(), failed).await), [4]);
    let window = MessageFilter { since: Some(at(3 * 3600)), before: Some(at(5 * 3600)), ..all.clone() };
    assert_eq!(numbers(listed(&world, operator(), window).await), [4, 3]);

    // Pages meet without a gap.
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let page = world.store.message_list(operator(), to("all@one.example"), after, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        pages.extend(ids(&page));
    }
    assert_eq!(pages, ids(&listed(&world, operator(), all).await));
}
