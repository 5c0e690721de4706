//! The `vault` commands as they are typed: values come in by standard input or an editor, and go out one at a time.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

struct Site {
    directory: tempfile::TempDir,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

impl Site {
    fn new(settings: &str) -> Self {
        let site = Self { directory: tempfile::tempdir().expect("a directory") };
        fs::create_dir(site.file("memory")).expect("made");
        let made = site.run(&["identity", &site.file("key.txt").display().to_string()], "", "");
        assert!(text(&made.stdout).starts_with("age1"), "{made:?}");
        let minimal = include_str!("../../inventory/minimal.toml");
        let inventory = format!("{minimal}\n[vault]\nidentity = \"key.txt\"\n{settings}");
        fs::write(site.file("xnat.toml"), inventory).expect("written");
        site
    }
    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
    /// In a session of its own, so that there is no terminal whoever runs the tests.
    fn run(&self, words: &[&str], stdin: &str, editor: &str) -> Output {
        let mut command = Command::new("setsid");
        command.args(["--wait", env!("CARGO_BIN_EXE_xnat-provision"), "vault"]).args(words);
        command.current_dir(self.directory.path()).env("XDG_RUNTIME_DIR", self.file("memory"));
        command.env_remove("VISUAL").env("EDITOR", editor).env_remove("XNAT_VAULT_PASSPHRASE");
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        // A command that refuses before it reads closes its end.
        child.stdin.take().expect("piped").write_all(stdin.as_bytes()).ok();
        child.wait_with_output().expect("it ends")
    }
    fn good(&self, words: &[&str], stdin: &str) -> String {
        let ran = self.run(words, stdin, "");
        assert!(ran.status.success(), "{ran:?}");
        text(&ran.stdout)
    }
    fn refused(&self, words: &[&str], stdin: &str) -> String {
        let ran = self.run(words, stdin, "");
        assert_eq!(ran.status.code(), Some(2), "{ran:?}");
        // Errors are wrapped, with a bar before what goes on.
        text(&ran.stderr).replace('│', "").split_whitespace().collect::<Vec<_>>().join(" ")
    }
    fn edit(&self, editor: &str) -> (Option<i32>, String) {
        let ran = self.run(&["edit", "xnat.toml"], "", editor);
        assert_eq!(fs::read_dir(self.file("memory")).expect("read").count(), 0, "nothing is left lying");
        (ran.status.code(), text(&ran.stdout) + &text(&ran.stderr))
    }
}

#[test]
fn values_are_set_from_standard_input_and_shown_one_at_a_time() {
    let site = Site::new("");
    assert!(site.refused(&["show", "application", "xnat.toml"], "").contains("there are no secrets yet"));
    let all: String = (' '..='~').collect();
    assert!(site.good(&["set", "application", "xnat.toml"], &format!("{all}\n")).starts_with("made xnat.vault\n"));
    assert_eq!(site.good(&["show", "application", "xnat.toml"], ""), format!("{all}\n"));
    let json: Value =
        serde_json::from_str(&site.good(&["show", "application", "xnat.toml", "--json"], "")).expect("JSON");
    assert_eq!(json["value"], all.as_str());
    let list = site.good(&["show", "xnat.toml"], "");
    assert_eq!(list.lines().count(), 6);
    assert!(!list.contains(&all) && list.contains("application  the vault"), "{list}");
    let changed = site.good(&["set", "application", "xnat.toml"], "another value of it\r\n");
    assert!(changed.contains("kept as xnat.vault.old") && changed.contains("still has the former values"), "{changed}");
    assert_eq!(site.good(&["show", "application", "xnat.toml"], ""), "another value of it\n");
}

#[test]
fn what_cannot_be_set_is_refused_and_not_repeated() {
    let site = Site::new("[secrets]\nrewind = { command = \"echo from-elsewhere\" }\n");
    for (name, value, says) in [
        ("application", "hunter2", "this has 7 characters; 12 is the least"),
        ("application", "hunter2\nhunter2\n", "a control character"),
        ("application", "hunter2${hunter2}\n", "this has ${ in it, which XNAT takes"),
        ("superuser", "hunter2$$hunter2\n", "this has $$ in it, which Patroni takes"),
        ("replication", "hunter2 hunter2 \n", "this ends with a blank, which Patroni 3 cuts off"),
        ("application", "", "standard input is empty"),
        ("aplication", "hunter2hunter2", "there is no secret called aplication"),
        ("rewind", "hunter2hunter2", "kept elsewhere: the command `echo from-elsewhere`"),
    ] {
        let said = site.refused(&["set", name, "xnat.toml"], value);
        assert!(said.contains(says) && !said.contains("hunter2"), "{said}");
        assert!(!site.file("xnat.vault").exists());
    }
    assert_eq!(site.good(&["show", "rewind", "xnat.toml"], ""), "from-elsewhere\n");
}

#[test]
fn an_editor_changes_it_and_a_mistake_changes_nothing() {
    let site = Site::new("");
    site.good(&["set", "application", "xnat.toml"], "the former value");
    let (status, said) = site.edit("sed -i 's/the former value/the value now/'");
    assert!(status == Some(0) && said.starts_with("changed xnat.vault"), "{said}");
    assert_eq!(site.good(&["show", "application", "xnat.toml"], ""), "the value now\n");
    let before = fs::read(site.file("xnat.vault")).expect("read");
    for (editor, wanted, says) in [
        ("true", 0, "nothing was changed"),
        ("false", 1, "the editor `false` failed"),
        ("sed -i s/^rewind/rewinf/", 2, "it has no rewind"),
        ("sed -i 's/the value now/short/'", 2, "this has 5 characters"),
        ("sh -c 'cp \"$1\" \"$1~\"; kill -TERM $PPID; exec sleep 60' sh", 130, "interrupted; nothing was changed"),
    ] {
        let (status, said) = site.edit(editor);
        assert_eq!(status, Some(wanted), "{editor}: {said}");
        assert!(said.contains(says) && !said.contains("the value now"), "{said}");
        assert_eq!(fs::read(site.file("xnat.vault")).expect("read"), before);
    }
}

#[test]
fn plain_text_is_refused_until_it_is_encrypted() {
    let site = Site::new("encryption = \"none\"\n");
    site.good(&["set", "application", "xnat.toml"], "the value of it");
    let inventory = fs::read_to_string(site.file("xnat.toml")).expect("read");
    fs::write(site.file("xnat.toml"), inventory.replace("encryption = \"none\"\n", "")).expect("written");
    assert!(site.refused(&["show", "xnat.toml"], "").contains("xnat-provision vault rekey xnat.toml"));
    assert!(site.good(&["rekey", "xnat.toml"], "").starts_with("wrote xnat.vault, opened by: age1"));
    assert!(!site.file("xnat.secrets.toml").exists());
    assert_eq!(site.good(&["show", "application", "xnat.toml"], ""), "the value of it\n");
}
