//! The spool on a disk that loses power and fails: at every change, at every operation.

use std::io::ErrorKind;

use crate::sim::World;
use crate::sim::disk::{Cut, Disk, Fault};
use fastrand::Rng;

const STEPS: usize = 120;

/// One life with `fault`, the power cut that ends it, and all that must be true afterwards. Says
/// whether the fault took place.
fn life(seed: u64, fault: Option<Fault>, cut: Cut) -> bool {
    let disk = Disk::default();
    let mut world = World::new(disk.clone(), seed);
    disk.set_fault(fault);
    if world.open().is_none() && !disk.is_down() {
        world.open();
    }
    world.live(STEPS);
    let hit = disk.was_hit();
    world.die();
    disk.reboot(cut, &mut Rng::with_seed(seed ^ 0x5eed));
    let first = world.open().expect("the spool opens again");
    world.check(&first);
    world.die();
    let second = world.open().expect("and again");
    world.check(&second);
    assert_eq!(first.messages, second.messages, "recovery twice gives the same");
    world.check_keys_are_gone();
    // It works on as if nothing had been.
    disk.set_fault(None);
    world.live(20);
    world.die();
    disk.reboot(Cut::LoseAll, &mut Rng::with_seed(seed));
    let last = world.open().expect("it opens at last");
    world.check(&last);
    hit
}

fn changes_of(seed: u64) -> u64 {
    let disk = Disk::default();
    let mut world = World::new(disk.clone(), seed);
    disk.set_fault(None);
    world.open().expect("a good disk");
    world.live(STEPS);
    disk.changes()
}

fn crash_at_every_change(seed: u64, cut: Cut) {
    let changes = changes_of(seed);
    assert!(changes > 100, "the life is long enough to be worth it: {changes}");
    for at in 1..=changes {
        let hit = std::panic::catch_unwind(|| life(seed, Some(Fault::CrashAt(at)), cut));
        assert!(hit.expect_or_say(seed, at, cut), "change {at} of seed {seed} was reached");
    }
}

trait ExpectOrSay {
    fn expect_or_say(self, seed: u64, at: u64, how: impl std::fmt::Debug) -> bool;
}

impl ExpectOrSay for std::thread::Result<bool> {
    fn expect_or_say(self, seed: u64, at: u64, how: impl std::fmt::Debug) -> bool {
        match self {
            Ok(hit) => hit,
            Err(panic) => {
                eprintln!("seed {seed}, fault at {at}, {how:?}");
                std::panic::resume_unwind(panic)
            }
        }
    }
}

#[test]
fn lives_without_a_fault_lose_nothing() {
    for seed in 1..=40 {
        for cut in [Cut::LoseAll, Cut::Tear, Cut::KillOnly] {
            let hit = std::panic::catch_unwind(|| life(seed, None, cut)).expect_or_say(seed, 0, cut);
            assert!(!hit);
        }
    }
}

#[test]
fn a_power_cut_at_any_change_that_loses_all_unsynced() {
    crash_at_every_change(11, Cut::LoseAll);
    crash_at_every_change(12, Cut::LoseAll);
}

#[test]
fn a_power_cut_at_any_change_that_tears() {
    crash_at_every_change(13, Cut::Tear);
    crash_at_every_change(14, Cut::Tear);
}

#[test]
fn a_kill_at_any_change() {
    crash_at_every_change(15, Cut::KillOnly);
}

fn fail_every_operation(seed: u64, kind: ErrorKind, cut: Cut) {
    for at in 1.. {
        let life = std::panic::catch_unwind(|| life(seed, Some(Fault::FailAt(at, kind)), cut));
        if !life.expect_or_say(seed, at, kind) {
            assert!(at > 100, "there was something to fail");
            return;
        }
    }
}

#[test]
fn any_operation_may_fail_with_eio() {
    fail_every_operation(21, ErrorKind::Other, Cut::LoseAll);
}

#[test]
fn any_operation_may_fail_with_eio_before_a_kill() {
    fail_every_operation(22, ErrorKind::Other, Cut::KillOnly);
}

#[test]
fn any_operation_may_fail_for_lack_of_space() {
    fail_every_operation(23, ErrorKind::StorageFull, Cut::Tear);
}

#[test]
fn a_disk_that_is_full_from_any_moment_on_loses_nothing() {
    for at in (1..).step_by(5) {
        let fault = Some(Fault::FullFrom(at));
        if !std::panic::catch_unwind(|| life(24, fault, Cut::LoseAll)).expect_or_say(24, at, "full") {
            return;
        }
    }
}
