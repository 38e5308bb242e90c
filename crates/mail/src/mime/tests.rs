use super::*;
use proptest::prelude::*;

const LIMITS: WalkLimits = WalkLimits { depth_max: 64, parts_max: 1000, into_messages: true };

/// Each part as `type/subtype:depth:body`.
fn outline(message: &str) -> Vec<String> {
    let Parts { parts, .. } = walk(message.as_bytes(), LIMITS);
    parts.iter().map(|part| describe(message, &parts, part)).collect()
}

fn describe(message: &str, parts: &[Part], part: &Part) -> String {
    let mut depth = 0;
    let mut above = part.parent;
    while let Some(parent) = above {
        depth += 1;
        above = parts[parent].parent;
    }
    let body = if part.shape == Shape::Leaf { &message[part.body.clone()] } else { "*" };
    format!("{}/{} {depth} {body}", part.content.kind, part.content.subtype)
}

fn lines(text: &str) -> String {
    text.replace('\n', "\r\n")
}

#[test]
fn parts_are_found_where_they_stand() {
    let message = lines(
        "Content-Type: Multipart/Mixed; boundary=\"a b\"\n\npreamble\n--a b\n\nfirst\n\n--a b  \nContent-Type: text/html\n\n<p>\n--a b--\nepilogue\n--a b\n",
    );
    assert_eq!(outline(&message), ["multipart/mixed 0 *", "text/plain 1 first\r\n", "text/html 1 <p>"]);
}

#[test]
fn an_outer_delimiter_ends_what_was_left_open_inside() {
    let message = lines(
        "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/alternative; boundary=i\n\n--i\n\ninner\n--o\n\nouter\n--o--\n",
    );
    assert_eq!(
        outline(&message),
        ["multipart/mixed 0 *", "multipart/alternative 1 *", "text/plain 2 inner", "text/plain 1 outer"]
    );
}

#[test]
fn attached_messages_are_looked_into_where_that_is_wanted() {
    let message = lines(
        "Content-Type: multipart/digest; boundary=d\n\n--d\n\nSubject: in\nContent-Type: multipart/mixed; boundary=m\n\n--m\n\nx\n--m--\n--d\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nAAAA\n--d--\n",
    );
    let found = outline(&message);
    assert_eq!(
        found,
        ["multipart/digest 0 *", "message/rfc822 1 *", "multipart/mixed 2 *", "text/plain 3 x", "message/rfc822 1 *"]
    );
    let shallow = walk(message.as_bytes(), WalkLimits { into_messages: false, ..LIMITS });
    assert_eq!(shallow.parts.len(), 3);
}

#[test]
fn odd_messages_are_read_in_one_way() {
    assert_eq!(outline(""), ["text/plain 0 "]);
    assert_eq!(outline("no header"), ["text/plain 0 no header"]);
    assert_eq!(outline("Content-Type: multipart/mixed\r\n\r\n--x\r\n"), ["multipart/mixed 0 *"]);
    // Nothing between two delimiters, a delimiter in place of a header, no closing line.
    let message = lines("Content-Type: multipart/mixed; boundary=x:y\n\n--x:y\n--x:y\nX: 1\n--x:y\n\n\n--x:y");
    assert_eq!(
        outline(&message),
        ["multipart/mixed 0 *", "text/plain 1 ", "text/plain 1 ", "text/plain 1 ", "text/plain 1 "]
    );
    // The boundary of a part is that of its container.
    let same = lines(
        "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\na\n--x--\n--x--\n",
    );
    assert_eq!(outline(&same), ["multipart/mixed 0 *", "multipart/mixed 1 *", "text/plain 2 a"]);
}

#[test]
fn bombs_stay_within_the_limits() {
    let nested = "Content-Type: message/rfc822\r\n\r\n".repeat(10_000);
    let found = walk(nested.as_bytes(), LIMITS);
    assert_eq!(found.parts.len(), 65);
    assert_eq!(found.parts.last().map(|part| part.shape), Some(Shape::Opaque));

    let mut deep = String::new();
    for level in 0..10_000 {
        deep += &format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n");
    }
    assert_eq!(walk(deep.as_bytes(), LIMITS).parts.len(), 65);

    let many = "Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_owned() + &"--b\r\n\r\n".repeat(1_000_000);
    let found = walk(many.as_bytes(), LIMITS);
    assert!(!found.complete && found.parts.len() == 1000);

    let long = format!("Content-Type: multipart/mixed; boundary={0}\r\n\r\n--{0}\r\n\r\nx", "b".repeat(1 << 20));
    assert_eq!(walk(long.as_bytes(), LIMITS).parts[0].shape, Shape::Opaque);

    let parameters: String = (0..100_000).map(|n| format!(";\r\n x*{n}=a")).collect();
    let found = walk(format!("Content-Type: text/plain{parameters}\r\n\r\nx").as_bytes(), LIMITS);
    assert_eq!(found.parts.len(), 1);
}

proptest! {
    #[test]
    fn parts_lie_inside_their_containers_and_in_order(
        tokens in proptest::collection::vec(prop_oneof![
            Just("\r\n"), Just("\r\n\r\n"), Just("--a"), Just("--a--"), Just("--b\r\n"), Just("--b--\r\n"), Just("\r\n--a\r\n"),
            Just("Content-Type: multipart/mixed; boundary=a\r\n"), Just("Content-Type: multipart/digest; boundary=b\r\n"),
            Just("Content-Type: message/rfc822\r\n"), Just("text"), Just("X: y\r\n"), Just(" "), Just("\r"), Just("\n"),
        ], 0..30),
    ) {
        let message = tokens.concat();
        let Parts { parts, .. } = walk(message.as_bytes(), LIMITS);
        let mut before = 0;
        for (index, part) in parts.iter().enumerate() {
            prop_assert!(part.header.start >= before && part.header.end <= part.body.start);
            prop_assert!(part.body.start <= part.body.end && part.body.end <= message.len());
            before = part.body.start;
            if let Some(parent) = part.parent {
                let parent_body = &parts[parent].body;
                prop_assert!(parent < index && parent_body.start <= part.header.start && part.body.end <= parent_body.end);
            }
        }
    }

    #[test]
    fn any_octets_are_taken(message in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(!walk(&message, LIMITS).parts.is_empty());
    }
}
