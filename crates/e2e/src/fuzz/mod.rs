//! What is fuzzed: one function for each kind of input that comes from outside. `fuzz/` calls them from cargo-fuzz,
//! which looks for inputs cleverly; `tests/fuzz_smoke.rs` calls them on the stable toolchain, with inputs that are
//! bred from a few good ones.
//!
//! A function takes any octets, must not panic, and checks what must hold whatever they are: the same input in other
//! pieces means the same, what is taken is within the standard, what comes out of a damaged spool is what went in.

mod addresses;
mod commands;
mod data;
mod journal;
mod replies;

pub use addresses::addresses;
pub use commands::commands;
pub use data::data;
pub use journal::Journal;
pub use replies::replies;

/// The lengths of the pieces in which an input arrives, drawn from the input itself: the first octets say them, over
/// and over.
fn pieces(input: &[u8]) -> (&[u8], impl Iterator<Item = usize> + '_) {
    let (lengths, rest) = input.split_at(input.len().min(4));
    // An empty input has no lengths; then everything comes at once.
    let lengths = if lengths.is_empty() { &[255][..] } else { lengths };
    (rest, lengths.iter().cycle().map(|length| usize::from(*length) + 1))
}

/// Cuts an input into such pieces.
fn cut(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut rest, lengths) = pieces(input);
    lengths.map_while(move |length| {
        if rest.is_empty() {
            return None;
        }
        let (piece, more) = rest.split_at(length.min(rest.len()));
        rest = more;
        Some(piece)
    })
}
