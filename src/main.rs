//! Parse, run, render the error, exit.

use std::process::ExitCode;

use clap::Parser;
use xnat_provision::cli::{self, Cli};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start the async runtime: {error}")),
    };
    match runtime.block_on(cli::run(cli)) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            let exit = failure.exit;
            fail(&format!("{:?}", miette::Report::new_boxed(failure.diagnostic)));
            exit.into()
        }
    }
}

#[expect(clippy::print_stderr, reason = "the one place where an error is rendered")]
fn fail(text: &str) -> ExitCode {
    eprintln!("{text}");
    ExitCode::FAILURE
}
