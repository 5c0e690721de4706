//! A report as the guidelines for plugins of Nagios want it: one line with figures behind a bar, then the rest.

use super::figures::{self, Figure, Metric};
use super::finding::{Limits, State};
use super::{Report, Told, disks, etcd, haproxy};

/// The graphs worth having, with label and unit.
const GRAPHS: [(Metric, &str, &str); 6] = [
    (figures::LAG, "lag", "B"),
    (figures::WRITE, "write", "s"),
    (figures::READ, "read", "s"),
    (figures::ETCD_AGREEMENT, "etcd", "s"),
    (figures::CONNECTIONS, "connections", ""),
    (figures::DISK, "disk", "%"),
];

/// Everything, ending in a newline.
pub fn nagios(report: &Report) -> String {
    let perfdata: Vec<String> = report.figures.iter().filter_map(graph).collect();
    let mut text = format!("XNAT {} - {}", word(report.state), plain(&summary(report)));
    if !perfdata.is_empty() {
        text.push_str(&format!(" | {}", perfdata.join(" ")));
    }
    text.push('\n');
    text.extend(report.told().iter().map(line));
    let well: Vec<&str> = report.checks.iter().filter(|c| c.state == State::Ok).map(|check| check.id).collect();
    if !well.is_empty() {
        text.push_str(&format!("OK: {}\n", well.join(", ")));
    }
    text
}

/// For what kept us from looking at all.
pub fn nagios_unknown(why: &str) -> String {
    format!("XNAT UNKNOWN - {}\n", plain(why))
}

/// What is worst, by name, since a pager shows no more than this line.
fn summary(report: &Report) -> String {
    let worst = report.checks.iter().filter(|check| check.state == report.state);
    let worst: Vec<&str> = worst.map(|check| check.id).collect();
    if report.state.is_well() || report.blind {
        return report.verdict.clone();
    }
    format!("{}: {}", worst.join(", "), report.verdict)
}

fn line(told: &Told<'_>) -> String {
    let Told { ids, finding } = told;
    let fix = finding.fix.as_ref().map(|fix| format!("; {fix}")).unwrap_or_default();
    let word = if finding.state == State::Notice { "NOTICE" } else { word(finding.state) };
    format!("{word} {}: {}\n", ids.join(", "), plain(&format!("{}{fix}", finding.evidence)))
}

fn word(state: State) -> &'static str {
    match state {
        State::Critical => "CRITICAL",
        State::Warning => "WARNING",
        State::Unknown => "UNKNOWN",
        State::Notice | State::Ok => "OK",
    }
}

/// One line, in which a bar would begin figures.
fn plain(text: &str) -> String {
    crate::report::text::printable(text).replace('\n', " ").replace('|', "¦")
}

/// `'db1 lag'=0B;;;0`: value, limits, and how little and how much it can be.
fn graph(figure: &Figure) -> Option<String> {
    let (metric, label, unit) = GRAPHS.into_iter().find(|(metric, ..)| *metric == figure.metric)?;
    let of = figure.of.as_ref().map(|of| format!(" {of}")).unwrap_or_default();
    let label = format!("{} {label}{of}", figure.host).replace(['\'', '='], "_");
    let value = figure.value;
    let rest = match metric {
        figures::DISK => format!("{:.1}{unit};{};0;100", value * 100.0, limits(disks::FULL, 100.0)),
        figures::ETCD_AGREEMENT => format!("{value:.4}{unit};{};0", limits(etcd::AGREEMENT, 1.0)),
        figures::WRITE | figures::READ => format!("{value:.4}{unit};{};0", limits(haproxy::PASSAGE, 1.0)),
        _ => format!("{value:.0}{unit};;;0"),
    };
    Some(format!("'{label}'={rest}"))
}

fn limits(limits: Limits, factor: f64) -> String {
    let one = |limit: f64| if limit.is_finite() { format!("{}", limit * factor) } else { String::new() };
    format!("{};{}", one(limits.warning), one(limits.critical))
}
