//! `vault edit`: the text of the vault in an editor. It lies in memory (tmpfs) where there is such a place, in a directory
//! nobody else can enter, and is overwritten before it is removed - also when somebody interrupts.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use miette::{GraphicalReportHandler, GraphicalTheme};
use tokio::process::Command;
use tokio::signal::unix::{Signal, SignalKind, signal};
use zeroize::Zeroizing;

use super::Failure;
use super::connect::Terminal;
use crate::error::{Exit, Fails};
use crate::vault::{self, Means, Secrets, Vault, VaultError};

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
enum EditError {
    #[error("cannot use {} for the text to edit", path.display())]
    #[diagnostic(
        code(xnat::vault::edit_place),
        help("set XDG_RUNTIME_DIR to a directory of yours in memory: export XDG_RUNTIME_DIR=/run/user/$(id -u)")
    )]
    Place { path: PathBuf, source: io::Error },
    #[error("the editor `{editor}` cannot be run")]
    #[diagnostic(code(xnat::vault::editor), help("name one: EDITOR=nano xnat-provision vault edit"))]
    Editor { editor: String, source: io::Error },
    #[error("the editor `{editor}` failed ({status}); nothing was changed")]
    #[diagnostic(code(xnat::vault::editor_failed), help("name another: EDITOR=nano xnat-provision vault edit"))]
    Failed { editor: String, status: std::process::ExitStatus },
    #[error("interrupted; nothing was changed")]
    #[diagnostic(code(xnat::interrupted))]
    Interrupted,
    #[error("thrown away; nothing was changed")]
    #[diagnostic(code(xnat::vault::discarded), help("begin anew: xnat-provision vault edit"))]
    Discarded,
}

impl Fails for EditError {
    fn exit(&self) -> Exit {
        match self {
            Self::Interrupted => Exit::Interrupted,
            _ => Exit::Failed,
        }
    }
}

/// Let somebody edit the vault, again and again until it is right; whether it was changed.
pub async fn edit(vault: &mut Vault, secrets: &Secrets, terminal: &Terminal) -> Result<bool, Failure> {
    let text = vault.editable(secrets)?;
    let mut desk = Desk::with(&text)?;
    loop {
        desk.run_editor().await?;
        let edited = desk.read()?;
        if edited.as_str() == text.as_str() {
            return Ok(false);
        }
        match vault.edited(&edited) {
            Ok(new) => {
                vault.keep(&new)?;
                return Ok(true);
            }
            Err(error) => reopen(error, terminal)?,
        }
    }
}

/// Show what is wrong, and wait until it is to be mended; the error itself when there is nobody to mend it.
fn reopen(error: VaultError, terminal: &Terminal) -> Result<(), Failure> {
    let mut shown = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor());
    // Writing into a String cannot fail.
    handler.render_report(&mut shown, &error).ok();
    let question = format!("{shown}\nEnter edits it again, `discard` throws your changes away");
    match Means::ask(terminal, &question) {
        None => Err(error.into()),
        Some(answer) if answer.expose().trim() == "discard" => Err(EditError::Discarded.into()),
        Some(_) => Ok(()),
    }
}

/// Where the text lies while it is edited; wiped when it is dropped.
struct Desk {
    directory: tempfile::TempDir,
    /// What would end this program is caught while the text lies here, so that it is wiped.
    signals: [Signal; 3],
}

impl Desk {
    fn with(text: &str) -> Result<Self, EditError> {
        let base = private_memory();
        let failed = |source| EditError::Place { path: base.clone(), source };
        let caught = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = caught.map(signal);
        let signals = [interrupt.map_err(failed)?, terminate.map_err(failed)?, hangup.map_err(failed)?];
        // Both have modes for their owner only from the beginning.
        let directory = tempfile::Builder::new().prefix("xnat-vault-").tempdir_in(&base).map_err(failed)?;
        let desk = Self { directory, signals };
        let mut options = File::options();
        std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create_new(true), 0o600);
        options.open(desk.file()).and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)?;
        Ok(desk)
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("vault.toml")
    }

    fn read(&self) -> Result<Zeroizing<String>, EditError> {
        let path = self.file();
        fs::read_to_string(&path).map(Zeroizing::new).map_err(|source| EditError::Place { path, source })
    }

    async fn run_editor(&mut self) -> Result<(), EditError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let editor = variable("VISUAL").or_else(|| variable("EDITOR")).unwrap_or_else(|| "editor".to_owned());
        // Through a shell, as git does: EDITOR may hold options.
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec {editor} \"$@\""), "sh"]).arg(self.file()).kill_on_drop(true);
        for name in vault::OUR_VARIABLES {
            command.env_remove(name);
        }
        let failed = |source| EditError::Editor { editor: editor.clone(), source };
        let mut running = command.spawn().map_err(failed)?;
        let [interrupt, terminate, hangup] = &mut self.signals;
        let status = loop {
            tokio::select! {
                status = running.wait() => break status.map_err(failed)?,
                // The terminal sends it to the editor as well, which knows better what it means.
                _ = interrupt.recv() => {}
                _ = terminate.recv() => return Err(EditError::Interrupted),
                _ = hangup.recv() => return Err(EditError::Interrupted),
            }
        };
        if status.success() { Ok(()) } else { Err(EditError::Failed { editor, status }) }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // Whatever the editor has left beside it, too. What cannot be overwritten is removed all the same.
        for entry in fs::read_dir(self.directory.path()).into_iter().flatten().flatten() {
            wipe(&entry.path()).ok();
        }
    }
}

fn wipe(path: &Path) -> io::Result<()> {
    let mut file = File::options().write(true).open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    file.write_all(&vec![0; length])?;
    file.sync_all()
}

/// A place that is never written to a disk, or else where temporary files go.
fn private_memory() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let candidates = runtime.into_iter().chain([PathBuf::from("/dev/shm")]);
    candidates.into_iter().find(|path| path.is_dir()).unwrap_or_else(std::env::temp_dir)
}
