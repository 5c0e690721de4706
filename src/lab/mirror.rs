//! Where the lab's hosts get their packages: from where this machine's apt gets its own, or from `--mirror`.

use std::fs;

use sha2::{Digest, Sha256};

use super::error::LabError;
use super::state::Suite;
use super::tool::{command, run};

/// The archives, and the settings of apt that reaching them takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mirror {
    pub archive: String,
    pub security: Option<String>,
    /// Lines of apt.conf.
    pub settings: String,
}

/// Settings of this machine's apt that matter for reaching its mirror, wherever apt runs.
const SETTINGS: [&str; 8] = [
    "Acquire::http::",
    "Acquire::https::",
    "Acquire::Retries",
    "Acquire::Check-Valid-Until",
    "Acquire::Check-Date",
    "Acquire::Max-ValidTime",
    "Acquire::ForceIPv4",
    "Acquire::ForceIPv6",
];

impl Mirror {
    pub fn find(given: Option<&str>) -> Result<Self, LabError> {
        let dump = run("read apt's settings", command("apt-config").arg("dump"))?;
        let settings = settings(&dump) + &proxies();
        if let Some(archive) = given {
            return Ok(Self { archive: archive.to_owned(), security: None, settings });
        }
        let format = "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN) $(LABEL)";
        let mut apt = command("apt-get");
        let targets =
            run("read apt's sources", apt.args(["indextargets", "--format", format, "Created-By: Packages"]))?;
        let archive = archive(&targets, |line| line.label == "Debian" && !line.release.contains('-'));
        let security = archive_uri(archive_of_security(&targets));
        let archive = archive_uri(archive).ok_or(LabError::NoMirror)?;
        Ok(Self { archive, security, settings })
    }

    /// The same as [`Self::sources`], a line each.
    pub fn lines(&self, suite: Suite) -> Vec<String> {
        let suite = suite.codename();
        let line = |uri: &str, suite: &str| format!("deb {uri} {suite} main");
        let mut lines = vec![line(&self.archive, suite), line(&self.archive, &format!("{suite}-updates"))];
        lines.extend(self.security.as_ref().map(|uri| line(uri, &format!("{suite}-security"))));
        lines
    }

    /// `debian.sources` of a host.
    pub fn sources(&self, suite: Suite) -> String {
        let suite = suite.codename();
        let stanza = |uri: &str, suites: &str| {
            format!(
                "Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\n\
                 Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
            )
        };
        let archive = stanza(&self.archive, &format!("{suite} {suite}-updates"));
        let security = self.security.as_ref().map(|uri| stanza(uri, &format!("{suite}-security")));
        [Some(archive), security].into_iter().flatten().collect::<Vec<_>>().join("\n")
    }

    /// Names what the sources of a host lead to, so that cached indexes are given to hosts with the same sources only.
    pub fn digest(&self, suite: Suite) -> String {
        let digest = Sha256::digest(self.sources(suite));
        digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// One line of what `apt-get indextargets` printed.
struct Target<'a> {
    uri: &'a str,
    release: &'a str,
    component: &'a str,
    origin: &'a str,
    label: &'a str,
}

fn parse(line: &str) -> Option<Target<'_>> {
    let mut words = line.split_whitespace();
    Some(Target {
        uri: words.next()?,
        release: words.next()?,
        component: words.next()?,
        origin: words.next()?,
        label: words.next()?,
    })
}

fn archive<'a>(targets: &'a str, wanted: impl Fn(&Target<'a>) -> bool) -> Option<&'a str> {
    let lines = targets.lines().filter_map(parse);
    lines.filter(|line| line.origin == "Debian" && line.component == "main").find(wanted).map(|line| line.uri)
}

fn archive_of_security(targets: &str) -> Option<&str> {
    archive(targets, |line| line.label == "Debian-Security")
}

/// Debian's cloud images name a file with a list of mirrors (apt-transport-mirror(1)): its first is taken.
fn archive_uri(uri: Option<&str>) -> Option<String> {
    let uri = uri?;
    let Some(file) = uri.strip_prefix("mirror+file:") else { return Some(uri.to_owned()) };
    let path = format!("/{}", file.trim_matches('/'));
    let list = fs::read_to_string(path).ok()?;
    list.lines().filter_map(|line| line.split_whitespace().next()).find(|word| word.contains("://")).map(str::to_owned)
}

/// The lines of `apt-config dump` that matter, without the empty ones that only open a section.
fn settings(dump: &str) -> String {
    let matters = |line: &&str| {
        let line = line.to_ascii_lowercase();
        SETTINGS.iter().any(|name| line.starts_with(&name.to_ascii_lowercase())) && !line.ends_with("\"\";")
    };
    dump.lines().filter(matters).map(|line| format!("{line}\n")).collect()
}

/// apt takes a proxy from the environment too, which the hosts do not share.
fn proxies() -> String {
    let line = |(variable, key): (&str, &str)| {
        let value = std::env::var(variable).ok().filter(|value| !value.is_empty() && !value.contains('"'))?;
        Some(format!("Acquire::{key}::Proxy \"{value}\";\n"))
    };
    [("http_proxy", "http"), ("https_proxy", "https")].into_iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: &str = "https://packages.example.org/cloud/ bookworm main Example Example\n\
        http://mirror.example.org/debian/ bookworm-updates main Debian Debian\n\
        http://mirror.example.org/debian/ bookworm main Debian Debian\n\
        http://mirror.example.org/debian-security/ bookworm-security main Debian Debian-Security\n";

    #[test]
    fn the_debian_archive_is_told_from_others_with_the_same_release() {
        let main = archive(TARGETS, |line| line.label == "Debian" && !line.release.contains('-'));
        assert_eq!(main, Some("http://mirror.example.org/debian/"));
        assert_eq!(archive_of_security(TARGETS), Some("http://mirror.example.org/debian-security/"));
    }

    #[test]
    fn a_machine_without_the_security_archive_gives_hosts_without_it() {
        let mirror =
            Mirror { archive: "http://mirror.example.org/debian/".to_owned(), security: None, settings: String::new() };
        insta::assert_snapshot!(mirror.sources(Suite::Trixie), @r"
        Types: deb
        URIs: http://mirror.example.org/debian/
        Suites: trixie trixie-updates
        Components: main
        Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
        ");
    }

    #[test]
    fn only_settings_that_reach_the_mirror_are_carried_over() {
        let dump = "APT::Architecture \"amd64\";\nAcquire::http \"\";\nAcquire::http::Proxy \"http://proxy.example.org:3128\";\n\
            Acquire::Check-Valid-Until \"false\";\nAcquire::Languages \"none\";\nAcquire::https::Verify-Peer \"\";\n";
        insta::assert_snapshot!(settings(dump), @r#"
        Acquire::http::Proxy "http://proxy.example.org:3128";
        Acquire::Check-Valid-Until "false";
        "#);
    }
}
