//! A certificate somebody gives us and, behind a NUL, those of authorities.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xnat_provision::pki::read;

fuzz_target!(|text: &str| {
    let (one, authorities) = text.split_once('\0').unwrap_or((text, ""));
    if let Ok(certificate) = read::certificate(one, "it") {
        assert!(!certificate.serial.is_empty());
        certificate.covers(authorities);
        if let Ok(chain) = read::certificates(authorities, "them") {
            chain.iter().for_each(|authority| _ = certificate.is_signed_by(authority));
        }
    }
});
