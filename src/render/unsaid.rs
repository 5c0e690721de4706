//! What an inventory says that a shape cannot, for whoever relies on it.

use super::Shape;
use super::members::{FEWEST, REPLICAS, etcd_data_dir};
use crate::inventory::{Component, Inventory, PackageSource, Scalar};
use crate::report::text::count;

/// One sentence for each.
pub fn unsaid(shape: Shape, inventory: &Inventory) -> Vec<String> {
    let numbers = match shape {
        Shape::Compose => compose_numbers(inventory),
        Shape::Kubernetes => kubernetes_numbers(inventory),
    };
    let rules: [fn(Shape, &Inventory) -> Option<String>; 8] =
        [logs, tags, own_roles, firewall, bundle, etcd_directory, liveness, xnat];
    numbers.into_iter().chain(rules.iter().filter_map(|rule| rule(shape, inventory))).collect()
}

fn compose_numbers(inventory: &Inventory) -> Vec<String> {
    let servers = inventory.with(Component::Postgres).count();
    let proxies = inventory.with(Component::Haproxy).count();
    let second = (servers < FEWEST).then(|| "there is one PostgreSQL, and a second member was added for it".to_owned());
    let one = (proxies > 1)
        .then(|| format!("one HAProxy stands for {proxies}: on one machine a second one would go when the first goes"));
    second.into_iter().chain(one).collect()
}

fn kubernetes_numbers(inventory: &Inventory) -> Vec<String> {
    let differs = |component: Component, what: &str| {
        let hosts = inventory.with(component).count();
        (hosts != REPLICAS).then(|| format!("there are {} with {what}, and {REPLICAS} pods", count(hosts, "host")))
    };
    [differs(Component::Etcd, "etcd"), differs(Component::Postgres, "PostgreSQL")].into_iter().flatten().collect()
}

fn tags(shape: Shape, inventory: &Inventory) -> Option<String> {
    let tagged: Vec<&str> =
        inventory.hosts.iter().filter(|host| !host.tags.is_empty()).map(|host| host.name.as_str()).collect();
    (shape == Shape::Kubernetes && !tagged.is_empty())
        .then(|| format!("`tags` of {}: all pods of a set are alike, and none has them", tagged.join(", ")))
}

fn own_roles(_shape: Shape, inventory: &Inventory) -> Option<String> {
    let mut own: Vec<&str> =
        inventory.hosts.iter().flat_map(|host| &host.own_roles).map(|role| role.as_str()).collect();
    own.sort_unstable();
    own.dedup();
    (!own.is_empty())
        .then(|| format!("the site's own roles are for hosts, and not in any container: {}", own.join(", ")))
}

fn firewall(shape: Shape, inventory: &Inventory) -> Option<String> {
    let instead = match shape {
        Shape::Compose => "containers are on a network of their own, and HAProxy's ports are open on 127.0.0.1 only",
        Shape::Kubernetes => {
            "network policies let in the cluster's own pods; `admins`, `clients` and `rules` are not in them"
        }
    };
    inventory.firewall.enabled.then(|| format!("[firewall]: {instead}"))
}

fn bundle(_shape: Shape, inventory: &Inventory) -> Option<String> {
    matches!(inventory.packages.source, PackageSource::Bundle(_))
        .then(|| "`bundle` under [packages]: images are built of Debian's own repositories".to_owned())
}

fn etcd_directory(_shape: Shape, inventory: &Inventory) -> Option<String> {
    let used = etcd_data_dir(&inventory.cluster);
    (inventory.etcd.data_dir != used).then(|| format!("`data_dir` under [etcd]: it is {used}, in a volume"))
}

fn liveness(shape: Shape, inventory: &Inventory) -> Option<String> {
    let instead = match shape {
        Shape::Compose => "nobody ends a Patroni or PostgreSQL that hangs: `docker compose ps` shows it as unhealthy",
        Shape::Kubernetes => {
            "a Patroni that hangs is ended by its pod's liveness probe, a PostgreSQL that hangs by nobody"
        }
    };
    (inventory.patroni.liveness_failures > 0).then(|| format!("`liveness_failures` under [patroni]: {instead}"))
}

fn logs(_shape: Shape, inventory: &Inventory) -> Option<String> {
    let said = |(name, value): (&String, &Scalar)| {
        name.eq_ignore_ascii_case("logging_collector") && !matches!(value, Scalar::Bool(false))
    };
    inventory
        .postgresql
        .parameters
        .iter()
        .any(said)
        .then(|| "`logging_collector` is off: a container's log is what it prints".to_owned())
}

fn xnat(_shape: Shape, inventory: &Inventory) -> Option<String> {
    (!inventory.xnat.hosts.is_empty() || inventory.source.is_some())
        .then(|| "[xnat] and [migrate] are about hosts: nothing of them is rendered".to_owned())
}
