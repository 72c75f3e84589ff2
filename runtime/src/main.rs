//! `easel-runtime`: see the library for what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    easel_runtime::cli::main()
}
