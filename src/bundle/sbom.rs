//! The software bill of materials: CycloneDX 1.5, as JSON. Without a serial number and a time, which would make two bundles
//! of the same content differ.

use serde_json::{Value, json};

use super::manifest::{Manifest, Packaged};

pub fn sbom(manifest: &Manifest) -> String {
    let component = |package: &Packaged| component(package, manifest);
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "name": env!("CARGO_PKG_NAME"),
                "version": manifest.made_by,
                "licenses": [{ "license": { "id": env!("CARGO_PKG_LICENSE") } }],
            },
            "properties": [{ "name": "xnat-provision:target", "value": manifest.target.to_string() }],
        },
        "components": manifest.packages.iter().map(component).collect::<Vec<_>>(),
    });
    serde_json::to_string_pretty(&document).expect("plain data") + "\n"
}

fn component(package: &Packaged, manifest: &Manifest) -> Value {
    let Packaged { name, version, arch, source, sha256, origin, .. } = package;
    let target = &manifest.target;
    // a purl quotes what has a meaning in it
    let quoted = version.replace('%', "%25").replace('+', "%2B").replace(':', "%3A");
    let purl = format!("pkg:deb/{}/{name}@{quoted}?arch={arch}&distro={}", target.os, target.codename);
    json!({
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "hashes": [{ "alg": "SHA-256", "content": sha256 }],
        "properties": [
            { "name": "debian:source", "value": source },
            { "name": "debian:origin", "value": origin },
        ],
    })
}
