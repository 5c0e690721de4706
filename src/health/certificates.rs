//! Certificates: until when.

use super::finding::Finding;
use super::{Case, Check};

pub const CHECKS: [Check; 1] =
    [Check { id: "certificates", title: "no certificate ends soon", rules: &["expiry", "authorities"], look: expiry }];

fn expiry(case: &Case<'_>) -> Vec<Finding> {
    if !case.inventory.tls.enabled {
        return vec![Finding::ok("TLS is off")];
    }
    let view = case.view;
    let hidden = view.certificates.iter().filter(|shown| shown.answer.known().is_none());
    let hidden: Vec<String> = hidden.map(|shown| format!("{} on {}", shown.purpose, shown.host)).collect();
    let mut findings = Vec::new();
    if !hidden.is_empty() {
        findings.push(Finding::unknown(format!("these showed no certificate: {}", hidden.join(", "))));
    }
    let days = view.certificates.iter().filter_map(|shown| shown.answer.known()).map(|shown| shown.days_left);
    let authorities = view.authorities.iter().map(|authority| authority.days_left);
    match (days.min(), authorities.min()) {
        (Some(days), Some(authority)) => {
            findings.push(Finding::ok(format!("the first ends in {days} days, the authority in {authority}")));
        }
        _ if findings.is_empty() => findings.push(Finding::unknown("no certificate was seen")),
        _ => {}
    }
    findings
}
