//! Certificates: who signs them, and for which names besides the hosts' own. What is in the files is not judged here.

use std::net::IpAddr;

use super::super::problem::Problem;
use super::Context;

const PLACES: [&str; 3] = ["tls.ca_certificate", "tls.ca_key", "tls.certificates"];

pub(super) fn files(context: &Context<'_>) -> Vec<Problem> {
    let named = PLACES.into_iter().filter_map(|place| Some((place, context.around.unreadable.get(place)?)));
    let tell = |(place, why): (&str, &String)| {
        let what = if place == "tls.certificates" { "directory of certificates" } else { "file" };
        let problem = Problem::error("xnat::inventory::unreadable_file", format!("cannot read the {what}: {why}"));
        let problem = problem.at(context.places.value(place), "");
        problem.help("mend the path; it is relative to this file, and `~/` is your home directory")
    };
    named.map(tell).collect()
}

/// Either an authority with its key, or an authority and what it has signed.
pub(super) fn signing(context: &Context<'_>) -> Vec<Problem> {
    let tls = &context.raw.tls;
    let given = (tls.ca_certificate.is_some(), tls.ca_key.is_some(), tls.certificates.is_some());
    let (place, message, help) = match given {
        (true, true, true) => (
            "tls.certificates",
            "either `ca_key` signs, or the certificates are in a directory",
            "take one of the two away",
        ),
        (true, false, false) => (
            "tls.ca_certificate",
            "an authority without its key cannot sign, and there are no certificates of it",
            "say where its key is, `ca_key = \"ca-key.pem\"`, or where the certificates are, `certificates = \"certificates\"`",
        ),
        (false, true, _) => (
            "tls.ca_key",
            "this is the key of an authority that is not named",
            "say where its certificate is: `ca_certificate = \"ca.pem\"`",
        ),
        (false, false, true) => (
            "tls.certificates",
            "whom to trust is not said",
            "say where the certificate of the authority is that signed these: `ca_certificate = \"ca.pem\"`",
        ),
        (false, false, false) | (true, true, false) | (true, false, true) => return Vec::new(),
    };
    let problem = Problem::error("xnat::inventory::signing", message).at(context.places.value(place), "");
    vec![problem.help(help)]
}

pub(super) fn names(context: &Context<'_>) -> Vec<Problem> {
    let names = context.raw.tls.names.0.iter().enumerate().filter(|(_, name)| !is_name(name));
    let tell = |(index, name): (usize, &String)| {
        let message = format!("\"{name}\" is neither a DNS name nor an address");
        let place = context.places.value(&format!("tls.names[{index}]"));
        let problem = Problem::error("xnat::inventory::bad_certificate_name", message).at(place, "");
        problem.help("write what clients connect to, without a port: \"xnat-db.example.org\" or \"10.0.0.10\"")
    };
    names.map(tell).collect()
}

/// A name as DNS has it (international ones in their xn-- form), perhaps with `*` for its first label; or an address.
fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let labels = text.strip_prefix("*.").unwrap_or(text);
    text.parse::<IpAddr>().is_ok() || (text.len() <= 253 && labels.split('.').all(label))
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn names_of_clients() {
        for good in ["db", "db.example.org", "*.example.org", "10.0.0.1", "fd00::1", "xn--bcher-kva.example"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "*", "a..b", "-a.b", "db:5432", "b\u{fc}cher.example", "a b", "*.*.example.org", "{{ x }}"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
