//! What a host says of itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xnat_provision::facts::{parse, preflight};
use xnat_provision::inventory::Inventory;

fuzz_target!(|text: &str| {
    let Ok(facts) = parse(text) else { return };
    let path = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../inventory/single.toml"));
    let inventory = Inventory::load(path, None).expect("a good example").inventory;
    preflight::check(&inventory, &inventory.hosts[0], &facts);
});
