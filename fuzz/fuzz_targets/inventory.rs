//! The inventory, from its text to every file it leads to.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xnat_provision::assets::Assets;
use xnat_provision::facts::Facts;
use xnat_provision::inventory::Inventory;
use xnat_provision::role::{self, Input};
use xnat_provision::vault::Secrets;

fuzz_target!(|text: &str| {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    let Ok(loaded) = Inventory::load(file.path(), None) else { return };
    let facts = Facts { os: "debian".into(), codename: "trixie".into(), release: "13".into(), ..Facts::default() };
    let (secrets, assets) = (Secrets::placeholder(), Assets::default());
    for host in &loaded.inventory.hosts {
        // A refusal is a good answer; a panic is not.
        let _expanded = role::expand(&Input { inventory: &loaded.inventory, host, facts: &facts, secrets: &secrets, assets: &assets });
    }
});
