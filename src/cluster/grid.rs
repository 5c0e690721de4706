//! What a view shows, as rows and columns of short texts, each with its mood. How they are drawn is somebody else's job:
//! `table` prints them, the screen of `status --watch` draws them. Pure.

use super::answer::Answer;
use super::assess::size;
use super::haproxy::{PRIMARY, REPLICAS, Server};
use super::maintenance;
use super::patroni::Lag;
use super::view::{ClusterView, Member};

/// What a text means, which becomes its colour. It is always to be read in the text too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    #[default]
    Plain,
    Good,
    /// Nobody knows, or it is on its way.
    Odd,
    Bad,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    pub text: String,
    pub mood: Mood,
}

impl Cell {
    pub fn new(text: impl ToString) -> Self {
        Self::in_mood(text, Mood::Plain)
    }

    pub fn in_mood(text: impl ToString, mood: Mood) -> Self {
        Self { text: text.to_string(), mood }
    }
}

/// One table. A row may end early; what is missing is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grid {
    pub header: Vec<&'static str>,
    pub rows: Vec<Vec<Cell>>,
    /// The columns a narrow terminal can do without, the least important first.
    pub spare: &'static [&'static str],
}

impl Grid {
    /// How wide a column is, with a blank on both sides.
    pub fn width(&self, column: usize) -> usize {
        let texts = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.text.as_str());
        let widest = texts.chain([self.header[column]]).map(console::measure_text_width).max();
        widest.unwrap_or(0) + 2
    }

    /// Without the spare columns that do not fit; what is still too wide then is wrapped or cut.
    #[must_use]
    pub fn narrowed(mut self, width: usize) -> Self {
        for name in self.spare {
            if (0..self.header.len()).map(|column| self.width(column)).sum::<usize>() <= width {
                break;
            }
            self.remove(name);
        }
        self
    }

    /// With one more column, to the right of the one of that name.
    #[must_use]
    pub fn with(mut self, after: &str, header: &'static str, cells: impl IntoIterator<Item = Cell>) -> Self {
        let at = self.header.iter().position(|name| *name == after).map_or(self.header.len(), |column| column + 1);
        self.header.insert(at, header);
        for (row, cell) in self.rows.iter_mut().zip(cells) {
            if row.len() >= at {
                row.insert(at, cell);
            }
        }
        self
    }

    fn remove(&mut self, name: &str) {
        let Some(column) = self.header.iter().position(|header| *header == name) else { return };
        self.header.remove(column);
        for row in self.rows.iter_mut().filter(|row| row.len() > column) {
            row.remove(column);
        }
    }
}

pub fn members(view: &ClusterView) -> Grid {
    let mut grid = Grid {
        header: vec!["Member", "Role", "State", "Timeline", "Lag", "Version", "Patroni", "Notes"],
        rows: view.members.iter().map(|member| row(view, member)).collect(),
        spare: &["Patroni", "Version", "Timeline"],
    };
    if view.members.iter().all(|member| notes(member).is_empty()) {
        grid.remove("Notes");
    }
    grid
}

fn row(view: &ClusterView, member: &Member) -> Vec<Cell> {
    let listed = member.listed.as_ref();
    let role = listed.map_or_else(|| "?".to_owned(), |l| l.role.to_string());
    let leads = listed.is_some_and(|l| l.role.leads());
    let version = match (&member.server, &member.patroni) {
        (Answer::Known(server), _) => server.version.clone(),
        (_, Answer::Known(about)) => about.server_version.map(release).unwrap_or_default(),
        _ => String::new(),
    };
    let patroni = match &member.patroni {
        Answer::Known(about) => Cell::new(&about.patroni.version),
        without => missing(without),
    };
    vec![
        Cell::new(&member.host),
        Cell::in_mood(role, if leads { Mood::Good } else { Mood::Plain }),
        state(view, member),
        Cell::new(listed.and_then(|l| l.timeline).map(|t| t.to_string()).unwrap_or_default()),
        Cell::new(lag(view, member)),
        Cell::new(version),
        patroni,
        Cell::new(notes(member)),
    ]
}

/// Instead of an answer.
fn missing<T>(answer: &Answer<T>) -> Cell {
    match answer {
        Answer::Known(_) => Cell::default(),
        Answer::Down(_) => Cell::in_mood("down", Mood::Bad),
        Answer::Unknown(_) => Cell::in_mood("?", Mood::Odd),
    }
}

/// 150018 is 15.18 (PostgreSQL 10 and newer).
fn release(number: u32) -> String {
    format!("{}.{}", number / 10_000, number % 10_000)
}

fn state(view: &ClusterView, member: &Member) -> Cell {
    match &member.listed {
        None if view.members_known() => Cell::in_mood("not a member", Mood::Bad),
        None => Cell::in_mood("?", Mood::Odd),
        // Patroni 3.0 calls a replica that streams `running`.
        Some(listed) if !listed.role.leads() && view.streams(member) => Cell::in_mood("streaming", Mood::Good),
        Some(listed) if listed.role.leads() && listed.state == "running" => Cell::in_mood("running", Mood::Good),
        Some(listed) => Cell::in_mood(&listed.state, Mood::Odd),
    }
}

fn lag(view: &ClusterView, member: &Member) -> String {
    match view.lag(member) {
        None => String::new(),
        Some(Lag::Unknown) => "unknown".to_owned(),
        Some(Lag::Bytes(bytes)) => size(bytes),
    }
}

fn notes(member: &Member) -> String {
    let mut notes = Vec::new();
    if !member.in_inventory {
        notes.push("not in the inventory".to_owned());
    }
    if let Some(listed) = &member.listed {
        if listed.pending_restart {
            notes.push("restart pending".to_owned());
        }
        match maintenance::of_member(member) {
            // The problem says since when and why, and the other tags come with it.
            Some(_) => notes.push("maintenance".to_owned()),
            None => notes.extend(listed.tags.iter().map(|(key, value)| format!("{key}={value}"))),
        }
    }
    if let Answer::Known(about) = &member.patroni
        && about.failsafe_mode_is_active
    {
        notes.push("failsafe".to_owned());
    }
    notes.join(", ")
}

pub fn etcd(view: &ClusterView) -> Grid {
    let row = |seen: &super::Seen<super::etcd::Member>| {
        let host = Cell::new(&seen.host);
        match &seen.answer {
            Answer::Known(member) => vec![
                host,
                match member.is_leader() {
                    true => Cell::in_mood("leader", Mood::Good),
                    false => Cell::new(if member.learner { "learner" } else { "follower" }),
                },
                match member.healthy {
                    true => Cell::in_mood("healthy", Mood::Good),
                    false => Cell::in_mood("unhealthy", Mood::Bad),
                },
                Cell::new(member.raft_term),
                Cell::new(member.raft_index),
                Cell::new(size(member.db_size)),
                Cell::new(&member.version),
            ],
            without => vec![host, Cell::default(), missing(without)],
        }
    };
    Grid {
        header: vec!["Member", "Role", "Health", "Term", "Index", "Size", "Version"],
        rows: view.etcd.iter().map(row).collect(),
        spare: &["Index", "Term", "Size", "Version"],
    }
}

/// What each HAProxy does with each member.
pub fn haproxy(view: &ClusterView) -> Grid {
    let mut rows = Vec::new();
    for seen in &view.haproxy {
        match &seen.answer {
            Answer::Known(servers) => {
                rows.extend(view.members.iter().map(|member| sides(&seen.host, servers, member)));
            }
            without => rows.push(vec![Cell::new(&seen.host), Cell::default(), missing(without)]),
        }
    }
    Grid {
        header: vec!["HAProxy", "Server", "Writes", "Reads", "Sessions", "Patroni says"],
        rows,
        spare: &["Sessions"],
    }
}

fn sides(balancer: &crate::names::HostName, servers: &[Server], member: &Member) -> Vec<Cell> {
    let of = |section: &str| servers.iter().find(|s| s.section == section && s.name == member.host.as_str());
    let (primary, replica) = (of(PRIMARY), of(REPLICAS));
    let sessions: u64 = [primary, replica].into_iter().flatten().map(|s| s.sessions).sum();
    let role = member.listed.as_ref().map_or_else(|| "?".to_owned(), |l| l.role.to_string());
    vec![
        Cell::new(balancer),
        Cell::new(&member.host),
        side(primary),
        side(replica),
        Cell::new(sessions),
        Cell::new(role),
    ]
}

/// `UP`, `DOWN (503)`, `DOWN (L4CON)`
fn side(server: Option<&Server>) -> Cell {
    match server {
        None => Cell::new("-"),
        Some(server) if server.up => Cell::in_mood(&server.status, Mood::Good),
        Some(server) => {
            let why = server.code.map_or_else(|| server.check.clone(), |code| code.to_string());
            Cell::new(if why.is_empty() { server.status.clone() } else { format!("{} ({why})", server.status) })
        }
    }
}

/// The same in short: where each HAProxy sends clients now.
pub fn ways(view: &ClusterView) -> Grid {
    let row = |seen: &super::Seen<Vec<Server>>| {
        let host = Cell::new(&seen.host);
        let Answer::Known(servers) = &seen.answer else { return vec![host, missing(&seen.answer)] };
        let sessions = |section| servers.iter().filter(|s| s.section == section).map(|s| s.sessions).sum::<u64>();
        let (writes, reads) = (targets(servers, PRIMARY), targets(servers, REPLICAS));
        vec![
            host,
            match view.leader() {
                _ if writes.is_empty() => Cell::in_mood("nowhere", Mood::Bad),
                Some(leader) if leader.host.as_str() == writes => Cell::in_mood(writes, Mood::Good),
                _ => Cell::in_mood(writes, Mood::Odd),
            },
            Cell::new(if reads.is_empty() { "nowhere" } else { &reads }),
            Cell::new(format!("{} writing, {} reading", sessions(PRIMARY), sessions(REPLICAS))),
        ]
    };
    Grid {
        header: vec!["HAProxy", "Writes to", "Reads from", "Sessions"],
        rows: view.haproxy.iter().map(row).collect(),
        spare: &["Sessions"],
    }
}

/// `db1, db3`: the servers of a section that are up.
pub fn targets(servers: &[Server], section: &str) -> String {
    let up = servers.iter().filter(|server| server.section == section && server.up);
    up.map(|server| server.name.as_str()).collect::<Vec<_>>().join(", ")
}
