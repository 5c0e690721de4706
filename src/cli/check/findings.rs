//! What `check` found, for people and for programs.

use serde_json::{Map, Value, json};

use super::checks;
use crate::cluster::table::{Look, Paint};
use crate::error::one_line;
use crate::facts::preflight::{Finding, Severity};
use crate::inventory::Inventory;
use crate::names::HostName;
use crate::report::text::{count, wrap};
use crate::workflow::Checked;

pub(super) struct Report<'a> {
    pub inventory: &'a Inventory,
    pub checked: &'a Checked,
}

impl Report<'_> {
    /// Grouped: what is the same on several hosts is said once. The worst comes first, and the sum at the end.
    pub fn text(&self, look: Look) -> String {
        let columns = look.width.map_or(120, |width| usize::from(width).clamp(40, 120));
        let mut text = String::new();
        for (hosts, finding) in self.grouped() {
            let hosts = hosts.iter().map(|host| host.as_str()).collect::<Vec<_>>().join(", ");
            let head = format!("{} {hosts}: {}", mark(finding.severity, look.paint), finding.message);
            let about = format!("    about: {}", finding.check.anchor());
            // The help is not wrapped: there is a command in it that somebody wants to copy.
            let help = format!("    try:   {}", finding.help);
            for line in wrap(&head, columns, "    ").into_iter().chain([help, about]) {
                text.push_str(&line);
                text.push('\n');
            }
        }
        text.push_str(&self.sum());
        text.push('\n');
        text
    }

    fn grouped(&self) -> Vec<(Vec<&HostName>, &Finding)> {
        let mut groups: Vec<(Vec<&HostName>, &Finding)> = Vec::new();
        for finding in &self.checked.findings {
            let same = |other: &Finding| {
                (other.check, other.severity, &other.message, &other.help)
                    == (finding.check, finding.severity, &finding.message, &finding.help)
            };
            match groups.iter_mut().find(|(_, other)| same(other)) {
                Some((hosts, _)) => hosts.push(&finding.host),
                None => groups.push((vec![&finding.host], finding)),
            }
        }
        groups
    }

    /// "70 checks on 4 hosts: 1 refusal, 2 warnings".
    fn sum(&self) -> String {
        let of = |severity| self.checked.findings.iter().filter(|finding| finding.severity == severity).count();
        let mut parts: Vec<String> = [(of(Severity::Refuse), "refusal"), (of(Severity::Warn), "warning")]
            .into_iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, noun)| count(number, noun))
            .collect();
        match of(Severity::Advise) {
            0 => {}
            1 => parts.push("1 piece of advice".to_owned()),
            some => parts.push(format!("{some} pieces of advice")),
        }
        let unusable = self.checked.unusable.len();
        if unusable > 0 {
            parts.push(format!("{} could not be looked at", count(unusable, "host")));
        }
        let verdict = if parts.is_empty() { "all good".to_owned() } else { parts.join(", ") };
        format!("{} on {}: {verdict}", count(checks(), "check"), count(self.checked.facts.len(), "host"))
    }

    /// What was seen and found, beside what is said of the inventory.
    pub fn add_to(&self, document: &mut Value) {
        let finding = |finding: &Finding| {
            json!({
                "id": finding.check.id,
                "host": finding.host,
                "severity": finding.severity,
                "message": finding.message,
                "help": finding.help,
                "doc": finding.check.anchor(),
            })
        };
        let unusable = &self.checked.unusable;
        let unusable: Map<String, Value> =
            unusable.iter().map(|(host, problem)| (host.to_string(), one_line(problem).into())).collect();
        document["cluster"] = json!(self.inventory.cluster);
        document["checks"] = json!(checks());
        document["findings"] = self.checked.findings.iter().map(finding).collect();
        document["unusable"] = Value::Object(unusable);
        document["facts"] = json!(self.checked.facts);
    }
}

fn mark(severity: Severity, paint: Paint) -> String {
    let (word, style) = match severity {
        Severity::Refuse => ("refused", console::Style::new().red().bold()),
        Severity::Warn => ("warning", console::Style::new().yellow()),
        Severity::Advise => ("advice ", console::Style::new().cyan()),
    };
    match paint {
        Paint::Colour => style.force_styling(true).apply_to(word).to_string(),
        Paint::Plain => word.to_owned(),
    }
}
