//! The journal of a run, read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xnat_provision::report::journal::Recording;

fuzz_target!(|bytes: &[u8]| {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), bytes).expect("written");
    // A damaged one is refused; nothing panics.
    let _recording = Recording::read(file.path());
});
