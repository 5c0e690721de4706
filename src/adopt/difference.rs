//! What an inventory cannot say of a cluster, or what `apply` would make of it.

use std::fmt;

use serde::Serialize;

use crate::names::HostName;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// None when it is the cluster's as a whole.
    pub host: Option<HostName>,
    pub what: String,
}

impl Difference {
    pub fn of(host: &HostName, what: impl Into<String>) -> Self {
        Self { host: Some(host.clone()), what: what.into() }
    }
    pub fn of_all(what: impl Into<String>) -> Self {
        Self { host: None, what: what.into() }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) => write!(f, "{host}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// The value of most hosts; whoever has another one is told.
pub(super) fn agreed<T: Clone + PartialEq + fmt::Display>(
    what: &str,
    values: Vec<(&HostName, T)>,
    differences: &mut Vec<Difference>,
) -> Option<T> {
    let count = |value: &T| values.iter().filter(|(_, other)| other == value).count();
    // of several that are as frequent the first
    let most = values.iter().rev().max_by_key(|(_, value)| count(value)).map(|(_, value)| value.clone())?;
    for (host, value) in values.iter().filter(|(_, value)| *value != most) {
        let what = format!("its {what} is {value}, and the inventory has one for all: {most}");
        differences.push(Difference::of(host, what));
    }
    Some(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_hosts_have_it() {
        let (a, b, c) = (HostName::from("a"), HostName::from("b"), HostName::from("c"));
        let mut told = Vec::new();
        assert_eq!(agreed("port", vec![(&a, 1), (&b, 2), (&c, 2)], &mut told), Some(2));
        assert_eq!(told[0].to_string(), "a: its port is 1, and the inventory has one for all: 2");
        assert_eq!(agreed("port", vec![(&a, 3), (&b, 4)], &mut Vec::new()), Some(3), "the first of two");
        assert_eq!(agreed::<u16>("port", Vec::new(), &mut Vec::new()), None);
    }
}
