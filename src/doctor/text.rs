//! A diagnosis for people: the worst first, each with its cause, what shows it, and what to do.

use console::Style;

use super::Diagnosis;
use super::finding::{Finding, Step};
use crate::cluster::Severity;
use crate::cluster::table::{Look, Paint};
use crate::report::text::{printable, wrap};

/// Where texts begin.
const INDENT: &str = "            ";
/// Without a terminal nothing is wrapped.
const NO_LIMIT: usize = 10_000;

/// Everything, ending in a newline.
pub fn render(diagnosis: &Diagnosis, look: Look) -> String {
    let mut text = format!("{}\n", diagnosis.verdict);
    for finding in &diagnosis.findings {
        text.push('\n');
        text.push_str(&told(finding, look));
    }
    text
}

fn told(finding: &Finding, look: Look) -> String {
    let word = match finding.severity {
        Severity::Critical => paint("critical", &Style::new().red().bold(), look),
        Severity::Warning => paint("warning", &Style::new().yellow(), look),
        Severity::Notice => paint("notice", &Style::new().cyan(), look),
    };
    let mut text = format!("{word}: {} [{}]\n", broken(&finding.what, "", look), finding.id);
    if let Some(cause) = &finding.cause {
        text.push_str(&labelled("cause", cause, look));
    }
    for (index, evidence) in finding.evidence.iter().enumerate() {
        let host = evidence.host.as_ref().map(|host| format!("{host}: ")).unwrap_or_default();
        text.push_str(&labelled(if index == 0 { "seen" } else { "" }, &format!("{host}{}", evidence.text), look));
    }
    for (index, step) in finding.steps.iter().enumerate() {
        text.push_str(&done(if index == 0 { "do" } else { "" }, step, look));
    }
    for (index, consequence) in finding.consequences.iter().enumerate() {
        text.push_str(&labelled(if index == 0 { "hence" } else { "" }, consequence, look));
    }
    text
}

/// A command stands alone in its line and is never wrapped, so that it can be copied.
fn done(label: &str, step: &Step, look: Look) -> String {
    match &step.command {
        None => labelled(label, &step.what, look),
        Some(command) => {
            let command = paint(&printable(command), &Style::new().bold(), look);
            format!("{}{INDENT}  {command}\n", labelled(label, &format!("{}:", step.what), look))
        }
    }
}

fn labelled(label: &str, text: &str, look: Look) -> String {
    let label = if label.is_empty() { String::new() } else { format!("{label}:") };
    format!("  {label:<9} {}\n", broken(text, INDENT, look))
}

fn broken(text: &str, indent: &str, look: Look) -> String {
    let width = look.width.map_or(NO_LIMIT, usize::from).saturating_sub(indent.len());
    let text = printable(text).replace('\n', " ");
    wrap(&text, width, "").join(&format!("\n{indent}"))
}

fn paint(text: &str, style: &Style, look: Look) -> String {
    match look.paint {
        Paint::Colour => style.clone().force_styling(true).apply_to(text).to_string(),
        Paint::Plain => text.to_owned(),
    }
}
