//! What has to be in a bundle, from apt itself: it is given a root of its own, with the site's list of what is installed, and
//! asked what it would fetch. It checks the archive's signatures, and nothing of this machine is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::FlockOperation;

use super::error::{BundleError, OnPath as _};
use super::index::{self, Stanza};
use super::manifest::{Source, Target};

/// A package as the archive has it.
#[derive(Clone, Debug)]
pub struct Found {
    pub uri: String,
    pub stanza: Stanza,
}

/// Packages by the digest of their files.
pub type Closure = BTreeMap<String, Found>;

/// apt's private root for one target and one set of sources.
pub struct Solver {
    directory: PathBuf,
    target: Target,
    /// Two at once would be in each other's way.
    _lock: File,
}

impl Solver {
    /// `directory` is kept between runs: indexes and packages are not fetched twice.
    pub fn new(directory: &Path, target: &Target, (sources, settings): (&[String], &str)) -> Result<Self, BundleError> {
        for part in ["state/lists/partial", "cache/archives/partial", "etc/apt.conf.d", "etc/preferences.d", "log"] {
            let part = directory.join(part);
            fs::create_dir_all(&part).on("make", &part)?;
        }
        let lock = directory.join("lock");
        let file = File::create(&lock).on("write", &lock)?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive).map_err(std::io::Error::from).on("lock", &lock)?;
        let solver = Self { directory: directory.to_owned(), target: target.clone(), _lock: file };
        solver.put("apt.conf", &solver.configuration(settings))?;
        solver.put("etc/sources.list", &(sources.join("\n") + "\n"))?;
        solver.put("status", "")?;
        Ok(solver)
    }

    fn configuration(&self, settings: &str) -> String {
        let (directory, arch) = (self.directory.display(), &self.target.arch);
        format!(
            "Dir \"{directory}/\";
Dir::State \"state\";
Dir::State::status \"{directory}/status\";
Dir::Cache \"cache\";
Dir::Etc \"etc\";
Dir::Etc::netrc \"/etc/apt/auth.conf\";
Dir::Etc::netrcparts \"/etc/apt/auth.conf.d\";
Dir::Log \"log\";
APT::Architecture \"{arch}\";
APT::Architectures {{ \"{arch}\"; }};
APT::Sandbox::User \"\";
APT::Install-Recommends \"false\";
APT::Update::Error-Mode \"any\";
Acquire::Languages \"none\";
Acquire::ForceHash \"SHA256\";
Acquire::Retries \"3\";
{settings}"
        )
    }

    fn put(&self, name: &str, text: &str) -> Result<(), BundleError> {
        let path = self.directory.join(name);
        fs::write(&path, text).on("write", &path)
    }

    /// For programs of apt that are run beside this.
    pub fn settings_file(&self) -> PathBuf {
        self.directory.join("apt.conf")
    }

    /// Where packages are kept between runs.
    pub fn packages(&self) -> PathBuf {
        self.directory.join("cache/archives")
    }

    /// Fetch the indexes; what the archives say of themselves.
    pub fn update(&self, sources: &[String]) -> Result<Vec<Source>, BundleError> {
        self.apt("fetch the indexes of the archive", "apt-get", &["-q", "update"])?;
        let lists = self.directory.join("state/lists");
        Ok(sources.iter().map(|line| Source { line: plain(line), released: released(&lists, &plain(line)) }).collect())
    }

    /// What it takes to install these, and to upgrade what comes from the same sources, on a host that has what `status` lists.
    pub fn solve(&self, status: &str, wanted: &[String]) -> Result<Closure, BundleError> {
        self.put("status", status)?;
        let siblings = self.siblings(status, wanted)?;
        let mut arguments = vec!["-q", "-y", "--print-uris", "--no-install-recommends", "--no-remove", "install", "--"];
        arguments.extend(wanted.iter().chain(&siblings).map(String::as_str));
        self.closure(&self.apt("find out what the packages need", "apt-get", &arguments)?)
    }

    /// What it takes to upgrade everything.
    pub fn solve_system(&self, status: &str) -> Result<Closure, BundleError> {
        self.put("status", status)?;
        let arguments = ["-q", "-y", "--print-uris", "--with-new-pkgs", "upgrade"];
        self.closure(&self.apt("find out what could be newer", "apt-get", &arguments)?)
    }

    /// What every machine of the release has, as `status`: the least there can be.
    pub fn minimal(&self) -> Result<String, BundleError> {
        let all = self.apt("read the index", "apt-cache", &["dumpavail"])?;
        let basic = |stanza: &str| stanza.lines().any(|line| line == "Essential: yes" || line == "Priority: required");
        let names = all
            .split("\n\n")
            .filter(|stanza| basic(stanza))
            .filter_map(|stanza| stanza.lines().find_map(|line| line.strip_prefix("Package: ")).map(str::to_owned));
        let names: Vec<String> = names.chain(["apt".to_owned()]).collect();
        let closure = self.solve("", &names)?;
        let installed = closure.into_values().map(|mut found| {
            found.stanza.set("Status", "install ok installed");
            found.stanza.of_host() + "\n"
        });
        Ok(installed.collect())
    }

    /// Installed packages that come from the same source packages: they are upgraded together.
    fn siblings(&self, status: &str, wanted: &[String]) -> Result<Vec<String>, BundleError> {
        let unreadable = |reason| BundleError::Request {
            message: format!("the list of installed packages cannot be read: {reason}"),
            help: "export the facts again at the site".to_owned(),
        };
        let installed = index::parse(status).map_err(unreadable)?;
        let names: BTreeSet<&str> =
            wanted.iter().map(|it| it.split_once('=').map_or(it.as_str(), |(name, _)| name)).collect();
        let sources: BTreeSet<&str> =
            installed.iter().filter(|it| names.contains(it.name())).map(|it| it.source().0).collect();
        let same = installed.iter().filter(|it| sources.contains(it.source().0) && !names.contains(it.name()));
        // what is on hold stays, as on the host itself
        let same = same.filter(|it| !it.get("Status").starts_with("hold"));
        Ok(same.map(|it| it.name().to_owned()).collect())
    }

    /// What `--print-uris` printed, with what the index says of each.
    fn closure(&self, printed: &str) -> Result<Closure, BundleError> {
        let lines: Vec<Line> = printed.lines().filter_map(line).collect();
        if lines.is_empty() {
            return Ok(Closure::new());
        }
        let mut arguments = vec!["show".to_owned(), "--".to_owned()];
        arguments.extend(lines.iter().map(|line| format!("{}={}", line.name, line.version)));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let shown = self.apt("read what the index says of them", "apt-cache", &arguments)?;
        let bad = |reason: String| self.unread("apt-cache show", reason);
        let stanzas = index::parse(&shown).map_err(bad)?;
        let by_digest: BTreeMap<&str, &Stanza> = stanzas.iter().map(|stanza| (stanza.sha256(), stanza)).collect();
        let found = lines.into_iter().map(|line| {
            let stanza = by_digest.get(line.sha256.as_str());
            let stanza = stanza.ok_or_else(|| self.unread("apt-cache show", format!("{} is not in it", line.name)))?;
            Ok((line.sha256, Found { uri: line.uri, stanza: (*stanza).clone() }))
        });
        found.collect()
    }

    fn unread(&self, command: &str, reason: String) -> BundleError {
        BundleError::Tool {
            what: "understand what apt said".to_owned(),
            command: command.to_owned(),
            status: "an answer nobody expected".to_owned(),
            output: reason,
            help: format!("remove {} and try again", self.directory.display()),
        }
    }

    fn apt(&self, what: &str, program: &str, arguments: &[&str]) -> Result<String, BundleError> {
        let output = Command::new(program)
            .args(arguments)
            .env("APT_CONFIG", self.settings_file())
            .env("LC_ALL", "C")
            .output()
            .map_err(|_| BundleError::NoApt)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        // what matters comes last: the errors, and what cannot be satisfied
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        Err(BundleError::Tool {
            what: what.to_owned(),
            command: format!("{program} {}", arguments.iter().find(|it| !it.starts_with('-')).unwrap_or(&"")),
            status: output.status.to_string(),
            output: said,
            help: advice(&String::from_utf8_lossy(&output.stderr)),
        })
    }
}

fn advice(said: &str) -> String {
    let has = |text: &str| said.contains(text);
    if has("Unable to locate package") || has("has no installation candidate") {
        "the archive has no such package for that release: is the name right, and is the repository named in the inventory?"
    } else if has("was not found") && has("Version") {
        "the archive has another version: change the pin under [packages] of the inventory, and export the facts again"
    } else if has("NO_PUBKEY") || has("is not signed") || has("EXPKEYSIG") {
        "the archive is signed by a key that is not in the keyring: --keyring FILE names another"
    } else if has("Packages need to be removed") {
        "apt would have to remove something that is installed at the site for it: see there which one, and whether it may go"
    } else if has("unmet dependencies") {
        "the packages do not fit what is installed at the site, or each other: what apt says above names them"
    } else {
        "see whether this machine reaches the archive: `apt-get update`"
    }
    .to_owned()
}

struct Line {
    uri: String,
    name: String,
    version: String,
    sha256: String,
}

/// `'URI' NAME_VERSION_ARCH.deb SIZE SHA256:DIGEST`
fn line(text: &str) -> Option<Line> {
    let (uri, rest) = text.strip_prefix('\'')?.split_once("' ")?;
    let mut words = rest.split_whitespace();
    let file = words.next()?;
    let sha256 = words.nth(1)?.strip_prefix("SHA256:")?.to_owned();
    let mut parts = file.strip_suffix(".deb")?.split('_');
    let (name, version) = (parts.next()?.to_owned(), parts.next()?.replace("%3a", ":"));
    Some(Line { uri: uri.to_owned(), name, version, sha256 })
}

/// When that state of an archive was signed, as its Release file says.
fn released(lists: &Path, line: &str) -> Option<String> {
    let mut words = line.split_whitespace().skip(1);
    let (uri, suite) = (words.next()?, words.next()?);
    let site = uri.split_once("://")?.1.trim_end_matches('/').replace('/', "_");
    let text = fs::read_to_string(lists.join(format!("{site}_dists_{suite}_InRelease"))).ok()?;
    text.lines().find_map(|line| line.strip_prefix("Date: ")).map(str::to_owned)
}

/// A source without what only matters on this machine.
fn plain(line: &str) -> String {
    let without_options = |text: &str| match (text.find('['), text.find("] ")) {
        (Some(from), Some(to)) => format!("{}{}", &text[..from], &text[to + 2..]),
        _ => text.to_owned(),
    };
    without_options(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_apt_is_read() {
        let text =
            "'http://mirror.example.org/debian/pool/main/a/adduser/x.deb' libssl3_1%3a3.0-2_amd64.deb 1 SHA256:ab";
        let read = line(text).expect("a line");
        assert_eq!((read.name.as_str(), read.version.as_str(), read.sha256.as_str()), ("libssl3", "1:3.0-2", "ab"));
        assert!(line("Reading package lists...").is_none());
        assert_eq!(plain("deb [signed-by=/x/y.gpg] http://a/ trixie main"), "deb http://a/ trixie main");
    }
}
