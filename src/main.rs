//! The `hardmine` command.

fn main() -> std::process::ExitCode {
    hardmine::cli::main()
}
