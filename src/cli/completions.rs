use super::{Arguments, Outcome, print};
use clap::{Args, CommandFactory};

/// Print completions for a shell
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// Which shell
    shell: clap_complete::Shell,
}

impl Completions {
    pub(super) fn execute(self) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "hardmine", &mut script);
        print(&String::from_utf8_lossy(&script))
    }
}
