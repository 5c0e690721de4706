//! What is asked of a member in something that its cluster does as a whole. The work itself is done by a program there.

use crate::quote;

/// The cluster's data directories, by major version, and how far an upgrade has come: a line each.
pub fn data_dirs(cluster: &str) -> String {
    format!(
        "for dir in /var/lib/postgresql/*/{cluster}; do
  [ -e \"$dir/PG_VERSION\" ] || continue
  read -r major <\"$dir/PG_VERSION\"
  held=no; [ ! -e \"$dir/xnat-upgrade\" ] || held=yes
  led=no; [ ! -e \"$dir/global/pg_control.old\" ] || led=yes
  echo \"$major $held $led\"
done
",
        cluster = quote::sh(cluster)
    )
}

/// A program of a member's own, which does a step at a time (`templates/patroni`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Another major version of PostgreSQL.
    MajorUpgrade,
    /// A copy that follows a foreign server.
    FollowSource,
}

impl Program {
    fn path(self) -> &'static str {
        match self {
            Self::MajorUpgrade => "/usr/local/lib/xnat-provision/major-upgrade",
            Self::FollowSource => "/usr/local/lib/xnat-provision/follow-source",
        }
    }
}

/// A step on this host, with something to read.
pub fn member(program: Program, (verb, from, role): (&str, u32, &str), input: &[String]) -> String {
    let command =
        format!("cd /var/lib/postgresql && exec runuser -u postgres -- {} {verb} {from} {role}", program.path());
    if input.is_empty() {
        return command + "\n";
    }
    // lines of JSON, none of which can be the end
    let lines: String = input.iter().map(|line| format!("{line}\n")).collect();
    format!("{command} <<'XNAT_END'\n{lines}XNAT_END\n")
}

/// Nothing is left of copies that followed a foreign server; the program goes last, so it is there as long as anything is.
/// When the move is over, data that was to be replaced by a copy is set aside.
pub fn without_copies(move_is_over: bool) -> String {
    let program = Program::FollowSource.path();
    let over = if move_is_over { " over" } else { "" };
    format!(
        "[ -x {program} ] || {{ echo '{{}}'; exit 0; }}
cd /var/lib/postgresql
said=$(runuser -u postgres -- {program} end 0) || {{ echo \"$said\"; exit 1; }}
runuser -u postgres -- {program} clean 0{over} || exit 1
rm -f {program}
"
    )
}

/// Whether there may be any.
pub fn has_copies() -> String {
    format!("[ ! -x {} ] || echo yes\n", Program::FollowSource.path())
}

pub fn removed(program: Program) -> String {
    format!("rm -f {}\n", program.path())
}
