//! What makes the program something one can get: its version, and what a package is made of.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use xnat_provision::version;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a program printed; it has to succeed.
fn printed(command: &mut Command) -> String {
    let ran = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{command:?}: {} {said}", ran.status);
    String::from_utf8(ran.stdout).expect("a text")
}

// ---- the version -----------------------------------------------------------------------------------------------------

#[test]
fn the_program_tells_its_version_and_the_commit_it_was_made_from() {
    let said = printed(Command::new(env!("CARGO_BIN_EXE_xnat-provision")).arg("--version"));
    assert_eq!(said, format!("xnat-provision {}\n", version::PROGRAM));
    let told = version::PROGRAM.strip_prefix(env!("CARGO_PKG_VERSION")).expect("cargo's version comes first");
    if root().join(".git").exists() {
        let mut git = Command::new("git");
        let log = without_git(git.args(["log", "-1", "--format=%h %cs", "--abbrev=12"]).current_dir(root())).output();
        // where git does not trust the directory, nothing is known of its commit
        let head =
            log.ok().filter(|log| log.status.success()).map(|log| String::from_utf8_lossy(&log.stdout).into_owned());
        let possible = match head.as_deref().map(str::trim_end) {
            Some(head) => vec![format!(" ({head})"), format!(" ({head}, modified)")],
            None => vec![String::new()],
        };
        assert!(possible.contains(&told.to_owned()), "{told}, not {possible:?}");
    }
}

/// A hook of git has it look at the repository that the hook is of.
fn without_git(command: &mut Command) -> &mut Command {
    command.env_remove("GIT_DIR").env_remove("GIT_WORK_TREE").env_remove("GIT_INDEX_FILE")
}

/// The build script, and a directory it takes for the source.
struct Build {
    directory: tempfile::TempDir,
    script: PathBuf,
}

impl Build {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let script = directory.path().join("script");
        // the compiler that made this test is the one cargo names
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        printed(Command::new(rustc).args(["--edition=2024", "-o"]).arg(&script).arg(root().join("build.rs")));
        Self { directory, script }
    }

    fn source(&self) -> PathBuf {
        self.directory.path().join("outer/source")
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.source().join(name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    fn git(&self, directory: &Path, arguments: &[&str]) -> String {
        let date = "2026-03-01T12:00:00Z";
        let names = ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"];
        let mut git = Command::new("git");
        git.args(arguments).current_dir(directory).envs(names.map(|name| (name, "somebody")));
        // no settings of whoever runs the test
        git.env("HOME", self.directory.path()).env("GIT_CONFIG_NOSYSTEM", "1");
        without_git(&mut git);
        printed(git.envs([("GIT_AUTHOR_DATE", date), ("GIT_COMMITTER_DATE", date)])).trim_end().to_owned()
    }

    fn committed(&self, directory: &Path) -> String {
        self.git(directory, &["init", "--quiet"]);
        self.git(directory, &["add", "."]);
        self.git(directory, &["commit", "--quiet", "--message", "something"]);
        self.git(directory, &["rev-parse", "HEAD"])[..12].to_owned()
    }

    fn version(&self) -> String {
        let mut script = Command::new(&self.script);
        script
            .env("CARGO_MANIFEST_DIR", self.source())
            .env("CARGO_PKG_VERSION", "1.2.3")
            .env("HOME", self.directory.path());
        let said = printed(script.current_dir(self.source()));
        let found = said.lines().find_map(|line| line.strip_prefix("cargo::rustc-env=XNAT_PROVISION_VERSION="));
        found.unwrap_or_else(|| panic!("{said}")).to_owned()
    }
}

#[test]
fn a_build_from_a_repository_knows_its_commit_and_whether_sources_were_changed() {
    let build = Build::new();
    build.write("src/main.rs", "fn main() {}\n");
    build.write("tests/a.rs", "");
    let commit = build.committed(&build.source());
    assert_eq!(build.version(), format!("1.2.3 ({commit} 2026-03-01)"));

    build.write("tests/a.rs", "// tests are no part of the program\n");
    assert_eq!(build.version(), format!("1.2.3 ({commit} 2026-03-01)"));

    build.write("src/main.rs", "fn main() { panic!() }\n");
    assert_eq!(build.version(), format!("1.2.3 ({commit} 2026-03-01, modified)"));
}

#[test]
fn a_build_without_a_repository_knows_what_its_archive_says_and_invents_nothing() {
    let build = Build::new();
    build.write("src/main.rs", "fn main() {}\n");
    // in an archive of this repository the file has been filled in already
    let unfilled = "$Format:%H %cs %ct$\n";
    build.write("packaging/commit", unfilled);
    build.write(".gitattributes", &std::fs::read_to_string(root().join(".gitattributes")).expect("it is there"));
    // the repository around it is another one's
    let outer = build.directory.path().join("outer");
    let commit = build.committed(&outer);
    assert_eq!(build.version(), "1.2.3");

    let archive = build.directory.path().join("source.tar");
    let archive = archive.to_str().expect("a text");
    build.git(&outer, &["archive", "--output", archive, "HEAD"]);
    std::fs::remove_dir_all(build.source()).expect("removed");
    printed(Command::new("tar").args(["--extract", "--file", archive, "--directory"]).arg(&outer));
    assert_eq!(build.version(), format!("1.2.3 ({commit} 2026-03-01)"));
}

// ---- completions -----------------------------------------------------------------------------------------------------

/// What bash offers when tab is pressed after these words.
fn offered(words: &[&str]) -> Vec<String> {
    let script = printed(Command::new(env!("CARGO_BIN_EXE_xnat-provision")).args(["completions", "bash"]));
    let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
    let words = words.join(" ");
    let asked = format!(
        "{script}\nCOMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
         $(complete -p xnat-provision | sed 's/.*-F \\([^ ]*\\).*/\\1/') xnat-provision '{last}' '{before}'\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    );
    printed(Command::new("bash").args(["--norc", "-c", &asked])).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    assert_eq!(offered(&["xnat-provision", "supp"]), ["support-bundle"]);
    assert_eq!(offered(&["xnat-provision", "vault", "sh"]), ["show"]);
    assert_eq!(offered(&["xnat-provision", "apply", "--para"]), ["--parallel"]);
    assert_eq!(offered(&["xnat-provision", "support-bundle", "--js"]), ["--json"]);
    assert_eq!(offered(&["xnat-provision", "completions", "f"]), ["fish"]);
}

// ---- what goes with it -----------------------------------------------------------------------------------------------

fn manifest(name: &str) -> toml::Table {
    let text = std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    text.parse().unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn texts(list: &toml::Value) -> BTreeSet<&str> {
    list.as_array().expect("a list").iter().map(|one| one.as_str().expect("a text")).collect()
}

#[test]
fn the_package_is_made_of_files_that_are_there() {
    let script = std::fs::read_to_string(root().join("packaging/deb.sh")).expect("it is there");
    let cargo = manifest("Cargo.toml");
    let deb = &cargo["package"]["metadata"]["deb"];
    let assets = deb["assets"].as_array().expect("a list");
    let changelog = deb["changelog"].as_str().expect("a path");
    let mut seen = 0;
    for source in assets.iter().map(|asset| asset[0].as_str().expect("a path")).chain([changelog]) {
        seen += 1;
        let there = match (source.strip_prefix("target/package/"), source.rsplit_once("/*")) {
            (Some(made), _) => {
                script.contains(&format!("$made/{}", made.trim_end_matches("*.gz").trim_end_matches("*.md")))
            }
            (None, Some((directory, ending))) => std::fs::read_dir(root().join(directory))
                .expect("a directory")
                .any(|entry| entry.expect("an entry").file_name().to_string_lossy().ends_with(ending)),
            (None, None) if source.starts_with("target/release/") => {
                source.ends_with(&format!("/{}", cargo["package"]["name"].as_str().expect("a name")))
            }
            (None, None) => root().join(source).is_file(),
        };
        assert!(there, "{source}");
    }
    assert!(seen > 10, "only {seen}");
}

#[test]
fn licenses_that_are_accepted_are_those_that_are_allowed() {
    let (about, deny) = (manifest("about.toml"), manifest("deny.toml"));
    let exceptions = deny["licenses"]["exceptions"].as_array().expect("a list");
    let allowed = exceptions.iter().map(|exception| &exception["allow"]).chain([&deny["licenses"]["allow"]]);
    assert_eq!(texts(&about["accepted"]), allowed.flat_map(texts).collect());
    assert_eq!(texts(&about["targets"]), texts(&deny["graph"]["targets"]));
}

#[test]
fn the_licenses_of_everything_that_is_in_the_program_are_told() {
    let report = std::fs::read_to_string(root().join("THIRD-PARTY.md")).expect("it is there");
    let rows = report.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let rows = rows.filter_map(|(name, rest)| Some(format!("{name} {}", rest.split_once(" | ")?.0)));
    let told: BTreeSet<String> = rows.filter(|row| row != "Crate Version").collect();

    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let tree =
        ["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--target"];
    let tree = printed(Command::new(cargo).args(tree).arg(target).current_dir(root()));
    let ours = format!("{} ", env!("CARGO_PKG_NAME"));
    let inside = tree.lines().filter(|line| !line.starts_with(&ours)).filter_map(|line| line.split_once(" v"));
    let inside: BTreeSet<String> =
        inside.map(|(name, rest)| format!("{name} {}", rest.split(' ').next().unwrap_or_default())).collect();
    assert!(inside.len() > 100, "only {}", inside.len());

    let lock = manifest("Cargo.lock");
    let packages = lock["package"].as_array().expect("a list").iter();
    let known: BTreeSet<String> = packages
        .map(|one| format!("{} {}", one["name"].as_str().expect("a name"), one["version"].as_str().expect("a version")))
        .collect();
    let missing: Vec<&String> = inside.difference(&told).collect();
    let gone: Vec<&String> = told.difference(&known).collect();
    assert!(missing.is_empty() && gone.is_empty(), "`make licenses`: without {missing:?}, and with {gone:?} of before");
}
