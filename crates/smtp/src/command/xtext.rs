//! Reading xtext (RFC 3461 §4) and the UTF-8 form of ORCPT (RFC 6533 §3).

/// The text that an xtext stands for. `None` if it is no xtext, or stands for anything but printable
/// ASCII: an encoded NUL or line end that was let in would come out again in a report.
pub fn decode(xtext: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(xtext.len());
    let mut octets = xtext.iter().copied();
    while let Some(octet) = octets.next() {
        let decoded = match octet {
            b'+' => hex(octets.next()?)? << 4 | hex(octets.next()?)?,
            b'=' => return None,
            b'!'..=b'~' => octet,
            _ => return None,
        };
        if !matches!(decoded, b' '..=b'~') {
            return None;
        }
        text.push(char::from(decoded));
    }
    (!text.is_empty()).then_some(text)
}

/// `addr-type ; address`, the address decoded. For the type `utf-8` it stays as it came: `\x{…}` and
/// characters beyond ASCII are its plain form already.
pub fn decode_original(value: &[u8]) -> Option<String> {
    let semicolon = memchr::memchr(b';', value)?;
    let (kind, address) = (&value[..semicolon], &value[semicolon + 1..]);
    let atom = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-';
    if kind.is_empty() || !kind.iter().all(atom) || address.is_empty() {
        return None;
    }
    let kind = std::str::from_utf8(kind).ok()?;
    let address = if kind.eq_ignore_ascii_case("utf-8") { unitext(address)? } else { decode(address)? };
    Some(format!("{kind};{address}"))
}

fn unitext(address: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(address).ok()?;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = match c {
            '\\' => {
                let (point, behind) = rest.strip_prefix("\\x{")?.split_once('}')?;
                if point.len() > 6 || !point.bytes().all(|b| hex(b).is_some()) {
                    return None;
                }
                char::from_u32(u32::from_str_radix(point, 16).ok()?).filter(|c| !c.is_control())?;
                behind
            }
            '+' | '=' => return None,
            c if c.is_control() || c.is_whitespace() => return None,
            c => &rest[c.len_utf8()..],
        };
    }
    Some(text.to_owned())
}

/// Upper case only (RFC 3461 §4).
fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
