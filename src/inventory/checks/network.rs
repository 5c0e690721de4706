//! Who may connect to the database: networks and pg_hba.conf lines.

use std::net::IpAddr;

use ipnet::IpNet;

use super::super::hba::fields;
use super::super::problem::Problem;
use super::super::suggest;
use super::Context;

pub(super) fn allowed(context: &Context<'_>) -> Vec<Problem> {
    let networks = context.inventory.postgresql.allow.iter().enumerate();
    let found = networks.filter_map(|(index, text)| {
        let problem = network(text)?;
        Some(problem.at(context.places.value(&format!("postgresql.allow[{index}]")), ""))
    });
    found.collect()
}

/// What is wrong with a CIDR, and what was probably meant.
pub(super) fn network(text: &str) -> Option<Problem> {
    let bad = |why: &str| Problem::error("xnat::inventory::bad_cidr", format!("\"{text}\" is not a network: {why}"));
    if let Ok(ip) = text.parse::<IpAddr>() {
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        return Some(bad("it has no prefix length").help(format!("for this one address write \"{ip}/{bits}\"")));
    }
    let Some((address, prefix)) = text.split_once('/') else {
        return Some(bad("it has no prefix length").help("write it as a CIDR: \"10.1.0.0/16\""));
    };
    let Ok(ip) = address.trim().parse::<IpAddr>() else {
        return Some(bad("the part before / is not an IP address").help("write it as a CIDR: \"10.1.0.0/16\""));
    };
    if let Some(length) = prefix.parse().ok().and_then(|mask| ipnet::ip_mask_to_prefix(mask).ok()) {
        let net = IpNet::new(ip, length).map(|net| net.trunc().to_string()).unwrap_or_default();
        return Some(bad("it has a netmask instead of a prefix length").help(format!("did you mean \"{net}\"?")));
    }
    let most = if ip.is_ipv4() { 32 } else { 128 };
    let Some(net) = prefix.parse().ok().and_then(|length| IpNet::new(ip, length).ok()) else {
        return Some(
            bad(&format!("the prefix length must be a number from 0 to {most}"))
                .help(format!("for one address write \"{ip}/{most}\"")),
        );
    };
    if net.addr() != net.trunc().addr() {
        return Some(bad("it has bits set behind its prefix").help(format!(
            "did you mean the network \"{}\", or the one address \"{}/{most}\"?",
            net.trunc(),
            net.addr()
        )));
    }
    (net.prefix_len() == 0).then(|| {
        let warning =
            Problem::warning("xnat::inventory::open_to_all", format!("\"{text}\" lets everybody try passwords"));
        warning.help("name the networks of your XNAT servers: allow = [\"10.1.0.0/16\"]")
    })
}

const TYPES: [&str; 6] = ["local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc"];
const METHODS: [&str; 14] = [
    "trust",
    "reject",
    "scram-sha-256",
    "md5",
    "password",
    "gss",
    "sspi",
    "ident",
    "peer",
    "ldap",
    "radius",
    "cert",
    "pam",
    "bsd",
];

pub(super) fn hba(context: &Context<'_>) -> Vec<Problem> {
    let lines = context.inventory.postgresql.hba.iter().enumerate();
    let found = lines.filter_map(|(index, line)| {
        let problem = hba_line(line)?;
        Some(problem.at(context.places.value(&format!("postgresql.hba[{index}]")), ""))
    });
    found.collect()
}

const HBA_SHAPE: &str =
    "write TYPE DATABASE USER ADDRESS METHOD, such as \"hostssl xnat reporting 10.1.0.0/16 scram-sha-256\"";

fn bad_hba(why: String) -> Problem {
    Problem::error("xnat::inventory::bad_hba", format!("this pg_hba.conf line cannot work: {why}"))
}

/// Enough to catch what would keep PostgreSQL from starting, or let anybody in.
fn hba_line(line: &str) -> Option<Problem> {
    if line.contains('\n') {
        let help = "give each line as a text of its own: hba = [\"…\", \"…\"]";
        return Some(bad_hba("it has more than one line".into()).help(help));
    }
    let fields = fields(line);
    let first = fields.first()?;
    if !TYPES.contains(&first.as_str()) {
        let help = suggest::nearest(first, TYPES).map(|near| format!("did you mean \"{near}\"?"));
        return Some(bad_hba(format!("\"{first}\" is not a connection type")).help(help.unwrap_or(HBA_SHAPE.into())));
    }
    let local = first == "local";
    let mask = usize::from(!local && fields.get(4).is_some_and(|field| field.parse::<IpAddr>().is_ok()));
    let method_at = if local { 3 } else { 4 + mask };
    let Some(method) = fields.get(method_at) else {
        let why = format!("it has {} fields, and a \"{first}\" line needs {}", fields.len(), method_at + 1);
        return Some(bad_hba(why).help(HBA_SHAPE));
    };
    if !METHODS.contains(&method.as_str()) {
        let near = suggest::nearest(method, METHODS).unwrap_or("scram-sha-256");
        let why = format!("\"{method}\" is not an authentication method");
        return Some(bad_hba(why).help(format!("did you mean \"{near}\"?")));
    }
    if let Some(problem) = fields.get(3).filter(|_| !local && mask == 0).and_then(|address| hba_address(address)) {
        return Some(problem);
    }
    (method == "trust" && !local).then(|| {
        let message = "\"trust\" lets anybody from there in without a password";
        Problem::warning("xnat::inventory::trusting_hba", message).help("use scram-sha-256 instead of trust")
    })
}

fn hba_address(address: &str) -> Option<Problem> {
    if !address.contains('/') {
        return None;
    }
    network(address).filter(|problem| problem.code == "xnat::inventory::bad_cidr")
}
