//! The fuzz targets for a few seconds each, on the stable toolchain: inputs bred from good ones by a seeded generator.
//! `FUZZ_SMOKE_SECS` makes it longer, `FUZZ_SMOKE_SEED` repeats a run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use e2e::fuzz;

const INPUT_OCTETS_MAX: usize = 4096;
/// Inputs that are tried however fast the machine is.
const INPUTS_MIN: u64 = 200;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("it is a number"))
}

/// Tries inputs bred from these until the time is up. An input that fails is printed.
fn smoke(seeds: &[&[u8]], target: impl Fn(&[u8])) {
    let seed = number("FUZZ_SMOKE_SEED").unwrap_or_else(|| fastrand::u64(..));
    let time = Duration::from_secs(number("FUZZ_SMOKE_SECS").unwrap_or(2));
    println!("FUZZ_SMOKE_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut pool: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.to_vec()).collect();
    let started = Instant::now();
    let mut tried = 0_u64;
    while tried < INPUTS_MIN || started.elapsed() < time {
        let input = if tried < pool.len() as u64 { pool[tried as usize].clone() } else { bred(&pool, &mut random) };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(&input))) {
            eprintln!("input {tried} of seed {seed}: {:?}", input.escape_ascii().to_string());
            std::panic::resume_unwind(panic);
        }
        // Descendants have descendants.
        if pool.len() < 64 {
            pool.push(input);
        } else if random.u8(..) < 16 {
            let at = random.usize(seeds.len()..pool.len());
            pool[at] = input;
        }
        tried += 1;
    }
    println!("{tried} inputs");
}

/// A child of one or two inputs, with a few accidents.
fn bred(pool: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
    let parent = |random: &mut fastrand::Rng| &pool[random.usize(..pool.len())];
    let mut input = parent(random).clone();
    for _ in 0..random.usize(1..8) {
        let at = random.usize(..=input.len());
        let end = (at + random.usize(..32)).min(input.len());
        match random.u8(..8) {
            0 if at < input.len() => input[at] = random.u8(..),
            1 if at < input.len() => input[at] ^= 1 << random.u8(..8),
            2 => drop(input.drain(at..end)),
            3 => {
                let again: Vec<u8> = input[at..end].to_vec();
                input.splice(at..at, again);
            }
            4 => {
                let other = parent(random);
                let from = random.usize(..=other.len());
                let to = (from + random.usize(..200)).min(other.len());
                input.splice(at..at, other[from..to].iter().copied());
            }
            5 => {
                let token = TOKENS[random.usize(..TOKENS.len())];
                input.splice(at..end.min(at + random.usize(..3)).max(at), token.iter().copied());
            }
            6 => input.truncate(at),
            _ => {
                let count = random.usize(..16);
                input.splice(at..at, std::iter::repeat_with(|| random.u8(..)).take(count).collect::<Vec<_>>());
            }
        }
    }
    input.truncate(INPUT_OCTETS_MAX);
    input
}

const TOKENS: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b".",
    b"\r\n.\r\n",
    b"\n.\n",
    b" ",
    b"<",
    b">",
    b"@",
    b"\"",
    b"\\",
    b"[IPv6:::1]",
    b"SIZE=",
    b"NOTIFY=NEVER",
    b"ORCPT=rfc822;",
    b"+3D",
    b"BDAT 10 LAST\r\n",
    b"250-",
    b"\xff",
    b"\xc3\xa4",
    b"999999999999999999999",
    b"AUTH PLAIN ",
];

#[test]
fn commands() {
    smoke(
        &[
            b"\x03\x10\x07\xffEHLO a.test\r\nMAIL FROM:<a@b.test> SIZE=10 BODY=8BITMIME RET=HDRS ENVID=x+2By\r\nRCPT TO:<c@d.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;e@f.test\r\nDATA\r\nSubject: x\r\n\r\n..\r\n.\r\nQUIT\r\n",
            b"\x01\x02\x03\x04EHLO [127.0.0.1]\r\nMAIL FROM:<>\r\nRCPT TO:<Postmaster>\r\nBDAT 5\r\nhelloBDAT 0 LAST\r\nRSET\r\nNOOP x\r\nVRFY y\r\n",
            b"\xff\xff\xff\xffEHLO a\r\nAUTH PLAIN AGEAYg==\r\nAUTH LOGIN\r\nYQ==\r\nYg==\r\nSTARTTLS\r\nEHLO b\r\n",
            b"\x00\x00\x00\x00HELO x\r\nMAIL FROM:<\"a b\"@c.test> SMTPUTF8\r\nRCPT TO:<\xc3\xa4@d.test>\r\nBDAT 3 LAST\r\nabc",
        ],
        fuzz::commands,
    );
}

#[test]
fn replies() {
    smoke(
        &[
            b"\x05\x02\x09\x01250-mx.test\r\n250-PIPELINING\r\n250 SIZE 1000\r\n354 go\r\n550 5.1.1 no such user\r\n",
            b"\x00\x00\x00\x00220\r\n421 4.3.2 \xff\x1b[31m\r\n250-a\r\n251 b\r\n",
            b"\xff\xff\xff\xff999 what\n250 ok\nhello\r\n",
        ],
        fuzz::replies,
    );
}

#[test]
fn data() {
    smoke(
        &[
            b"\x10\x01\x30\x07From: a@b.test\r\nSubject: x\r\n\tfolded\r\nDate: now\r\n\r\nbody\r\n..dot\r\n",
            b"\xff\xff\xff\xffMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n--b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\nPGI+aGk8L2I+\r\n--b--\r\n",
            b"\x02\x02\x02\x02no header at all\r\n\r\n\r\n.\r\n",
            b"\x01\x80\x01\x80Received: a\r\nReceived : b\r\nMessage-ID: <x@y>\r\n: empty\r\n\xff\xfe: odd\r\n\r\n\x80",
        ],
        fuzz::data,
    );
}

#[test]
fn addresses() {
    smoke(
        &[
            b"ada@example.org",
            b"\"a\\\"b c\"@[IPv6:2001:db8::1]",
            "gr\u{e5}@m\u{fc}nchen.example".as_bytes(),
            b"a.b+c=d@xn--mnchen-3ya.example",
            b"@a,@b:c@d",
            b"ada@[127.0.0.1]",
        ],
        fuzz::addresses,
    );
}

#[test]
fn journal() {
    let journal = fuzz::Journal::new();
    smoke(
        &[
            b"",
            b"\x00\x00\x10\x00\x00\x01\x01\x00",
            b"\x00\x01\x00\x20\x00\xff\x00\x00\x01\x02\x00\x10\x00\x00\x00\x00",
            b"\x00\x03\x40\x00\x00\x80\x00\x02\x01\x00\x00\x00\x00\x00\xff\x00",
        ],
        |input| journal.damaged(input),
    );
}
