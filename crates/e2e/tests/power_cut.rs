//! The power fails while mail is taken in. What was acknowledged is there when it comes back: on a real ext4, cut off
//! from its disk in one moment, with nothing that was not synced.
//!
//! The same with syncs that only pretend must lose mail: else the story would prove nothing.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use e2e::{Gate, python};
use testkit::message::story_id;
use testkit::{Client, Message, Program, Scratch, Server, try_until};

const CLIENTS: usize = 8;
/// Acknowledged messages before the power fails, at least.
const ACKNOWLEDGED: usize = 300;

/// A file system in a file, with a switch.
struct Disk {
    scratch: Scratch,
}

impl Disk {
    #[track_caller]
    fn new() -> Disk {
        let scratch = Scratch::new("disk");
        let image = scratch.join("image");
        let file = std::fs::File::create(&image).expect("the scratch directory is writable");
        file.set_len(1 << 30).expect("a sparse file takes no room");
        Program::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).run().expect_success();
        std::fs::create_dir(scratch.join("mount")).expect("the scratch directory is writable");
        let disk = Disk { scratch };
        disk.mount();
        disk
    }

    fn mount_point(&self) -> PathBuf {
        self.scratch.join("mount")
    }

    #[track_caller]
    fn mount(&self) {
        let image = self.scratch.join("image");
        Program::new("mount").args(["-o", "loop"]).arg(image).arg(self.mount_point()).run().expect_success();
    }

    #[track_caller]
    fn cut_power(&self) {
        python("power_cut.py").arg(self.mount_point()).run().expect_success();
    }

    /// Comes back as after a reboot: the journal of the file system is replayed.
    #[track_caller]
    fn reboot(&self) {
        // A server that was killed under strace dies a moment after it.
        testkit::until("the disk to be free", || {
            Program::new("umount").arg(self.mount_point()).run().status.success().then_some(())
        });
        self.mount();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Program::new("umount").arg("--lazy").arg(self.mount_point()).run();
    }
}

/// Lets clients send until the power fails, and gives back what they were told is safe, and what is there afterwards.
#[track_caller]
fn outage(name: &str, wrapper: &[&str], deadline: Duration) -> (Vec<String>, Vec<String>) {
    let disk = Disk::new();
    // Nothing is delivered before the power fails: all that arrives was on the disk.
    let (sink, gate) = Gate::closed();
    let mut server = Server::builder(name)
        .live()
        .retrying("2s", "3s")
        .host("example.test", sink.address())
        .data(&disk.mount_point().join("data"))
        .under(wrapper.iter().copied())
        .start();
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let count = Arc::new(AtomicUsize::new(0));
    let failed = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let connection = server.login();
            let (acknowledged, count, failed) = (Arc::clone(&acknowledged), Arc::clone(&count), Arc::clone(&failed));
            thread::spawn(move || send(connection, client, &acknowledged, &count, &failed))
        })
        .collect();
    testkit::until("enough mail", || (count.load(Ordering::SeqCst) >= ACKNOWLEDGED).then_some(()));
    disk.cut_power();
    failed.store(true, Ordering::SeqCst);
    server.kill();
    for client in clients {
        client.join().expect("no client panics");
    }
    disk.reboot();
    server.reconfigure(|builder| builder.under(Vec::<String>::new()));
    gate.open();
    let acknowledged = acknowledged.lock().expect("the clients have ended").clone();
    // A spool that lost what it was promised may also be refused as a whole.
    server.launch();
    let arrived = || -> Vec<String> {
        sink.receipts().iter().filter(|got| got.replied == Some(250)).filter_map(|got| story_id(&got.data)).collect()
    };
    try_until(deadline, || {
        let arrived = arrived();
        acknowledged.iter().all(|id| arrived.contains(id)).then_some(())
    });
    (acknowledged, arrived())
}

fn send(mut connection: Client, client: usize, told: &Mutex<Vec<String>>, count: &AtomicUsize, failed: &AtomicBool) {
    for number in 0.. {
        let id = format!("power-{client}-{number}");
        let message = Message::new(&id).sized(3000).bytes();
        match connection.try_send("ada@sender.test", "bob@example.test", &message) {
            Ok(reply) if reply.code == 250 => {
                told.lock().expect("no client panics with it").push(id);
                count.fetch_add(1, Ordering::SeqCst);
            }
            _ => return,
        }
        if failed.load(Ordering::SeqCst) {
            return;
        }
    }
}

fn lost(acknowledged: &[String], arrived: &[String]) -> usize {
    acknowledged.iter().filter(|id| !arrived.contains(id)).count()
}

#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    let (acknowledged, arrived) = outage("power", &[], testkit::DEADLINE);
    assert!(acknowledged.len() >= ACKNOWLEDGED);
    assert_eq!(lost(&acknowledged, &arrived), 0, "of {} acknowledged, {} arrived", acknowledged.len(), arrived.len());
}

#[test]
fn without_syncs_the_same_story_loses_mail() {
    let scratch = Scratch::new("control");
    let trace: &Path = &scratch.join("strace");
    let trace = trace.display().to_string();
    let pretend = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=fsync,fdatasync"];
    let inject = ["-e", "inject=fsync,fdatasync:retval=0", "-o", &trace];
    // What is lost is waited for in vain.
    let deadline = Duration::from_secs(10);
    let (acknowledged, arrived) = outage("control", &[pretend.as_slice(), &inject].concat(), deadline);
    let lost = lost(&acknowledged, &arrived);
    assert!(lost > 0, "all {} acknowledged messages survived without one sync", acknowledged.len());
}
