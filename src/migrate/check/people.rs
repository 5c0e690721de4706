//! Who logs in, and from where.

use super::words::{names, some, told};
use super::{Finding, Target};
use crate::migrate::found::{Found, Hba, Password, Role};

pub(super) fn taken_roles(source: &Found, target: &Target) -> Option<Finding> {
    let taken = source.roles.all.iter().filter(|role| {
        role.name != "postgres"
            && role.name != target.owner
            && target.roles.contains(&role.name)
            && matters(source, role)
    });
    let todo = "see that they mean the same on both sides; if not, rename one: `ALTER ROLE … RENAME TO …`";
    let evidence = format!("{}: they stay what they are here, with the passwords they have here", names(taken)?);
    Some(Finding::look("roles-taken", "roles that the cluster has already", evidence).todo(todo))
}

/// A source is made read-only by a setting of its database, and that of a role goes before it.
pub(super) fn writers(source: &Found, _: &Target) -> Option<Finding> {
    let all = source.database.settings.iter().chain(&source.database.role_settings);
    let writers = all.filter_map(|one| {
        let value = one.setting.strip_prefix("default_transaction_read_only=")?;
        matches!(value, "off" | "false" | "no" | "0").then_some(one.role.clone()).flatten()
    });
    let title = "roles that a read-only source does not hold";
    let todo = "stop whatever logs in as one before the run, which finds what it writes and comes to nothing; or take the \
                setting back: `ALTER ROLE … RESET default_transaction_read_only`";
    Some(Finding::look("writers", title, some(writers)?).todo(todo))
}

/// The application's own is the cluster's, and ordinary; others are made as they are.
/// Whoever owns the tables has all rights on them, and only he.
pub(super) fn owner(source: &Found, target: &Target) -> Option<Finding> {
    let (theirs, ours) = (&source.database.owner, &target.owner);
    let evidence = format!("{theirs} owns the database there, the application logs in as {ours} here");
    let todo = "say owner = \"…\" under [database], if the application is to be who it was; or grant it what it needs";
    (theirs != ours)
        .then(|| Finding::look("owner", "the application may not be whom the tables belong to", evidence).todo(todo))
}

pub(super) fn superusers(source: &Found, target: &Target) -> Option<Finding> {
    let superusers = source.roles.all.iter().filter(|role| role.superuser);
    let superusers = superusers.filter_map(|role| match &role.name {
        name if *name == target.owner => Some(format!("{name} is an ordinary role here")),
        name if !target.roles.contains(name) => Some(format!("{name} becomes one of the whole cluster")),
        _ => None,
    });
    let todo = "see what they need to be superusers for: the application may miss what only a superuser can do, and \
                the others can do anything here; take it from those who do not need it: `ALTER ROLE … NOSUPERUSER`";
    Some(Finding::look("superusers", "superusers of the source", some(superusers)?).todo(todo))
}

/// One that the server keeps as it was typed becomes one for SCRAM on its way.
pub(super) fn passwords(source: &Found, target: &Target) -> Option<Finding> {
    let weak = source.roles.all.iter().filter(|role| {
        let ours = role.name == target.owner || target.roles.contains(&role.name);
        role.login && role.password == Password::Md5 && !ours
    });
    let evidence = format!("{}: md5 hashes are of no use to SCRAM, the only way in here", names(weak)?);
    let todo = "set each again, on the cluster after the move: `ALTER ROLE … PASSWORD '…'`";
    Some(Finding::look("passwords", "roles that cannot log in with the password they have", evidence).todo(todo))
}

/// Who may connect, or has something to do with this database.
pub(super) fn matters(source: &Found, role: &Role) -> bool {
    role.login || source.roles.in_database.contains(&role.name)
}

pub(super) fn clients(source: &Found, _: &Target) -> Option<Finding> {
    let clients = &source.clients;
    let allowed = some(strangers(source).filter_map(from));
    let connected = some(clients.addresses.iter().cloned());
    if clients.sessions == 0 && allowed.is_none() {
        return Some(Finding::fine("clients", "nobody else is connected", "no sessions, and no rule for other hosts"));
    }
    let connected = connected.map(|from| format!(" from {from}")).unwrap_or_default();
    let allowed = allowed.map(|allowed| format!("; let in are {allowed}")).unwrap_or_default();
    let evidence = format!("{}{connected}{allowed}", told(clients.sessions, "session"));
    let todo = "have each connect to HAProxy, over TCP: PostgreSQL sees HAProxy's address instead of theirs, so let \
                those in that are missing in the inventory and at the firewall";
    Some(Finding::look("clients", "clients have to find the cluster", evidence).todo(todo))
}

pub(super) fn without_password(source: &Found, _: &Target) -> Option<Finding> {
    let passwords = ["scram-sha-256", "md5", "password"];
    let rules = strangers(source).filter(|rule| !passwords.contains(&rule.method.as_str()));
    let evidence = some(rules.filter_map(|rule| Some(format!("{} from {}", rule.method, from(rule)?))))?;
    let todo = "give those who log in that way a password: the cluster lets nobody in without";
    Some(Finding::look("without-password", "clients may log in without a password there", evidence).todo(todo))
}

/// Rules that let other hosts in.
pub(super) fn strangers(source: &Found) -> impl Iterator<Item = &Hba> {
    source.server.hba.iter().filter(|rule| {
        let here = ["127.0.0.1", "::1", "localhost", "samehost"];
        let other = rule.address.as_ref().is_some_and(|address| !here.contains(&address.as_str()));
        let replication = rule.databases.iter().all(|database| database == "replication");
        rule.kind.starts_with("host") && other && rule.method != "reject" && !replication
    })
}

pub(super) fn from(rule: &Hba) -> Option<String> {
    let mask = rule.netmask.as_ref().map(|mask| format!("/{mask}")).unwrap_or_default();
    Some(format!("{}{mask}", rule.address.as_ref()?))
}

pub(super) fn connections(source: &Found, target: &Target) -> Option<Finding> {
    let (there, here) = (source.server.max_connections, target.max_connections);
    let sessions = source.clients.sessions;
    let evidence =
        format!("max_connections is {there} there, {here} here; now there are {}", told(sessions, "session"));
    let todo = "see how many the clients' pools may open, and raise max_connections in the inventory if they need it";
    let finding = || Finding::look("connections", "fewer clients fit in than there", evidence).todo(todo);
    (here < there || u64::from(here) < sessions).then(finding)
}
