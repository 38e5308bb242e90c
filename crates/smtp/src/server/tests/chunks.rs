//! Content by BDAT (RFC 3030).

use super::*;

const OPEN: &str = "MAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\n";

#[test]
fn chunks_make_a_message() {
    let mut play = Play::greeted();
    let sends = play.sends;
    // No dot-stuffing in chunks; a line may be cut anywhere.
    let said = play.codes(format!("{OPEN}BDAT 9\r\n.\r\n.\r\nabcBDAT 1\r\n\rBDAT 4 LAST\r\n\n.\r\nNOOP\r\n"));
    assert_eq!(said, [250, 250, 250, 250, 250, 250]);
    assert_eq!(play.stored[0].1, b".\r\n.\r\nabc\r\n.\r\n");
    assert_eq!(play.sends, sends + 1);
    assert_eq!(play.codes("BDAT 0 LAST\r\n"), [503], "the transaction is over");
}

#[test]
fn an_empty_last_chunk_ends_a_message_even_an_empty_one() {
    let mut play = Play::greeted();
    assert_eq!(play.codes(format!("{OPEN}BDAT 3\r\na\r\nBDAT 0 LAST\r\n")), [250; 4]);
    assert_eq!(play.codes(format!("{OPEN}BDAT 0 LAST\r\n")), [250; 3]);
    assert_eq!((play.stored[0].1.as_slice(), play.stored[1].1.as_slice()), (&b"a\r\n"[..], &b""[..]));
}

#[test]
fn chunks_without_a_transaction_are_swallowed() {
    let mut play = Play::new();
    assert_eq!(play.codes("BDAT 12\r\nEHLO x\r\nNOOPNOOP\r\n"), [503, 250]);
    play.say("EHLO c\r\n");
    assert_eq!(play.codes("BDAT 6 LAST\r\nNOOP\r\nNOOP\r\n"), [503, 250]);
    play.judge.mail = Err(refusal(550));
    let said = play.codes("MAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\nBDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n");
    assert_eq!(said, [550, 503, 503, 503, 250]);
    // Postfix 20260724: no recipients left behind by a failed chunk.
    play.judge.mail = Ok(());
    let said = play.codes("MAIL FROM:<a@b>\r\nRCPT TO:<bad@c>\r\nBDAT 6\r\nQUIT\r\nRCPT TO:<b@c>\r\nDATA\r\n");
    assert_eq!(said, [250, 550, 554, 503, 503]);
    assert!(play.stored.is_empty());
}

#[test]
fn a_size_that_cannot_be_read_is_the_end() {
    for size in ["18446744073709551615", "-1", "1e9", "0x10", "007", "", "1 FIRST", "99999999999999999999999"] {
        let mut play = Play::greeted();
        let said = play.codes(format!("{OPEN}BDAT {size}\r\nMAIL FROM:<evil@b>\r\n"));
        assert_eq!(said, [250, 250, 501], "{size}");
        assert!(play.closed && play.stored.is_empty());
        // Also in the middle of a message, which is then forgotten.
        let mut play = Play::greeted();
        assert_eq!(play.codes(format!("{OPEN}BDAT 1\r\naBDAT {size}\r\n")), [250, 250, 250, 501]);
        assert!(play.closed && play.aborted == 1);
    }
    let mut play = Play::greeted();
    assert_eq!(play.codes(format!("{OPEN}BDAT 1000000000000\r\n")), [250, 250, 552]);
    assert!(play.closed, "so much would not even be thrown away");
}

#[test]
fn data_and_chunks_do_not_mix() {
    let mut play = Play::greeted();
    assert_eq!(play.codes(format!("{OPEN}BDAT 3\r\na\r\nDATA\r\n")), [250, 250, 250, 503]);
    assert_eq!(play.codes("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nVRFY x\r\n"), [503, 503, 252]);
    assert_eq!(play.codes("BDAT 3 LAST\r\nb\r\n"), [250]);
    assert_eq!(play.stored[0].1, b"a\r\nb\r\n");
}

#[test]
fn whatever_ends_a_chunked_message_forgets_it() {
    for end in ["RSET\r\n", "EHLO c\r\n", "HELO c\r\n"] {
        let mut play = Play::greeted();
        play.say(format!("{OPEN}BDAT 3\r\na\r\n"));
        assert_eq!(play.codes(end), [250]);
        assert_eq!(play.aborted, 1);
        assert_eq!(play.codes("BDAT 4 LAST\r\nQUITDATA\r\n"), [503, 503]);
    }
    let mut play = Play::greeted();
    play.say(format!("{OPEN}BDAT 3\r\na\r\n"));
    assert_eq!(play.codes("QUIT\r\n"), [221]);
    assert_eq!(play.aborted, 1);
}

#[test]
fn strays_in_chunks_refuse_the_message() {
    for chunks in [
        "BDAT 3 LAST\r\na\nb",
        "BDAT 3 LAST\r\na\rb",
        "BDAT 3 LAST\r\na\0b",
        "BDAT 2 LAST\r\na\r",
        "BDAT 2\r\na\rBDAT 1 LAST\r\nb",
        "BDAT 2\r\na\rBDAT 0 LAST\r\n",
        "BDAT 1\r\naBDAT 1 LAST\r\n\n",
    ] {
        for cut in [1, 1000] {
            let mut play = Play::greeted();
            play.say(OPEN);
            let said = codes(&play.say_in_pieces(chunks, cut));
            assert_eq!(said.last(), Some(&550), "{chunks:?}");
            assert_eq!((play.stored.len(), play.aborted), (0, 1));
            assert_eq!(play.codes("RCPT TO:<b@c>\r\nBDAT 4 LAST\r\nQUITDATA\r\n"), [503, 503, 503]);
        }
    }
    // The chunks pipelined behind a refused one are swallowed.
    let mut play = Play::greeted();
    let said = play.codes(format!("{OPEN}BDAT 2\r\na\nBDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"));
    assert_eq!(said, [250, 250, 550, 503, 503, 250]);
}

#[test]
fn the_sum_of_chunks_has_the_limit() {
    let limits = Limits { message_octets_max: 10, discard_octets_max: 100, ..Limits::default() };
    let mut play = Play::limited(limits);
    assert_eq!(play.codes(format!("{OPEN}BDAT 6\r\nabcdefBDAT 4 LAST\r\nghij")), [250; 4]);
    let mut play = Play::limited(limits);
    let said = play.codes(format!("{OPEN}BDAT 6\r\nabcdefBDAT 6 LAST\r\nQUIT\r\nRCPT TO:<b@c>\r\n"));
    assert_eq!(said, [250, 250, 250, 552, 503]);
    assert_eq!((play.stored.len(), play.aborted), (0, 1));
}

#[test]
fn a_million_tiny_chunks_cost_nothing() {
    let mut play = Play::greeted();
    play.say(OPEN);
    let thousand = "BDAT 1\r\na".repeat(1000);
    for _ in 0..1000 {
        play.said.clear();
        play.say(&thousand);
        assert!(play.input.is_empty());
        // The pump stores it; the session does not.
        play.open.as_mut().expect("the message is under way").1.clear();
    }
    assert_eq!(play.codes("BDAT 0 LAST\r\n"), [250]);
}

#[test]
fn a_refused_beginning_swallows_its_chunk() {
    let mut play = Play::greeted();
    play.judge.begin = Err(refusal(451));
    assert_eq!(play.codes(format!("{OPEN}BDAT 6\r\nQUIT\r\nNOOP\r\nDATA\r\n")), [250, 250, 451, 250, 503]);
}
