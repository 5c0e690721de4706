//! The engine against simulated hosts, and its scripts against a real shell.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use xnat_provision::approval::{Approved, Standing};
use xnat_provision::engine::simulated::{Machine, Node};
use xnat_provision::engine::{Cancel, Converge, ConvergeError, Host, Interruption, Permit, SimulatedHost};
use xnat_provision::names::HostName;
use xnat_provision::plan::diff_resources;
use xnat_provision::report::{Event, Kind, Reporter};
use xnat_provision::resource::{
    Command, Directory, File, Firewall, OnChange, Package, PathKind, Probe, Replace, Resource, ResourceId, Restart,
    Source, Sysctl, Unit,
};

fn file(path: &str, content: &str) -> Resource {
    Resource::File(File {
        path: path.to_owned(),
        content: content.to_owned(),
        owner: "root".to_owned(),
        group: "root".to_owned(),
        mode: 0o644,
        secret: false,
        validate: None,
        frozen_by: None,
    })
}

fn unit(name: &str, watch: &[&str], restart: Restart) -> Resource {
    Resource::Unit(Unit {
        name: name.to_owned(),
        enabled: true,
        running: true,
        watch: watch.iter().map(|path| (*path).to_owned()).collect(),
        on_change: OnChange::Restart,
        restart_watch: Vec::new(),
        packages: Vec::new(),
        restart,
        timeout: Duration::from_secs(30),
    })
}

fn package(name: &str) -> Resource {
    Resource::Package(Package { name: name.to_owned(), version: None, replace: Replace::Refused, source: Source::Host })
}

/// A small role with every kind whose order matters.
fn web(content: &str, restart: Restart) -> Vec<Resource> {
    vec![
        package("web"),
        Resource::Directory(Directory {
            path: "/etc/web".to_owned(),
            owner: "root".to_owned(),
            group: "root".to_owned(),
            mode: 0o755,
        }),
        file("/etc/web/web.cfg", content),
        Resource::Sysctl(Sysctl { key: "vm.swappiness".to_owned(), value: "1".to_owned() }),
        Resource::Firewall(Firewall {
            path: "/etc/web/rules.nft".to_owned(),
            content: "tcp dport 80 accept\n".to_owned(),
            confirm_within: Duration::from_secs(30),
        }),
        unit("web.service", &["/etc/web/web.cfg"], restart),
        // the simulated host takes a command for done once it was run under the same text
        Resource::Command(Command {
            run: "web-admin init".to_owned(),
            unless: "web-admin init".to_owned(),
            why: "make the site".to_owned(),
        }),
    ]
}

/// Converge and collect what was said.
async fn converge(host: &SimulatedHost, resources: &[Resource]) -> (Result<usize, ConvergeError>, Vec<Event>) {
    converge_with(host, resources, Interruption::Refused).await
}

async fn converge_with(
    host: &SimulatedHost,
    resources: &[Resource],
    interruption: Interruption,
) -> (Result<usize, ConvergeError>, Vec<Event>) {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(256);
    let reporter = Reporter::new("test".to_owned(), sender);
    let cancel = Cancel::default();
    let approved = Approved::by_operator(Standing::default());
    let converge =
        Converge { host, resources, approved: &approved, interruption, reporter: &reporter, cancel: &cancel };
    let result = converge.run().await;
    drop(reporter);
    let mut events = Vec::new();
    while let Some(event) = receiver.recv().await {
        events.push(event);
    }
    (result, events)
}

async fn pending(host: &SimulatedHost, resources: &[Resource]) -> Vec<String> {
    let probes: Vec<Probe> = resources.iter().flat_map(Resource::probes).collect();
    let seen = host.observe(&probes).await.expect("a simulated host answers");
    diff_resources(resources, &seen).iter().map(|change| format!("{}: {}", change.resource, change.summary)).collect()
}

fn bare() -> SimulatedHost {
    SimulatedHost::new("db1".into(), Machine::default())
}

#[tokio::test]
async fn a_bare_host_is_converged_once_and_then_left_alone() {
    let host = bare();
    let role = web("port 80\n", Restart::Now);
    let (result, events) = converge(&host, &role).await;
    assert_eq!(result.expect("converges"), 7);
    let applied = events.iter().filter(|event| matches!(event.kind, Kind::ChangeApplied { .. })).count();
    assert_eq!(applied, 7);
    let before = host.history().len();
    let (again, _) = converge(&host, &role).await;
    assert_eq!((again.expect("converges"), host.history().len()), (0, before));
}

#[tokio::test]
async fn a_changed_file_restarts_the_unit_that_watches_it_and_nothing_else() {
    let host = bare();
    converge(&host, &web("port 80\n", Restart::Now)).await.0.expect("converges");
    let edited = web("port 81\n", Restart::Now);
    assert_eq!(
        pending(&host, &edited).await,
        ["file /etc/web/web.cfg: update", "unit web.service: restart: /etc/web/web.cfg changed"]
    );
    converge(&host, &edited).await.0.expect("converges");
    assert_eq!(pending(&host, &edited).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_run_killed_between_file_and_restart_is_repaired_by_the_next() {
    let host = bare();
    converge(&host, &web("port 80\n", Restart::Now)).await.0.expect("converges");
    // Only the file is written: what a run leaves that was killed right after it.
    converge(&host, &[file("/etc/web/web.cfg", "port 81\n")]).await.0.expect("converges");
    let role = web("port 81\n", Restart::Now);
    assert_eq!(pending(&host, &role).await, ["unit web.service: restart: /etc/web/web.cfg changed"]);
}

#[tokio::test]
async fn a_database_is_never_restarted_by_converging_one_host() {
    let host = bare();
    converge(&host, &web("port 80\n", Restart::Rolling)).await.0.expect("converges");
    let before = host.machine().units;
    let (result, _) = converge(&host, &web("port 81\n", Restart::Rolling)).await;
    assert!(matches!(result, Err(ConvergeError::Rolling { .. })), "{result:?}");
    assert_eq!(host.machine().units, before);
}

#[tokio::test]
async fn a_database_is_restarted_with_a_permit_for_that_very_unit() {
    let host = bare();
    converge(&host, &web("port 80\n", Restart::Rolling)).await.0.expect("converges");
    let before = host.machine().units;
    let permit = |unit: &str| Interruption::Permitted(Permit::seen_to_be_safe(ResourceId::new("unit", unit)));
    let edited = web("port 81\n", Restart::Rolling);
    let (result, _) = converge_with(&host, &edited, permit("other.service")).await;
    assert!(matches!(result, Err(ConvergeError::Rolling { .. })), "{result:?}");
    assert_eq!(host.machine().units, before);
    let (result, _) = converge_with(&host, &edited, permit("web.service")).await;
    assert_eq!(result.expect("converges"), 1, "the file was there already");
    assert_ne!(host.machine().units, before);
    assert_eq!(pending(&host, &edited).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_failing_action_names_its_change_and_leaves_the_later_ones_undone() {
    let host = bare().failing_at(2);
    let (result, _) = converge(&host, &web("port 80\n", Restart::Now)).await;
    let error = result.expect_err("the third action was ordered to fail").to_string();
    assert_eq!(
        error,
        "db1: file /etc/web/web.cfg (create, root:root 0644) failed with status 1; it said: ordered to fail"
    );
    assert!(host.machine().units.is_empty());
}

#[tokio::test]
async fn a_file_read_only_at_the_first_start_is_left_alone_afterwards() {
    let frozen = |content: &str| {
        let Resource::File(mut file) = file("/etc/db/bootstrap.yml", content) else { unreachable!() };
        file.frozen_by = Some("/data/PG_VERSION".to_owned());
        vec![Resource::File(file)]
    };
    let host = bare();
    converge(&host, &frozen("a\n")).await.0.expect("converges");
    assert_eq!(pending(&host, &frozen("b\n")).await, ["file /etc/db/bootstrap.yml: update"]);
    converge(&host, &[file("/data/PG_VERSION", "17\n")]).await.0.expect("converges");
    assert_eq!(pending(&host, &frozen("b\n")).await, Vec::<String>::new());
}

fn any_node() -> impl Strategy<Value = Node> {
    let kind = prop_oneof![Just(PathKind::File), Just(PathKind::Directory), Just(PathKind::Other)];
    (kind, prop_oneof![Just("root"), Just("daemon")], prop_oneof![Just(0o644_u32), Just(0o600)], "[a-c]{0,2}").prop_map(
        |(kind, owner, mode, content)| Node {
            kind,
            owner: owner.to_owned(),
            group: "root".to_owned(),
            mode,
            content,
            modified: 0,
        },
    )
}

proptest! {
    /// Whatever a host looked like: after apply, plan is empty, and what is not ours is as it was.
    #[test]
    fn after_apply_the_plan_is_empty(
        config in proptest::option::of(any_node()),
        directory in proptest::option::of(any_node()),
        installed: bool,
        active: bool,
        guard_left: bool,
    ) {
        let mut machine = Machine { guard_left, ..Machine::default() };
        machine.paths.extend(config.map(|node| ("/etc/web/web.cfg".to_owned(), node)));
        machine.paths.extend(directory.map(|node| ("/etc/web".to_owned(), node)));
        let foreign = Node { kind: PathKind::File, owner: "x".into(), group: "x".into(), mode: 0, content: "x".into(), modified: 0 };
        machine.paths.insert("/etc/foreign".to_owned(), foreign.clone());
        if installed { machine.packages.insert("web".to_owned(), "0.9".to_owned()); }
        if active { machine.units.entry("web.service".to_owned()).or_default().active = true; }
        let host = SimulatedHost::new(HostName::new("db1"), machine);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let role = web("port 80\n", Restart::Now);
        runtime.block_on(async {
            converge(&host, &role).await.0.expect("converges");
            assert_eq!(pending(&host, &role).await, Vec::<String>::new());
        });
        let paths: BTreeMap<String, Node> = host.machine().paths;
        prop_assert_eq!(paths.get("/etc/foreign"), Some(&foreign));
    }
}
