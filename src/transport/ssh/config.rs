//! Where a host is and how to get there: the inventory's values, else `~/.ssh/config`, else defaults.
//! Reads files, connects to nothing.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ssh2_config::{HostParams, ParseRule, SshConfig};

use super::super::error::{At, Endpoint, TransportError};
use crate::inventory::model::Host;

/// More than anybody has; a chain that grows beyond it is a loop.
const MAX_HOPS: usize = 8;

/// What this process has around it; a test makes its own.
#[derive(Clone, Debug)]
pub struct Environment {
    pub home: Option<PathBuf>,
    /// The local user's name: who we log in as when nothing says otherwise, as with `ssh`.
    pub user: String,
    /// The agent's socket.
    pub agent: Option<PathBuf>,
    /// Known hosts of the whole machine; read, never written.
    pub global_known_hosts: PathBuf,
}

impl Environment {
    pub fn of_this_process() -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            home: crate::files::home(),
            user: set("USER")
                .or_else(|| set("LOGNAME"))
                .map_or("root".to_owned(), |u| u.to_string_lossy().into_owned()),
            agent: set("SSH_AUTH_SOCK").map(PathBuf::from),
            global_known_hosts: PathBuf::from("/etc/ssh/ssh_known_hosts"),
        }
    }

    fn expand(&self, path: &Path) -> PathBuf {
        match (path.strip_prefix("~"), &self.home) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => path.to_owned(),
        }
    }
}

/// One machine to log in to: a host, or a jump host on the way.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub at: At,
    pub is_jump: bool,
    /// Keys named for this host, in the order to try; empty: the usual ones.
    pub identities: Vec<PathBuf>,
    pub identities_only: bool,
    pub fingerprints: Vec<String>,
    /// The first one is where new keys are written to.
    pub known_hosts: Vec<PathBuf>,
    pub timeout: Duration,
}

/// The way to a host.
#[derive(Clone, Debug)]
pub(super) struct Route {
    /// First hop first.
    pub hops: Vec<Target>,
    pub target: Target,
}

/// The user's `~/.ssh/config`. A file that cannot be used is an error of each host that is looked up, so that the
/// message says which.
pub(super) struct UserConfig {
    environment: Environment,
    parsed: Result<SshConfig, String>,
}

impl UserConfig {
    pub(super) fn load(environment: Environment) -> Self {
        let parsed = match &environment.home {
            Some(home) => parse(home),
            None => Ok(SshConfig::default()),
        };
        Self { environment, parsed }
    }

    pub(super) fn route(&self, host: &Host) -> Result<Route, TransportError> {
        let ssh = &host.ssh;
        let place = Place { alias: ssh.host.clone(), user: ssh.user.clone(), port: ssh.port };
        let (mut target, jump) = self.target(host.name.as_str(), &place, host)?;
        (target.is_jump, target.fingerprints) = (false, ssh.fingerprints.clone());
        let jump = if ssh.jump.is_empty() { jump } else { ssh.jump.clone() };
        Ok(Route { hops: self.hops(&target, &jump, host)?, target })
    }

    /// The chain written, each hop resolved. The first one may itself have a `ProxyJump`, as with `ssh -J`.
    fn hops(&self, target: &Target, jump: &[String], host: &Host) -> Result<Vec<Target>, TransportError> {
        let wrong = |reason: String| TransportError::Config { at: target.at.clone(), reason };
        let mut hops = Vec::new();
        let mut chain: VecDeque<String> = jump.iter().cloned().collect();
        let mut before_is_known = false;
        while let Some(text) = chain.pop_front() {
            let place = Place::parse(&text)
                .ok_or_else(|| wrong(format!("the jump host {text:?} is not written as [user@]host[:port]")))?;
            let (hop, mut before) = self.target(&text, &place, host)?;
            // `Host *` with a ProxyJump is about the jump host too; it does not go through itself.
            before.retain(|text| Place::parse(text).is_none_or(|before| before.alias != place.alias));
            if !before_is_known && !before.is_empty() {
                if chain.len() > MAX_HOPS {
                    return Err(wrong(format!("the jump hosts go round in circles at {text}")));
                }
                chain.push_front(text);
                before.into_iter().rev().for_each(|text| chain.push_front(text));
                continue;
            }
            before_is_known = true;
            hops.push(hop);
        }
        Ok(hops)
    }

    /// Resolve one machine; also the `ProxyJump` its own section has.
    fn target(&self, name: &str, place: &Place, host: &Host) -> Result<(Target, Vec<String>), TransportError> {
        let found = self.parsed.as_ref().map(|config| config.query(&place.alias));
        let params = found.as_ref().ok();
        let port = place.port.or_else(|| params.and_then(|p| p.port)).unwrap_or(22);
        let user = place.user.clone().or_else(|| params.and_then(|p| p.user.clone()));
        let user = user.unwrap_or_else(|| self.environment.user.clone());
        let address =
            params.and_then(|p| p.host_name.clone()).map_or(place.alias.clone(), |h| h.replace("%h", &place.alias));
        let at: At = Arc::new(Endpoint { host: name.to_owned(), user, address, port });
        let params = found.map_err(|reason| TransportError::Config { at: at.clone(), reason: reason.clone() })?;
        let jump = jump_of(&params, host).map_err(|reason| TransportError::Config { at: at.clone(), reason })?;
        let target = Target {
            known_hosts: self.known_hosts(&params, host),
            identities: self.identities(&params, host, &at.user),
            identities_only: first(&params, "identitiesonly").is_some_and(|v| v.eq_ignore_ascii_case("yes")),
            fingerprints: Vec::new(),
            is_jump: true,
            timeout: host.ssh.connect_timeout,
            at,
        };
        Ok((target, jump))
    }

    /// The inventory's keys are tried at jump hosts too: whoever writes both there means both.
    fn identities(&self, params: &HostParams, host: &Host, user: &str) -> Vec<PathBuf> {
        let mut identities: Vec<PathBuf> = host.ssh.identity.iter().map(|path| self.environment.expand(path)).collect();
        let configured =
            params.identity_file.iter().flatten().filter(|path| !path.as_os_str().eq_ignore_ascii_case("none"));
        for path in configured {
            let text = path.to_string_lossy();
            let home = self.environment.home.as_ref().map_or(String::new(), |home| home.to_string_lossy().into_owned());
            let text = text.replace("%d", &home).replace("%r", user).replace("%u", &self.environment.user);
            let path = self.environment.expand(Path::new(&text.replace("%h", &host.ssh.host).replace("%%", "%")));
            if !identities.contains(&path) {
                identities.push(path);
            }
        }
        identities
    }

    fn known_hosts(&self, params: &HostParams, host: &Host) -> Vec<PathBuf> {
        let configured = params.unsupported_fields.get("userknownhostsfile");
        let mut files: Vec<PathBuf> = match (&host.ssh.known_hosts, configured) {
            (Some(file), _) => vec![self.environment.expand(file)],
            (None, Some(files)) => files
                .iter()
                .filter(|file| !file.eq_ignore_ascii_case("none"))
                .map(|file| self.environment.expand(Path::new(file)))
                .collect(),
            (None, None) => vec![self.environment.expand(Path::new("~/.ssh/known_hosts"))],
        };
        files.push(self.environment.global_known_hosts.clone());
        files
    }
}

/// The jump hosts of a section; refuses what would silently be another way than the user's.
fn jump_of(params: &HostParams, host: &Host) -> Result<Vec<String>, String> {
    let jump = params.proxy_jump.clone().unwrap_or_default();
    if jump.iter().any(|j| j.eq_ignore_ascii_case("none")) {
        return Ok(Vec::new());
    }
    let command = first(params, "proxycommand").filter(|command| !command.eq_ignore_ascii_case("none"));
    match command {
        Some(_) if jump.is_empty() && host.ssh.jump.is_empty() => {
            Err("`~/.ssh/config` has a ProxyCommand for it, which is not supported; use ProxyJump or `jump`".to_owned())
        }
        _ => Ok(jump),
    }
}

fn first<'a>(params: &'a HostParams, field: &str) -> Option<&'a str> {
    params.unsupported_fields.get(field)?.first().map(String::as_str)
}

fn parse(home: &Path) -> Result<SshConfig, String> {
    let path = home.join(".ssh/config");
    let text = match crate::files::read_text(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(SshConfig::default()),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    let text: String = text.lines().map(|line| without_match(line) + "\n").collect();
    let config = SshConfig::default()
        .home_dir(home)
        .parse(&mut text.as_bytes(), ParseRule::ALLOW_UNKNOWN_FIELDS | ParseRule::ALLOW_UNSUPPORTED_FIELDS)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    // In an included file the parser would give what belongs to a Match to the Host before it.
    let matches = |field: &String| field.eq_ignore_ascii_case("match");
    if config.get_hosts().iter().any(|host| host.params.ignored_fields.keys().any(matches)) {
        return Err(format!(
            "a file that {} includes has a Match section, which is not supported there",
            path.display()
        ));
    }
    Ok(config)
}

/// `Match` is unknown to the parser, which would then give its settings to the `Host` before it. A `Match all` is
/// `Host *`; the conditions of the others cannot be known here, so their settings do not count.
fn without_match(line: &str) -> String {
    let mut words = line.split(|c: char| c.is_whitespace() || c == '=').filter(|word| !word.is_empty());
    match words.next() {
        Some(word) if word.eq_ignore_ascii_case("match") => {
            let all = words.next().is_some_and(|word| word.eq_ignore_ascii_case("all"));
            if all { "Host *".to_owned() } else { "Host !*".to_owned() }
        }
        _ => line.to_owned(),
    }
}

/// `[user@]host[:port]`, as the inventory and ProxyJump write it.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    alias: String,
    user: Option<String>,
    port: Option<u16>,
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("ssh://").unwrap_or(text);
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) => (Some(user.to_owned()), rest),
            None => (None, text),
        };
        let (alias, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (alias, after) = rest.split_once(']')?;
                (alias, after.strip_prefix(':'))
            }
            // Two colons and no brackets: an IPv6 address.
            None if rest.matches(':').count() > 1 => (rest, None),
            None => rest.split_once(':').map_or((rest, None), |(alias, port)| (alias, Some(port))),
        };
        let port = port.map(str::parse).transpose().ok()?;
        let empty = alias.is_empty() || user.as_ref().is_some_and(String::is_empty);
        (!empty).then(|| Self { alias: alias.to_owned(), user, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(alias: &str, user: Option<&str>, port: Option<u16>) -> Option<Place> {
        Some(Place { alias: alias.to_owned(), user: user.map(str::to_owned), port })
    }

    #[test]
    fn places() {
        assert_eq!(Place::parse("b1"), place("b1", None, None));
        assert_eq!(Place::parse("ops@b1:2222"), place("b1", Some("ops"), Some(2222)));
        assert_eq!(Place::parse("ssh://ops@b1"), place("b1", Some("ops"), None));
        assert_eq!(Place::parse("[fd00::1]:22"), place("fd00::1", None, Some(22)));
        assert_eq!(Place::parse("fd00::1"), place("fd00::1", None, None));
        for wrong in ["", "@b1", "b1:ssh", "b1:70000", "[fd00::1"] {
            assert_eq!(Place::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn match_sections() {
        assert_eq!(without_match("  match All"), "Host *");
        assert_eq!(without_match("Match=host db1"), "Host !*");
        assert_eq!(without_match("\tMatchless x"), "\tMatchless x");
    }
}
