//! The configuration all members share (Patroni's, in etcd): how it differs from what is wanted, and what of that
//! would restart a running database. Pure but for [`settings`].

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio_postgres::Client;

/// A line of pg_settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// `postmaster` means that only a restart changes it.
    pub context: String,
    /// `bool`, `integer`, `real`, `string`, `enum`
    pub kind: String,
    /// `8kB`, `ms`, …
    pub unit: Option<String>,
    pub value: String,
}

/// Name → setting.
pub type Settings = BTreeMap<String, Setting>;

pub async fn settings(client: &Client) -> Result<Settings, tokio_postgres::Error> {
    let rows = client.query_typed("SELECT name, context, vartype, unit, setting FROM pg_settings", &[]).await?;
    rows.iter()
        .map(|row| {
            let setting = Setting {
                context: row.try_get(1)?,
                kind: row.try_get(2)?,
                unit: row.try_get(3)?,
                value: row.try_get(4)?,
            };
            Ok((row.try_get(0)?, setting))
        })
        .collect()
}

/// A value of the shared configuration that is not as wanted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigChange {
    /// `["postgresql", "parameters", "max_connections"]`
    pub path: Vec<String>,
    pub old: Option<Value>,
    /// None removes it.
    pub new: Option<Value>,
}

impl ConfigChange {
    /// The PostgreSQL parameter this is about.
    pub fn parameter(&self) -> Option<&str> {
        match self.path.as_slice() {
            [first, second, name] if first == "postgresql" && second == "parameters" => Some(name),
            _ => None,
        }
    }
}

impl std::fmt::Display for ConfigChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} → {}", self.path.join("."), text(&self.old), text(&self.new))
    }
}

/// What has to change so that every wanted key is as wanted; a wanted `null` must be absent. Keys nobody asked for
/// are left alone: somebody else may have put them there.
pub fn config_diff(desired: &Value, actual: &Value) -> Vec<ConfigChange> {
    let mut changes = Vec::new();
    compare(&mut Vec::new(), desired, Some(actual), &mut changes);
    changes
}

fn compare(path: &mut Vec<String>, desired: &Value, actual: Option<&Value>, changes: &mut Vec<ConfigChange>) {
    if let Value::Object(wanted) = desired {
        for (key, value) in wanted {
            path.push(key.clone());
            compare(path, value, actual.and_then(|a| a.get(key)), changes);
            path.pop();
        }
        return;
    }
    let actual = actual.filter(|a| !a.is_null());
    let same = match actual {
        None => desired.is_null(),
        Some(actual) => same(desired, actual),
    };
    if !same {
        let new = (!desired.is_null()).then(|| desired.clone());
        changes.push(ConfigChange { path: path.clone(), old: actual.cloned(), new });
    }
}

/// PostgreSQL parameters that are set for all members and that nobody asked for: taken out of the inventory, or put
/// there by hand. `name = value`.
pub fn unasked_parameters(desired: &Value, actual: &Value) -> Vec<String> {
    let parameters = |config: &Value| config.pointer("/postgresql/parameters").and_then(Value::as_object).cloned();
    let wanted = parameters(desired).unwrap_or_default();
    let set = parameters(actual).unwrap_or_default().into_iter().filter(|(name, _)| !wanted.contains_key(name));
    set.map(|(name, value)| format!("{name} = {}", text(&Some(value)))).collect()
}

/// The same for settings of Patroni. What lasts for a while only (maintenance mode, and why) is none.
pub fn unasked_settings(desired: &Value, actual: &Value) -> Vec<String> {
    let passing = |name: &str| name == "pause" || name.starts_with("xnat_provision_");
    let of = |place: &str, prefix: &str| {
        let keys = |config: &Value| config.pointer(place).and_then(Value::as_object).cloned().unwrap_or_default();
        let wanted = keys(desired);
        let set = keys(actual).into_iter().filter(|(name, _)| !wanted.contains_key(name) && !passing(name));
        set.map(|(name, value)| told(&format!("{prefix}{name}"), &value)).collect::<Vec<_>>()
    };
    [of("", ""), of("/postgresql", "postgresql.")].concat()
}

/// Of a table only its name.
fn told(name: &str, value: &Value) -> String {
    match value {
        Value::Object(_) | Value::Array(_) => name.to_owned(),
        value => format!("{name} = {}", text(&Some(value.clone()))),
    }
}

fn text(value: &Option<Value>) -> String {
    match value {
        None => "(unset)".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Patroni and people write the same value as `100` or `"100"`, `true` or `"on"`.
fn same(one: &Value, other: &Value) -> bool {
    fn plain(value: &Value) -> String {
        match value {
            Value::Bool(true) => "on".into(),
            Value::Bool(false) => "off".into(),
            Value::String(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" => "on".into(),
                "false" | "no" | "off" => "off".into(),
                _ => text.clone(),
            },
            other => other.to_string(),
        }
    }
    one == other || plain(one) == plain(other)
}

/// The body of Patroni's `PATCH /config` for these changes.
pub fn patch(changes: &[ConfigChange]) -> Value {
    let mut root = Map::new();
    for change in changes {
        insert(&mut root, &change.path, change.new.clone().unwrap_or(Value::Null));
    }
    Value::Object(root)
}

fn insert(map: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [] => {}
        [last] => {
            map.insert(last.clone(), value);
        }
        [first, rest @ ..] => {
            let inner = map.entry(first.clone()).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// The changes that a running database takes up only by restarting.
pub fn needs_restart<'a>(changes: &'a [ConfigChange], settings: &Settings) -> Vec<&'a ConfigChange> {
    changes
        .iter()
        .filter(|change| change.parameter().and_then(|p| settings.get(p)).is_some_and(|s| s.context == "postmaster"))
        .collect()
}

/// Parameters a replica must not have lower than its leader: it would stop replaying.
const BOUND_TO_LEADER: [&str; 5] = [
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
];

/// Who restarts first for changed parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// So that nobody waits longer than for a hand-over; and nothing else works when one is raised.
    ReplicasFirst,
    /// Where one is lowered: a replica keeps the higher value until it has replayed that its leader has the lower one.
    LeaderFirst,
    /// Some are raised and some are lowered, which takes two rounds.
    Both,
}

/// In which order members have to restart to come from what runs to the wanted shared configuration.
pub fn order(wanted: &Value, running: &Settings) -> Order {
    let number = |value: &Value| value.as_i64().or_else(|| value.as_str()?.parse().ok());
    let compared = BOUND_TO_LEADER.iter().filter_map(|name| {
        let wanted = number(wanted.pointer("/postgresql/parameters")?.get(name)?)?;
        let running: i64 = running.get(*name)?.value.parse().ok()?;
        Some(wanted.cmp(&running))
    });
    let compared: Vec<Ordering> = compared.collect();
    match (compared.contains(&Ordering::Greater), compared.contains(&Ordering::Less)) {
        (true, true) => Order::Both,
        (false, true) => Order::LeaderFirst,
        (_, false) => Order::ReplicasFirst,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_nobody_asked_for_are_named() {
        let desired = json!({ "ttl": 30, "postgresql": { "parameters": { "max_connections": 200 } } });
        let actual =
            json!({ "ttl": 20, "postgresql": { "parameters": { "max_connections": 100, "work_mem": "8MB" } } });
        assert_eq!(unasked_parameters(&desired, &actual), ["work_mem = 8MB"]);
        assert_eq!(unasked_parameters(&desired, &json!({})), Vec::<String>::new());
        let desired = json!({ "ttl": 30, "postgresql": { "use_slots": true, "parameters": {} } });
        let actual = json!({ "ttl": 20, "master_start_timeout": 300, "slots": { "a": {} }, "pause": true,
            "xnat_provision_pause": {}, "postgresql": { "parameters": { "work_mem": "8MB" }, "pg_ident": ["a"] } });
        let found = ["master_start_timeout = 300", "slots", "postgresql.pg_ident"];
        assert_eq!(unasked_settings(&desired, &actual), found);
    }

    fn texts(desired: Value, actual: Value) -> Vec<String> {
        config_diff(&desired, &actual).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_same_value_written_differently_is_no_change() {
        let desired = json!({"ttl": 30, "synchronous_mode": false, "postgresql": {"parameters": {"hot_standby": true, "max_connections": 100}}});
        let actual = json!({"ttl": "30", "synchronous_mode": "off", "postgresql": {"parameters": {"hot_standby": "on", "max_connections": "100"}}});
        assert!(texts(desired, actual).is_empty());
    }

    #[test]
    fn only_wanted_keys_are_compared_and_null_means_absent() {
        let desired = json!({"ttl": 20, "pause": null, "postgresql": {"parameters": {"work_mem": "8MB"}}});
        let actual = json!({"ttl": 30, "pause": true, "loop_wait": 10, "postgresql": {"use_slots": true}});
        assert_eq!(
            texts(desired, actual),
            ["ttl: 30 → 20", "pause: true → (unset)", "postgresql.parameters.work_mem: (unset) → 8MB"]
        );
    }

    #[test]
    fn the_patch_makes_it_so() {
        let desired = json!({"ttl": 20, "pause": null, "postgresql": {"parameters": {"work_mem": "8MB", "a": 1}}});
        assert_eq!(patch(&config_diff(&desired, &json!({"pause": true}))), desired);
    }

    #[test]
    fn what_is_lowered_begins_with_the_leader() {
        let running = |value: &str| Setting {
            context: "postmaster".into(),
            kind: "integer".into(),
            unit: None,
            value: value.into(),
        };
        let settings = Settings::from([
            ("max_connections".into(), running("200")),
            ("max_wal_senders".into(), running("10")),
            ("shared_buffers".into(), running("32768")),
        ]);
        let order = |parameters: Value| order(&json!({ "postgresql": { "parameters": parameters } }), &settings);
        assert_eq!(order(json!({ "max_connections": 200, "shared_buffers": "64MB" })), Order::ReplicasFirst);
        assert_eq!(order(json!({ "max_connections": "300" })), Order::ReplicasFirst);
        assert_eq!(order(json!({ "max_connections": 100 })), Order::LeaderFirst);
        assert_eq!(order(json!({ "max_connections": 100, "max_wal_senders": 20 })), Order::Both);
        assert_eq!(order(json!({})), Order::ReplicasFirst);
    }

    #[test]
    fn only_postmaster_parameters_need_a_restart() {
        let setting = |context: &str| Setting {
            context: context.into(),
            kind: "integer".into(),
            unit: None,
            value: "100".into(),
        };
        let settings =
            Settings::from([("max_connections".into(), setting("postmaster")), ("work_mem".into(), setting("user"))]);
        let desired = json!({"ttl": 20, "max_connections": 1, "postgresql": {"parameters": {"max_connections": 200, "work_mem": "8MB", "pg_x.y": 1}}});
        let changes = config_diff(&desired, &json!({}));
        let restart: Vec<_> =
            needs_restart(&changes, &settings).into_iter().filter_map(ConfigChange::parameter).collect();
        assert_eq!(restart, ["max_connections"]);
    }
}
