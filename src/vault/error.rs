//! What can be wrong with the vault and with what opens it. No message and no snippet shows what is in it.

use std::io;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use thiserror::Error;

use super::{SHORTEST, Secrets};
use crate::error::{Exit, Fails};
use crate::files;
use crate::quote;

#[derive(Debug, Error, Diagnostic)]
pub enum VaultError {
    #[error("cannot read {}", path.display())]
    #[diagnostic(code(xnat::vault::read), help("look at its owner and mode: ls -l {}", quote::path(path)))]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    #[diagnostic(
        code(xnat::vault::write),
        help("look at the directory's owner and free space: ls -ld {0}; df -h {0}", directory(path))
    )]
    Write { path: PathBuf, source: io::Error },
    #[error("{} is there already, and is not written over", path.display())]
    #[diagnostic(code(xnat::vault::exists), help("see what it is: ls -l {}", quote::path(path)))]
    Exists { path: PathBuf },
    #[error("somebody else has changed {} meanwhile; it was not written", path.display())]
    #[diagnostic(code(xnat::vault::changed), help("do the same again, from what is in it now"))]
    Changed { path: PathBuf },
    #[error("{} is not a file", path.display())]
    #[diagnostic(code(xnat::vault::not_a_file), help("see what it is: ls -ld {}", quote::path(path)))]
    NotAFile { path: PathBuf },
    #[error("{} is a symbolic link that leads nowhere", path.display())]
    #[diagnostic(
        code(xnat::vault::dangling),
        help("mount what it leads to, or remove the link to have new passwords made: readlink {}", quote::path(path))
    )]
    Dangling { path: PathBuf },
    #[error("{} may be read by others than its owner (mode {mode:04o})", path.display())]
    #[diagnostic(
        code(xnat::vault::mode),
        help(
            "close it: chmod 600 {0} - and if others use this machine, take what is in it for known to them",
            quote::path(path)
        )
    )]
    Mode { path: PathBuf, mode: u32 },
    #[error("{} is not text in UTF-8", path.display())]
    #[diagnostic(
        code(xnat::vault::not_text),
        help("restore it from a copy; see what it is: file {}", quote::path(path))
    )]
    NotText { path: PathBuf },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Content(Box<BadContent>),
    #[error("the operating system gives no random numbers")]
    #[diagnostic(code(xnat::vault::random), help("see whether this prints anything: head -c 8 /dev/urandom | od -x"))]
    Random { source: rand::rngs::SysError },

    #[error("the passwords are in {} as plain text, and the inventory does not say that they may be", path.display())]
    #[diagnostic(
        code(xnat::vault::plain),
        help(
            "encrypt them: xnat-provision vault rekey {} - or, to leave them so, put this into it: [vault] encryption = \"none\"",
            quote::path(inventory)
        )
    )]
    Plain { path: PathBuf, inventory: PathBuf },
    #[error("the vault {} is encrypted, and the inventory says encryption = \"none\"", path.display())]
    #[diagnostic(
        code(xnat::vault::sealed),
        help(
            "leave that line out of the inventory; or decrypt the vault for good: xnat-provision vault rekey {}",
            quote::path(inventory)
        )
    )]
    Sealed { path: PathBuf, inventory: PathBuf },
    #[error("there are two files of secrets: {} and {}", sealed.display(), plain.display())]
    #[diagnostic(
        code(xnat::vault::two_files),
        help(
            "was `vault rekey` cut off? Run it again, it finishes when both hold the same: xnat-provision vault rekey {} - otherwise \
              move the one away that is not the cluster's",
            quote::path(inventory)
        )
    )]
    TwoFiles { sealed: PathBuf, plain: PathBuf, inventory: PathBuf },

    #[error("the vault {} is empty", path.display())]
    #[diagnostic(code(xnat::vault::empty), help("{}", restore(path)))]
    Empty { path: PathBuf },
    #[error("{} is not a vault: it is not encrypted with age", path.display())]
    #[diagnostic(code(xnat::vault::foreign), help("see what it is: file {}; {}", quote::path(path), restore(path)))]
    Foreign { path: PathBuf },
    #[error("the vault {} is cut off: its last line is missing", path.display())]
    #[diagnostic(code(xnat::vault::truncated), help("{}", restore(path)))]
    Truncated { path: PathBuf },
    #[error("the vault {} is damaged: it is not as it was written", path.display())]
    #[diagnostic(code(xnat::vault::damaged), help("{}", restore(path)))]
    Damaged { path: PathBuf },
    #[error("the vault {} is in a format of age that this program does not know", path.display())]
    #[diagnostic(code(xnat::vault::newer), help("decrypt it with a newer `age -d` and encrypt it again with `age -a`"))]
    Newer { path: PathBuf },
    #[error("the vault {} asks for unreasonable work to try a passphrase", path.display())]
    #[diagnostic(code(xnat::vault::excessive), help("this program never writes such a file. {}", restore(path)))]
    Excessive { path: PathBuf },
    #[error("the passphrase does not open the vault {}", path.display())]
    #[diagnostic(
        code(xnat::vault::passphrase),
        help(
            "it is taken from XNAT_VAULT_PASSPHRASE, else from [vault] passphrase_command, else asked for. If it is right: {}",
            restore(path)
        )
    )]
    WrongPassphrase { path: PathBuf },
    #[error("none of the identities opens the vault {}", path.display())]
    #[diagnostic(
        code(xnat::vault::identity),
        help(
            "identities are taken from XNAT_VAULT_IDENTITY, else from [vault] identity. Whoever can open it may let you in: put your \
              age1… into [vault] recipients and run `xnat-provision vault rekey`. If yours is right: {}",
            restore(path)
        )
    )]
    WrongIdentity { path: PathBuf },

    #[error("the vault {} is encrypted for age identities, and none is named", path.display())]
    #[diagnostic(
        code(xnat::vault::no_identity),
        help(
            "name the file with yours: [vault] identity = \"~/.config/xnat/key.txt\" in the inventory, or XNAT_VAULT_IDENTITY=FILE"
        )
    )]
    NoIdentity { path: PathBuf },
    #[error("[vault] recipients are given, but no identity that opens the vault here")]
    #[diagnostic(
        code(xnat::vault::recipients),
        help(
            "add yours, [vault] identity = \"~/.config/xnat/key.txt\"; make one with: xnat-provision vault identity ~/.config/xnat/key.txt"
        )
    )]
    OnlyRecipients,
    #[error("the vault {} has a passphrase, and the inventory names an identity", path.display())]
    #[diagnostic(
        code(xnat::vault::other_lock),
        help("to change it to the identity: xnat-provision vault rekey {}", quote::path(inventory))
    )]
    OtherLock { path: PathBuf, inventory: PathBuf },
    #[error("there is no identity file {}", path.display())]
    #[diagnostic(
        code(xnat::vault::no_identity_file),
        help(
            "if it is new, make it (and keep a copy: nothing else opens the vault): xnat-provision vault identity {}",
            quote::path(path)
        )
    )]
    NoIdentityFile { path: PathBuf },
    #[error("the identity file {} cannot be used: {reason}", path.display())]
    #[diagnostic(
        code(xnat::vault::bad_identity),
        help("it has a line AGE-SECRET-KEY-1…; make one with: xnat-provision vault identity FILE")
    )]
    BadIdentity { path: PathBuf, reason: String },
    #[error("the identity file cannot be used")]
    #[diagnostic(code(xnat::vault::identity_file), help("{}", help_of(source.as_ref())))]
    IdentityFile { source: Box<VaultError> },
    #[error("a passphrase is needed for {}, and there is no terminal to ask on", path.display())]
    #[diagnostic(
        code(xnat::vault::no_passphrase),
        help(
            "give it in XNAT_VAULT_PASSPHRASE or by [vault] passphrase_command - or use an identity file, which needs none: \
              xnat-provision vault identity ~/.config/xnat/key.txt, and [vault] identity = \"~/.config/xnat/key.txt\" in the inventory"
        )
    )]
    NoPassphrase { path: PathBuf },
    #[error("[vault] passphrase_command gives no passphrase: {reason}")]
    #[diagnostic(
        code(xnat::vault::passphrase_command),
        help("run it by hand: it prints the passphrase and nothing else")
    )]
    PassphraseCommand { reason: String },
    #[error("a passphrase of {length} characters is too short; {SHORTEST} is the least")]
    #[diagnostic(code(xnat::vault::weak), help("take several words: it guards the authority's key and every password"))]
    WeakPassphrase { length: usize },
    #[error("the two passphrases differ")]
    #[diagnostic(code(xnat::vault::differ), help("nothing was written; try again"))]
    PassphrasesDiffer,

    #[error("the secret {name} cannot be taken from {place}: {reason}")]
    #[diagnostic(
        code(xnat::vault::reference),
        help("the inventory says so under [secrets]; set it right there, or leave the line out")
    )]
    Reference { name: String, place: String, reason: String },
    #[error("cannot encrypt the vault: {reason}")]
    #[diagnostic(code(xnat::vault::encryption), help("check [vault] recipients in the inventory"))]
    Encryption { reason: String },
    #[error("the new value of {name} cannot be used: {reason}")]
    #[diagnostic(code(xnat::vault::value), help("nothing was changed; make one with: openssl rand -hex 16"))]
    BadValue { name: String, reason: String },
    #[error("there are no secrets yet: {} is not there", path.display())]
    #[diagnostic(
        code(xnat::vault::none),
        help(
            "`apply` makes them; to choose one yourself before: xnat-provision vault set NAME {}",
            quote::path(inventory)
        )
    )]
    NoVault { path: PathBuf, inventory: PathBuf },
}

impl VaultError {
    /// The same, of a file with identities.
    pub(super) fn of_identity(error: Self) -> Self {
        Self::IdentityFile { source: Box::new(error) }
    }
}

impl Fails for VaultError {
    fn exit(&self) -> Exit {
        match self {
            Self::Random { .. } | Self::Write { .. } | Self::Changed { .. } => Exit::Failed,
            Self::IdentityFile { source } => source.exit(),
            _ => Exit::Usage,
        }
    }
}

/// Everything wrong with the content, at once. The text it points into is masked.
#[derive(Debug, Error)]
#[error("the secrets in {} cannot be used{}", path.display(), lacking(missing))]
pub struct BadContent {
    pub path: PathBuf,
    /// Passwords that are not there have no place to point at.
    pub missing: Vec<&'static str>,
    pub problems: Vec<Problem>,
    pub masked: NamedSource<String>,
}

/// One thing wrong, and where.
#[derive(Clone, Debug)]
pub struct Problem {
    pub what: String,
    pub span: std::ops::Range<usize>,
}

impl Diagnostic for BadContent {
    fn code<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        Some(Box::new("xnat::vault::content"))
    }
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        let names = Secrets::names().collect::<Vec<_>>().join(", ");
        Some(Box::new(format!(
            "each of {names} has a line `name = \"password\"`, with at least {SHORTEST} characters and no control characters; \
             a new one is made by: openssl rand -hex 16"
        )))
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.masked)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = |p: &Problem| LabeledSpan::new_with_span(Some(p.what.clone()), p.span.clone());
        Some(Box::new(self.problems.iter().map(label)))
    }
}

fn lacking(missing: &[&str]) -> String {
    if missing.is_empty() { String::new() } else { format!(": it has no {}", missing.join(", no ")) }
}

fn help_of(error: &VaultError) -> String {
    error.help().map(|help| help.to_string()).unwrap_or_default()
}

/// What to do when the file is not what was written.
fn restore(path: &Path) -> String {
    let old = super::file::old(path);
    format!(
        "restore it from your backup; the version before the last change is kept too: cp -p {} {}",
        quote::path(&old),
        quote::path(path)
    )
}

fn directory(path: &Path) -> String {
    quote::path(files::directory(path))
}
