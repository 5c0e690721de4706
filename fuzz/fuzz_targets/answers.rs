//! What the script that reads a host's state prints.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xnat_provision::engine::shell;
use xnat_provision::resource::{Probe, WantedContent};

fuzz_target!(|text: &str| {
    let want = Some(WantedContent { sha256: "0".repeat(64), show: true });
    let probes = [
        Probe::Path { path: "/etc/hosts".to_owned(), want },
        Probe::Package { name: "etcd-server".to_owned() },
        Probe::Unit { name: "etcd.service".to_owned(), files: vec!["/etc/etcd/etcd.env".to_owned()], packages: Vec::new() },
        Probe::Sysctl { key: "vm.swappiness".to_owned() },
        Probe::Check { command: "true".to_owned() },
    ];
    // A line that is no answer is refused; nothing panics.
    let _observations = shell::answers(&probes, text);
});
