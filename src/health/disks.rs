//! Disks and their inodes: how full, and how long they last.

use super::finding::{Finding, Limits, State};
use super::forecast::Forecast;
use super::host::{Disk, Inodes};
use super::{Case, Check, on};
use crate::cluster::assess::size;
use crate::names::HostName;
use crate::quote;

pub const CHECKS: [Check; 3] = [
    Check {
        id: "disk-space",
        title: "of every disk the services write to less than 85 % are used; 95 %: critical",
        rules: &[],
        look: space,
    },
    Check { id: "disk-inodes", title: "the same of the inodes there", rules: &[], look: inodes },
    Check {
        id: "disk-forecast",
        title: "no disk is going to be full within 7 days; within 1: critical",
        rules: &[],
        look: forecast,
    },
];

/// Of what there is.
pub const FULL: Limits = Limits { warning: 0.85, critical: 0.95 };
const DAY: f64 = 86_400.0;
const SOON: f64 = 7.0 * DAY;

fn space(case: &Case<'_>) -> Vec<Finding> {
    each_disk(case, |host, disk| {
        let text = format!("{} of {} are free", size(disk.free), size(disk.used + disk.free));
        Some(full(host, disk, (disk.ratio(), &text)).fix(crowd(host, disk)))
    })
}

fn inodes(case: &Case<'_>) -> Vec<Finding> {
    each_disk(case, |host, disk| {
        let inodes = disk.inodes?;
        let Inodes { total, used } = inodes;
        let text = format!("{} of {total} inodes are free", total.saturating_sub(used));
        let look = format!("du -x --inodes --max-depth=4 --threshold=10000 {}", quote::path(disk.mount.as_ref()));
        let fix = format!("see where the many files are: {}", on(host, &look));
        Some(full(host, disk, (inodes.ratio(), &text)).fix(fix))
    })
}

/// Every disk of every host; a host on which all are well is one finding.
fn each_disk(case: &Case<'_>, judge: impl Fn(&HostName, &Disk) -> Option<Finding>) -> Vec<Finding> {
    case.each_host(|host, look| {
        if look.disks.is_empty() {
            return vec![Finding::unknown(format!("{host} does not say how full its disks are")).on(host)];
        }
        let (well, ill): (Vec<_>, Vec<_>) =
            look.disks.iter().filter_map(|disk| judge(host, disk)).partition(|finding| finding.state == State::Ok);
        if !ill.is_empty() {
            return ill;
        }
        let places: Vec<String> = well.into_iter().map(|finding| finding.evidence).collect();
        let text = if places.is_empty() { "as many as needed".to_owned() } else { places.join(", ") };
        vec![Finding::ok(text).on(host)]
    })
}

fn full(host: &HostName, disk: &Disk, (ratio, text): (f64, &str)) -> Finding {
    let state = FULL.judge(ratio);
    let percent = (ratio * 100.0).round();
    let evidence = match state {
        State::Ok => format!("{} {percent} %", disk.mount),
        _ => format!("{} on {host} is {percent} % full: {text} ({})", disk.mount, disk.paths.join(", ")),
    };
    Finding::new(state, evidence).on(host)
}

fn crowd(host: &HostName, disk: &Disk) -> String {
    let look = format!("du -xh --max-depth=4 --threshold=100M {}", quote::path(disk.mount.as_ref()));
    format!("see what takes it (nothing in pg_wal may be removed by hand): {}", on(host, &look))
}

fn forecast(case: &Case<'_>) -> Vec<Finding> {
    let samples = match &case.measured.samples {
        Ok(samples) => samples,
        Err(why) => {
            let unknown = Finding::unknown(format!("what disks held before is not known: {why}"));
            return vec![unknown.fix("let this user write there, or name another place with XDG_STATE_HOME")];
        }
    };
    let mut findings = case.each_host(|host, look| {
        let forecasts = look.disks.iter().map(|disk| (disk, samples.forecast(case.measured.now, host, disk)));
        forecasts.filter_map(|(disk, forecast)| expected(host, disk, forecast)).collect()
    });
    if findings.is_empty() {
        let text = "no forecast yet: it takes looks at the disks over an hour or more";
        findings.push(Finding::notice(text).fix(format!("look regularly, from cron: {}", case.ours("health"))));
    }
    findings
}

fn expected(host: &HostName, disk: &Disk, forecast: Forecast) -> Option<Finding> {
    let seconds = match forecast {
        Forecast::NotYet => return None,
        Forecast::Never => return Some(Finding::ok(format!("{} never", disk.mount)).on(host)),
        Forecast::Full(seconds) => seconds,
    };
    let state = match seconds {
        ..DAY => State::Critical,
        ..SOON => State::Warning,
        _ => State::Ok,
    };
    let text = match state {
        State::Ok if seconds > 365.0 * DAY => format!("{} > 1 year", disk.mount),
        State::Ok => format!("{} {:.0} days", disk.mount, seconds / DAY),
        _ => format!("{} on {host} will be full {} if it goes on growing as it does", disk.mount, within(seconds)),
    };
    Some(Finding::new(state, text).on(host).fix(crowd(host, disk)))
}

fn within(seconds: f64) -> String {
    if seconds < DAY { format!("in {:.0} h", seconds / 3600.0) } else { format!("in {:.1} days", seconds / DAY) }
}
