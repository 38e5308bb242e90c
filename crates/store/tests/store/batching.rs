//! However the facts are cut into batches and repeated, the history is the same.

use std::sync::Arc;

use base::{Fact, MessageId, Outcome, Recorded};
use proptest::prelude::*;
use store::{Day, Position, Store, Story};

use crate::kit::{ADA, at, attempt, deferred, delivered, id, meta, open, operator};

const MESSAGES: u64 = 4;

/// One position is nobody's.
fn positions() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(0..4_u32, 0..3)
}

/// Facts in an order that the journal could have: each message is accepted before all else.
fn facts() -> impl Strategy<Value = Vec<(MessageId, Fact)>> {
    let outcome = prop_oneof![
        Just(delivered()),
        Just(deferred()),
        Just(Outcome::Bounced),
        Just(Outcome::Expired),
        Just(Outcome::Cancelled)
    ];
    let fact = prop_oneof![
        4 => prop::collection::vec((0..3_u32, outcome), 0..3)
            .prop_map(|results| Fact::Attempted(attempt(1, at(100_000), &results))),
        1 => positions().prop_map(|recipients| Fact::Held { at: at(5), reason: "why".into(), recipients }),
        1 => positions().prop_map(|recipients| Fact::Released { at: at(6), recipients }),
        1 => Just(Fact::Closed { at: at(7) }),
        1 => Just(Fact::Quarantined { at: at(8), reason: "damaged".into() }),
    ];
    prop::collection::vec((0..MESSAGES, fact), 0..30).prop_map(|later| {
        let accepted = (0..MESSAGES).map(|number| {
            let meta = meta(number, ADA, &["x@one.example", "y@one.example", "z@two.example"]);
            (meta.id, Fact::Accepted(meta))
        });
        accepted.chain(later.into_iter().map(|(number, fact)| (id(number), fact))).collect()
    })
}

type Batch = Vec<(Position, Recorded)>;

async fn append(store: &Store, batch: &[(Position, Recorded)]) {
    let Some((cursor, _)) = batch.last() else { return };
    store.history_append(operator(), Arc::new(batch.to_vec()), *cursor).await.unwrap();
}

async fn all_of(store: &Store) -> (Vec<Story>, Vec<store::DayCount>) {
    let mut stories = Vec::new();
    for number in 0..MESSAGES {
        stories.push(store.message_show(operator(), id(number)).await.unwrap().unwrap());
    }
    (stories, store.stats(operator(), Day(0), Day(i64::MAX)).await.unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn batches_do_not_matter(facts in facts(), cuts in prop::collection::vec((0..35_usize, 0..5_usize), 0..8)) {
        let journal: Batch = (1..)
            .zip(facts)
            .map(|(position, (message, fact))| (Position(0, position), Recorded { message, fact, carried: false }))
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (at_once, in_parts) = (open(one.path()), open(two.path()));
        runtime.block_on(async {
            append(&at_once, &journal).await;
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut done = 0;
            for (cut, repeated) in cuts.into_iter().chain([(journal.len(), 0)]) {
                let cut = cut.clamp(done, journal.len());
                append(&in_parts, &journal[done.saturating_sub(repeated)..cut]).await;
                done = cut;
            }
            prop_assert_eq!(all_of(&at_once).await, all_of(&in_parts).await);
            Ok(())
        })?;
    }
}
