//! The planner: what is sent next, and when.
//!
//! A pure state machine. It reads no clock (each call is given the time), opens nothing, and draws its
//! random numbers from a generator that it is given. It knows a message by its id and its recipients by
//! their numbers; it holds no address but the destination's domain, once per lane, and no content.
//! The journal is the truth: after a restart the planner is filled from it.
//!
//! ```text
//!  enqueue ──> Deferred ──due──> Ready ──poll──> InFlight ──finished──> gone
//!                 ^  ^             │  ^              │  │
//!                 │  └─────────────┼──┼──────────────┘  └── cancelled: gone
//!                 │      hold │ release                └── held
//!                 └──────── Held                      (waiting, lifetime over: Expire, gone)
//! ```
//!
//! # Words
//!
//! A **job** is one message's recipients for one lane. A **lane** is a destination (recipient domain)
//! over a route. An **attempt** is a job handed out by [`Planner::poll`] until [`Planner::finished`].
//!
//! # Invariants
//!
//! - Every recipient leaves exactly once: done, expired, or cancelled. Whoever an outcome does not
//!   mention was not attempted; nobody is dropped by omission.
//! - A job in flight is never handed out again before its attempt is finished.
//! - Nothing is tried before its time, and nothing while it is held.
//! - The caps on what runs at once are never exceeded, whatever fails.
//! - A waiting job has a timer for its report; a lane with waiting jobs has a timer, a place in a ring,
//!   or an attempt in flight that will wake it. Nothing is ever scanned for.
//!
//! # When a message is tried again
//!
//! After its n-th temporary refusal a job waits `min(first · 2^(n−1), max)`, made longer by a random part
//! of up to a fifth: 5, 10, 20, 40, 80, 160, 240, 240 … minutes. Never shorter than that, because a
//! greylisting server counts its 300 seconds. Trouble of the whole site does not count as a refusal. After
//! a restart n is the number of attempts in the journal. The last try is made when the lifetime ends.
//!
//! # How many connections a site gets
//!
//! Each lane has a window `w` (attempts at one time), as in Postfix's scheduler and TCP:
//!
//! ```text
//! at first           w = 5
//! Reached            w += 1          below the threshold t (t = the limit until there was trouble)
//!                    w += 1/(10·w)   above it
//! Slow (421, 4.7.x)  w = t = min(w, what ran − 1), at least 1;  c += 1/w before the change
//! Unreachable        w −= 1, at least 1;                        c += 1/w before the change
//! ```
//!
//! `c` counts failed cohorts and is set to 0 by every success. When it reaches 1 (about as many failures in a row as
//! there were connections), or when nothing else was running, the lane **closes** for 1 minute, twice
//! that after each failed probe, up to an hour, with jitter. A closed lane touches none of its jobs: a hundred
//! thousand of them cost memory and nothing else. When the time is over, one job goes out as a probe (the
//! next in turn, so that a job that is itself the trouble does not keep the lane shut). If it
//! reaches the site, everything that waited goes. A site that bears two connections is overrun a few times,
//! remembers the place as its threshold, and is tested there once in tens of messages.
//!
//! Greylisting and full mailboxes are *not* site feedback: every job must be tried once for its
//! own greylisting to begin.
//!
//! # Fairness
//!
//! - Inside a lane, accounts take turns (weighted round robin), each account's jobs in order.
//!   Transactional mail goes before bulk; where both wait, one start in ten is bulk.
//! - Across lanes: a round robin over the lanes that could start something, again nine transactional
//!   lanes to one of bulk, and alternating between sites that answer and sites not heard of yet.
//! - Of the attempts in flight, some are kept free for transactional mail, and some for sites that have
//!   answered: a hundred dead sites waiting for their time-outs leave room for the living.
//! - What is not balanced across lanes is the accounts: an account that writes to a hundred thousand
//!   domains has as many turns of the outer round.
//!
//! # Lifetime
//!
//! It counts from `accepted_at`, but the clock alone expires nothing. A job expires when an attempt
//! for it *ended* after its lifetime, or when its site is closed and failed a probe within the last two
//! hours. So a machine that was off for a week tries everything once more before it gives up, and a
//! clock that jumps ten years ahead loses no mail that can be delivered. The same holds for delay notices. A
//! clock that is set back makes the planner's time stand still for that step, no more.
//!
//! # Cost
//!
//! `enqueue`, `poll`, `finished`: O(log n). Orders and lists by message: O(log n) per job; by account or destination: one
//! walk over all jobs. A waiting job with one recipient takes below 200 bytes, everything counted.

mod backoff;
mod config;
mod feedback;
mod job;
mod lane;
mod list;
mod operate;
mod planner;
mod reports;
mod rings;
mod settle;
mod slab;
mod steady;
mod turns;
mod view;

pub use backoff::{doubling, with_jitter};
pub use config::{Config, LaneLimits, Schedule};
pub use feedback::SiteFeedback;
pub use job::JobId;
pub use lane::{LaneId, RouteId};
pub use operate::{Selector, Touched};
pub use planner::{Action, Assignment, LaneKey, NewJob, Overdue, Planner};
pub use settle::{Fate, Next, Remainder};
pub use view::{Cursor, CursorError, JobView, LaneState, LaneView, Page, Stats, Waits};

#[cfg(test)]
mod tests;
