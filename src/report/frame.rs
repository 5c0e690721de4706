//! The live part of the screen as lines of text: the stage, and a line for each of its hosts. Pure: the caller says what
//! time it is and how large the screen is, and may be wrong about it a moment later, which is why nothing here wraps.

use jiff::Timestamp;

use super::lines::{Mark, titled};
use super::look::Look;
use super::state::{Doing, HostState, RunState, Status, millis_between};
use super::text::{clock, count, fit};

/// How long a step may take before its time is shown.
const NOTEWORTHY_MILLIS: u64 = 2_000;

/// A turn of the spinner.
const SPIN_MILLIS: u64 = 100;

/// What the live part shows, without the time.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    stage: String,
    started: Option<Timestamp>,
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    name: String,
    status: Status,
    doing: Option<Doing>,
    /// What to say when it does nothing.
    rest: String,
}

/// The screen at this moment.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    pub now: Timestamp,
    pub columns: usize,
    pub rows: usize,
}

impl Frame {
    /// What to show of a run; nothing between stages.
    pub fn of(state: &RunState) -> Self {
        let Some(stage) = state.current_stage() else { return Self::default() };
        let whole = state.doing.iter().map(|doing| Row {
            name: "cluster".to_owned(),
            status: Status::Working,
            doing: Some(doing.clone()),
            rest: String::new(),
        });
        let hosts = stage.hosts.iter().filter_map(|name| state.host(name)).map(|host| Row {
            name: host.name.to_string(),
            status: host.status,
            doing: host.doing.clone(),
            rest: rest(host, state),
        });
        Self { stage: titled(Some(&stage.title), state), started: state.started, rows: whole.chain(hosts).collect() }
    }

    /// The lines, none wider than the screen and not more than it has.
    pub fn lines(&self, screen: Screen, look: Look) -> Vec<String> {
        let elapsed = self.started.map_or(0, |started| millis_between(started, screen.now));
        // One column stays free: terminals differ in what a full line does to the cursor.
        let columns = screen.columns.saturating_sub(1);
        let mut lines = vec![format!("{}  {}", look.bold(&self.stage), clock(elapsed))];
        let widest = self.rows.iter().map(|row| console::measure_text_width(&row.name)).max().unwrap_or(0);
        lines.extend(self.shown(screen.rows).map(|row| row.line(widest, screen, look)));
        let hidden = self.rows.len() + 1 - lines.len();
        if hidden > 0 {
            lines.push(look.dim(&format!("    and {} more", count(hidden, "host"))));
        }
        lines.iter().map(|line| fit(line, columns, look.ellipsis()).into_owned()).collect()
    }

    /// The rows there is room for; those at work or failed go first when there is not enough.
    fn shown(&self, screen_rows: usize) -> impl Iterator<Item = &Row> {
        let all = self.rows.len();
        let room = if all + 2 > screen_rows { screen_rows.saturating_sub(3).max(1) } else { all };
        let dull = |row: &&Row| matches!(row.status, Status::Ok | Status::Idle);
        let mut left = room.saturating_sub(self.rows.iter().filter(|row| !dull(row)).count());
        self.rows
            .iter()
            .filter(move |row| {
                let show = !dull(row) || left > 0;
                if show && dull(row) {
                    left -= 1;
                }
                show
            })
            .take(room)
    }
}

impl Row {
    fn line(&self, widest: usize, screen: Screen, look: Look) -> String {
        let mark = match self.status {
            Status::Working if self.doing.is_none() => look.mark(Mark::None),
            Status::Working => {
                look.spinner(u64::try_from(screen.now.as_millisecond()).unwrap_or(0) / SPIN_MILLIS).to_string()
            }
            Status::Ok => look.mark(Mark::Ok),
            Status::Failed => look.mark(Mark::Failed),
            Status::Idle => look.mark(Mark::None),
        };
        let name = console::pad_str(&self.name, widest, console::Alignment::Left, None);
        match &self.doing {
            Some(doing) => format!("  {mark} {name}  {}", said(doing, screen.now, look)),
            None => format!("  {mark} {name}  {}", self.rest),
        }
    }
}

/// "Wait for the quorum (5 s) · 2 of 3 members": the detail is last, so that it is what a narrow screen cuts.
fn said(doing: &Doing, now: Timestamp, look: Look) -> String {
    let millis = millis_between(doing.since, now);
    let time = if millis >= NOTEWORTHY_MILLIS { format!(" ({} s)", millis / 1000) } else { String::new() };
    let detail = doing.detail.as_ref().map(|detail| {
        // a tab would be wider than it counts
        format!("{}{}", look.separator(), detail.replace(['\n', '\t'], " "))
    });
    format!("{}{time}{}", doing.title, look.dim(&detail.unwrap_or_default()))
}

fn rest(host: &HostState, state: &RunState) -> String {
    match host.status {
        // Its turn has not come, or others are not ready.
        Status::Working | Status::Idle => "waiting".to_owned(),
        Status::Ok => format!("ok, {}", count(host.changed, "change")),
        Status::Failed => {
            let failure = state.failures.iter().rfind(|failure| failure.host.as_ref() == Some(&host.name));
            failure.map_or("failed".to_owned(), |failure| format!("failed: {}", failure.message.replace('\n', " ")))
        }
    }
}
