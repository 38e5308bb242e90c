#![no_main]

use std::sync::LazyLock;

use e2e::fuzz::Journal;

/// Written once: libFuzzer calls the target millions of times in one process.
static JOURNAL: LazyLock<Journal> = LazyLock::new(Journal::new);

libfuzzer_sys::fuzz_target!(|input: &[u8]| JOURNAL.damaged(input));
