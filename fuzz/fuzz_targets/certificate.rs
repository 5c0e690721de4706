//! Certificates somebody gives us.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xnat_provision::pki::read;

fuzz_target!(|texts: (&str, &str)| {
    if let Ok(certificate) = read::certificate(texts.0, "it") {
        assert!(!certificate.serial.is_empty());
    }
    read::signed_by(texts.0, texts.1);
});
