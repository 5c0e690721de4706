//! Addresses with ports, in the many ways configurations write them.

/// Host and port of `10.0.0.1:8008`, `http://db1:2379/`, `[::1]:5432` or `*:5432`; of several, by commas, the first host.
pub(super) fn of(text: &str) -> Option<(String, u16)> {
    let bare = |one: &'_ str| {
        let rest = one.split_once("://").map_or(one, |(_, rest)| rest);
        rest.split('/').next().unwrap_or_default().trim().to_owned()
    };
    let all: Vec<String> = text.split(',').map(bare).collect();
    let (first, last) = (all.first()?, all.last()?);
    // etcd has a port after each, PostgreSQL after the last of them only
    let (host, port) = split(first).or_else(|| Some((first.as_str(), split(last)?.1)))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

fn split(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let is_whole = !host.contains(':') || host.ends_with(']');
    Some((host, port.parse().ok().filter(|_| is_whole)?))
}

pub(super) fn port(text: &str) -> Option<u16> {
    of(text).map(|(_, port)| port)
}

/// Whether others can reach a host by it.
pub(super) fn is_public(host: &str) -> bool {
    !matches!(host, "*" | "0.0.0.0" | "::" | "localhost" | "::1") && !host.starts_with("127.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_an_address() {
        let is = |text: &str, host: &str, port| assert_eq!(of(text), Some((host.to_owned(), port)), "{text}");
        is("10.0.0.1:8008", "10.0.0.1", 8008);
        is("http://db1:2379/", "db1", 2379);
        is("https://10.0.0.1:2379,https://127.0.0.1:2379", "10.0.0.1", 2379);
        is("10.0.0.1,127.0.0.1:5432", "10.0.0.1", 5432);
        is("*:5432", "*", 5432);
        is("[::1]:5432", "::1", 5432);
        assert_eq!(of("db1"), None);
        assert_eq!(of(""), None);
        assert!(is_public("10.0.0.1") && !is_public("127.0.0.1") && !is_public("*"));
    }
}
