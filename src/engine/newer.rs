//! Which newer versions of packages a host could have. Asked only: nothing is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::fleet::Fleet;
use super::host::HostError;
use super::shell;
use crate::names::HostName;
use crate::resource::PackageWanted;
use crate::transport::Script;

/// What a host is asked.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// Each group of packages for itself.
    pub groups: Vec<Vec<PackageWanted>>,
    pub system: Option<System>,
    /// Packages that are to be there, as apt takes them: the last group.
    pub install: Vec<String>,
    /// The index of a bundle, which is then all that apt knows of.
    pub bundle: Option<Arc<str>>,
    /// Whether the machine itself has to be restarted.
    pub restart: bool,
}

/// About everything else that is installed: one more group.
#[derive(Clone, Debug, Default)]
pub struct System {
    /// Packages that somebody wants in one version.
    pub pinned: Vec<String>,
    /// Units, and the packages of their programs.
    pub units: BTreeMap<String, Vec<String>>,
}

/// One package that would change its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub name: String,
    pub from: String,
    pub to: String,
}

/// What upgrading some packages together would mean, as apt sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Newer {
    /// Also of those that only come along.
    pub steps: Vec<Step>,
    /// Everything that would be put in, with the version: also what is only added.
    pub coming: Vec<(String, String)>,
    /// Why it is better not done: apt refuses, or would remove or downgrade something.
    pub troubles: Vec<String>,
}

/// The answer of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Newest {
    /// In the order of the groups asked for.
    pub groups: Vec<Newer>,
    /// Why its package lists are not of today.
    pub stale: Option<String>,
    /// Which could be newer if something else were removed.
    pub kept_back: Vec<String>,
    /// For each unit the packages it has loaded something of.
    pub uses: BTreeMap<String, BTreeSet<String>>,
    /// Why the machine has to be restarted, if it has to.
    pub restart: Option<String>,
    /// Packages of a bundle that are on the host, by their digests, and the space there is.
    pub stored: BTreeSet<String>,
    pub space: Option<Space>,
}

/// KiB that are free below /var and /usr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub var: u64,
    pub usr: u64,
    /// They are the same.
    pub one: bool,
}

fn space(line: &str) -> Option<Space> {
    let mut fields = line.split('\t');
    let (var, usr) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Space { var, usr, one: fields.next()? == fields.next()? })
}

impl Fleet {
    pub async fn newer(&self, name: &HostName, question: &Question) -> Result<Newest, HostError> {
        let Some(transport) = self.connections.get(name) else { return Ok(Newest::default()) };
        let script = Script::as_root("look for newer packages", shell::newer(question)).timeout(shell::NEWER_DEADLINE);
        let what = script.title.clone();
        let failed = |source| HostError::Transport { host: name.clone(), what, source };
        let output = transport.run(script).await.map_err(failed)?;
        if output.status != 0 {
            let stderr = output.stderr.trim().to_owned();
            return Err(HostError::Observe { host: name.clone(), status: output.status, stderr });
        }
        read(question, &output.stdout).map_err(|line| HostError::Answer { host: name.clone(), line })
    }
}

/// The lines of the script; one that is none of them is the error.
pub fn read(question: &Question, stdout: &str) -> Result<Newest, String> {
    let groups =
        question.groups.len() + usize::from(question.system.is_some()) + usize::from(!question.install.is_empty());
    let mut newest = Newest { groups: vec![Newer::default(); groups], ..Newest::default() };
    let mut ended = false;
    for line in stdout.lines() {
        ended = line == "end";
        if !ended {
            take(&mut newest, line).ok_or_else(|| line.chars().take(200).collect::<String>())?;
        }
    }
    if ended { Ok(newest) } else { Err("(its end is missing)".to_owned()) }
}

fn take(newest: &mut Newest, line: &str) -> Option<()> {
    let (letter, rest) = line.split_once('\t')?;
    match letter {
        "F" => newest.stale = Some(rest.to_owned()),
        "K" => newest.kept_back.extend(rest.split_whitespace().map(str::to_owned)),
        "H" => _ = newest.stored.insert(rest.to_owned()),
        "S" => newest.space = Some(space(rest)?),
        "B" => newest.restart = Some(rest.to_owned()),
        "U" => {
            let (unit, package) = rest.split_once('\t')?;
            newest.uses.entry(unit.to_owned()).or_default().insert(package.to_owned());
        }
        _ => return step(newest, letter, rest),
    }
    Some(())
}

fn step(newest: &mut Newest, letter: &str, rest: &str) -> Option<()> {
    let mut fields = rest.split('\t');
    let group = newest.groups.get_mut(fields.next()?.parse::<usize>().ok()?)?;
    let first = fields.next()?.to_owned();
    match letter {
        "E" => group.troubles.push(first),
        "R" => group.troubles.push(format!("{first} would be removed")),
        "I" | "D" => {
            let (to, from) = (fields.next()?.to_owned(), fields.next()?.to_owned());
            match letter {
                "D" => group.troubles.push(format!("{first} {from} → {to} would be a downgrade")),
                _ => {
                    group.coming.push((first.clone(), to.clone()));
                    // what is only added comes along by itself
                    if !from.is_empty() {
                        group.steps.push(Step { name: first, from, to });
                    }
                }
            }
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_steps_and_troubles() {
        let said = "F\tW: no such host\nI\t0\tetcd-server\t2\t1\nI\t0\tlibnew\t1\t\nR\t1\tgone:\t\t\nD\t1\thaproxy\t2\t3\nE\t1\tE: held\nK\tkept too\nU\tetcd.service\tlibc6\nB\ta newer kernel\nend\n";
        let two = Question {
            groups: vec![Vec::new()],
            system: Some(System::default()),
            restart: true,
            ..Question::default()
        };
        let newest = read(&two, said).expect("all of it is known");
        assert_eq!(newest.stale.as_deref(), Some("W: no such host"));
        let step = Step { name: "etcd-server".to_owned(), from: "1".to_owned(), to: "2".to_owned() };
        let coming = [("etcd-server", "2"), ("libnew", "1")].map(|(name, to)| (name.to_owned(), to.to_owned()));
        assert_eq!(newest.groups[0], Newer { steps: vec![step], coming: coming.to_vec(), troubles: Vec::new() });
        assert_eq!(
            newest.groups[1].troubles,
            ["gone: would be removed", "haproxy 3 → 2 would be a downgrade", "E: held"]
        );
        assert_eq!(
            (newest.kept_back.as_slice(), newest.uses["etcd.service"].len()),
            (&["kept".to_owned(), "too".to_owned()][..], 1)
        );
        assert_eq!(newest.restart.as_deref(), Some("a newer kernel"));
        read(&two, "I\t0\tetcd-server\t2\t1\n").expect_err("cut off");
        read(&two, "I\t7\tetcd-server\t2\t1\nend\n").expect_err("no such group");
    }
}
