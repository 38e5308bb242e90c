//! What a sender hears of a message that waits: the delay notice and, in the end, the expiry.

use std::sync::Arc;
use std::time::Duration;

use base::Timestamp;

use crate::job::{Job, NEVER, State};
use crate::planner::{Action, Overdue, Planner};

/// What is to be done with a job whose deadline has come.
enum Verdict {
    Expire,
    Notice,
    /// Its time is over, but nobody has tried in that time: a last try comes first.
    TryFirst,
    LookAgain(Timestamp),
}

impl Planner {
    pub(crate) fn next_report(&mut self, now: Timestamp) -> Option<Action> {
        while let Some(&(at, index)) = self.deadlines.first() {
            if at > now {
                break;
            }
            self.arm(index, NEVER);
            // While it is in flight nothing is reported; what is left of it is armed again afterwards.
            if matches!(self.jobs[index].state, State::InFlight { .. } | State::Held | State::Loose) {
                continue;
            }
            let patience = now.after(self.config.schedule.site_retry_first.max(Duration::from_millis(1)));
            match self.verdict(&self.jobs[index], now) {
                Verdict::Expire => return Some(Action::Expire(self.expire(index))),
                Verdict::Notice => {
                    self.jobs[index].delay_noticed = true;
                    self.arm_next_report(index);
                    return Some(Action::DelayNotice(self.overdue(index)));
                }
                Verdict::TryFirst => {
                    if self.jobs[index].state == State::Deferred {
                        self.urge(index);
                        self.place(self.jobs[index].lane);
                    }
                    self.arm(index, patience);
                }
                Verdict::LookAgain(at) => self.arm(index, if at > now { at } else { patience }),
            }
        }
        None
    }

    fn verdict(&self, job: &Job, now: Timestamp) -> Verdict {
        // At a site in trouble one probe in an hour stands for all that wait.
        let recent = self.config.schedule.site_retry_max.saturating_mul(2);
        let site_failed = self.lanes[job.lane].feedback.failed_within(now, recent);
        if now >= self.expires_at(job) {
            return if job.tried_last || site_failed { Verdict::Expire } else { Verdict::TryFirst };
        }
        let notice_at = self.notice_at(job);
        if now < notice_at {
            return Verdict::LookAgain(self.next_report_at(job));
        }
        if job.tried || site_failed { Verdict::Notice } else { Verdict::LookAgain(now) }
    }

    /// When the job's lifetime ends.
    pub(crate) fn expires_at(&self, job: &Job) -> Timestamp {
        job.accepted_at.after(self.config.schedule.lifetime)
    }

    fn notice_at(&self, job: &Job) -> Timestamp {
        match self.config.schedule.delay_notice_after {
            Some(after) if !job.delay_noticed => job.accepted_at.after(after),
            _ => NEVER,
        }
    }

    fn next_report_at(&self, job: &Job) -> Timestamp {
        self.notice_at(job).min(self.expires_at(job))
    }

    pub(crate) fn arm_next_report(&mut self, index: u32) {
        let at = self.next_report_at(&self.jobs[index]);
        self.arm(index, at);
    }

    /// Sets, moves or (with [`NEVER`]) clears the time of a job's next report.
    pub(crate) fn arm(&mut self, index: u32, at: Timestamp) {
        let old = std::mem::replace(&mut self.jobs[index].deadline, at);
        if old == at {
            return;
        }
        if old != NEVER {
            self.deadlines.remove(&(old, index));
        }
        if at != NEVER {
            self.deadlines.insert((at, index));
        }
    }

    fn expire(&mut self, index: u32) -> Overdue {
        let overdue = self.overdue(index);
        self.detach(index);
        let job = self.forget(index);
        self.place(job.lane);
        overdue
    }

    fn overdue(&self, index: u32) -> Overdue {
        let job = &self.jobs[index];
        let lane = &self.lanes[job.lane];
        Overdue {
            job: self.job_id(index),
            message: job.message,
            account: job.account,
            site: Arc::clone(&lane.site),
            route: lane.route,
            recipients: job.recipients.as_slice().to_vec(),
            attempts: u32::from(job.attempts),
        }
    }
}
