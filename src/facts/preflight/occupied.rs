//! What is there already and is not ours: other people's databases above all.

use super::{Finding, Subject, catalogue};
use crate::facts::Listener;
use crate::inventory::Component;

pub(super) fn databases(subject: &Subject<'_>) -> Vec<Finding> {
    // What belongs to a cluster of ours under another name is told once, by `coordination`.
    if !subject.host.components.contains(&Component::Postgres) || renamed(subject).is_some() {
        return Vec::new();
    }
    let (facts, cluster) = (subject.facts, &subject.inventory.cluster);
    let mut found = Vec::new();
    let ours =
        subject.inventory.postgresql_major(&facts.codename).map(|major| subject.inventory.postgresql_data_dir(major));
    for listener in facts.listening.iter().filter(|listener| listener.process.as_deref() == Some("postgres")) {
        if listener.port == subject.inventory.postgresql.port && listener.directory != ours {
            found.push(foreign_postgresql(subject, listener, "the cluster's PostgreSQL needs that port"));
        }
    }
    found.dedup_by(|a, b| a.check == b.check);
    let managed = facts.patroni.values().any(|scope| scope == cluster);
    let kept = facts.postgres_kept.is_some() && facts.postgres_kept == ours;
    if let Some(directory) = ours.as_ref().filter(|ours| facts.postgres_data.contains_key(*ours) && !managed && !kept) {
        found.push(subject.refuse(
            &catalogue::UNMANAGED_DATA,
            format!("{directory} holds a database already, and no Patroni of this cluster looks after it"),
            format!("if it is needed keep it and give the cluster another name; if not, move it away: `mv {directory} {directory}.old`"),
        ));
    }
    // Not in our way now, but it would be after a reboot.
    if found.is_empty() {
        let others = facts.postgres_data.iter().filter(|(path, _)| Some(*path) != ours.as_ref());
        found.extend(others.map(|(path, version)| {
            subject.warn(
                &catalogue::OTHER_DATABASE,
                format!("there is another PostgreSQL {version} in {path}; it is left alone"),
                format!(
                    "if it starts at boot on port {} it will be in the way: {}",
                    subject.inventory.postgresql.port,
                    drop_or_disable(path, version)
                ),
            )
        }));
    }
    found
}

/// The cluster this host was made a member of by this program, when that is not the inventory's.
fn renamed<'a>(subject: &Subject<'a>) -> Option<&'a String> {
    let ours = subject.facts.patroni.iter().filter(|(path, _)| path.starts_with("/etc/patroni/xnat/"));
    ours.map(|(_, scope)| scope).find(|scope| **scope != subject.inventory.cluster)
}

/// This cluster's own PostgreSQL, of another major version than the inventory's: nobody is to drop or move that one.
fn other_version(subject: &Subject<'_>, directory: &str) -> Option<Finding> {
    let cluster = &subject.inventory.cluster;
    let (version, _) = debian_cluster(directory).filter(|(_, name)| name == cluster)?;
    let managed = subject.facts.patroni.values().any(|scope| scope == cluster);
    let message = format!("the cluster runs PostgreSQL {version}, and the inventory asks for another major version");
    let help = format!("set `version = {version}` under [postgresql]: apply does not upgrade a database");
    managed.then(|| subject.refuse(&catalogue::OTHER_VERSION, message, help))
}

pub(super) fn foreign_postgresql(subject: &Subject<'_>, listener: &Listener, why: &str) -> Finding {
    let directory = listener.directory.as_deref().unwrap_or("an unknown directory");
    if let Some(own) = other_version(subject, directory) {
        return own;
    }
    let version = subject.facts.postgres_data.get(directory).map(|version| format!(" {version}")).unwrap_or_default();
    let message =
        format!("another PostgreSQL{version} with its data in {directory} listens on port {}: {why}", listener.port);
    let help = match debian_cluster(directory) {
        Some((version, name)) => format!(
            "see what is in it: `su postgres -c 'psql -p {port} -l'`. If it is empty, as Debian makes it: `pg_dropcluster --stop {version} {name}`. If it holds data, take another host for the cluster and migrate the data into it",
            port = listener.port
        ),
        None => format!(
            "see what is in it: `psql -p {} -l`. If it holds data, take another host for the cluster and migrate the data into it; if not, stop and remove it",
            listener.port
        ),
    };
    subject.refuse(&catalogue::FOREIGN_POSTGRESQL, message, help)
}

/// postgresql-common's version and cluster name, by the directory.
fn debian_cluster(directory: &str) -> Option<(&str, &str)> {
    directory.strip_prefix("/var/lib/postgresql/")?.split_once('/').filter(|(_, name)| !name.contains('/'))
}

fn drop_or_disable(path: &str, version: &str) -> String {
    match debian_cluster(path) {
        Some((_, name)) => format!(
            "`systemctl disable postgresql@{version}-{name}`, or if it is empty `pg_dropcluster {version} {name}`"
        ),
        None => "disable its unit".to_owned(),
    }
}

pub(super) fn coordination(subject: &Subject<'_>) -> Vec<Finding> {
    let (facts, inventory) = (subject.facts, subject.inventory);
    if let Some(name) = renamed(subject) {
        return vec![subject.refuse(
            &catalogue::RENAMED,
            format!("it is a member of the cluster \"{name}\", and the inventory's is \"{}\"", inventory.cluster),
            format!("a cluster cannot be renamed: set `name = \"{name}\"` under [cluster], or use another host for another cluster"),
        )];
    }
    let mut found = Vec::new();
    let foreign = facts.patroni.iter().find(|(_, scope)| **scope != inventory.cluster);
    if let Some((path, scope)) = foreign.filter(|_| subject.host.components.contains(&Component::Postgres)) {
        found.push(subject.refuse(
            &catalogue::FOREIGN_PATRONI,
            format!("it is set up for the Patroni cluster \"{scope}\" ({path}), and this is \"{}\"", inventory.cluster),
            format!("use another host; or if that cluster is gone: `systemctl disable --now patroni && mv {path} {path}.old`"),
        ));
    }
    found.extend(elsewhere(subject));
    if subject.host.components.contains(&Component::Etcd) {
        found.extend(etcd(subject));
    }
    found
}

/// Where Patroni has its keys in etcd, as the template has it.
const NAMESPACE: &str = "service";

/// A cluster of the same name at another place in etcd: beside it a second leader would arise over the same data.
fn elsewhere(subject: &Subject<'_>) -> Option<Finding> {
    let (facts, cluster) = (subject.facts, &subject.inventory.cluster);
    let other = |path: &String| {
        let namespace = facts.patroni_namespace.get(path)?;
        (namespace.trim_matches('/') != NAMESPACE).then_some(namespace)
    };
    let member = subject.host.components.contains(&Component::Postgres);
    let ours = facts.patroni.iter().filter(|(_, scope)| member && *scope == cluster);
    let (path, namespace) = ours.map(|(path, _)| path).find_map(|path| Some((path, other(path)?)))?;
    let message = format!(
        "it is set up for a Patroni cluster \"{cluster}\" ({path}) with its keys in etcd under {namespace}; this program has them under /{NAMESPACE}/, which is another cluster"
    );
    let help = format!(
        "to keep that database, give this cluster another name and other hosts and move the data into it; or if it is gone: `systemctl disable --now patroni && mv {path} {path}.old`"
    );
    Some(subject.refuse(&catalogue::FOREIGN_PATRONI, message, help))
}

fn etcd(subject: &Subject<'_>) -> Option<Finding> {
    let (facts, wanted) = (subject.facts, &subject.inventory.etcd);
    let other = facts.etcd_data.iter().find(|path| **path != wanted.data_dir);
    if facts.etcd_data.contains(&wanted.data_dir) {
        return None;
    }
    let port = [wanted.client_port, wanted.peer_port];
    let runs = facts.listening.iter().any(|one| port.contains(&one.port) && one.process.as_deref() == Some("etcd"));
    let place = other.map_or("an unknown directory", String::as_str);
    if runs {
        let help = match other {
            // Debian's own; any other may be this cluster's, whose data_dir was changed in the inventory.
            Some(path) if path != "/var/lib/etcd/default" => format!(
                "if it is this cluster's own, set `data_dir = \"{path}\"` under [etcd]; if not, use another host or other ports: [etcd] client_port, peer_port"
            ),
            Some(path) => format!(
                "see who uses it: `etcdctl get / --prefix --keys-only --limit 10`. If nobody does, as after installing Debian's package: `systemctl disable --now etcd && mv {path} {path}.old`. If somebody does, use another host or other ports: [etcd] client_port, peer_port"
            ),
            None => "see who uses it with `systemctl status etcd`; use another host or other ports: [etcd] client_port, peer_port".to_owned(),
        };
        let message = format!("another etcd with its data in {place} runs here");
        return Some(subject.refuse(&catalogue::FOREIGN_ETCD, message, help));
    }
    let path = other?;
    Some(subject.warn(
        &catalogue::OTHER_ETCD,
        format!("there is data of another etcd in {path}; it is left alone"),
        format!("if nobody needs it, move it away: `mv {path} {path}.old`"),
    ))
}
