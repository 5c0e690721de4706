//! What all members share, with Patroni's own values where nothing is said.

use serde_json::{Value, json};

use super::parameters;
use crate::inventory::Synchronous;

/// `GET /config` as it was.
pub(super) struct Shared<'a>(pub &'a Value);

/// What is in force when nobody has said anything. docs/dynamic_configuration.rst
pub(super) fn default(path: &[&str]) -> Option<Value> {
    Some(match path {
        ["ttl"] => json!(30),
        ["loop_wait" | "retry_timeout"] => json!(10),
        ["primary_start_timeout"] => json!(300),
        ["maximum_lag_on_failover"] => json!(1 << 20),
        ["synchronous_node_count"] => json!(1),
        ["check_timeline" | "failsafe_mode" | "synchronous_mode" | "synchronous_mode_strict"] => json!(false),
        ["postgresql", "use_pg_rewind"] => json!(false),
        ["postgresql", "use_slots"] => json!(true),
        _ => return None,
    })
}

/// What a setting was called before.
fn former(key: &str) -> Option<&'static str> {
    (key == "primary_start_timeout").then_some("master_start_timeout")
}

impl Shared<'_> {
    fn value(&self, key: &str) -> Option<Value> {
        let written = self.0.get(key).or_else(|| self.0.get(former(key)?)).filter(|value| !value.is_null());
        written.cloned().or_else(|| default(&[key]))
    }

    pub fn number(&self, key: &str) -> i64 {
        let value = self.value(key);
        value.and_then(|value| value.as_i64().or_else(|| value.as_str()?.parse().ok())).unwrap_or_default()
    }

    pub fn is_on(&self, key: &str) -> bool {
        self.value(key).is_some_and(|value| parameters::same(&Value::Bool(true), &value))
    }

    pub fn synchronous(&self) -> Synchronous {
        match self.value("synchronous_mode") {
            Some(Value::String(text)) if text == "quorum" => Synchronous::Quorum,
            _ if self.is_on("synchronous_mode") => Synchronous::On,
            _ => Synchronous::Off,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_said_is_as_patroni_has_it() {
        let config =
            json!({ "ttl": "40", "master_start_timeout": 60, "synchronous_mode": "on", "failsafe_mode": null });
        let shared = Shared(&config);
        assert_eq!((shared.number("ttl"), shared.number("loop_wait")), (40, 10));
        assert_eq!(shared.number("primary_start_timeout"), 60);
        assert_eq!((shared.synchronous(), shared.is_on("failsafe_mode")), (Synchronous::On, false));
    }
}
