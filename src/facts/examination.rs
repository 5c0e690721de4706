//! What the closer look (`examine.sh`, `reach.pl`, `fsync.pl`) found. Judges nothing: that is `preflight`'s.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::FactsError;
use super::parse::{Answers, nonsense};

/// Asked for by `check`, and before a host is changed for the first time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Examination {
    /// The lines of files of the kernel and of others that are read as they are, by path.
    pub settings: BTreeMap<String, Vec<String>>,
    pub huge_pages: u64,
    pub huge_page_kib: u64,
    /// The most a service may have open; none is no limit.
    pub open_files: Option<u64>,
    /// What kind of container it is, if one.
    pub container: Option<String>,
    pub watchdog: bool,
    pub reboot_required: bool,
    pub needrestart: bool,
    /// Whether the source of the database's locale is there; none when the host has no sources of locales at all.
    pub locale: Option<bool>,
    pub disks: BTreeMap<String, Disk>,
    pub failed_units: Vec<String>,
    /// Units of Patroni that run and are not patroni.service: `patroni@main.service`.
    #[serde(default)]
    pub instances: Vec<String>,
    pub units: BTreeMap<String, UnitFacts>,
    /// Packages that are neither simply installed nor simply not.
    pub odd_packages: Vec<PackageFacts>,
    /// Versions of those that matter here, by name.
    pub installed: BTreeMap<String, String>,
    pub package_lists: bool,
    /// What apt would install, by name.
    pub candidates: BTreeMap<String, String>,
    pub automatic_reboot: bool,
    pub apt_proxy: bool,
    /// sshd's settings, by their name in small letters. Empty when it did not tell.
    pub sshd: BTreeMap<String, String>,
    pub sudo_log: Vec<String>,
    /// Chains of nftables that see what comes in or goes out: `inet filter: type filter hook input …`.
    pub filters: Vec<String>,
    /// Names that were looked up, and their addresses.
    pub resolved: BTreeMap<String, Vec<String>>,
    /// Names of the machines apt gets packages from.
    pub sites: Vec<String>,
    /// `address:port` → what came of connecting to it.
    pub reached: BTreeMap<String, Reach>,
    pub paths: Vec<PathFacts>,
    pub fsync: Option<Fsync>,
}

/// The file system under a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// None where they are made as needed.
    pub inodes_free: Option<u64>,
    pub kind: String,
    pub mounted_at: String,
    pub options: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitFacts {
    pub load: String,
    pub active: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageFacts {
    /// dpkg's two or three letters: `hi`, `iU`, `iFR`.
    pub status: String,
    pub name: String,
    pub version: String,
}

/// What came of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    Open,
    /// Nobody listens; the way is free.
    Refused,
    /// No answer in time.
    Silent,
    NoRoute,
    /// This host's own firewall says no.
    Forbidden,
    Unresolved,
    Failed(String),
}

/// Whether packages of a length get to an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathFacts {
    pub address: String,
    pub bytes: u32,
    pub arrived: bool,
}

/// Synced writes, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fsync {
    pub count: u32,
    pub median: u64,
    pub p99: u64,
}

impl Examination {
    /// The first line of a file that was read.
    pub fn setting(&self, path: &str) -> Option<&str> {
        self.settings.get(path)?.first().map(String::as_str)
    }
    /// A number in it.
    pub fn number(&self, path: &str) -> Option<u64> {
        self.setting(path)?.trim().parse().ok()
    }
    /// The version that is installed, or would be.
    pub fn version(&self, package: &str) -> Option<&str> {
        self.installed.get(package).or_else(|| self.candidates.get(package)).map(String::as_str)
    }
}

/// The examination, if there was one.
pub(super) fn examination(answers: &Answers<'_>) -> Result<Option<Examination>, FactsError> {
    let marks = answers.all("examine");
    if marks.is_empty() {
        return Ok(None);
    }
    if !marks.contains(&"end") {
        return Err(FactsError::Truncated { last: "examine".to_owned() });
    }
    let texts = |key: &str| answers.all(key).iter().map(|text| (*text).to_owned()).collect();
    Ok(Some(Examination {
        settings: settings(answers),
        huge_pages: meminfo(answers, "HugePages_Total")?,
        huge_page_kib: meminfo(answers, "Hugepagesize")?,
        open_files: answers.one("open_files").and_then(|limit| limit.parse().ok()),
        container: answers.one("container").map(str::to_owned),
        watchdog: answers.one("watchdog").is_some(),
        reboot_required: answers.one("reboot_required").is_some(),
        needrestart: answers.one("needrestart").is_some(),
        locale: answers.one("locale_sources").map(|_| answers.one("locale_source").is_some()),
        disks: disks(answers)?,
        failed_units: texts("failed_unit"),
        instances: texts("instance"),
        units: units(answers),
        odd_packages: packages(answers, "odd_package"),
        installed: installed(answers),
        package_lists: answers.one("package_lists").is_some(),
        candidates: candidates(answers),
        automatic_reboot: apt(answers, "reboot").is_some_and(|value| value == "true" || value == "1"),
        apt_proxy: apt(answers, "proxy").is_some_and(|value| !value.is_empty() && value != "DIRECT"),
        sshd: answers.pairs("sshd").map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
        sudo_log: texts("sudo_log"),
        filters: texts("filter"),
        resolved: resolved(answers),
        sites: texts("site"),
        reached: reached(answers),
        paths: paths(answers)?,
        fsync: fsync(answers)?,
    }))
}

fn number<N: std::str::FromStr>(key: &str, text: &str) -> Result<N, FactsError> {
    text.parse().map_err(|_| nonsense(key, text))
}

fn settings(answers: &Answers<'_>) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, line) in answers.all("setting").iter().filter_map(|line| line.split_once(':')) {
        all.entry(path.to_owned()).or_default().push(line.to_owned());
    }
    all
}

/// A kernel without huge pages has no such line.
fn meminfo(answers: &Answers<'_>, name: &str) -> Result<u64, FactsError> {
    let line = answers.pairs("meminfo").find(|(key, _)| *key == name);
    line.map_or(Ok(0), |(_, value)| number("meminfo", value))
}

fn disks(answers: &Answers<'_>) -> Result<BTreeMap<String, Disk>, FactsError> {
    let (wanted, found) = (answers.all("disk_of"), answers.all("disk"));
    if wanted.len() != found.len() {
        return Err(nonsense("disk", &found.join("; ")));
    }
    let disk = |line: &str| {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().ok_or_else(|| nonsense("disk", line));
        let (total, free) = (word()?, word()?);
        let (kind, mounted_at) = (word()?.to_owned(), word()?.to_owned());
        // What makes inodes as needed says 0 or a dash.
        let counted = total.parse::<u64>().is_ok_and(|total| total > 0);
        // Mounts may lie on top of each other: the last is the one that is seen.
        let mount = answers.pairs("mount").filter(|(target, _)| *target == mounted_at).last();
        Ok(Disk {
            inodes_free: if counted { Some(number("disk", free)?) } else { None },
            kind,
            options: mount.map(|(_, options)| options.split(',').map(str::to_owned).collect()).unwrap_or_default(),
            mounted_at,
        })
    };
    wanted.iter().zip(found).map(|(path, line)| Ok(((*path).to_owned(), disk(line)?))).collect()
}

/// `systemctl show` answers in blocks, each beginning with `Id`.
fn units(answers: &Answers<'_>) -> BTreeMap<String, UnitFacts> {
    let mut all: BTreeMap<String, UnitFacts> = BTreeMap::new();
    let mut unit = String::new();
    for (name, value) in answers.all("unit").iter().filter_map(|line| line.split_once('=')) {
        match name {
            "Id" => value.clone_into(&mut unit),
            "LoadState" => value.clone_into(&mut all.entry(unit.clone()).or_default().load),
            "ActiveState" => value.clone_into(&mut all.entry(unit.clone()).or_default().active),
            _ => {}
        }
    }
    all
}

fn packages(answers: &Answers<'_>, key: &str) -> Vec<PackageFacts> {
    let package = |line: &&str| {
        let mut parts = line.split('|').map(|part| part.trim().to_owned());
        Some(PackageFacts { status: parts.next()?, name: parts.next()?, version: parts.next()? })
    };
    answers.all(key).iter().filter_map(package).collect()
}

fn installed(answers: &Answers<'_>) -> BTreeMap<String, String> {
    let there = packages(answers, "package").into_iter().filter(|package| package.status.get(1..2) == Some("i"));
    there.map(|package| (package.name, package.version)).collect()
}

fn candidates(answers: &Answers<'_>) -> BTreeMap<String, String> {
    let all = answers.pairs("candidate").filter(|(_, version)| *version != "(none)");
    all.map(|(name, version)| (name.to_owned(), version.to_owned())).collect()
}

/// A line for a shell: `reboot='true'`.
fn apt(answers: &Answers<'_>, name: &str) -> Option<String> {
    let mut lines = answers.all("apt").iter().filter_map(|line| line.split_once('='));
    lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('\'').to_lowercase())
}

fn resolved(answers: &Answers<'_>) -> BTreeMap<String, Vec<String>> {
    let addresses = |list: &str| {
        let mut all: Vec<String> = list.split_whitespace().map(str::to_owned).collect();
        all.sort();
        all.dedup();
        all
    };
    answers.pairs("resolves").map(|(name, list)| (name.to_owned(), addresses(list))).collect()
}

fn reached(answers: &Answers<'_>) -> BTreeMap<String, Reach> {
    let reach = |word: &str| match word {
        "open" => Reach::Open,
        "refused" => Reach::Refused,
        "silent" => Reach::Silent,
        "no-route" => Reach::NoRoute,
        "forbidden" => Reach::Forbidden,
        "unresolved" => Reach::Unresolved,
        other => Reach::Failed(other.trim_start_matches("failed ").to_owned()),
    };
    answers.pairs("reach").map(|(target, word)| (target.to_owned(), reach(word))).collect()
}

fn paths(answers: &Answers<'_>) -> Result<Vec<PathFacts>, FactsError> {
    let path = |(address, rest): (&str, &str)| {
        let (bytes, verdict) = rest.split_once(' ').ok_or_else(|| nonsense("path", rest))?;
        Ok(PathFacts { address: address.to_owned(), bytes: number("path", bytes)?, arrived: verdict == "arrived" })
    };
    answers.pairs("path").map(path).collect()
}

fn fsync(answers: &Answers<'_>) -> Result<Option<Fsync>, FactsError> {
    let Some(line) = answers.one("fsync") else { return Ok(None) };
    match line.split(' ').collect::<Vec<_>>()[..] {
        [count, median, p99] => Ok(Some(Fsync {
            count: number("fsync", count)?,
            median: number("fsync", median)?,
            p99: number("fsync", p99)?,
        })),
        _ => Err(nonsense("fsync", line)),
    }
}
