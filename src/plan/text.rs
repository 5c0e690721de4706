//! A plan for people.

use super::{ClusterChange, Plan, PlannedStage};
use crate::resource::{Change, Detail, Effect, ResourceId};

/// How the text may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Plain,
    Colour,
}

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The text of new files is left out: before the question of `apply` it would push everything else off the screen.
    Brief,
    Full,
}

/// The whole plan; one line per change, details indented below it.
pub fn render(plan: &Plan, style: Style, depth: Depth) -> String {
    let mut out = String::new();
    if plan.is_empty() {
        out.push_str(&format!("Nothing to change: {} is as the inventory says.\n", plan.cluster));
    }
    if let Some(whole) = &plan.part_of {
        out.push_str(&format!("{}\n\n", paint(style, YELLOW, whole)));
    }
    for (index, stage) in plan.stages.iter().filter(|stage| stage.count() > 0).enumerate() {
        let title = format!("{}. {}", index + 1, stage.title);
        let page = Page::new(style, depth).stage(stage);
        out.push_str(&format!("{}\n{page}\n", paint(style, BOLD, &title)));
    }
    for path in &plan.overridden {
        out.push_str(&format!("Uses the site's own {path}.\n"));
    }
    for note in &plan.notes {
        out.push_str(&format!("{note}\n"));
    }
    if let Some(warning) = refusal(plan) {
        out.push_str(&format!("{}\n", paint(style, RED, &warning)));
    }
    out
}

const BOLD: &str = "1";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const RED: &str = "31";
const DIM: &str = "2";
const PLAIN: &str = "0";

fn paint(style: Style, code: &str, text: &str) -> String {
    match style {
        Style::Colour if code != PLAIN => format!("\x1b[{code}m{text}\x1b[0m"),
        _ => text.to_owned(),
    }
}

struct Page {
    style: Style,
    depth: Depth,
    out: String,
}

impl Page {
    fn new(style: Style, depth: Depth) -> Self {
        Self { style, depth, out: String::new() }
    }

    /// Hosts whose changes read the same are shown once.
    fn stage(mut self, stage: &PlannedStage) -> String {
        let mut groups: Vec<(Vec<&str>, String)> = Vec::new();
        for (host, changes) in stage.hosts.iter().filter(|(_, changes)| !changes.is_empty()) {
            let mut page = Self::new(self.style, self.depth);
            changes.iter().for_each(|change| page.change(change, stage.refuses(change)));
            match groups.iter_mut().find(|(_, text)| *text == page.out) {
                Some((names, _)) => names.push(host.as_str()),
                None => groups.push((vec![host.as_str()], page.out)),
            }
        }
        for (names, text) in groups {
            self.out.push_str(&format!("   {}\n", paint(self.style, BOLD, &names.join(", "))));
            self.out.push_str(&text);
        }
        for change in &stage.cluster {
            self.cluster(change, stage.refuses_together(change));
        }
        for line in &stage.rolling {
            self.out.push_str(&format!("     {}\n", paint(self.style, YELLOW, line)));
        }
        self.out
    }

    fn change(&mut self, change: &Change, refused: bool) {
        let (mark, colour) = if refused { REFUSED } else { mark(&change.summary, change.effect) };
        let mark = paint(self.style, colour, mark);
        let size = self.size(&change.detail);
        self.out.push_str(&format!("     {mark} {}: {}{size}\n", change.resource, change.summary));
        if !change.after.is_empty() {
            self.detail(DIM, &format!("after {}", after(&change.after)));
        }
        match &change.detail {
            Detail::Text(diff) if self.shows(diff) => self.diff(diff),
            Detail::None | Detail::Text(_) => {}
            Detail::Fields(fields) => {
                for (name, old, new) in fields {
                    self.detail(PLAIN, &format!("{name}: {old} → {new}"));
                }
            }
            Detail::Digests { old: Some(old), new: Some(new) } => {
                let short = |digest: &str| digest.chars().take(12).collect::<String>();
                self.detail(DIM, &format!("content is secret: sha256 {}… → {}…", short(old), short(new)));
            }
            Detail::Digests { .. } => self.detail(DIM, "content is secret"),
        }
    }

    fn detail(&mut self, colour: &str, text: &str) {
        self.out.push_str(&format!("         {}\n", paint(self.style, colour, text)));
    }

    fn shows(&self, diff: &str) -> bool {
        self.depth == Depth::Full || !is_creation(diff)
    }

    /// How long a new file is, where its text is left out.
    fn size(&self, detail: &Detail) -> String {
        match detail {
            Detail::Text(diff) if !self.shows(diff) => {
                let lines = diff.lines().filter(|line| line.starts_with('+') && !line.starts_with("+++")).count();
                format!(", {}", crate::report::text::count(lines, "line"))
            }
            _ => String::new(),
        }
    }

    fn diff(&mut self, diff: &str) {
        for line in diff.lines() {
            let colour = match line.as_bytes().first() {
                Some(b'+') => GREEN,
                Some(b'-') => RED,
                Some(b'@') => DIM,
                _ => PLAIN,
            };
            self.detail(colour, line);
        }
    }

    fn cluster(&mut self, change: &ClusterChange, refused: bool) {
        let (mark, colour) = if refused { REFUSED } else { mark("", change.effect) };
        self.out.push_str(&format!("     {} {}\n", paint(self.style, colour, mark), change.title));
        for line in &change.detail {
            self.detail(PLAIN, line);
        }
    }
}

fn is_creation(diff: &str) -> bool {
    diff.starts_with("--- /dev/null")
}

/// Packages are one step, whatever their number.
fn after(causes: &[ResourceId]) -> String {
    let (packages, others): (Vec<_>, Vec<_>) = causes.iter().partition(|id| id.kind() == "package");
    let packages = match packages.as_slice() {
        [] => None,
        [one] => Some(one.to_string()),
        _ => Some("the packages".to_owned()),
    };
    packages.into_iter().chain(others.iter().map(ToString::to_string)).collect::<Vec<_>>().join(", ")
}

/// The closing line of a plan that `apply` refuses: plan and apply say the same.
fn refusal(plan: &Plan) -> Option<String> {
    let these = match (plan.interruptions().len(), plan.count()) {
        (0, _) => return None,
        (1, 1) => "This change would".to_owned(),
        (refused, all) => format!("{refused} of these {} (marked !) would", crate::report::text::count(all, "change")),
    };
    Some(format!("{these} interrupt the running database or etcd: apply refuses this plan and makes none of it."))
}

const REFUSED: (&str, &str) = ("!", RED);

/// A sign that tells without colour: `+` new, `~` changed, `*` restarted in turn, `!` refused by `apply`.
fn mark(summary: &str, effect: Effect) -> (&'static str, &'static str) {
    match effect {
        Effect::RollingRestart | Effect::Outage => ("*", YELLOW),
        Effect::Restart | Effect::Reload => ("~", YELLOW),
        Effect::Quiet if ["update", "upgrade ", "set "].iter().any(|word| summary.starts_with(word)) => ("~", YELLOW),
        Effect::Quiet => ("+", GREEN),
    }
}
