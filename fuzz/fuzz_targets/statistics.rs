//! HAProxy's statistics.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // What is no CSV is refused; nothing panics.
    let _servers = xnat_provision::cluster::haproxy::parse(text);
});
