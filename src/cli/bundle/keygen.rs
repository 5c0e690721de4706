//! `bundle keygen`: a pair of keys in two files.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::connect::Terminal;
use super::super::{Failure, Globals, out};
use crate::bundle::BundleError;
use crate::bundle::sign::{Pair, Trusted};
use crate::error::Exit;
use crate::report::Redactor;
use crate::transport::ssh::Prompt as _;

/// Where the password of a key is taken from when it is not asked for.
pub const VARIABLE: &str = "XNAT_BUNDLE_PASSWORD";

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The password that protects the secret key is taken from XNAT_BUNDLE_PASSWORD, or asked for; an empty one leaves the key open. The files are minisign's: minisign(1) can use them too."
)]
pub struct Args {
    /// The file of the secret key; the public one is put beside it, as .pub
    #[arg(long, short, value_name = "FILE", default_value = "bundle.key")]
    output: PathBuf,
}

pub fn run(args: &Args, globals: &Globals) -> Result<Exit, Failure> {
    let public = args.output.with_extension("pub");
    let failed = |reason: String| BundleError::Key { path: args.output.clone(), reason };
    if public == args.output {
        return Err(
            failed("the secret key cannot be in the file of the public one: choose another name".to_owned()).into()
        );
    }
    let nobody = || failed(format!("there is nobody to ask for a password; {VARIABLE} has it, or is empty for none"));
    let password = password(globals, "password for the new key (none leaves it open)").ok_or_else(nobody)?;
    let pair = Pair::generate(&password).map_err(failed)?;
    put(&public, &pair.public, 0o644)?;
    if let Err(error) = put(&args.output, &pair.secret, 0o600) {
        // the one without the other is of no use
        let _ = std::fs::remove_file(&public);
        return Err(error.into());
    }
    let id = Trusted::parse(&pair.public).map_err(failed)?.id();
    if globals.json {
        out::json(&json!({ "secret": args.output, "public": public, "id": id }))?;
    } else {
        let (secret, public) = (args.output.display(), public.display());
        out::text(&format!(
            "Made the key {id}.\n{secret} signs bundles: keep it to yourself (bundle build --sign {secret}).\n{public} \
             checks them: carry it to the site once, and name it in the inventory: bundle_key = \"{public}\" under [packages].\n"
        ))?;
    }
    Ok(Exit::Ok)
}

/// From the environment, or from a person.
pub fn password(globals: &Globals, question: &str) -> Option<String> {
    let terminal = Terminal::of(&globals.answers, &Redactor::default());
    let given = std::env::var(VARIABLE).ok();
    given.or_else(|| terminal.ask(question).map(|secret| secret.expose().to_owned()))
}

/// A key that is there stays.
fn put(path: &Path, text: &str, mode: u32) -> Result<(), BundleError> {
    let failed = |source| BundleError::Io { what: "write", path: path.to_owned(), source };
    let mut file = std::fs::File::options().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    std::io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)
}
