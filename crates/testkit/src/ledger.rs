//! The three-way comparison that ends every fault test: what the client was told, what the sink received, what the
//! server's own history says.
//!
//! - Every message that the client was told is safe has arrived, or the history says where it is.
//! - A message whose answer the client never saw may have arrived or not; at most once either way.
//! - A message arrives twice only where a kill fell between its final dot and the moment the peer read the reply.
//! - The history of a message that arrived says so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::message::story_id;
use crate::sink::Receipt;

/// A reply that was sent longer before the kill than this had been read and written down.
const READ_WITHIN: Duration = Duration::from_millis(250);

/// What the client knows of a message it submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// 250 to the dot: the server has it.
    Accepted,
    /// The connection broke before the answer: nobody knows.
    Unknown,
    /// Another answer: the client still has it.
    Refused(u16),
}

/// The client's side of it, and when the server was killed.
#[derive(Debug, Default)]
pub struct Ledger {
    told: BTreeMap<String, Told>,
    kills: Vec<Kill>,
}

/// A kill fell between these two moments: a process takes its time to die.
#[derive(Debug, Clone, Copy)]
struct Kill {
    from: Instant,
    to: Instant,
}

/// A message that arrived more than once.
#[derive(Debug, Clone)]
pub struct Duplicate {
    pub id: String,
    /// Whether a kill fell after the earlier dot, on a connection whose peer is not known to have read the reply.
    pub explained: bool,
    /// From the reply to the earlier dot to the kill; 0 where the kill came before the reply.
    pub reply_to_kill_us: u128,
}

/// What the comparison found.
#[derive(Debug, Default)]
pub struct Verdict {
    pub accepted: usize,
    pub unknown: usize,
    pub refused: usize,
    /// Accepted, but neither arrived nor known to the history.
    pub lost: Vec<String>,
    pub duplicates: Vec<Duplicate>,
    /// Arrived, but the client was told that it was refused, or never sent it.
    pub surprising: Vec<String>,
    /// Arrived, but the history does not say `delivered`; or the other way round.
    pub misremembered: Vec<String>,
}

impl Ledger {
    pub fn new() -> Ledger {
        Ledger::default()
    }

    /// The client's knowledge. A message is submitted once: what was told of it stands.
    pub fn told(&mut self, id: &str, told: Told) {
        let before = self.told.insert(id.to_owned(), told);
        assert_eq!(before, None, "{id} was submitted twice by the test itself");
    }

    /// The server was killed: the signal was sent at `from`, and by now it is dead.
    pub fn killed(&mut self, from: Instant) {
        self.kills.push(Kill { from, to: Instant::now() });
    }

    /// Each kill: the signal was sent at the first moment, the process was dead at the second.
    pub fn kills(&self) -> impl Iterator<Item = (Instant, Instant)> + '_ {
        self.kills.iter().map(|kill| (kill.from, kill.to))
    }

    pub fn accepted(&self) -> usize {
        self.told.values().filter(|told| **told == Told::Accepted).count()
    }

    pub fn len(&self) -> usize {
        self.told.len()
    }

    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// Whether all that was accepted has arrived.
    pub fn all_arrived(&self, receipts: &[Receipt]) -> bool {
        let arrived: BTreeSet<String> = receipts.iter().filter_map(|receipt| story_id(&receipt.data)).collect();
        self.told.iter().filter(|(_, told)| **told == Told::Accepted).all(|(id, _)| arrived.contains(id))
    }

    /// Compares. `history` gives the state that the server knows for each story id: `delivered`, `queued` and so on;
    /// ids that it does not know are left out.
    pub fn compare(&self, receipts: &[Receipt], history: &BTreeMap<String, String>) -> Verdict {
        let mut arrivals: BTreeMap<String, Vec<&Receipt>> = BTreeMap::new();
        for receipt in receipts {
            if let Some(id) = story_id(&receipt.data) {
                arrivals.entry(id).or_default().push(receipt);
            }
        }
        let mut verdict = Verdict::default();
        for (id, told) in &self.told {
            let arrived = arrivals.contains_key(id);
            let state = history.get(id);
            match told {
                Told::Accepted => {
                    verdict.accepted += 1;
                    if !arrived && state.is_none_or(|state| state == "delivered") {
                        verdict.lost.push(id.clone());
                    }
                }
                Told::Unknown => verdict.unknown += 1,
                Told::Refused(_) => {
                    verdict.refused += 1;
                    if arrived {
                        verdict.surprising.push(id.clone());
                    }
                }
            }
            if arrived != (state.is_some_and(|state| state == "delivered")) {
                verdict.misremembered.push(format!("{id}: arrived {arrived}, history {state:?}"));
            }
        }
        for (id, receipts) in &arrivals {
            if !self.told.contains_key(id) {
                verdict.surprising.push(id.clone());
            }
            for pair in receipts.windows(2) {
                verdict.duplicates.push(self.duplicate(id, pair[0], pair[1]));
            }
        }
        verdict
    }

    fn duplicate(&self, id: &str, first: &Receipt, second: &Receipt) -> Duplicate {
        // The kill that ended the connection: what the dead sender had written may be read after its death.
        let kill = self.kills.iter().find(|kill| kill.to >= first.connected_at && kill.from <= second.dot_at);
        let late = match (kill, first.replied_at) {
            (Some(kill), Some(replied_at)) => kill.from.saturating_duration_since(replied_at),
            _ => Duration::ZERO,
        };
        Duplicate {
            id: id.to_owned(),
            explained: kill.is_some() && !first.reply_seen && late <= READ_WITHIN,
            reply_to_kill_us: late.as_micros(),
        }
    }
}

impl Verdict {
    /// # Panics
    /// When anything was lost, doubled without a reason, or misremembered.
    #[track_caller]
    pub fn expect_clean(&self) {
        let unexplained: Vec<&Duplicate> = self.duplicates.iter().filter(|duplicate| !duplicate.explained).collect();
        assert!(
            self.lost.is_empty()
                && unexplained.is_empty()
                && self.surprising.is_empty()
                && self.misremembered.is_empty(),
            "lost {:?}\nunexplained duplicates {unexplained:?}\nsurprising {:?}\nmisremembered {:?}",
            self.lost,
            self.surprising,
            self.misremembered,
        );
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let explained = self.duplicates.iter().filter(|duplicate| duplicate.explained).count();
        write!(
            f,
            "{} accepted, {} without an answer, {} refused; {} lost, {} duplicates of which {explained} explained",
            self.accepted,
            self.unknown,
            self.refused,
            self.lost.len(),
            self.duplicates.len(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Message;

    fn receipt(id: &str, dot_at: Instant, reply_seen: bool) -> Receipt {
        Receipt {
            connection: 1,
            connected_at: dot_at,
            tls: false,
            helo: String::new(),
            from: String::new(),
            parameters: Vec::new(),
            recipients: Vec::new(),
            data: Message::new(id).bytes(),
            dot_at,
            replied: Some(250),
            replied_at: Some(dot_at),
            reply_seen,
        }
    }

    fn delivered(ids: &[&str]) -> BTreeMap<String, String> {
        ids.iter().map(|id| ((*id).to_owned(), "delivered".to_owned())).collect()
    }

    #[test]
    fn a_lost_message_is_found() {
        let mut ledger = Ledger::new();
        ledger.told("kept", Told::Accepted);
        ledger.told("lost", Told::Accepted);
        ledger.told("queued", Told::Accepted);
        ledger.told("never", Told::Unknown);
        let mut history = delivered(&["kept"]);
        history.insert("queued".to_owned(), "queued".to_owned());
        let verdict = ledger.compare(&[receipt("kept", Instant::now(), true)], &history);
        assert_eq!(verdict.lost, ["lost"]);
        assert!(verdict.misremembered.is_empty(), "{:?}", verdict.misremembered);
    }

    #[test]
    fn a_duplicate_needs_a_kill_between_dot_and_reply() {
        let mut ledger = Ledger::new();
        ledger.told("cut", Told::Accepted);
        ledger.told("careless", Told::Accepted);
        let before = Instant::now();
        ledger.killed(before);
        let after = Instant::now() + Duration::from_millis(1);
        let receipts = [
            receipt("cut", before, false),
            receipt("careless", before, true),
            receipt("cut", after, true),
            receipt("careless", after, true),
        ];
        let verdict = ledger.compare(&receipts, &delivered(&["cut", "careless"]));
        let explained: Vec<(&str, bool)> =
            verdict.duplicates.iter().map(|duplicate| (duplicate.id.as_str(), duplicate.explained)).collect();
        assert_eq!(explained, [("careless", false), ("cut", true)]);
    }
}
