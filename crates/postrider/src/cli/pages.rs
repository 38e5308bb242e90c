//! Shell completions and manual pages, from the definitions of the command line itself.

use std::path::Path;

use clap::CommandFactory;

use super::args::Cli;
use super::failure::Failure;
use super::output::Printed;

pub fn completions(shell: clap_complete::Shell) -> Printed {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "postrider", &mut text);
    Printed::text_only(String::from_utf8_lossy(&text))
}

pub fn man(directory: Option<&Path>) -> Result<Printed, Failure> {
    match directory {
        None => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut text)?;
            Ok(Printed::text_only(String::from_utf8_lossy(&text)))
        }
        Some(directory) => {
            let failed = |error: std::io::Error| {
                Failure::failed(format!("cannot write the manual pages to {}: {error}", directory.display()))
            };
            std::fs::create_dir_all(directory).map_err(failed)?;
            clap_mangen::generate_to(Cli::command(), directory).map_err(failed)?;
            Ok(Printed::text_only(format!("the manual pages are in {}\n", directory.display())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions_know_the_commands() {
        for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
            let text = completions(shell).text;
            assert!(text.contains("credential") && text.contains("explain"), "{shell}");
        }
    }

    #[test]
    fn there_is_a_manual_page_for_each_command() {
        let page = man(None).expect("it is written into memory").text;
        assert!(page.contains(".TH postrider 1") && page.contains("Exit codes"), "{page}");
        let directory = tempfile::tempdir().expect("a directory for the test");
        man(Some(directory.path())).expect("the directory can be written");
        for name in ["postrider.1", "postrider-queue.1", "postrider-queue-cancel.1", "postrider-doctor.1"] {
            assert!(directory.path().join(name).exists(), "{name}");
        }
    }
}
