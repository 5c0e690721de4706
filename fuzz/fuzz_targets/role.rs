//! A site's own role and, behind a NUL, template.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xnat_provision::assets::Assets;
use xnat_provision::facts::Facts;
use xnat_provision::inventory::Inventory;
use xnat_provision::role::{self, Input};
use xnat_provision::vault::Secrets;

fuzz_target!(|text: &str| {
    let (role, template) = text.split_once('\0').unwrap_or((text, ""));
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in [("roles/base.toml", role), ("templates/haproxy/haproxy.cfg.j2", template)] {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, text).expect("written");
    }
    let Ok(assets) = Assets::new(Some(directory.path())) else { return };
    let path = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../inventory/single.toml"));
    let inventory = Inventory::load(path, None).expect("a good example").inventory;
    let facts = Facts { os: "debian".into(), codename: "trixie".into(), release: "13".into(), ..Facts::default() };
    let secrets = Secrets::placeholder();
    let host = &inventory.hosts[0];
    // A refusal is a good answer; a panic is not.
    let _expanded = role::expand(&Input { inventory: &inventory, host, facts: &facts, secrets: &secrets, assets: &assets });
});
