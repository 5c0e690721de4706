//! Drills for people, on a terminal.

use jiff::Timestamp;

use super::attempt::Entry;
use super::fault::Fault;
use super::figures::{Figures, Spread};
use super::verdict::{Drill, seconds};

/// What `drill list` says.
pub fn explained() -> String {
    let mut out = String::new();
    for fault in Fault::ALL {
        let danger = if fault.is_safe() { "safe" } else { "not for a cluster in use" };
        out.push_str(&format!("{} ({danger})\n", fault.name()));
        for (what, text) in [("does", fault.injection()), ("expect", fault.effect()), ("undo", fault.undo())] {
            let options = textwrap::Options::new(78).initial_indent("  ").subsequent_indent("          ");
            out.push_str(&textwrap::fill(&format!("{what:<8}{text}"), options));
            out.push('\n');
        }
        out.push('\n');
    }
    out
}

/// The verdict, the figures beside what the timings promise, and what had to hold.
pub fn table(drill: &Drill) -> String {
    let verdict = if drill.passed { "PASSED" } else { "FAILED" };
    let runs = if drill.runs.len() == 1 { "1 run".to_owned() } else { format!("{} runs", drill.runs.len()) };
    let mut out = format!("{verdict}: {} on {}, {runs}\n\n", drill.drill, drill.setting.cluster);
    out.push_str(&format!("  {:<21}{:>9}{:>9}{:>9}\n", "", "least", "median", "most"));
    for (name, spread) in measured(drill) {
        let cell = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), seconds);
        let of = |pick: fn(&Spread) -> u64| cell(spread.as_ref().map(pick));
        let (least, median, most) = (of(|it| it.least), of(|it| it.median), of(|it| it.most));
        out.push_str(&format!("  {name:<21}{least:>9}{median:>9}{most:>9}\n"));
    }
    if let Some(bound) = &drill.bound {
        out.push_str(&format!("  {:<39}{:>9}\n    {}\n", "the timings promise", seconds(bound.millis), bound.formula));
    }
    out.push('\n');
    for finding in &drill.findings {
        out.push_str(&format!("  {} {}\n", if finding.held { "ok  " } else { "FAIL" }, finding.text));
    }
    out.push_str(&format!("\n  Clients: {}\n", drill.setting.way));
    out
}

/// The rows of the table.
pub(super) fn measured(drill: &Drill) -> Vec<(&'static str, Option<Spread>)> {
    let of = |pick: fn(&Figures) -> Option<u64>| Spread::of(drill.runs.iter().filter_map(|run| pick(&run.figures)));
    vec![
        ("nobody could write", of(|it| it.write_gap)),
        ("nobody could read", of(|it| it.read_gap)),
        ("nobody could connect", of(|it| it.connect_gap)),
        ("noticed after", of(|it| it.detected)),
        ("promoted after", of(|it| it.promoted)),
        ("HAProxy after", of(|it| it.switched)),
        ("old leader follows", of(|it| it.rejoined)),
        ("all well after", of(|it| it.healed)),
    ]
}

/// Earlier drills, oldest first; a write gap half as long again as the median of those before is a regression.
pub fn history(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "No drill was done from this machine yet.\n".to_owned();
    }
    let mut out = format!(" {:<18}{:<18}{:<10}{:>9}{:>7}\n", "When (UTC)", "Drill", "Result", "Write gap", "Lost");
    for (index, entry) in entries.iter().enumerate() {
        out.push_str(line(entry, &entries[..index]).trim_end());
        out.push('\n');
    }
    out
}

fn line(entry: &Entry, earlier: &[Entry]) -> String {
    let start =
        |finished: Timestamp, name: &str| format!(" {:<18}{name:<18}", finished.strftime("%Y-%m-%d %H:%M").to_string());
    match entry {
        Entry::Attempted(it) => {
            format!("{}{:<10}{:>9}{:>7}  {}", start(it.finished, &it.drill), "not done", "-", "-", it.failed)
        }
        Entry::Done(drill) => {
            let gap = gap(drill);
            let before = earlier.iter().filter_map(|other| match other {
                Entry::Done(other) if other.drill == drill.drill => self::gap(other),
                _ => None,
            });
            let usual = Spread::of(before).map(|spread| spread.median);
            let slower = usual.zip(gap).filter(|(usual, gap)| *gap > SLACK + usual * 3 / 2);
            let told = slower.map(|(usual, _)| format!("slower than before ({})", seconds(usual))).unwrap_or_default();
            let lost: u64 = drill.runs.iter().map(|run| run.figures.lost).sum();
            format!(
                "{}{:<10}{:>9}{lost:>7}  {told}",
                start(drill.finished, drill.drill.name()),
                if drill.passed { "passed" } else { "FAILED" },
                gap.map_or_else(|| "-".to_owned(), seconds),
            )
        }
    }
}

/// So much is noise.
const SLACK: u64 = 500;

fn gap(drill: &Drill) -> Option<u64> {
    Spread::of(drill.runs.iter().filter_map(|run| run.figures.write_gap)).map(|spread| spread.median)
}
