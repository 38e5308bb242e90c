//! What people order: hold, release, retry, cancel; and what they ask.

use base::{Fact, MessageId};
use queue::{Selector, Touched};

use super::Runner;
use crate::handle::{Command, Met, Order};

impl Runner {
    pub(super) fn command(&mut self, command: Command) {
        let now = self.now();
        // Who asked may have gone away; the order stands.
        match command {
            Command::Summary { reply } => drop(reply.send(self.planner.summary(now))),
            Command::List { selector, after, limit, reply } => {
                drop(reply.send(self.planner.list(now, &selector, after, limit)));
            }
            Command::Jobs { message, reply } => {
                let page = self.planner.list(now, &Selector::Message(message), None, JOBS_OF_MESSAGE_MAX);
                drop(reply.send(page.jobs));
            }
            Command::Order { order, selector, reply } => drop(reply.send(self.order(order, &selector))),
        }
    }

    fn order(&mut self, order: Order, selector: &Selector) -> Met {
        let now = self.now();
        match order {
            Order::Hold => {
                let touched = self.planner.hold(now, selector);
                // One in flight is held only if its attempt leaves something over; it is written then.
                for job in touched.iter().filter(|job| !job.in_flight) {
                    self.record_held(job.message, job.recipients.clone());
                }
                met(&touched)
            }
            Order::Release => {
                let touched = self.planner.release(now, selector);
                for job in &touched {
                    self.record_released(job);
                }
                met(&touched)
            }
            Order::RetryNow => met(&self.planner.retry_now(now, selector)),
            Order::Cancel => {
                let touched = self.planner.cancel(now, selector);
                for job in touched.iter().filter(|job| !job.in_flight) {
                    self.cancelled(job.message, &job.recipients);
                }
                met(&touched)
            }
        }
    }

    pub(super) fn record_held(&self, message: MessageId, recipients: Vec<u32>) {
        let fact = Fact::Held { at: self.now(), reason: "held by the operator".into(), recipients };
        self.record_order(message, &fact);
    }

    fn record_released(&self, job: &Touched) {
        let fact = Fact::Released { at: self.now(), recipients: job.recipients.clone() };
        self.record_order(job.message, &fact);
    }

    fn record_order(&self, message: MessageId, fact: &Fact) {
        if let Err(error) = self.spool().record(message, fact) {
            tracing::error!(%message, %error, "an order could not be written to the journal; it holds until the next restart");
        }
    }
}

fn met(touched: &[Touched]) -> Met {
    let in_flight = touched.iter().filter(|job| job.in_flight).count();
    Met { jobs: touched.len() - in_flight, in_flight }
}

/// Jobs of one message that are shown: more destinations than this in one message are cut.
const JOBS_OF_MESSAGE_MAX: usize = 1_000;
