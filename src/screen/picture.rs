//! The picture: lines from top to bottom, the most important ones first when there is little room.

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::Screen;
use super::section::{bold, dim};
use crate::cluster::grid::{Grid, Mood, targets};
use crate::cluster::haproxy::PRIMARY;
use crate::cluster::{Problem, Severity};
use crate::report::look::Glyphs;
use crate::report::text::{count, fit, wrap};

/// Of events, its title with it, before anything else gets less room.
const FEW_EVENTS: usize = 4;
/// An answer is old when it is this much older than it should be.
const LATE_SECONDS: i64 = 4;

const HELP: [&str; 8] = [
    "q, Esc, Ctrl-C    leave",
    "r                 look at once",
    "Up, Down          the events before and after",
    "PageUp, PageDown  ten events at a time",
    "Home, End         the newest and the oldest event",
    "?                 this, and back",
    "",
    "Lately: the lag of the last looks, each bar for 16 times as much as the one before it",
];

impl Screen {
    /// What this moment looks like.
    pub fn draw(&self, now: Timestamp, frame: &mut Frame<'_>) {
        self.paint(now, frame.area(), frame.buffer_mut());
    }

    fn paint(&self, now: Timestamp, area: Rect, buffer: &mut Buffer) {
        let lines = self.lines(now, area.width.into(), area.height.into());
        for (y, line) in (area.y..area.bottom()).zip(&lines) {
            buffer.set_line(area.x, y, line, area.width);
        }
    }

    /// At most as many as the screen has.
    fn lines(&self, now: Timestamp, width: usize, height: usize) -> Vec<Line<'static>> {
        let mut lines = self.head(now, width);
        let below = height.saturating_sub(lines.len() + 1);
        let mut body = if self.helping { HELP.map(Line::from).to_vec() } else { self.body(width, below) };
        body.resize(below, Line::default());
        lines.extend(body);
        lines.truncate(height.saturating_sub(1));
        lines.push(self.foot(width));
        lines
    }

    /// The cluster, how old the answer is, and the verdict.
    fn head(&self, now: Timestamp, width: usize) -> Vec<Line<'static>> {
        let age = now.as_second() - self.seen.at.as_second();
        let mut when = format!("seen {age} s ago");
        if let Some(asking) = self.asking.map(|since| now.as_second() - since.as_second()).filter(|past| *past > 1) {
            when = format!("{when}, asking for {asking} s");
        }
        let late = age > self.setting.every.as_secs().try_into().unwrap_or(i64::MAX) + LATE_SECONDS;
        let style = if late { self.setting.style(Mood::Odd) } else { dim() };
        let room = width.saturating_sub(console::measure_text_width(&when) + 1);
        let name = console::pad_str(&self.seen.view.cluster, room, console::Alignment::Left, Some("")).into_owned();
        let first = Line::from(vec![Span::from(name).style(bold()), Span::from(" "), Span::from(when).style(style)]);
        let health = &self.seen.health;
        let mood = match health.problems.first().map(|problem| problem.severity) {
            Some(Severity::Critical) => Mood::Bad,
            Some(Severity::Warning) => Mood::Odd,
            Some(Severity::Notice) | None => Mood::Good,
        };
        let verdict = wrap(&health.verdict, width, "  ").into_iter();
        std::iter::once(first)
            .chain(verdict.map(|line| Line::styled(line, self.setting.style(mood).patch(bold()))))
            .collect()
    }

    fn foot(&self, width: usize) -> Line<'static> {
        let arrows = if self.setting.glyphs == Glyphs::Unicode { "↑ ↓" } else { "Up Down" };
        Line::styled(fit(&format!("q leave  r look  {arrows} events  ? help"), width, "").into_owned(), dim())
    }

    /// Problems, members, etcd, HAProxy, events. etcd and HAProxy become a line each where there is no room for more.
    fn body(&self, width: usize, room: usize) -> Vec<Line<'static>> {
        let members = self.part("PostgreSQL", &self.seen.members, width);
        let (etcd, haproxy) =
            (self.part("etcd", &self.seen.etcd, width), self.part("HAProxy", &self.seen.haproxy, width));
        let problems = self.problems(width);
        let wanted = members.len() + etcd.len() + haproxy.len() + problems.len() + FEW_EVENTS;
        let services = match wanted <= room {
            true => [etcd, haproxy].concat(),
            false => self.in_short(width),
        };
        let left = room.saturating_sub(members.len() + services.len());
        let problems = self.as_many(problems, left.saturating_sub(FEW_EVENTS), width);
        let events = self.events(width, left.saturating_sub(problems.len()));
        [problems, members, services, events].concat()
    }

    fn part(&self, title: &str, grid: &Grid, width: usize) -> Vec<Line<'static>> {
        if grid.rows.is_empty() {
            return Vec::new();
        }
        let mut lines = vec![self.setting.title(title, width)];
        lines.extend(self.setting.table(grid, width));
        lines
    }

    fn in_short(&self, width: usize) -> Vec<Line<'static>> {
        let view = &self.seen.view;
        let known = || view.etcd.iter().filter_map(|seen| Some((&seen.host, seen.answer.known()?)));
        let healthy = known().filter(|(_, member)| member.healthy).count();
        let leader = known().find(|(_, member)| member.is_leader());
        let leader = leader.map_or_else(|| "no leader".to_owned(), |(host, _)| format!("leader {host}"));
        let all = view.etcd.len();
        let etcd = (all > 0).then(|| {
            let mood = if healthy == all { Mood::Good } else { Mood::Bad };
            (format!("etcd: {healthy} of {all} healthy, {leader}"), mood)
        });
        let ways = view.haproxy.iter().map(|seen| match seen.answer.known().map(|servers| targets(servers, PRIMARY)) {
            Some(to) if !to.is_empty() => (format!("{} to {to}", seen.host), Mood::Plain),
            Some(_) => (format!("{} to nobody", seen.host), Mood::Bad),
            None => (format!("{} ?", seen.host), Mood::Odd),
        });
        let ways: Vec<(String, Mood)> = ways.collect();
        let mood = ways.iter().map(|(_, mood)| *mood).find(|mood| *mood != Mood::Plain).unwrap_or(Mood::Good);
        let words: Vec<String> = ways.into_iter().map(|(text, _)| text).collect();
        let haproxy = (!words.is_empty()).then(|| (format!("HAProxy writes: {}", words.join(", ")), mood));
        let styled = |(text, mood): (String, Mood)| {
            Line::styled(fit(&self.setting.shown(&text), width, "").into_owned(), self.setting.style(mood))
        };
        etcd.into_iter().chain(haproxy).map(styled).collect()
    }

    fn problems(&self, width: usize) -> Vec<Line<'static>> {
        self.seen.health.problems.iter().flat_map(|problem| self.problem(problem, width)).collect()
    }

    fn problem(&self, problem: &Problem, width: usize) -> Vec<Line<'static>> {
        let mood = match problem.severity {
            Severity::Critical => Mood::Bad,
            Severity::Warning => Mood::Odd,
            Severity::Notice => Mood::Plain,
        };
        let text = wrap(&format!("{}: {}", problem.severity.word(), problem.text), width, "  ");
        let help = wrap(&format!("  help: {}", problem.help), width, "  ");
        let text = text.into_iter().map(|line| Line::styled(line, self.setting.style(mood)));
        text.chain(help.into_iter().map(Line::from)).collect()
    }

    /// As many lines as there is room for, and how many are missing.
    fn as_many(&self, mut lines: Vec<Line<'static>>, room: usize, width: usize) -> Vec<Line<'static>> {
        if lines.len() > room {
            lines.truncate(room.saturating_sub(1));
            let more =
                format!("{}, all with `xnat-provision status`", count(self.seen.health.problems.len(), "problem"));
            lines.push(Line::styled(fit(&more, width, "").into_owned(), dim()));
        }
        lines
    }

    fn events(&self, width: usize, room: usize) -> Vec<Line<'static>> {
        let title = match self.scrolled {
            0 => "Events".to_owned(),
            above => format!("Events ({above} newer above)"),
        };
        let mut lines = vec![self.setting.title(&title, width)];
        if self.events.is_empty() {
            lines.push(Line::styled("Nothing has changed since you began to look.", dim()));
        }
        for (at, change) in self.events.iter().skip(self.scrolled) {
            let time = at.to_zoned_datetime(self.setting.zone.clone()).strftime("%H:%M:%S ").to_string();
            let texts = wrap(&change.text, width.saturating_sub(time.len()), "  ").into_iter();
            let blank = " ".repeat(time.len());
            let line = |(nth, text)| {
                let time = if nth == 0 { time.clone() } else { blank.clone() };
                Line::from(vec![Span::from(time).style(dim()), Span::from(text).style(self.setting.style(change.mood))])
            };
            lines.extend(texts.enumerate().map(line));
            if lines.len() >= room {
                break;
            }
        }
        lines.truncate(room);
        lines
    }
}
