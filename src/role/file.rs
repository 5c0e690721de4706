//! The format of a role: `[[resource]]`, then exactly one key that is the kind, and perhaps `when`.
//! Parses and says where a mistake is; what the texts mean is for `expand`.

use serde::Deserialize;
use toml::Spanned;

use super::error::{Place, RoleError};
use crate::assets::Asset;
use crate::resource::{OnChange, Restart};

/// A text that may hold `{{ … }}`, and where it stands.
pub type Text = Spanned<String>;

/// A whole role file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleFile {
    /// One line that says what the role is for.
    pub title: String,
    #[serde(default)]
    pub resource: Vec<Spanned<Entry>>,
}

/// One resource: exactly one of the kinds. (An enum beside `when` would need serde's `flatten`, which loses spans.)
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// An expression over the same values as the templates; the resource is left out where it is false.
    pub when: Option<Text>,
    directory: Option<Directory>,
    file: Option<File>,
    package: Option<Package>,
    group: Option<Group>,
    user: Option<User>,
    sysctl: Option<Sysctl>,
    unit: Option<Unit>,
    command: Option<Command>,
    firewall: Option<Firewall>,
}

/// The one kind an entry has.
#[derive(Debug)]
pub enum Kind {
    Directory(Directory),
    File(File),
    Package(Package),
    Group(Group),
    User(User),
    Sysctl(Sysctl),
    Unit(Unit),
    Command(Command),
    Firewall(Firewall),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    pub path: Text,
    pub owner: Option<Text>,
    pub group: Option<Text>,
    pub mode: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub path: Text,
    /// The text comes from a template (a path below `templates/`) …
    pub template: Option<Text>,
    /// … or stands here.
    pub content: Option<Text>,
    pub owner: Option<Text>,
    pub group: Option<Text>,
    pub mode: Option<Text>,
    #[serde(default)]
    pub secret: bool,
    pub validate: Option<Text>,
    pub frozen_by: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    pub name: Text,
    /// Without it the inventory's pin for the package, or whatever is installed.
    pub version: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub name: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    pub name: Text,
    pub group: Text,
    pub home: Text,
    pub shell: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sysctl {
    pub key: Text,
    pub value: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    pub name: Text,
    #[serde(default = "yes")]
    pub enabled: bool,
    #[serde(default = "yes")]
    pub running: bool,
    #[serde(default)]
    pub watch: Vec<Text>,
    #[serde(default = "restart")]
    pub on_change: OnChange,
    #[serde(default)]
    pub restart_watch: Vec<Text>,
    #[serde(default)]
    pub packages: Vec<Text>,
    #[serde(default = "now")]
    pub restart: Restart,
    /// Seconds its start may take.
    #[serde(default = "ninety")]
    pub timeout: u64,
}

fn yes() -> bool {
    true
}
fn restart() -> OnChange {
    OnChange::Restart
}
fn now() -> Restart {
    Restart::Now
}
fn ninety() -> u64 {
    90
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    pub run: Text,
    pub unless: Text,
    pub why: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Firewall {
    pub path: Text,
    pub template: Text,
    /// Seconds after which the host takes unconfirmed rules back.
    pub confirm_within: u64,
}

/// Parse a role file.
pub fn parse(asset: &Asset<'_>) -> Result<RoleFile, RoleError> {
    toml::from_str(asset.text).map_err(|error| {
        let place = Place::new(asset, error.span().unwrap_or(0..0));
        // A message may be several lines; what is wrong is said in the first.
        let reason = error.message().lines().next().unwrap_or("not TOML").to_owned();
        RoleError::at(place, reason, suggestion(error.message()))
    })
}

impl Entry {
    /// The kind, or the number of kinds where it is not one.
    pub fn kind(self) -> Result<Kind, usize> {
        let kinds = [
            self.directory.map(Kind::Directory),
            self.file.map(Kind::File),
            self.package.map(Kind::Package),
            self.group.map(Kind::Group),
            self.user.map(Kind::User),
            self.sysctl.map(Kind::Sysctl),
            self.unit.map(Kind::Unit),
            self.command.map(Kind::Command),
            self.firewall.map(Kind::Firewall),
        ];
        let mut found: Vec<Kind> = kinds.into_iter().flatten().collect();
        match found.pop() {
            Some(kind) if found.is_empty() => Ok(kind),
            Some(_) => Err(found.len() + 1),
            None => Err(0),
        }
    }
}

/// The names in backquotes in serde's "unknown field `a`, expected one of `b`, `c`": which of the latter was meant?
fn suggestion(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    let known: Vec<&str> = if message.starts_with("unknown ") { names.by_ref().collect() } else { Vec::new() };
    let nearest = known.split_first().and_then(|(given, known)| nearest(given, known.iter().copied()));
    match nearest {
        Some(name) => format!("did you mean `{name}`?"),
        None => "compare with a role that works: xnat-provision assets export DIR".to_owned(),
    }
}

/// The name most like the given one, if it is like it at all.
pub(super) fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.into_iter().map(|name| (strsim::jaro_winkler(given, name), name));
    scored.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}
