//! What an inventory cannot say of a cluster, or what `apply` would make of it.

use std::fmt;

use serde::Serialize;

use crate::names::HostName;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// None when it is the cluster's as a whole.
    pub hosts: Vec<HostName>,
    pub what: String,
}

impl Difference {
    pub fn of(host: &HostName, what: impl Into<String>) -> Self {
        Self { hosts: vec![host.clone()], what: what.into() }
    }
    pub fn of_all(what: impl Into<String>) -> Self {
        Self { hosts: Vec::new(), what: what.into() }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<&str> = self.hosts.iter().map(HostName::as_str).collect();
        if hosts.is_empty() { f.write_str(&self.what) } else { write!(f, "{}: {}", hosts.join(", "), self.what) }
    }
}

/// What is the same on several hosts is said once.
pub(super) fn gathered(all: Vec<Difference>) -> Vec<Difference> {
    let mut gathered: Vec<Difference> = Vec::new();
    for one in all {
        match gathered.iter_mut().find(|known| known.what == one.what) {
            Some(known) => known.hosts.extend(one.hosts),
            None => gathered.push(one),
        }
    }
    gathered
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
    fn what_several_have_is_said_once() {
        let of = |host: &str, what: &str| Difference::of(&host.into(), what);
        let told = gathered(vec![of("a", "old"), of("a", "new"), Difference::of_all("whole"), of("b", "old")]);
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["a, b: old", "a: new", "whole"]);
    }

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
