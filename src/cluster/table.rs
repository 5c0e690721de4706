//! A view and its judgement as text for people: the verdict first, then what to try, then the tables. Pure.

use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Table, presets};
use console::Style;

use super::answer::Answer;
use super::assess::{Health, Problem, Severity, size};
use super::haproxy::{PRIMARY, REPLICAS, Server};
use super::maintenance;
use super::patroni::Lag;
use super::view::{ClusterView, Member};

/// How to draw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Of the terminal; none does not wrap.
    pub width: Option<u16>,
    pub paint: Paint,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paint {
    #[default]
    Plain,
    Colour,
}

/// Everything, ending in a newline.
pub fn render(view: &ClusterView, health: &Health, look: Look) -> String {
    let mut text = format!("{}\n", paint(&health.verdict, mood(health), look));
    for problem in &health.problems {
        text.push_str(&told(problem, look));
    }
    let tables = [
        ("PostgreSQL", members(view, look), MEMBERS_SPARE),
        ("etcd", etcd(view, look), ETCD_SPARE),
        ("HAProxy", haproxy(view, look), HAPROXY_SPARE),
    ];
    for (title, mut table, spare) in tables {
        if !table.is_empty() {
            fit(&mut table, look, spare);
            text.push_str(&format!("\n{title}\n{}\n", table.trim_fmt()));
        }
    }
    text
}

/// The column of remarks, which there mostly are none of.
const NOTES: usize = 7;

/// Columns a narrow terminal can do without, the least important first.
const MEMBERS_SPARE: &[usize] = &[6, 5, 3];
const ETCD_SPARE: &[usize] = &[4, 3, 5, 6];
const HAPROXY_SPARE: &[usize] = &[4];

/// Hide columns until the table fits; what is still too wide then is wrapped.
fn fit(table: &mut Table, look: Look, spare: &[usize]) {
    let Some(width) = look.width else { return };
    let mut needed: usize = table.column_max_content_widths().iter().map(|column| usize::from(*column) + 2).sum();
    let widths = table.column_max_content_widths();
    for index in spare {
        if needed <= width.into() {
            return;
        }
        if let Some(column) = table.column_mut(*index) {
            column.set_constraint(ColumnConstraint::Hidden);
            needed -= usize::from(widths[*index]) + 2;
        }
    }
}

fn mood(health: &Health) -> Color {
    match health.problems.first().map(|p| p.severity) {
        Some(Severity::Critical) => Color::Red,
        Some(Severity::Warning) => Color::Yellow,
        Some(Severity::Notice) | None => Color::Green,
    }
}

fn told(problem: &Problem, look: Look) -> String {
    let (word, color) = match problem.severity {
        Severity::Critical => ("critical", Color::Red),
        Severity::Warning => ("warning", Color::Yellow),
        Severity::Notice => ("notice", Color::Cyan),
    };
    let mut table = plain(look);
    table.add_row([cell(word, color), Cell::new(format!("{}\nhelp: {}", problem.text, problem.help))]);
    format!("{}\n", table.trim_fmt())
}

fn members(view: &ClusterView, look: Look) -> Table {
    let mut table = plain(look);
    table.set_header(["Member", "Role", "State", "Timeline", "Lag", "Version", "Patroni", "Notes"]);
    for member in &view.members {
        table.add_row(row(view, member));
    }
    if view.members.iter().all(|member| notes(member).is_empty())
        && let Some(column) = table.column_mut(NOTES)
    {
        column.set_constraint(ColumnConstraint::Hidden);
    }
    table
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
        Answer::Down(_) => cell("down", Color::Red),
        Answer::Unknown(_) => cell("?", Color::Yellow),
    };
    vec![
        Cell::new(&member.host),
        if leads { cell(role, Color::Green) } else { Cell::new(role) },
        state(view, member),
        Cell::new(listed.and_then(|l| l.timeline).map(|t| t.to_string()).unwrap_or_default()),
        Cell::new(lag(view, member)),
        Cell::new(version),
        patroni,
        Cell::new(notes(member)),
    ]
}

/// 150018 is 15.18 (PostgreSQL 10 and newer).
fn release(number: u32) -> String {
    format!("{}.{}", number / 10_000, number % 10_000)
}

fn state(view: &ClusterView, member: &Member) -> Cell {
    match &member.listed {
        None if view.members_known() => cell("not a member", Color::Red),
        None => cell("?", Color::Yellow),
        // Patroni 3.0 calls a replica that streams `running`.
        Some(listed) if !listed.role.leads() && view.streams(member) => cell("streaming", Color::Green),
        Some(listed) if listed.role.leads() && listed.state == "running" => cell("running", Color::Green),
        Some(listed) => cell(&listed.state, Color::Yellow),
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

fn etcd(view: &ClusterView, look: Look) -> Table {
    let mut table = plain(look);
    table.set_header(["Member", "Role", "Health", "Term", "Index", "Size", "Version"]);
    for seen in &view.etcd {
        let host = Cell::new(&seen.host);
        table.add_row(match &seen.answer {
            Answer::Known(member) => vec![
                host,
                match member.is_leader() {
                    true => cell("leader", Color::Green),
                    false => Cell::new(if member.learner { "learner" } else { "follower" }),
                },
                if member.healthy { cell("healthy", Color::Green) } else { cell("unhealthy", Color::Red) },
                Cell::new(member.raft_term),
                Cell::new(member.raft_index),
                Cell::new(size(member.db_size)),
                Cell::new(&member.version),
            ],
            Answer::Down(_) => vec![host, Cell::new(""), cell("down", Color::Red)],
            Answer::Unknown(_) => vec![host, Cell::new(""), cell("?", Color::Yellow)],
        });
    }
    table
}

fn haproxy(view: &ClusterView, look: Look) -> Table {
    let mut table = plain(look);
    table.set_header(["HAProxy", "Server", "Writes", "Reads", "Sessions", "Patroni says"]);
    for seen in &view.haproxy {
        match &seen.answer {
            Answer::Down(_) => {
                table.add_row([Cell::new(&seen.host), Cell::new(""), cell("down", Color::Red)]);
            }
            Answer::Unknown(_) => {
                table.add_row([Cell::new(&seen.host), Cell::new(""), cell("?", Color::Yellow)]);
            }
            Answer::Known(servers) => {
                for member in &view.members {
                    let of =
                        |section: &str| servers.iter().find(|s| s.section == section && s.name == member.host.as_str());
                    let (primary, replica) = (of(PRIMARY), of(REPLICAS));
                    let sessions: u64 = [primary, replica].into_iter().flatten().map(|s| s.sessions).sum();
                    let role = member.listed.as_ref().map_or_else(|| "?".to_owned(), |l| l.role.to_string());
                    table.add_row([
                        Cell::new(&seen.host),
                        Cell::new(&member.host),
                        side(primary),
                        side(replica),
                        Cell::new(sessions),
                        Cell::new(role),
                    ]);
                }
            }
        }
    }
    table
}

/// `UP`, `DOWN (503)`, `DOWN (L4CON)`
fn side(server: Option<&Server>) -> Cell {
    match server {
        None => Cell::new("-"),
        Some(server) if server.up => cell(&server.status, Color::Green),
        Some(server) => {
            let why = server.code.map_or_else(|| server.check.clone(), |code| code.to_string());
            Cell::new(if why.is_empty() { server.status.clone() } else { format!("{} ({why})", server.status) })
        }
    }
}

fn plain(look: Look) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    match look.width {
        Some(width) => table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    match look.paint {
        Paint::Colour => table.enforce_styling(),
        Paint::Plain => table.force_no_tty(),
    };
    table
}

fn cell(text: impl ToString, color: Color) -> Cell {
    Cell::new(text.to_string()).fg(color)
}

fn paint(text: &str, colour: Color, look: Look) -> String {
    let style = match colour {
        Color::Red => Style::new().red().bold(),
        Color::Yellow => Style::new().yellow(),
        _ => Style::new().green(),
    };
    match look.paint {
        Paint::Colour => style.force_styling(true).apply_to(text).to_string(),
        Paint::Plain => text.to_owned(),
    }
}
