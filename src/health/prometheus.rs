//! A report as Prometheus reads it (text format 0.0.4), for the textfile collector of its node exporter.

use std::collections::BTreeMap;

use prometheus::{Gauge, GaugeVec, Opts, Registry, TextEncoder};

use super::Report;
use super::figures::Metric;
use super::finding::State;
use crate::error::{Exit, Fails};

/// Names and labels are our own, so this is a bug.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot write this for Prometheus")]
#[diagnostic(code(xnat::health::prometheus), help("this is a bug; please report it"))]
pub struct MetricsError(#[from] prometheus::Error);

impl Fails for MetricsError {
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

/// Everything, ending in a newline.
pub fn prometheus(report: &Report, now: jiff::Timestamp) -> Result<String, MetricsError> {
    // the cluster tells those apart whose files are in one directory
    let labels = [("cluster".to_owned(), report.cluster.clone())].into();
    let registry = Registry::new_custom(None, Some(labels))?;
    let total = Gauge::new("xnat_health_state", "0 healthy, 1 warning, 2 critical, 3 unknown")?;
    total.set(report.state.number().into());
    registry.register(Box::new(total))?;
    let looked = Gauge::new("xnat_health_timestamp_seconds", "When health looked")?;
    looked.set(now.as_second() as f64);
    registry.register(Box::new(looked))?;
    checks(report, &registry)?;
    figures(report, &registry)?;
    Ok(TextEncoder::new().encode_to_string(&registry.gather())?)
}

/// One for each check and place.
fn checks(report: &Report, registry: &Registry) -> Result<(), prometheus::Error> {
    let help = "0 ok, 1 warning, 2 critical, 3 unknown; without a host it is the whole cluster's";
    let gauges = GaugeVec::new(Opts::new("xnat_health_check", help), &["check", "host"])?;
    let mut worst: BTreeMap<(&str, &str), State> = BTreeMap::new();
    for check in &report.checks {
        for finding in &check.findings {
            let host = finding.host.as_ref().map_or("", |host| host.as_str());
            let state = worst.entry((check.id, host)).or_insert(finding.state);
            *state = finding.state.min(*state);
        }
    }
    for ((check, host), state) in worst {
        gauges.get_metric_with_label_values(&[check, host])?.set(state.number().into());
    }
    registry.register(Box::new(gauges))
}

fn figures(report: &Report, registry: &Registry) -> Result<(), prometheus::Error> {
    let mut families: BTreeMap<&str, GaugeVec> = BTreeMap::new();
    for figure in &report.figures {
        let Metric { name, help, label } = figure.metric;
        if !families.contains_key(name) {
            let labels: Vec<&str> = std::iter::once("host").chain(label).collect();
            let gauges = GaugeVec::new(Opts::new(name, help), &labels)?;
            registry.register(Box::new(gauges.clone()))?;
            families.insert(name, gauges);
        }
        let values: Vec<&str> = std::iter::once(figure.host.as_str()).chain(figure.of.as_deref()).collect();
        families[name].get_metric_with_label_values(&values)?.set(figure.value);
    }
    Ok(())
}
