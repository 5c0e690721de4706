//! PostgreSQL's parameters, so that what runs goes on: those all members share, those every member has for itself, and
//! the values in force of those for which this program would otherwise bring its own.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Difference;
use super::draft::Table;
use super::hosts::Hosts;
use crate::cluster::postgres::config_diff;
use crate::inventory::Inventory;
use crate::role::dynamic_config;

/// The templates say these on every member.
const OF_TEMPLATES: [&str; 6] =
    ["unix_socket_directories", "ssl", "ssl_cert_file", "ssl_key_file", "ssl_ca_file", "ssl_min_protocol_version"];
const SOCKETS: [&str; 2] = ["/var/run/postgresql", "/run/postgresql"];

/// The parameters in what all members share.
pub(super) fn of(config: &Value) -> Map<String, Value> {
    config.pointer("/postgresql/parameters").and_then(Value::as_object).cloned().unwrap_or_default()
}

/// Written differently perhaps.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    config_diff(&json!({ "it": one }), &json!({ "it": other })).is_empty()
}

/// None for what has a structure, or is nothing.
pub(super) fn toml(value: &Value) -> Option<toml_edit::Value> {
    match value {
        Value::Bool(value) => Some((*value).into()),
        Value::Number(number) => number.as_i64().map(Into::into).or_else(|| number.as_f64().map(Into::into)),
        Value::String(text) => Some(text.as_str().into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A setting as PostgreSQL shows it, as a person would write it.
fn typed(text: &str) -> Value {
    match text {
        "on" => Value::Bool(true),
        "off" => Value::Bool(false),
        text => text.parse::<i64>().map_or_else(|_| Value::String(text.to_owned()), Value::from),
    }
}

/// Those that are not as this program would set them anyway.
pub(super) fn write(hosts: &Hosts, defaults: &Inventory, differences: &mut Vec<Difference>) -> Table {
    let ours = of(&dynamic_config(defaults));
    let mut all = hosts.dynamic().map(of).unwrap_or_default();
    for (name, value) in own(hosts, differences) {
        all.insert(name, value);
    }
    let running = hosts.server().map(|server| server.parameters.clone()).unwrap_or_default();
    for (name, value) in running.into_iter().filter(|(name, _)| ours.contains_key(name)) {
        all.entry(name).or_insert_with(|| typed(&value));
    }
    let mut table = Table::default();
    for (name, value) in all.iter().filter(|(name, value)| !ours.get(*name).is_some_and(|our| same(our, value))) {
        if let Some(value) = toml(value) {
            table.set(name, value);
        }
    }
    table
}

/// What each member has for itself, and the same as all others; it wins over what they share.
fn own(hosts: &Hosts, differences: &mut Vec<Difference>) -> BTreeMap<String, Value> {
    let mut common: Option<BTreeMap<String, Value>> = None;
    for (host, patroni) in hosts.patronis() {
        let mine: BTreeMap<&str, &Value> = patroni.own_parameters();
        if let Some(other) =
            mine.get("unix_socket_directories").and_then(|value| value.as_str()).filter(|it| !SOCKETS.contains(it))
        {
            differences.push(Difference::of(
                host,
                format!("its PostgreSQL has its socket in {other}; here it is in {}", SOCKETS[0]),
            ));
        }
        let mine = mine.into_iter().filter(|(name, _)| !OF_TEMPLATES.contains(name));
        let mine: BTreeMap<String, Value> = mine.map(|(name, value)| (name.to_owned(), value.clone())).collect();
        let Some(known) = &mut common else {
            common = Some(mine);
            continue;
        };
        let differs = |name: &&String| known.get(*name) != mine.get(*name);
        let names: Vec<String> = known.keys().chain(mine.keys()).filter(differs).cloned().collect();
        for name in names.iter().collect::<std::collections::BTreeSet<_>>() {
            known.remove(name);
            let what = format!("its PostgreSQL has a value of its own for {name}; here all members have the same");
            differences.push(Difference::of(host, what));
        }
    }
    common.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_types() {
        let written = |value: Value| toml(&value).map(|value| value.to_string());
        assert_eq!(written(typed("100")).as_deref(), Some("100"));
        assert_eq!(written(typed("on")).as_deref(), Some("true"));
        assert_eq!(written(typed("128MB")).as_deref(), Some("\"128MB\""));
        assert_eq!(written(json!("100")).as_deref(), Some("\"100\""));
        assert_eq!(written(json!(0.5)).as_deref(), Some("0.5"));
        assert_eq!(written(json!(["a"])), None);
    }

    #[test]
    fn the_same_may_be_written_differently() {
        assert!(same(&json!(true), &json!("on")) && same(&json!(100), &json!("100")));
        assert!(!same(&json!("256MB"), &json!("128MB")));
    }
}
