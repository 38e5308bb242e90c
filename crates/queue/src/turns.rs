//! Fairness inside a lane: the accounts that have ready jobs there take turns.
//!
//! A weighted round robin: whose turn it is starts as many jobs as its weight says, then goes to the
//! end. An account whose last ready job goes leaves the round, and with it its right to the rest of
//! its turn.

use std::collections::HashMap;

use base::{AccountId, Stream};

use crate::job::{Job, State};
use crate::lane::Lane;
use crate::list::{Linked, Links, List};
use crate::slab::Slab;

/// The ready jobs of one account in one lane and stream, oldest first.
#[derive(Debug)]
struct Turn {
    account: AccountId,
    jobs: List,
    /// Starts left in this turn.
    credit: u16,
    links: Links,
}

impl Linked for Turn {
    fn links(&self) -> Links {
        self.links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

#[derive(Debug)]
pub(crate) struct Turns {
    turns: Slab<Turn>,
    by_owner: HashMap<(u32, Stream, AccountId), u32>,
    weights: HashMap<AccountId, u16>,
}

impl Turns {
    pub(crate) fn new() -> Turns {
        Turns { turns: Slab::new(), by_owner: HashMap::new(), weights: HashMap::new() }
    }

    pub(crate) fn set_weight(&mut self, account: AccountId, weight: u16) {
        match weight {
            0 | 1 => self.weights.remove(&account),
            weight => self.weights.insert(account, weight),
        };
    }

    fn weight(&self, account: AccountId) -> u16 {
        self.weights.get(&account).copied().unwrap_or(1)
    }

    /// Puts a loose job at the end of its account's queue in its lane.
    pub(crate) fn push(&mut self, jobs: &mut Slab<Job>, lane: &mut Lane, index: u32) {
        let job = &mut jobs[index];
        job.state = State::Ready;
        let (stream, account) = (job.stream, job.account);
        let owner = (job.lane, stream, account);
        let turn = match self.by_owner.get(&owner) {
            Some(turn) => *turn,
            None => {
                let credit = self.weight(account);
                let turn = self.turns.insert(Turn { account, jobs: List::EMPTY, credit, links: Links::UNLINKED });
                lane.turns_mut(stream).push_back(&mut self.turns, turn);
                self.by_owner.insert(owner, turn);
                turn
            }
        };
        self.turns[turn].jobs.push_back(jobs, index);
        lane.ready += 1;
    }

    /// Takes a ready job out, wherever in its queue it stands.
    pub(crate) fn remove(&mut self, jobs: &mut Slab<Job>, lane: &mut Lane, index: u32) {
        let job = &mut jobs[index];
        job.state = State::Loose;
        let (stream, owner) = (job.stream, (job.lane, job.stream, job.account));
        let turn = *self.by_owner.get(&owner).expect("a ready job stands in its owner's turn");
        self.turns[turn].jobs.remove(jobs, index);
        lane.ready -= 1;
        if self.turns[turn].jobs.is_empty() {
            lane.turns_mut(stream).remove(&mut self.turns, turn);
            self.turns.remove(turn);
            self.by_owner.remove(&owner);
        }
    }

    /// Takes the job whose turn it is.
    pub(crate) fn take(&mut self, jobs: &mut Slab<Job>, lane: &mut Lane, stream: Stream) -> Option<u32> {
        let turn = lane.turns_mut(stream).front()?;
        let index = self.turns[turn].jobs.front().expect("an account without ready jobs has no turn");
        self.turns[turn].credit = self.turns[turn].credit.saturating_sub(1);
        if self.turns[turn].credit == 0 {
            self.turns[turn].credit = self.weight(self.turns[turn].account);
            lane.turns_mut(stream).rotate(&mut self.turns);
        }
        self.remove(jobs, lane, index);
        Some(index)
    }
}
