//! Where this machine's apt gets its packages from, or `--mirror`: the lab's hosts and bundles get theirs there too.

use std::fs;
use std::process::Command;

use crate::digest::sha256;

use crate::error::{Exit, Fails};

/// The archives, and the settings of apt that reaching them takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
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
    /// Of that distribution (`debian`, `ubuntu`).
    pub fn find(os: &str, given: Option<&str>) -> Result<Self, MirrorError> {
        let dump = run("read apt's settings", Command::new("apt-config").arg("dump"))?;
        let settings = settings(&dump) + &proxies();
        if let Some(archive) = given {
            return Ok(Self { archive: archive.to_owned(), security: None, settings });
        }
        let format = "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN) $(LABEL)";
        let mut apt = Command::new("apt-get");
        let targets =
            run("read apt's sources", apt.args(["indextargets", "--format", format, "Created-By: Packages"]))?;
        let all: Vec<Target<'_>> = targets.lines().filter_map(parse).collect();
        let archive = archive(&all, os, |line| !line.label.ends_with("-Security") && !line.release.contains('-'));
        let security = archive_uri(archive_of_security(&all, os));
        let archive = archive_uri(archive).ok_or_else(|| MirrorError::None { os: os.to_owned() })?;
        Ok(Self { archive, security, settings })
    }

    /// The same as [`Self::sources`], a line each.
    pub fn lines(&self, os: &str, suite: &str) -> Vec<String> {
        // Ubuntu keeps etcd and Patroni elsewhere
        let components = if os == "ubuntu" { "main universe" } else { "main" };
        let line = |uri: &str, suite: &str| format!("deb {uri} {suite} {components}");
        let mut lines = vec![line(&self.archive, suite), line(&self.archive, &format!("{suite}-updates"))];
        lines.extend(self.security.as_ref().map(|uri| line(uri, &format!("{suite}-security"))));
        lines
    }

    /// `debian.sources` of a host.
    pub fn sources(&self, suite: &str) -> String {
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
    pub fn digest(&self, suite: &str) -> String {
        sha256(self.sources(suite))[..12].to_owned()
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

fn archive<'a>(targets: &[Target<'a>], os: &str, wanted: impl Fn(&&Target<'a>) -> bool) -> Option<&'a str> {
    let lines = targets.iter().filter(|line| line.origin.eq_ignore_ascii_case(os) && line.component == "main");
    lines.filter(wanted).map(|line| line.uri).next()
}

fn archive_of_security<'a>(targets: &[Target<'a>], os: &str) -> Option<&'a str> {
    archive(targets, os, |line| line.label.ends_with("-Security") || line.release.ends_with("-security"))
}

/// Run to its end; what it printed.
fn run(what: &'static str, command: &mut Command) -> Result<String, MirrorError> {
    let failed = |reason: String| MirrorError::Tool { what, reason };
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum MirrorError {
    #[error("cannot {what}: {reason}")]
    #[diagnostic(
        code(xnat::mirror::apt),
        help("this machine has to be Debian or Ubuntu: apt is asked where packages come from")
    )]
    Tool { what: &'static str, reason: String },
    #[error("apt on this machine is configured for no archive of {os} that it has an index of")]
    #[diagnostic(code(xnat::mirror::none), help("run `apt-get update`, or name a mirror: --mirror URL"))]
    None { os: String },
}

impl Fails for MirrorError {
    fn exit(&self) -> Exit {
        Exit::Failed
    }
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
        let all: Vec<Target<'_>> = TARGETS.lines().filter_map(parse).collect();
        let main = archive(&all, "debian", |line| !line.label.ends_with("-Security") && !line.release.contains('-'));
        assert_eq!(main, Some("http://mirror.example.org/debian/"));
        assert_eq!(archive_of_security(&all, "debian"), Some("http://mirror.example.org/debian-security/"));
        assert_eq!(archive(&all, "ubuntu", |_| true), None);
    }

    #[test]
    fn a_machine_without_the_security_archive_gives_hosts_without_it() {
        let mirror =
            Mirror { archive: "http://mirror.example.org/debian/".to_owned(), security: None, settings: String::new() };
        insta::assert_snapshot!(mirror.sources("trixie"), @r"
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
