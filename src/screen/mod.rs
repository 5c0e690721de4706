//! The full-screen view of `status --watch`: what was seen and what was pressed in, a picture out. Pure: whoever has the
//! terminal says what time it is and puts the picture there.

mod keys;
mod lag;
mod picture;
mod section;

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cluster::changes::{Change, changes};
use crate::cluster::grid::{self, Cell, Grid};
use crate::cluster::table::Paint;
use crate::cluster::{Answer, ClusterView, Health};
use crate::report::Redactor;
use crate::report::look::Glyphs;
use crate::report::text::printable;

pub use keys::Wish;
use lag::Lags;

/// More are forgotten.
const EVENTS: usize = 500;

/// What does not change while one watches.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Of the times of events.
    pub zone: TimeZone,
    pub paint: Paint,
    pub glyphs: Glyphs,
    /// Between looks.
    pub every: Duration,
    /// For what hosts say of themselves.
    pub redactor: Redactor,
}

/// All that the picture is made of.
#[derive(Debug)]
pub struct Screen {
    setting: Setting,
    seen: Seen,
    /// Since when a look is under way.
    asking: Option<Timestamp>,
    /// The newest first.
    events: VecDeque<(Timestamp, Change)>,
    lags: Lags,
    /// How many events above the first that is shown.
    scrolled: usize,
    helping: bool,
}

/// The last look, as texts that may be shown.
#[derive(Debug)]
struct Seen {
    at: Timestamp,
    view: ClusterView,
    health: Health,
    members: Grid,
    etcd: Grid,
    haproxy: Grid,
}

impl Screen {
    pub fn new(setting: Setting, (view, health): (ClusterView, Health), at: Timestamp) -> Self {
        let mut lags = Lags::default();
        lags.add(&view);
        let seen = Seen::of(&setting, (view, health), &lags, at);
        Self { setting, seen, asking: None, events: VecDeque::new(), lags, scrolled: 0, helping: false }
    }

    /// A look has begun.
    pub fn asks(&mut self, now: Timestamp) {
        self.asking = Some(now);
    }

    /// A look has ended.
    pub fn saw(&mut self, (view, health): (ClusterView, Health), at: Timestamp) {
        for change in changes(&self.seen.view, &view) {
            let text = self.setting.shown(&change.text);
            self.events.push_front((at, Change { text, ..change }));
            // what one reads stays where it is
            self.scrolled += usize::from(self.scrolled > 0);
        }
        self.events.truncate(EVENTS);
        self.lags.add(&view);
        self.seen = Seen::of(&self.setting, (view, health), &self.lags, at);
        self.asking = None;
    }

    pub fn last(&self) -> (&ClusterView, &Health) {
        (&self.seen.view, &self.seen.health)
    }
}

impl Setting {
    /// Without passwords, and without what would steer the terminal.
    fn shown(&self, text: &str) -> String {
        printable(&self.redactor.clean(text)).into_owned()
    }

    fn cleaned(&self, mut grid: Grid) -> Grid {
        for cell in grid.rows.iter_mut().flatten() {
            cell.text = self.shown(&cell.text);
        }
        grid
    }
}

impl Seen {
    fn of(setting: &Setting, (view, mut health): (ClusterView, Health), lags: &Lags, at: Timestamp) -> Self {
        health.verdict = setting.shown(&health.verdict);
        for problem in &mut health.problems {
            problem.text = setting.shown(&problem.text);
            problem.help = setting.shown(&problem.help);
        }
        let members = setting.cleaned(members(&view, setting.glyphs, lags));
        let etcd = setting.cleaned(etcd(&view));
        let haproxy = setting.cleaned(grid::ways(&view));
        Self { at, view, health, members, etcd, haproxy }
    }
}

/// With what is only shown here: the lag of the last looks, and who speaks TLS.
fn members(view: &ClusterView, glyphs: Glyphs, lags: &Lags) -> Grid {
    let tls = view.members.iter().map(|member| match (&member.patroni, &member.server) {
        (Answer::Known(patroni), Answer::Known(server)) => speaks(&[patroni.tls, server.tls]),
        (Answer::Known(patroni), _) => speaks(&[patroni.tls]),
        (_, Answer::Known(server)) => speaks(&[server.tls]),
        _ => Cell::default(),
    });
    let grid = grid::members(view).with("Patroni", "TLS", tls);
    match glyphs {
        Glyphs::Unicode => grid.with("Lag", "Lately", view.members.iter().map(|member| lags.line(&member.host))),
        Glyphs::Ascii => grid,
    }
}

fn etcd(view: &ClusterView) -> Grid {
    let known = || view.etcd.iter().map(|seen| seen.answer.known());
    let tls = known().map(|member| member.map_or_else(Cell::default, |member| speaks(&[member.tls])));
    let grid = grid::etcd(view).with("Version", "TLS", tls);
    if known().flatten().all(|member| member.alarms.is_empty()) {
        return grid;
    }
    let alarms = |member: &crate::cluster::etcd::Member| Cell::in_mood(member.alarms.join(", "), grid::Mood::Bad);
    grid.with("TLS", "Alarms", known().map(|member| member.map_or_else(Cell::default, alarms)))
}

fn speaks(tls: &[bool]) -> Cell {
    Cell::new(match (tls.contains(&true), tls.contains(&false)) {
        (true, false) => "yes",
        (true, true) => "partly",
        _ => "no",
    })
}
