//! `completions`: what a shell needs to complete commands, options and their values when somebody presses tab.

use clap::{CommandFactory as _, ValueEnum};
use clap_complete::aot;
use serde::Serialize;

use super::{Cli, Failure, Globals, out};
use crate::error::Exit;

/// Where the script belongs.
const PLACES: &str = "\
For this user:
  bash  xnat-provision completions bash > ~/.local/share/bash-completion/completions/xnat-provision
  zsh   xnat-provision completions zsh > DIR/_xnat-provision, where DIR is one of $fpath
  fish  xnat-provision completions fish > ~/.config/fish/completions/xnat-provision.fish
The Debian package brings them along.";

#[derive(Debug, clap::Args)]
#[command(after_help = PLACES)]
pub struct Args {
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Serialize)]
struct Script {
    shell: String,
    text: String,
}

pub fn run(Args { shell }: Args, globals: &Globals) -> Result<Exit, Failure> {
    let shell = match shell {
        Shell::Bash => aot::Shell::Bash,
        Shell::Zsh => aot::Shell::Zsh,
        Shell::Fish => aot::Shell::Fish,
    };
    let text = script(shell);
    if globals.json { out::json(&Script { shell: shell.to_string(), text }) } else { out::text(&text) }?;
    Ok(Exit::Ok)
}

fn script(shell: aot::Shell) -> String {
    let mut program = Cli::command();
    let name = program.get_name().to_owned();
    let mut text = Vec::new();
    aot::generate(shell, &mut program, &name, &mut text);
    let text = String::from_utf8_lossy(&text);
    if shell == aot::Shell::Bash { mended(&text, &name) } else { text.into_owned() }
}

/// clap_complete writes a hyphen in the program's name in two ways, so that nothing below the first command is completed
/// (clap's issue 6421). A test presses tab.
fn mended(bash: &str, name: &str) -> String {
    bash.replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__"))
}
