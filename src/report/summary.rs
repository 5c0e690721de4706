//! What is said when a run is over: on success one line, on failure each failed host with its reason and its last output.

use std::path::Path;

use super::event::Outcome;
use super::lines::Mark;
use super::look::Look;
use super::state::{Failure, RunState};
use super::text::{count, duration, wrap};

/// What does not fit in a line goes on below its beginning.
const INDENT: &str = "             ";

/// The lines of the summary, for a screen of so many columns. `journal` is the file with everything in it.
pub fn summary(state: &RunState, journal: Option<&Path>, look: Look, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = state.failures.iter().flat_map(|failure| failed(failure, look, columns)).collect();
    lines.push(total(state, look));
    let good = state.failures.is_empty() && state.finished.is_some_and(|finish| finish.outcome == Outcome::Ok);
    if let Some(path) = journal.filter(|_| !good) {
        lines.push(format!("Everything that happened: {}", path.display()));
        lines.push(format!("Show it again:            xnat-provision history show {}", state.run));
    }
    lines
}

fn failed(failure: &Failure, look: Look, columns: usize) -> Vec<String> {
    let who = failure.host.as_ref().map_or("The run", |host| host.as_str());
    let place = failure.stage.as_ref().map(|stage| format!(" (stage \"{stage}\")")).unwrap_or_default();
    let head = look.paint(&format!("{who} failed"), Mark::Failed);
    let head = format!("{} {head}{place}: {}", look.mark(Mark::Failed), failure.message);
    let mut lines = wrap(&head, columns, "    ");
    for cause in &failure.causes {
        lines.extend(wrap(&format!("    because: {cause}"), columns, INDENT));
    }
    if let Some(help) = &failure.help {
        // Not wrapped: there is a command in it that somebody wants to copy.
        lines.push(format!("    try:     {}", help.replace('\n', &format!("\n{INDENT}"))));
    }
    lines.push(format!("    code:    {}", failure.code));
    if !failure.output.is_empty() {
        lines.push(format!("    last {} of output:", count(failure.output.len(), "line")));
        lines.extend(failure.output.iter().map(|line| format!("      {} {line}", look.dim("|"))));
    }
    lines.iter().flat_map(|line| line.lines()).map(str::to_owned).collect()
}

/// "12 changes on 4 hosts in 41 s", or how it ended otherwise.
fn total(state: &RunState, look: Look) -> String {
    let Some(finish) = state.finished else {
        let seen = state.last.map_or(0, |last| state.elapsed(last));
        let text = format!("ended without a result after {}, {}", duration(seen), done(state, state.changed));
        return format!("{} {text}", look.mark(Mark::Warned));
    };
    let time = duration(finish.millis);
    match finish.outcome {
        Outcome::Ok => {
            let text = match state.planned {
                Some(plan) if finish.changed == 0 && plan.changes > 0 => format!(
                    "{} to make on {}, found in {time}",
                    count(plan.changes, "change"),
                    count(plan.hosts, "host")
                ),
                _ => format!("{} in {time}", done(state, finish.changed)),
            };
            format!("{} {text}{}", look.mark(Mark::Ok), warned(state))
        }
        Outcome::Failed => {
            let failed =
                state.hosts.iter().filter(|host| state.failures.iter().any(|f| f.host.as_ref() == Some(&host.name)));
            let text = match failed.count() {
                0 => "failed".to_owned(),
                some => format!("{some} of {} failed", count(state.hosts.len(), "host")),
            };
            format!("{} {text} after {time}, {}{}", look.mark(Mark::Failed), done(state, finish.changed), warned(state))
        }
        Outcome::Interrupted => {
            format!(
                "{} interrupted after {time}, {}; run it again to go on",
                look.mark(Mark::Warned),
                done(state, finish.changed)
            )
        }
    }
}

/// "12 changes on 4 hosts": the hosts are those that were changed, or all of them when none was.
fn done(state: &RunState, changed: usize) -> String {
    let hosts = match state.hosts.iter().filter(|host| host.changed > 0).count() {
        0 => state.hosts.len(),
        some => some,
    };
    format!("{} on {}", count(changed, "change"), count(hosts, "host"))
}

fn warned(state: &RunState) -> String {
    match state.warnings {
        0 => String::new(),
        some => format!(", {}", count(some, "warning")),
    }
}
