//! A report for people: the verdict, what is not as it should be with what to do about it, then what is well.

use console::{Style, measure_text_width};

use super::finding::State;
use super::{Checked, Report, Told};
use crate::cluster::table::{Look, Paint};
use crate::report::text::{fit, printable, wrap};

/// Without a terminal nothing is wrapped or cut.
const NO_LIMIT: usize = 10_000;
/// Where texts begin: after the state.
const INDENT: &str = "           ";

/// Everything, ending in a newline.
pub fn render(report: &Report, look: Look) -> String {
    let mood = if report.state.is_well() { State::Ok } else { report.state };
    let lines = wrap(&printable(&report.verdict), look.width.map_or(NO_LIMIT, usize::from), "");
    let mut text: String = lines.iter().map(|line| format!("{}\n", paint(line, mood, look))).collect();
    text.extend(report.told().iter().map(|told| ill(told, look)));
    let well = report.checks.iter().filter(|check| check.state == State::Ok);
    text.extend(well.map(|check| quiet(check, look)));
    text
}

fn ill(told: &Told<'_>, look: Look) -> String {
    let Told { ids, finding } = told;
    let state = paint(&format!("{:<8}", finding.state.word()), finding.state, look);
    let (ids, evidence) = (broken(&ids.join(", "), look), broken(&finding.evidence, look));
    let mut text = format!(" {state}  {ids}\n{INDENT}{evidence}\n");
    if let Some(fix) = &finding.fix {
        text.push_str(&advice(&format!("fix: {}", printable(fix).replace('\n', " ")), look));
    }
    text
}

/// A command that is wrapped cannot be copied: where a line is too short for all of it, it has one for itself.
fn advice(fix: &str, look: Look) -> String {
    if measure_text_width(fix) <= width(look) {
        return format!("{INDENT}{fix}\n");
    }
    let parts = fix.split('`').enumerate().map(|(index, part)| match index % 2 {
        1 => format!("{INDENT}  {part}\n"),
        _ => match part.trim_matches([' ', ',', ';']) {
            "" => String::new(),
            words => format!("{INDENT}{}\n", broken(words, look)),
        },
    });
    parts.collect()
}

/// In one line, whatever there is to say.
fn quiet(check: &Checked, look: Look) -> String {
    let mut said: Vec<(&str, Vec<&str>)> = Vec::new();
    for finding in &check.findings {
        let host = finding.host.as_ref().map(|host| host.as_str());
        match said.iter_mut().find(|(evidence, _)| *evidence == finding.evidence) {
            Some((_, hosts)) => hosts.extend(host),
            None => said.push((&finding.evidence, host.into_iter().collect())),
        }
    }
    let said = said.into_iter().map(|(evidence, hosts)| match hosts.is_empty() {
        true => evidence.to_owned(),
        false => format!("{}: {evidence}", hosts.join(", ")),
    });
    let said = said.collect::<Vec<_>>().join("; ");
    let line = format!("{:<26}  {}", check.id, printable(&said));
    let state = paint(&format!("{:<8}", State::Ok.word()), State::Ok, look);
    format!(" {state}  {}\n", fit(line.trim_end(), width(look), "…"))
}

fn width(look: Look) -> usize {
    look.width.map_or(NO_LIMIT, usize::from).saturating_sub(INDENT.len())
}

fn broken(text: &str, look: Look) -> String {
    wrap(&printable(text).replace('\n', " "), width(look), "").join(&format!("\n{INDENT}"))
}

fn paint(text: &str, state: State, look: Look) -> String {
    let style = match state {
        State::Critical => Style::new().red().bold(),
        State::Warning => Style::new().yellow(),
        State::Unknown => Style::new().magenta(),
        State::Notice => Style::new().cyan(),
        State::Ok => Style::new().green(),
    };
    match look.paint {
        Paint::Colour => style.force_styling(true).apply_to(text).to_string(),
        Paint::Plain => text.to_owned(),
    }
}
