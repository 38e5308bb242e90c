//! What a queued recipient costs, counted by the allocator itself.
//! One test, because the counter is the whole program's.
#![expect(unsafe_code, reason = "a counting allocator is an unsafe trait")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use base::Stream;
use common::{DAY, Desk, HOUR};
use queue::{Action, Config};

struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed to the system's allocator unchanged; only sizes are counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const JOBS: usize = 100_000;

#[test]
fn a_hundred_thousand_waiting_jobs_are_small_and_quiet() {
    let empty = BYTES.load(Ordering::Relaxed);
    let mut desk = Desk::new(Config::default());
    for nth in 0..JOBS {
        desk.queue_for("dead.example", (nth % 50) as i64, Stream::Bulk);
    }
    for attempt in desk.attempts() {
        desk.unreachable(&attempt);
    }
    let per_job = (BYTES.load(Ordering::Relaxed) - empty) / JOBS;
    println!("{per_job} bytes per job that is ready for a dead site");
    assert!(per_job < 200, "{per_job} bytes per job");

    // A day at a dead site: a few dozen probes and nothing else, but one delay notice each.
    let began = Instant::now();
    let end = desk.now.after(DAY);
    let (mut polls, mut notices) = (0_usize, 0_usize);
    while desk.now < end {
        polls += 1;
        match desk.poll() {
            None => desk.sleep(),
            Some(Action::Attempt(attempt)) => desk.unreachable(&attempt),
            Some(Action::DelayNotice(_)) => notices += 1,
            Some(expired @ Action::Expire(_)) => panic!("{expired:?}"),
        }
    }
    println!("a day at a dead site: {polls} polls in {:?}", began.elapsed());
    assert_eq!(notices, JOBS);
    assert!(polls < JOBS + 200, "{polls} polls");
    drop(desk);

    let empty = BYTES.load(Ordering::Relaxed);
    let mut desk = Desk::new(Config::default());
    let long_wait = desk.now.after(HOUR);
    for nth in 0..JOBS {
        let job = desk.job("later.example", &[0]);
        let account = base::AccountId((nth % 50) as i64);
        desk.planner.enqueue(desk.now, queue::NewJob { account, not_before: Some(long_wait), ..job });
    }
    let per_job = (BYTES.load(Ordering::Relaxed) - empty) / JOBS;
    println!("{per_job} bytes per job that waits for its time");
    assert!(per_job < 200, "{per_job} bytes per job");
    drop(desk);

    let empty = BYTES.load(Ordering::Relaxed);
    let mut desk = Desk::new(Config::default());
    for nth in 0..JOBS {
        desk.queue_for(&format!("site{nth}.example"), 1, Stream::Bulk);
    }
    let per_job = (BYTES.load(Ordering::Relaxed) - empty) / JOBS;
    println!("{per_job} bytes per job that has a destination to itself");
    assert!(per_job < 700, "{per_job} bytes per job and lane");
}
