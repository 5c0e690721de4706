//! Whether what was seen is good enough.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::bound::Bound;
use super::fault::{Fault, Moves};
use super::figures::Figures;
use super::record::Recording;

/// A drill that was done: what a report is made of, and what is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Drill {
    pub drill: Fault,
    pub passed: bool,
    pub started: Timestamp,
    pub finished: Timestamp,
    pub setting: Setting,
    pub bound: Option<Bound>,
    pub budget: Budget,
    pub findings: Vec<Finding>,
    pub runs: Vec<Run>,
}

/// On what, by whom, how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    pub cluster: String,
    pub program: String,
    pub who: String,
    pub reason: Option<String>,
    /// How clients reached HAProxy.
    pub way: String,
    pub versions: Vec<String>,
    pub timings: Vec<(String, String)>,
    /// A commit waits for a replica.
    pub synchronous: bool,
}

/// What a site asks for; what it does not say follows from the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    pub write_gap_millis: Option<u64>,
    pub lost: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    pub figures: Figures,
    pub recording: Recording,
}

/// One thing that has to hold, and whether it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub held: bool,
    pub text: String,
}

/// Every rule, over all runs.
pub fn judge(fault: Fault, (setting, bound, budget): (&Setting, Option<&Bound>, Budget), runs: &[Run]) -> Vec<Finding> {
    let all: Vec<&Figures> = runs.iter().map(|run| &run.figures).collect();
    let mut findings = vec![one_writable(&all), rows(fault, setting, budget, &all)];
    findings.extend(write_gap(bound, budget, &all));
    findings.extend(leader(fault, &all));
    findings.push(healed(&all));
    findings
}

fn finding(held: bool, text: String) -> Finding {
    Finding { held, text }
}

fn one_writable(all: &[&Figures]) -> Finding {
    match all.iter().map(|figures| figures.two_writable).max().unwrap_or_default() {
        0 => finding(true, "never two members took writes at once".to_owned()),
        longest => finding(false, format!("two members took writes at once, for {}", seconds(longest))),
    }
}

/// Asynchronous replication may lose what it had acknowledged last when the leader is gone; nothing else may.
fn rows(fault: Fault, setting: &Setting, budget: Budget, all: &[&Figures]) -> Finding {
    let sum = |count: fn(&Figures) -> u64| all.iter().map(|figures| count(figures)).sum::<u64>();
    let (acknowledged, lost, unknown) = (sum(|it| it.acknowledged), sum(|it| it.lost), sum(|it| it.unknown));
    if unknown > 0 {
        return finding(false, format!("{unknown} rows are there that nobody has sent"));
    }
    let moved = all.iter().any(|figures| figures.leader_after != figures.leader_before);
    let may = !setting.synchronous && fault != Fault::Switchover && moved;
    let allowed = budget.lost.or((!may).then_some(0));
    let text = format!("{lost} of {acknowledged} acknowledged rows were lost");
    match allowed {
        Some(allowed) => finding(lost <= allowed, format!("{text}, of {allowed} that may be")),
        None => {
            finding(true, format!("{text} (replication is asynchronous: what a lost leader acknowledged last may be)"))
        }
    }
}

fn write_gap(bound: Option<&Bound>, budget: Budget, all: &[&Figures]) -> Option<Finding> {
    let (limit, whose) = match (budget.write_gap_millis, bound) {
        (Some(limit), _) => (limit, "the budget"),
        (None, Some(bound)) => (bound.millis, "what the timings promise"),
        (None, None) => return None,
    };
    // a pool that is full of connections goes on where nobody can connect
    let gaps = all.iter().flat_map(|figures| [("write", figures.write_gap), ("connect", figures.connect_gap)]);
    let (what, worst) = gaps.max_by_key(|(_, gap)| gap.unwrap_or(u64::MAX))?;
    Some(match worst {
        Some(worst) => finding(
            worst <= limit,
            format!("nobody could {what} for {}, of {} ({whose})", seconds(worst), seconds(limit)),
        ),
        None => finding(false, format!("nobody could {what} any more")),
    })
}

fn leader(fault: Fault, all: &[&Figures]) -> Option<Finding> {
    let moved = all.iter().filter(|figures| figures.leader_after != figures.leader_before).count();
    match fault.moves() {
        Moves::May => None,
        Moves::Must => {
            Some(finding(moved == all.len(), format!("another member led afterwards in {moved} of {} runs", all.len())))
        }
        Moves::MustNot => {
            Some(finding(moved == 0, format!("the leader stayed in {} of {} runs", all.len() - moved, all.len())))
        }
    }
}

fn healed(all: &[&Figures]) -> Finding {
    match all.iter().filter(|figures| figures.healed.is_none()).count() {
        0 => finding(true, "all was well again afterwards".to_owned()),
        left => finding(false, format!("not all was well again afterwards, in {left} runs")),
    }
}

/// `1.4 s`
pub fn seconds(millis: u64) -> String {
    format!("{:.1} s", millis as f64 / 1000.0)
}
