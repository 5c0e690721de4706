//! `assets`: which roles and templates are in use, and a copy of the built-in ones to start from.

use std::path::{Path, PathBuf};

use super::{Failure, Globals, out};
use crate::assets::{Assets, Listed, Origin, export};
use crate::error::Exit;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List roles and templates and which of them the site overrides
    List,
    /// Write the built-in roles and templates into a directory, to change them there; overwrites nothing
    Export {
        /// The directory; give it to other commands with --assets, or as `assets` in the inventory
        directory: PathBuf,
    },
}

pub fn run(args: Args, globals: &Globals) -> Result<Exit, Failure> {
    match args.command {
        Command::List => {
            let listed = Assets::new(globals.assets.as_deref())?.list();
            if globals.json { out::json(&listed) } else { out::text(&text(&listed)) }?;
        }
        Command::Export { directory } => {
            let written = export(&directory)?;
            if globals.json { out::json(&written) } else { out::text(&exported(&directory, &written)) }?;
        }
    }
    Ok(Exit::Ok)
}

fn text(listed: &[Listed]) -> String {
    let width = listed.iter().map(|file| file.name.len()).max().unwrap_or(0);
    let line = |file: &Listed| {
        let origin = match file.origin {
            Origin::BuiltIn => "built in",
            Origin::Copied => "copied, unchanged",
            Origin::Overridden => "overridden",
            Origin::Own => "the site's own",
        };
        let outdated = file.outdated_since.as_ref().map_or_else(String::new, |version| {
            format!("; the built-in file has changed since version {version}, from which it was made")
        });
        format!("{:<width$}  {origin}{outdated}\n", file.name)
    };
    listed.iter().map(line).collect()
}

fn exported(directory: &Path, written: &[PathBuf]) -> String {
    let names: String = written.iter().map(|path| format!("{}\n", path.display())).collect();
    let directory = directory.display();
    format!(
        "{names}\nDelete what you do not change: the built-in file is used then, and stays up to date.\nUse it with --assets {directory}\n"
    )
}
