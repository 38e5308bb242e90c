//! A large message passes through in constant memory. Alone in its binary, as it looks at the memory of
//! the whole process.

mod common;

use common::*;

/// The most memory that this process ever had, in octets.
fn peak_octets() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn twenty_megabytes_pass_in_constant_memory() {
    const LINE: &str = "0123456789012345678901234567890123456789012345678901234567890123456789012345\r\n";
    let mut world = World::new(Setting { trust: trusted(), ..Setting::default() });
    let mut client = world.greeted().await;
    assert_eq!(code(&client.message("warm up").await), 250);
    world.next().await;
    let before = peak_octets();
    client.send("MAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\nDATA\r\n").await;
    for expected in [250, 250, 354] {
        assert_eq!(code(&client.reply().await), expected);
    }
    client.send("Subject: large\r\n\r\n").await;
    let block = LINE.repeat(1000);
    let blocks = 20 * 1024 * 1024 / block.len();
    for _ in 0..blocks {
        client.send(&block).await;
    }
    client.send(".\r\n").await;
    assert_eq!(code(&client.reply().await), 250);
    let grown = peak_octets() - before;
    assert!(grown < 4 * 1024 * 1024, "20 MB of mail took {grown} octets of memory");
    let stored = world.next().await;
    assert!(stored.body.is_none() && stored.meta.size_octets > (blocks * block.len()) as u64);
    assert!(world.body(&stored).ends_with(block.as_bytes()));
}
