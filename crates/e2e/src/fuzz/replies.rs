use base::Reply;
use bytes::BytesMut;
use smtp::reply::ReplyParser;

/// What a server says: the same replies however they are cut up, and none that is large or has control characters.
pub fn replies(input: &[u8]) {
    let pieces: Vec<&[u8]> = super::cut(input).collect();
    let in_pieces = parsed(&pieces);
    let whole = pieces.concat();
    assert_eq!(in_pieces, parsed(&[&whole]), "in pieces and at once");
    for reply in &in_pieces.0 {
        assert!(reply.text.len() <= Reply::TEXT_OCTETS_MAX, "{} octets are kept", reply.text.len());
        assert!(!reply.text.contains(|c: char| c.is_control() && c != '\n'), "{:?}", reply.text);
        assert!((0..1000).contains(&reply.code));
    }
}

/// The replies, and whether the stream ended in an error.
fn parsed(pieces: &[&[u8]]) -> (Vec<Reply>, bool) {
    let mut parser = ReplyParser::default();
    let mut buffer = BytesMut::new();
    let mut replies = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match parser.next(&mut buffer) {
                Ok(Some(reply)) => replies.push(reply.to_reply()),
                Ok(None) => break,
                Err(_) => return (replies, true),
            }
        }
    }
    (replies, false)
}
