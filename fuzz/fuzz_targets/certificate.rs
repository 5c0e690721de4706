//! Certificates somebody gives us.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xnat_provision::pki::read;

fuzz_target!(|texts: (&str, &str)| {
    if let Ok(certificate) = read::certificate(texts.0, "it") {
        assert!(!certificate.serial.is_empty());
        certificate.covers(texts.1);
        if let Ok(chain) = read::certificates(texts.1, "them") {
            chain.iter().for_each(|authority| _ = certificate.is_signed_by(authority));
        }
    }
});
