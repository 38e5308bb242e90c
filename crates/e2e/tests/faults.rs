//! The disk is full; the disk lies. Mail that cannot be kept safe is not taken, what was taken goes out, and when the
//! cause is gone so is the trouble.

use std::path::Path;

use e2e::{Gate, Relay};
use testkit::{Daemon, Message, Program, Scratch, Server, until};

/// A small file system in memory, mounted for one test.
struct Tmpfs {
    directory: Scratch,
}

impl Tmpfs {
    #[track_caller]
    fn mount(megabytes: usize) -> Tmpfs {
        let directory = Scratch::new("tmpfs");
        Program::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m,mode=700"), "none"])
            .arg(directory.path())
            .run()
            .expect_success();
        Tmpfs { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a failing test may still have the server running there.
        Program::new("umount").arg("--lazy").arg(self.directory.path()).run();
    }
}

#[test]
fn a_full_disk_stops_nothing_but_new_mail() {
    let disk = Tmpfs::mount(192);
    // The far end takes what is in the queue only when it is told to.
    let (sink, gate) = Gate::closed();
    let data = disk.path().join("data");
    let relay = Relay::with("full", sink, |builder| builder.data(&data).impatient());
    let waiting = relay.server.login().send("ada@sender.test", &["bob@example.test"], &Message::new("waiting").bytes());

    let filler = disk.path().join("filler");
    fill(&filler);
    let mut client = relay.server.login();
    let mut taken = Vec::new();
    // What room the spool has already is used up first.
    let refusal = (0..4000).find_map(|number| {
        let id = format!("filling-{number}");
        let reply = client.try_send("ada@sender.test", "bob@example.test", &Message::new(&id).sized(200_000).bytes());
        let reply = reply.expect("the connection lives");
        if reply.code == 250 {
            taken.push(id);
            return None;
        }
        Some(reply)
    });
    let refusal = refusal.expect("a full disk is noticed");
    assert_eq!(refusal.code, 452, "{refusal}");
    assert!(refusal.text().starts_with("4.3.1"), "{refusal}");

    // Deliveries go on.
    gate.open();
    relay.wait_for("waiting");
    relay.sink.wait_for(1 + taken.len());

    // And with room there is mail again, without anybody's help.
    std::fs::remove_file(&filler).expect("the filler is ours");
    let reply = until("mail to be taken again", || {
        let mut client = relay.server.login();
        let reply = client.try_send("ada@sender.test", "bob@example.test", &Message::new("healed").bytes()).ok()?;
        (reply.code == 250).then_some(reply)
    });
    relay.wait_for("healed");
    relay.server.wait_for_state(&reply.message_id(), "delivered");
    relay.server.wait_for_state(&waiting.message_id(), "delivered");
    assert_eq!(relay.sink.receipts().len(), taken.len() + 2, "each of them once");
}

/// Writes until there is no room left, to the last page.
fn fill(path: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).expect("there is room for a name");
    for size in [1 << 20, 4096, 1] {
        let chunk = vec![0_u8; size];
        while file.write_all(&chunk).is_ok() {}
    }
}

/// Makes every sync of a running server fail, from now on until dropped.
fn failing_syncs(server: &Server) -> Daemon {
    let mut command = std::process::Command::new("strace");
    let trace = server.scratch().join("strace");
    command
        .args(["-f", "-qq", "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO", "-o"])
        .arg(&trace)
        .args(["-p", &server.ready().pid.to_string()]);
    let strace = Daemon::start(command, &server.scratch().join("strace.log"));
    let status = format!("/proc/{}/status", server.ready().pid);
    until("strace to be attached", || {
        let status = std::fs::read_to_string(&status).ok()?;
        status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0")).then_some(())
    });
    strace
}

#[test]
fn a_failed_sync_is_never_acknowledged() {
    let mut relay = Relay::start("sync");
    relay.pass("before");
    let strace = failing_syncs(&relay.server);
    let mut client = relay.server.login();
    let reply = client
        .try_send("ada@sender.test", "bob@example.test", &Message::new("unsafe").bytes())
        .expect("the connection lives");
    assert_eq!(reply.code, 451, "{reply}");

    // It says so, and takes no more, even when the disk seems well again: a kernel that failed a sync has
    // thrown the data away, and would call the next one a success.
    drop(strace);
    let health = relay.server.get("/readyz");
    assert_eq!(health.status, 503, "{health:?}");
    assert!(health.json()["faults"].to_string().contains("the spool accepts no mail"), "{health:?}");
    assert_eq!(relay.server.metric("postrider_spool_accepting"), Some(0.0));
    let refused = |relay: &Relay, id: &str| {
        let mut client = relay.server.connect();
        client.ehlo();
        client.starttls();
        let reply = client.auth_plain(relay.server.user(), relay.server.password());
        if reply.code != 235 {
            return reply.code;
        }
        let reply = client.try_send("ada@sender.test", "bob@example.test", &Message::new(id).bytes());
        reply.map_or(421, |reply| reply.code)
    };
    assert_eq!(refused(&relay, "still-unsafe") / 100, 4);

    // A restart reads what is on the disk, and goes on from there.
    relay.server.stop();
    relay.server.start();
    relay.pass("after");
    let arrived: Vec<Option<String>> =
        relay.sink.receipts().iter().map(|receipt| testkit::message::story_id(&receipt.data)).collect();
    for id in ["before", "after"] {
        let copies = arrived.iter().filter(|arrived| arrived.as_deref() == Some(id)).count();
        assert_eq!(copies, 1, "{id}: {arrived:?}");
    }
    // The client was told 451: it has its message still. At most one copy may have gone all the same.
    assert!(arrived.iter().filter(|id| id.as_deref() == Some("unsafe")).count() <= 1, "{arrived:?}");
}
