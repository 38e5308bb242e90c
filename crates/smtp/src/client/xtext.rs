//! xtext (RFC 3461 §4): how ENVID and ORCPT travel as parameters.

/// Appends `text` as xtext: printable ASCII but `+` and `=` as it is, every other octet as `+XX`.
pub fn encode(text: &str, out: &mut Vec<u8>) {
    for octet in text.bytes() {
        if is_xchar(octet) {
            out.push(octet);
        } else {
            out.extend_from_slice(&[b'+', hex(octet >> 4), hex(octet & 15)]);
        }
    }
}

/// Appends the value of ORCPT: the address type, `;`, and the address in the encoding of its type
/// (xtext; for `utf-8`, RFC 6533 §3, `\x{…}` for what is not printable ASCII).
pub fn encode_original(original: &str, out: &mut Vec<u8>) {
    let Some((kind, address)) = original.split_once(';') else {
        return encode(original, out);
    };
    encode(kind, out);
    out.push(b';');
    if !kind.eq_ignore_ascii_case("utf-8") {
        return encode(address, out);
    }
    for c in address.chars() {
        match u8::try_from(c) {
            // A backslash stays: it opens a `\x{…}` that came so.
            Ok(octet) if is_xchar(octet) => out.push(octet),
            _ => out.extend_from_slice(format!("\\x{{{:X}}}", u32::from(c)).as_bytes()),
        }
    }
}

fn is_xchar(octet: u8) -> bool {
    matches!(octet, b'!'..=b'~') && octet != b'+' && octet != b'='
}

fn hex(nibble: u8) -> u8 {
    match nibble {
        0..=9 => b'0' + nibble,
        _ => b'A' + (nibble - 10),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(text: &str) -> String {
        let mut out = Vec::new();
        encode(text, &mut out);
        String::from_utf8(out).expect("xtext is ASCII")
    }

    fn original(text: &str) -> String {
        let mut out = Vec::new();
        encode_original(text, &mut out);
        String::from_utf8(out).expect("xtext is ASCII")
    }

    fn decoded(xtext: &str) -> Option<Vec<u8>> {
        let mut octets = xtext.bytes();
        let mut out = Vec::new();
        while let Some(octet) = octets.next() {
            out.push(match octet {
                b'+' => {
                    let pair = [octets.next()?, octets.next()?];
                    u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?
                }
                b'=' => return None,
                b'!'..=b'~' => octet,
                _ => return None,
            });
        }
        Some(out)
    }

    #[test]
    fn the_two_special_characters_and_all_that_cannot_be_printed() {
        assert_eq!(encoded("QQ314159"), "QQ314159");
        assert_eq!(encoded("a+b=c d\r\n"), "a+2Bb+3Dc+20d+0D+0A");
        assert_eq!(original("rfc822;ada+tag@example.org"), "rfc822;ada+2Btag@example.org");
        assert_eq!(original("utf-8;grå+x@example.org"), "utf-8;gr\\x{E5}\\x{2B}x@example.org");
        assert_eq!(original("utf-8;gr\\x{E5}@example.org"), "utf-8;gr\\x{E5}@example.org");
        assert_eq!(original("no type"), "no+20type");
    }

    proptest! {
        #[test]
        fn xtext_reads_back(text in any::<String>()) {
            prop_assert_eq!(decoded(&encoded(&text)), Some(text.into_bytes()));
        }

        #[test]
        fn an_original_is_one_word_of_printable_ascii(text in any::<String>()) {
            for text in [text.clone(), format!("utf-8;{text}"), format!("rfc822;{text}")] {
                prop_assert!(original(&text).bytes().all(|b| matches!(b, b'!'..=b'~') && b != b'='));
            }
        }
    }
}
