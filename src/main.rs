//! Parse, run, render the error, exit.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use miette::MietteHandlerOpts;
use textwrap::WordSplitter;
use xnat_provision::cli::{self, Cli, Telling};

/// A whole workflow is one future, in which those of all its steps lie in each other: without optimisation that is some
/// megabytes. What is not used of it costs nothing.
const STACK: usize = 64 << 20;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Help holds commands to copy: `ssh-keygen` must not be broken at its hyphen.
    let look = || Box::new(MietteHandlerOpts::new().word_splitter(WordSplitter::NoHyphenation).build()) as _;
    if let Err(error) = miette::set_hook(Box::new(move |_| look())) {
        return fail(&format!("cannot set how errors look: {error}"));
    }
    // a panic there has been told by then
    match std::thread::Builder::new().stack_size(STACK).spawn(|| run(cli)).map(std::thread::JoinHandle::join) {
        Ok(ended) => ended.unwrap_or(ExitCode::FAILURE),
        Err(error) => fail(&format!("cannot start a thread: {error}")),
    }
}

fn run(cli: Cli) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start the async runtime: {error}")),
    };
    match runtime.block_on(cli::run(cli)) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if failure.telling == Telling::Due {
                fail(&format!("{:?}", miette::Report::new_boxed(failure.diagnostic)));
            }
            failure.exit.into()
        }
    }
}

/// The terminal may be gone, which changes nothing about the error.
fn fail(text: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{text}");
    ExitCode::FAILURE
}
