//! The house keeps its order: rooms depend only on rooms below them, files and functions stay short enough to read,
//! and the documentation says what the program says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testkit::{Program, repository};

/// Which room stands on which level (docs/ARCHITECTURE.md). A room may depend only on lower ones.
const LEVELS: [(&str, u32); 13] = [
    ("postrider-base", 0),
    ("postrider-smtp", 1),
    ("postrider-mail", 1),
    ("postrider-queue", 1),
    ("postrider-privacy", 1),
    ("postrider-route", 2),
    ("postrider-spool", 2),
    ("postrider-store", 2),
    ("postrider-accept", 3),
    ("postrider-deliver", 3),
    ("postrider-service", 4),
    ("postrider-web", 5),
    ("postrider", 6),
];

/// They stand beside the house, and nothing in it depends on them but tests.
const BESIDE: [&str; 3] = ["postrider-testkit", "postrider-e2e", "postrider-bench"];

/// A file of one idea has about 500 lines; longer than this none may grow.
const FILE_LINES_MAX: usize = 700;
/// A function fits on a screen; longer than this none may grow.
const FUNCTION_LINES_MAX: usize = 90;

fn packages() -> Vec<Value> {
    let printed = Program::new("cargo")
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"])
        .arg(repository().join("Cargo.toml"))
        .run()
        .expect_success();
    let metadata: Value = serde_json::from_str(&printed.stdout).expect("cargo prints JSON");
    metadata["packages"].as_array().expect("a workspace has packages").clone()
}

#[test]
fn rooms_depend_only_on_lower_rooms() {
    let levels: BTreeMap<&str, u32> = LEVELS.into_iter().collect();
    let mut wrong = Vec::new();
    for package in packages() {
        let name = package["name"].as_str().expect("a package has a name");
        let beside = BESIDE.contains(&name);
        let level = levels.get(name).copied();
        assert!(beside || level.is_some(), "{name} is a new room: give it a level here and in docs/ARCHITECTURE.md");
        for dependency in package["dependencies"].as_array().expect("a list") {
            let on = dependency["name"].as_str().expect("a dependency has a name");
            let for_tests = dependency["kind"] == "dev";
            match (level, levels.get(on)) {
                // Beside the house everything may be used.
                (None, _) => {}
                (Some(level), Some(below)) if level <= *below => {
                    wrong.push(format!("{name} ({level}) on {on} ({below})"))
                }
                (Some(_), None) if BESIDE.contains(&on) && !for_tests => wrong.push(format!("{name} on {on}")),
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "these dependencies do not go down: {wrong:#?}");
}

/// All Rust files of the repository, but for what was built.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![repository().join("crates"), repository().join("fuzz/fuzz_targets")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the repository can be read").flatten() {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn name(path: &Path) -> String {
    path.strip_prefix(repository()).unwrap_or(path).display().to_string()
}

#[test]
fn files_and_functions_stay_short() {
    let mut long = Vec::new();
    for path in sources() {
        let text = std::fs::read_to_string(&path).expect("source is UTF-8");
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() > FILE_LINES_MAX {
            long.push(format!("{}: {} lines", name(&path), lines.len()));
        }
        for (start, line) in lines.iter().enumerate().filter(|(_, line)| begins_function(line)) {
            // rustfmt ends a function with a brace that stands as deep as its beginning.
            let depth = line.len() - line.trim_start().len();
            let end = lines[start..].iter().position(|line| *line == format!("{:depth$}}}", ""));
            let length = end.map_or(0, |end| end + 1);
            if length > FUNCTION_LINES_MAX {
                long.push(format!("{}:{}: a function of {length} lines", name(&path), start + 1));
            }
        }
    }
    assert!(long.is_empty(), "each of these could read as a table of contents: {long:#?}");
}

fn begins_function(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.by_ref().find(|word| !word.starts_with("pub") && !["const", "async", "unsafe", "in", "crate)"].contains(word))
        == Some("fn")
        && !line.trim_end().ends_with(';')
}

/// Words that say that something is unfinished, put together here so that they are not found in this file.
fn unfinished() -> Vec<String> {
    [("todo", "!("), ("unimplemented", "!("), ("// TO", "DO"), ("// FIX", "ME"), ("// XX", "X"), ("#[ign", "ore")]
        .into_iter()
        .map(|(first, second)| format!("{first}{second}"))
        .collect()
}

#[test]
fn nothing_is_left_unfinished() {
    let words = unfinished();
    let mut found = Vec::new();
    for path in sources() {
        let text = std::fs::read_to_string(&path).expect("source is UTF-8");
        for (number, line) in text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word.as_str())) {
                found.push(format!("{}:{}: {}", name(&path), number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn rooms_introduce_themselves() {
    for package in packages() {
        let manifest = PathBuf::from(package["manifest_path"].as_str().expect("a package has a manifest"));
        let folder = manifest.parent().expect("a file has a folder").join("src");
        let root = ["lib.rs", "main.rs"].map(|name| folder.join(name)).into_iter().find(|path| path.exists());
        let root = root.unwrap_or_else(|| panic!("{} has no root", folder.display()));
        let text = std::fs::read_to_string(&root).expect("source is UTF-8");
        let page = text.lines().take_while(|line| line.starts_with("//!")).count();
        assert!(page >= 5, "{} opens with {page} lines about itself", name(&root));
    }
}

#[test]
fn there_is_no_global_state() {
    for path in sources().into_iter().filter(|path| path.components().any(|part| part.as_os_str() == "src")) {
        let text = std::fs::read_to_string(&path).expect("source is UTF-8");
        let mut before = "";
        for (number, line) in text.lines().enumerate() {
            let item = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
            let state = item.starts_with("static ") || item.starts_with("thread_local!");
            let allocator = before.trim() == "#[global_allocator]";
            assert!(!state || allocator, "{}:{}: {}", name(&path), number + 1, line.trim());
            before = line;
        }
    }
}

#[test]
fn the_configuration_reference_is_what_the_program_prints() {
    let printed = Program::new(testkit::server::binary()).args(["config", "reference"]).run().expect_success().stdout;
    let path = repository().join("docs/configuration.md");
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == printed,
        "docs/configuration.md is old: target/debug/postrider config reference > docs/configuration.md"
    );
}
