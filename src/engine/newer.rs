//! Which newer versions of packages a host could have. Asked only: nothing is changed.

use super::fleet::Fleet;
use super::host::HostError;
use super::shell;
use crate::names::HostName;
use crate::resource::PackageWanted;
use crate::transport::Script;

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
}

impl Fleet {
    /// Ask one host, each group of packages for itself.
    pub async fn newer(&self, name: &HostName, groups: &[Vec<PackageWanted>]) -> Result<Newest, HostError> {
        let Some(transport) = self.connections.get(name) else { return Ok(Newest::default()) };
        let script = Script::as_root("look for newer packages", shell::newer(groups)).timeout(shell::NEWER_DEADLINE);
        let what = script.title.clone();
        let failed = |source| HostError::Transport { host: name.clone(), what, source };
        let output = transport.run(script).await.map_err(failed)?;
        if output.status != 0 {
            let stderr = output.stderr.trim().to_owned();
            return Err(HostError::Observe { host: name.clone(), status: output.status, stderr });
        }
        read(groups.len(), &output.stdout).map_err(|line| HostError::Answer { host: name.clone(), line })
    }
}

/// The lines of the script; one that is none of them is the error.
pub fn read(groups: usize, stdout: &str) -> Result<Newest, String> {
    let mut newest = Newest { groups: vec![Newer::default(); groups], stale: None };
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
    if letter == "F" {
        newest.stale = Some(rest.to_owned());
        return Some(());
    }
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
                // what is only added comes along by itself
                _ if from.is_empty() => {}
                _ => group.steps.push(Step { name: first, from, to }),
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
        let said = "F\tW: no such host\nI\t0\tetcd-server\t2\t1\nI\t0\tlibnew\t1\t\nR\t1\tgone:\t\t\nD\t1\thaproxy\t2\t3\nE\t1\tE: held\nend\n";
        let newest = read(2, said).expect("all of it is known");
        assert_eq!(newest.stale.as_deref(), Some("W: no such host"));
        let step = Step { name: "etcd-server".to_owned(), from: "1".to_owned(), to: "2".to_owned() };
        assert_eq!(newest.groups[0], Newer { steps: vec![step], troubles: Vec::new() });
        assert_eq!(
            newest.groups[1].troubles,
            ["gone: would be removed", "haproxy 3 → 2 would be a downgrade", "E: held"]
        );
        read(1, "I\t0\tetcd-server\t2\t1\n").expect_err("cut off");
        read(1, "I\t7\tetcd-server\t2\t1\nend\n").expect_err("no such group");
    }
}
