//! The settings all members share, which Patroni keeps in the DCS: bootstrap writes them once, later changes go through
//! `PATCH /config`. Both start from here, so that what a new cluster gets is what a running one is compared with.

use serde_json::{Map, Value, json};

use crate::inventory::{Inventory, Patroni, Scalar, Synchronous};

/// What `GET /config` should say.
pub fn dynamic_config(inventory: &Inventory) -> Value {
    let Patroni { ttl, loop_wait, retry_timeout, primary_start_timeout, maximum_lag_on_failover, .. } =
        inventory.patroni;
    json!({
        "ttl": ttl,
        "loop_wait": loop_wait,
        "retry_timeout": retry_timeout,
        "primary_start_timeout": primary_start_timeout,
        "maximum_lag_on_failover": maximum_lag_on_failover,
        // A former leader that comes back on an old timeline must not win the race.
        "check_timeline": true,
        "failsafe_mode": inventory.patroni.failsafe_mode,
        "synchronous_mode": match inventory.patroni.synchronous {
            Synchronous::Off => json!(false),
            Synchronous::On => json!(true),
            Synchronous::Quorum => json!("quorum"),
        },
        "synchronous_mode_strict": inventory.patroni.synchronous_strict,
        "synchronous_node_count": inventory.patroni.synchronous_node_count,
        "postgresql": {
            // remove_data_directory_on_rewind_failure stays off: no data directory is deleted without a person asking.
            "use_pg_rewind": true,
            "use_slots": true,
            "parameters": parameters(inventory),
        },
    })
}

/// PostgreSQL's parameters: few, static (they are the same on every host, however much memory it has), and each
/// overridden by the inventory's `[postgresql.parameters]`.
fn parameters(inventory: &Inventory) -> Map<String, Value> {
    let mut all = defaults(&inventory.cluster);
    for (name, value) in &inventory.postgresql.parameters {
        // PostgreSQL does not care about case here, so `Shared_Buffers` must not stand beside `shared_buffers`.
        all.retain(|known, _| !known.eq_ignore_ascii_case(name));
        all.insert(name.clone(), scalar(value));
    }
    all
}

fn defaults(cluster: &str) -> Map<String, Value> {
    let Value::Object(all) = json!({
        // XNAT's pool takes 40 connections per web node; Patroni, replication and people need some besides.
        "max_connections": 200,
        "shared_buffers": "256MB",
        "wal_level": "replica",
        "hot_standby": true,
        "max_wal_senders": 10,
        "max_replication_slots": 10,
        // pg_rewind needs it where checksums are off, and a cluster may be moved without them.
        "wal_log_hints": true,
        // WAL for pg_rewind and for a member that was away without a slot …
        "wal_keep_size": "512MB",
        // … and a bound, because a dead member's slot must not fill the leader's disk.
        "max_slot_wal_keep_size": "4GB",
        // A replica asks again that soon where its slot or a new leader is not there yet; it would wait for 5 s.
        "wal_retrieve_retry_interval": "1s",
        "password_encryption": "scram-sha-256",
        // A client or member that vanished is noticed within about 90 seconds.
        "tcp_keepalives_idle": 60,
        "tcp_keepalives_interval": 10,
        "tcp_keepalives_count": 3,
        // As Debian does it: one file, rotated by the package's own logrotate rule.
        "logging_collector": true,
        "log_directory": "/var/log/postgresql",
        "log_filename": format!("postgresql-{cluster}.log"),
        "log_rotation_age": 0,
        "log_rotation_size": 0,
        "log_checkpoints": true,
        "log_lock_waits": true,
        "log_line_prefix": "%m [%p] %q%u@%d ",
    }) else {
        unreachable!("an object literal is an object");
    };
    all
}

/// A value as JSON.
pub fn scalar(value: &Scalar) -> Value {
    match value {
        Scalar::Bool(value) => json!(value),
        Scalar::Integer(value) => json!(value),
        Scalar::Float(value) => json!(value),
        Scalar::Text(value) => json!(value),
    }
}
