//! What etcd, Patroni and PostgreSQL say, as one view: judged and shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xnat_provision::cluster::{ClusterView, assess, table};
use xnat_provision::inventory::Inventory;

fuzz_target!(|text: &str| {
    let Ok(view) = serde_json::from_str::<ClusterView>(text) else { return };
    let path = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../inventory/minimal.toml"));
    let inventory = Inventory::load(path, None).expect("a good example").inventory;
    let health = assess(&view, &inventory);
    table::render(&view, &health, table::Look::default());
});
