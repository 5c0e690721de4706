//! This program's own firewall rules, read back: who may come in, and the rules that were given verbatim.

use super::draft::Table;
use super::hosts::Hosts;

/// Networks of a comment's paragraph: what comes first in it is said of the first of its ports.
fn networks(lines: &[String], heading: &str) -> Vec<String> {
    let paragraph = lines.iter().skip_while(|line| !line.starts_with(heading)).skip(1);
    let rules: Vec<&str> = paragraph.take_while(|line| !line.is_empty() && *line != "}").map(String::as_str).collect();
    let port = |rule: &str| rule.split("dport ").nth(1).map(str::to_owned);
    let Some(first) = rules.first().map(|rule| port(rule)) else { return Vec::new() };
    let sets =
        rules.iter().filter(|rule| port(rule) == first).filter_map(|rule| rule.split('{').nth(1)?.split('}').next());
    sets.flat_map(|set| set.split(',')).map(|network| network.trim().to_owned()).collect()
}

/// Nothing where there is none.
pub(super) fn table(hosts: &Hosts) -> Table {
    let mut table = Table::default();
    let mut all = hosts.members.iter().map(|member| &member.seen.firewall).filter(|lines| !lines.is_empty());
    let Some(lines) = all.next() else { return table };
    table.set("enabled", true);
    table.list("admins", &networks(lines, "# SSH"));
    let clients = hosts.members.iter().map(|member| networks(&member.seen.firewall, "# HAProxy: clients"));
    table.list("clients", &clients.into_iter().find(|clients| !clients.is_empty()).unwrap_or_default());
    let verbatim = lines.iter().skip_while(|line| !line.starts_with("# From the inventory")).skip(1);
    let verbatim: Vec<String> = verbatim.take_while(|line| *line != "}").cloned().collect();
    table.list("rules", &verbatim);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_let_in_is_read_back() {
        let text = "# SSH\ntcp dport 22 accept\n\n# HAProxy: clients; its statistics: administrators\nip saddr { 10.0.0.0/24, 10.1.0.0/16 } tcp dport 5000 accept\nip6 saddr { fd00::/8 } tcp dport 5000 accept\nip saddr { 10.9.0.0/16 } tcp dport 7000 accept\n\n# From the inventory\nip saddr 10.8.0.5 tcp dport 9100 accept\n}\n}";
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        assert_eq!(networks(&lines, "# SSH"), Vec::<String>::new());
        assert_eq!(networks(&lines, "# HAProxy: clients"), ["10.0.0.0/24", "10.1.0.0/16", "fd00::/8"]);
    }
}
