//! The scripts of `engine::shell` in a real shell, on files of a temporary directory.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use xnat_provision::engine::shell;
use xnat_provision::resource::{
    Action, Observed, PackageWanted, PathKind, PathState, Probe, TryRules, UnitStart, WantedContent, WriteFile, sha256,
};

/// As the transport does it: all on standard input.
fn sh(script: &str) -> Output {
    let mut child = Command::new("sh")
        .arg("-s")
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sh starts");
    let body = format!("xnat_main() {{\n{script}\n}}\nxnat_main </dev/null\n");
    child.stdin.take().expect("a pipe").write_all(body.as_bytes()).expect("the script fits");
    child.wait_with_output().expect("sh ends")
}

fn id(option: &str) -> String {
    let output = Command::new("id").arg(option).output().expect("id runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn write(path: &Path, content: &str) -> WriteFile {
    WriteFile {
        path: path.display().to_string(),
        content: content.into(),
        owner: id("-un"),
        group: id("-gn"),
        mode: 0o640,
        validate: None,
    }
}

fn perform(actions: &[Action]) -> (usize, Output) {
    let output = sh(&shell::actions(actions));
    (shell::completed(actions, &String::from_utf8_lossy(&output.stdout)), output)
}

#[test]
fn a_file_is_written_with_odd_names_and_bytes_and_leaves_no_temporary_behind() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("it's a $(file) \"name\"");
    let content = "line 1\n$HOME `id` 'quote'\nXP_BODY\nno newline at the end: äöü";
    let (done, output) = perform(&[Action::WriteFile(write(&path, content))]);
    assert_eq!(done, 1, "{output:?}");
    assert_eq!(std::fs::read_to_string(&path).expect("it is there"), content);
    assert_eq!(std::fs::metadata(&path).expect("it is there").permissions().mode() & 0o7777, 0o640);
    assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 1);
}

#[test]
fn a_file_that_its_program_refuses_does_not_replace_the_old_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.cfg");
    std::fs::write(&path, "old\n").expect("written");
    let check = Some("grep -q good \"$1\" || { echo \"$2 is bad\" >&2; exit 3; }".to_owned());
    let bad = WriteFile { validate: check.clone(), ..write(&path, "bad\n") };
    let later = write(&dir.path().join("later"), "");
    let (done, output) = perform(&[Action::WriteFile(bad), Action::WriteFile(later)]);
    assert_eq!((done, output.status.code()), (0, Some(3)));
    assert_eq!(String::from_utf8_lossy(&output.stderr), format!("{} is bad\n", path.display()));
    assert_eq!(std::fs::read_to_string(&path).expect("it is there"), "old\n");
    assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 1);
    let good = WriteFile { validate: check, ..write(&path, "good\n") };
    assert_eq!(perform(&[Action::WriteFile(good)]).0, 1);
}

#[test]
fn what_is_in_the_way_is_said_and_not_replaced() {
    let dir = tempfile::tempdir().expect("a directory");
    let (done, output) = perform(&[Action::WriteFile(write(dir.path(), "x"))]);
    assert_eq!(done, 0);
    assert!(String::from_utf8_lossy(&output.stderr).contains("is a directory"), "{output:?}");
    let (done, output) = perform(&[Action::WriteFile(write(&dir.path().join("no/such"), "x"))]);
    assert_eq!(done, 0);
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no directory"), "{output:?}");
}

#[test]
fn paths_are_read_in_one_go_with_the_text_of_what_differs() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("same"), "a\n").expect("written");
    std::fs::write(path("other file"), "b\n").expect("written");
    std::fs::write(path("secret"), "b\n").expect("written");
    std::os::unix::fs::symlink(path("same"), path("link")).expect("linked");
    std::os::unix::fs::symlink(dir.path(), path("dirlink")).expect("linked");
    let want = |show| Some(WantedContent { sha256: sha256("a\n"), show });
    let file = |name: &str, show| Probe::Path { path: path(name), want: want(show) };
    let probes = [
        file("same", true),
        file("other file", true),
        file("secret", false),
        file("absent", true),
        file("link", true),
        Probe::Path { path: path("dirlink"), want: None },
        Probe::Check { command: format!("test -e '{}'", path("same")) },
        Probe::Check { command: "exit 1".to_owned() },
        Probe::Group { name: "no-such-group".to_owned() },
        Probe::User { name: "root".to_owned() },
    ];
    let output = sh(&shell::probes(&probes));
    let seen = shell::answers(&probes, &String::from_utf8_lossy(&output.stdout)).expect("all lines are answers");
    let state = |index: usize| match seen.get(&probes[index]) {
        Some(Observed::Path(state)) => state.clone(),
        other => panic!("{other:?}"),
    };
    let text = |index: usize| state(index).and_then(|state: PathState| state.text);
    assert_eq!(state(0).and_then(|state| state.sha256), Some(sha256("a\n")));
    assert_eq!((text(0), text(1), text(2)), (None, Some("b\n".to_owned()), None));
    assert_eq!(state(2).and_then(|state| state.sha256), Some(sha256("b\n")));
    assert_eq!(state(3), None);
    assert_eq!(state(4).map(|state| state.kind), Some(PathKind::Other));
    assert_eq!(state(5).map(|state| state.kind), Some(PathKind::Directory));
    assert_eq!(seen.get(&probes[6]), Some(&Observed::Check { holds: true }));
    assert_eq!(seen.get(&probes[7]), Some(&Observed::Check { holds: false }));
    assert_eq!(seen.get(&probes[8]), Some(&Observed::Group { exists: false }));
    assert_eq!(seen.get(&probes[9]), Some(&Observed::User { exists: true }));
}

#[test]
fn noise_on_standard_output_is_not_taken_for_an_answer() {
    let probes = [Probe::User { name: "root".to_owned() }];
    assert_eq!(shell::answers(&probes, "Welcome to db1!\n").expect_err("not an answer"), "Welcome to db1!");
}

/// Every action is at least valid shell, whatever its names hold.
#[test]
fn every_action_is_valid_shell() {
    let odd = "it's; rm -rf \"$HOME\" `x`".to_owned();
    let start = || UnitStart { name: odd.clone(), files: vec![odd.clone()], timeout: Duration::from_secs(5) };
    let owned = || (odd.clone(), odd.clone());
    let ((path, owner), (group, name)) = (owned(), owned());
    let actions = [
        Action::MakeDirectory { path: path.clone(), owner: owner.clone(), group: group.clone(), mode: 0o755 },
        Action::SetOwnership { path, owner, group: group.clone(), mode: 0o755 },
        Action::InstallPackage(PackageWanted { name: name.clone(), version: Some(odd.clone()) }),
        Action::RemoveInstallGuard,
        Action::AddGroup { name: name.clone() },
        Action::AddUser { name: name.clone(), group, home: odd.clone(), shell: odd.clone() },
        Action::SetSysctl { key: odd.clone(), value: odd.clone() },
        Action::DaemonReload,
        Action::UnmaskUnit { name: name.clone() },
        Action::EnableUnit { name: name.clone() },
        Action::DisableUnit { name: name.clone() },
        Action::StopUnit { name },
        Action::StartUnit(start()),
        Action::RestartUnit(start()),
        Action::ReloadUnit(start()),
        Action::RunCommand { run: odd.clone() },
        Action::TryRules(TryRules { content: odd.as_str().into(), within: Duration::from_secs(5) }),
        Action::ConfirmRules { path: odd.clone(), within: Duration::from_secs(5) },
    ];
    for action in actions {
        let script = shell::actions(std::slice::from_ref(&action));
        let checked = Command::new("sh").args(["-n", "-c", &script]).output().expect("sh runs");
        assert!(checked.status.success(), "{action:?}: {}\n{script}", String::from_utf8_lossy(&checked.stderr));
        // its single quote cannot stand there as it is once the word is quoted
        assert!(!script.contains(&odd), "{action:?} is not quoted:\n{script}");
    }
}

/// What is run on hosts, to be read whenever it changes.
#[test]
fn the_scripts_of_ordinary_actions() {
    let start = || UnitStart {
        name: "web.service".to_owned(),
        files: vec!["/etc/web.cfg".to_owned(), "/etc/web.env".to_owned()],
        timeout: Duration::from_secs(30),
    };
    let wanted = |name: &str, version: Option<&str>| {
        Action::InstallPackage(PackageWanted { name: name.to_owned(), version: version.map(str::to_owned) })
    };
    let word = |word: &str| word.to_owned();
    let file = WriteFile {
        path: word("/etc/web.cfg"),
        content: "port 80\n".into(),
        owner: word("root"),
        group: word("web"),
        mode: 0o640,
        validate: Some(word("web -t -f \"$1\"")),
    };
    let actions = [
        Action::MakeDirectory { path: word("/etc/web"), owner: word("root"), group: word("web"), mode: 0o750 },
        Action::WriteFile(file),
        Action::SetOwnership { path: word("/etc/web.cfg"), owner: word("root"), group: word("web"), mode: 0o640 },
        wanted("web", Some("2.4*")),
        wanted("web-data", None),
        Action::RemoveInstallGuard,
        Action::AddGroup { name: word("web") },
        Action::AddUser { name: word("web"), group: word("web"), home: word("/var/lib/web"), shell: word("/bin/sh") },
        Action::SetSysctl { key: word("vm.swappiness"), value: word("1") },
        Action::DaemonReload,
        Action::EnableUnit { name: word("web.service") },
        Action::StartUnit(start()),
        Action::RestartUnit(start()),
        Action::ReloadUnit(start()),
        Action::StopUnit { name: word("web.service") },
        Action::DisableUnit { name: word("web.service") },
        Action::RunCommand { run: word("web-admin init --site='a b'") },
        Action::TryRules(TryRules { content: "table inet web\n".into(), within: Duration::from_secs(30) }),
        Action::ConfirmRules { path: word("/etc/web.nft"), within: Duration::from_secs(30) },
    ];
    let script = shell::actions(&actions);
    let checked = Command::new("sh").args(["-n", "-c", &script]).output().expect("sh runs");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    insta::with_settings!({ snapshot_path => "../fixtures/shell", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("actions", script);
    });
}
