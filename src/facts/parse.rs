//! The probe's `key=value` lines, made one [`Facts`]. Judges nothing: that is `preflight`'s.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::examination::examination;
use super::{Facts, Listener};
use crate::error::{Exit, Fails};

/// Why the probe's output is no use.
#[derive(Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum FactsError {
    #[error("the host said nothing when asked what it is")]
    #[diagnostic(
        code(xnat::facts::empty),
        help("log in and see whether a plain command answers: `ssh HOST 'sh -c \"echo it works\"'`")
    )]
    Empty,
    #[error("the host's answer about itself is cut off after `{last}`")]
    #[diagnostic(
        code(xnat::facts::truncated),
        help("run it again; if it stays so, see whether a shell works: `ssh HOST sh -c true`")
    )]
    Truncated { last: String },
    #[error("the host's answer about itself makes no sense: `{key}={value}`")]
    #[diagnostic(
        code(xnat::facts::nonsense),
        help("report this as a bug with the line above and what `cat /etc/os-release` says on the host")
    )]
    Nonsense { key: String, value: String },
}

impl Fails for FactsError {
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

/// Make facts of what the probe printed. Lines before the first `hostname=` (a login banner) and keys of a newer probe
/// are passed over.
pub fn parse(output: &str) -> Result<Facts, FactsError> {
    let answers = Answers::of(output);
    if answers.0.is_empty() {
        return Err(FactsError::Empty);
    }
    if answers.one("end").is_none() {
        let last = output.lines().last().unwrap_or_default();
        return Err(FactsError::Truncated { last: last.to_owned() });
    }
    facts(&answers)
}

/// Key → values in the order they came.
#[derive(Default)]
pub struct Answers<'a>(BTreeMap<&'a str, Vec<&'a str>>);

impl<'a> Answers<'a> {
    /// The lines of a script that tells what it found as `key=value`.
    pub fn of(output: &'a str) -> Self {
        let mut answers = Self::default();
        for (key, value) in output.lines().filter_map(|line| line.split_once('=')) {
            answers.0.entry(key).or_default().push(value.trim());
        }
        answers
    }
    pub fn all(&self, key: &str) -> &[&'a str] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }
    pub fn one(&self, key: &str) -> Option<&'a str> {
        self.all(key).first().copied().filter(|value| !value.is_empty())
    }
    fn text(&self, key: &str) -> String {
        self.one(key).unwrap_or_default().to_owned()
    }
    fn number<N: std::str::FromStr>(&self, key: &str) -> Result<N, FactsError> {
        let value = self.one(key).unwrap_or_default();
        value.parse().map_err(|_| nonsense(key, value))
    }
    /// Each value split at its first blank.
    pub fn pairs(&self, key: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.all(key)
            .to_vec()
            .into_iter()
            .map(|value| value.split_once(' ').map_or((value, ""), |(a, b)| (a, b.trim())))
    }
}

pub(super) fn nonsense(key: &str, value: &str) -> FactsError {
    FactsError::Nonsense { key: key.to_owned(), value: value.to_owned() }
}

fn facts(answers: &Answers<'_>) -> Result<Facts, FactsError> {
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    Ok(Facts {
        hostname: answers.text("hostname"),
        machine_id: answers.text("machine_id"),
        os: answers.text("os"),
        release: answers.text("release"),
        codename: answers.text("codename"),
        arch: answers.text("arch"),
        kernel: answers.text("kernel"),
        cpus: cpus(answers.one("cpus").unwrap_or("0"))?,
        memory_kib: answers.number("memory_kib")?,
        epoch: answers.number("epoch")?,
        asked: None,
        uid: answers.number("uid")?,
        systemd: systemd(answers),
        package_manager: answers.one("package_manager").map(str::to_owned),
        packages_interrupted: answers.one("dpkg_interrupted").is_some(),
        free_kib: space(answers)?,
        listening: listening(answers)?,
        postgres_data: answers.pairs("postgres_data").map(owned).collect(),
        postgres_system: answers.pairs("postgres_system").map(owned).collect(),
        postgres_led: answers.all("postgres_led").iter().map(|path| (*path).to_owned()).collect(),
        postgres_kept: answers.one("postgres_kept").map(str::to_owned),
        postgres_unfinished: answers.all("postgres_unfinished").iter().map(|path| (*path).to_owned()).collect(),
        etcd_data: answers.all("etcd_data").iter().map(|path| (*path).to_owned()).collect(),
        patroni: scalars(answers, "patroni"),
        patroni_namespace: scalars(answers, "patroni_namespace"),
        addresses: answers.all("address").iter().map(|address| (*address).to_owned()).collect(),
        examination: examination(answers)?,
    })
}

/// The kernel's list of processors: `0-3,8`.
fn cpus(online: &str) -> Result<u32, FactsError> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        last.checked_sub(first)?.checked_add(1)
    };
    let counts: Option<Vec<u32>> = online.split(',').map(range).collect();
    counts.map(|counts| counts.iter().sum()).ok_or_else(|| nonsense("cpus", online))
}

/// The version, if systemd is process 1: `systemd 252 (252.39-1~deb12u1)`.
fn systemd(answers: &Answers<'_>) -> Option<u32> {
    if answers.one("init") != Some("systemd") {
        return None;
    }
    answers.one("systemd")?.split_whitespace().nth(1)?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn space(answers: &Answers<'_>) -> Result<BTreeMap<String, u64>, FactsError> {
    let (wanted, free) = (answers.all("space_of"), answers.all("space"));
    // df leaves out what it cannot measure; then it is not known which line belongs to which path.
    if wanted.len() != free.len() {
        return Err(nonsense("space", &free.join(" ")));
    }
    let number = |text: &str| text.parse().map_err(|_| nonsense("space", text));
    wanted.iter().zip(free).map(|(path, free)| Ok(((*path).to_owned(), number(free)?))).collect()
}

fn listening(answers: &Answers<'_>) -> Result<Vec<Listener>, FactsError> {
    let mut holders: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    for (inode, holder) in answers.pairs("holder") {
        // Several processes may share a socket (HAProxy's master and worker): the first is the oldest.
        holders.entry(inode).or_insert_with(|| holder.rsplit_once(' ').unwrap_or(("", holder)));
    }
    let mut all = Vec::new();
    for (socket, inode) in answers.pairs("listen") {
        let (address, port) = socket_address(socket).ok_or_else(|| nonsense("listen", socket))?;
        let holder = holders.get(inode);
        all.push(Listener {
            address,
            port,
            process: holder.map(|(_, process)| (*process).to_owned()),
            directory: holder.map(|(directory, _)| (*directory).to_owned()).filter(|directory| !directory.is_empty()),
        });
    }
    Ok(all)
}

/// `0100007F:1538`: addresses as 32-bit words in the host's byte order (little-endian on all that is supported).
fn socket_address(text: &str) -> Option<(String, u16)> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words = (0..address.len()).step_by(8).map(|at| u32::from_str_radix(address.get(at..at + 8)?, 16).ok());
    let words: Vec<u32> = words.map(|word| word.map(u32::swap_bytes)).collect::<Option<_>>()?;
    let address = match words[..] {
        [word] => Ipv4Addr::from(word).to_string(),
        [a, b, c, d] => {
            let all = (u128::from(a) << 96) | (u128::from(b) << 64) | (u128::from(c) << 32) | u128::from(d);
            let ip = Ipv6Addr::from(all);
            ip.to_ipv4_mapped().map_or_else(|| ip.to_string(), |ip| ip.to_string())
        }
        _ => return None,
    };
    Some((address, port))
}

/// Path → a value of the YAML there.
fn scalars(answers: &Answers<'_>, key: &str) -> BTreeMap<String, String> {
    answers.pairs(key).map(|(path, value)| (path.to_owned(), unquote(value).to_owned())).collect()
}

/// A YAML scalar without its quotes or a comment.
fn unquote(text: &str) -> &str {
    let text = text.split(" #").next().unwrap_or(text).trim();
    let inner = |quote| text.strip_prefix(quote).and_then(|rest: &str| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_addresses_are_read_as_the_kernel_writes_them() {
        assert_eq!(socket_address("0100007F:1538"), Some(("127.0.0.1".into(), 5432)));
        assert_eq!(socket_address("00000000:0016"), Some(("0.0.0.0".into(), 22)));
        assert_eq!(socket_address("00000000000000000000000000000000:1F48"), Some(("::".into(), 8008)));
        assert_eq!(socket_address("00000000000000000000000001000000:0050"), Some(("::1".into(), 80)));
        assert_eq!(socket_address("0000000000000000FFFF00000100007F:0050"), Some(("127.0.0.1".into(), 80)));
        assert_eq!(socket_address("0100007F"), None);
        assert_eq!(socket_address("01:1"), None);
    }

    #[test]
    fn processors_are_counted() {
        assert_eq!(cpus("0"), Ok(1));
        assert_eq!(cpus("0-3"), Ok(4));
        assert_eq!(cpus("0-3,8,10-11"), Ok(7));
        assert!(cpus("3-0").is_err());
        assert!(cpus("x").is_err());
    }

    #[test]
    fn scopes_lose_their_quotes() {
        assert_eq!(unquote(" xnat "), "xnat");
        assert_eq!(unquote("\"xnat\""), "xnat");
        assert_eq!(unquote("'xnat' # ours"), "xnat");
    }
}
