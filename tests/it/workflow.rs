//! `apply` over hosts that answer its scripts from memory: what is finished when a host fails or somebody interrupts,
//! what is not begun, and what the world is told of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use insta::assert_snapshot;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use xnat_provision::approval::Approved;
use xnat_provision::cluster::{Answer, ClusterView};
use xnat_provision::engine::{Cancel, Claim, Fleet};
use xnat_provision::error::{Exit, Fails};
use xnat_provision::inventory::Inventory;
use xnat_provision::names::HostName;
use xnat_provision::plan::{Plan, PlannedStage, diff_resources};
use xnat_provision::report::{Event, Reporter};
use xnat_provision::resource::{Group, Observations, Resource};
use xnat_provision::transport::{Output, Script, Stream, Streams, Transport, TransportError};
use xnat_provision::vault::Secrets;
use xnat_provision::workflow::stage::Stage;
use xnat_provision::workflow::{Applied, Apply, ApplyError, Restarts, Scope, Started, Survey, obstacles};

/// What happens on a host when it is changed.
#[derive(Clone)]
enum Nature {
    Willing,
    /// What is tried ends with these words.
    Fails(&'static str),
    /// The administrator presses Ctrl-C while it works.
    Interrupts(Cancel),
}

const FULL: &str = "groupadd: cannot lock /etc/group\nNo space left on device\n";

/// A host that only knows groups.
struct Toy {
    groups: Mutex<BTreeSet<String>>,
    nature: Nature,
}

#[async_trait]
impl Transport for Toy {
    async fn run(&self, script: Script) -> Result<Output, TransportError> {
        let mut groups = self.groups.lock().expect("nobody panicked");
        if script.title == "read the host's state" {
            let stdout = groups.iter().map(|group| format!("R\t{group}\n")).collect();
            return Ok(Output { stdout, ..Output::default() });
        }
        assert_eq!(script.title, "change the host");
        match &self.nature {
            Nature::Willing => {}
            Nature::Fails(words) => {
                return Ok(Output { status: 10, stderr: (*words).to_owned(), ..Output::default() });
            }
            Nature::Interrupts(cancel) => cancel.cancel(),
        }
        let added = script.text.lines().filter_map(|line| line.strip_prefix("groupadd --system -- "));
        let before = groups.len();
        groups.extend(added.map(|name| name.trim_matches('\'').to_owned()));
        Ok(Output { stdout: "done\n".repeat(groups.len() - before), ..Output::default() })
    }

    async fn open(&self, host: &str, port: u16) -> Result<Box<dyn Stream>, TransportError> {
        panic!("no stage here asks a service, and {host}:{port} was asked");
    }

    async fn pipe(&self, script: Script) -> Result<Box<dyn Stream>, TransportError> {
        assert_eq!(script.title, "take the host's lock");
        let (ours, host) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let (from, mut to) = tokio::io::split(host);
            let mut lines = BufReader::new(from).lines();
            to.write_all(b"mine 1\n").await.expect("listened to");
            while let Ok(Some(line)) = lines.next_line().await {
                let number = line.split(' ').next().expect("a number");
                // whoever has gone hears no answer
                to.write_all(format!("{number} done\n").as_bytes()).await.ok();
            }
        });
        Ok(Box::new(ours))
    }

    async fn listen(&self, socket: &str) -> Result<Streams, TransportError> {
        panic!("nobody comes to {socket}")
    }

    async fn again(&self) -> Result<Arc<dyn Transport>, TransportError> {
        panic!("nobody connects anew here")
    }

    fn round_trips(&self) -> u64 {
        0
    }

    async fn close(&self) {}
}

/// A group on every host in the first stage and one in the last but one.
fn desired(inventory: &Inventory) -> BTreeMap<HostName, BTreeMap<Stage, Vec<Resource>>> {
    let group = |name: &str| vec![Resource::Group(Group { name: name.to_owned() })];
    let stages = BTreeMap::from([(Stage::Prepare, group("first")), (Stage::SiteRoles, group("last"))]);
    inventory.hosts.iter().map(|host| (host.name.clone(), stages.clone())).collect()
}

async fn survey(inventory: &Inventory, natures: &BTreeMap<&str, Nature>) -> Survey {
    let desired = desired(inventory);
    let planned = |stage: Stage| PlannedStage {
        title: stage.title().to_owned(),
        hosts: desired
            .iter()
            .filter_map(|(name, stages)| {
                Some((name.clone(), diff_resources(stages.get(&stage)?, &Observations::default())))
            })
            .collect(),
        ..PlannedStage::default()
    };
    let plan = Plan { stages: Stage::ALL.into_iter().map(planned).collect(), ..Plan::default() };
    let toy = |name: &HostName| -> Arc<dyn Transport> {
        let nature = natures.get(name.as_str()).cloned().unwrap_or(Nature::Willing);
        Arc::new(Toy { groups: Mutex::default(), nature })
    };
    let connections = desired.keys().map(|name| (name.clone(), toy(name))).collect();
    let mut fleet = Fleet { connections, ..Fleet::default() };
    let claim = Claim {
        run: "test".to_owned(),
        who: "anna@laptop".to_owned(),
        command: "apply".to_owned(),
        cluster: inventory.cluster.clone(),
        since: "2026-04-12T10:15:30Z".parse().expect("a time"),
    };
    let locks = fleet.take(desired.keys().cloned().collect(), &claim).await;
    fleet.holds = locks.into_iter().map(|(name, lock)| (name, lock.expect("nobody else is there"))).collect();
    let unknown = || "nobody was asked".to_owned();
    Survey {
        fleet,
        unreachable: BTreeMap::new(),
        facts: BTreeMap::new(),
        desired,
        transition: None,
        joining: Vec::new(),
        departures: Vec::new(),
        strangers: Vec::new(),
        started: Started { etcd: false, postgres: false },
        resumes: None,
        stranger: false,
        restarts: Restarts::none(),
        coming: BTreeMap::new(),
        reboots: BTreeMap::new(),
        blind: false,
        unchangeable: Vec::new(),
        view: ClusterView {
            cluster: inventory.cluster.clone(),
            unreachable: BTreeMap::new(),
            etcd: Vec::new(),
            initialized: Answer::Unknown(unknown()),
            paused: Answer::Unknown(unknown()),
            config: Answer::Unknown(unknown()),
            members: Vec::new(),
            haproxy: Vec::new(),
            strangers: BTreeSet::new(),
            certificates: Vec::new(),
            authorities: Vec::new(),
        },
        plan,
        warnings: Vec::new(),
    }
}

fn inventory() -> Inventory {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("inventory/minimal.toml");
    Inventory::load(&path, None).expect("a good example").inventory
}

/// Apply, and what was told, host by host: who comes first within a stage is chance.
async fn apply(cancel: &Cancel, natures: BTreeMap<&str, Nature>) -> (Result<Applied, ApplyError>, String) {
    let inventory = inventory();
    let survey = survey(&inventory, &natures).await;
    let (sender, mut receiver) = tokio::sync::mpsc::channel(256);
    let reporter = Reporter::new("test".to_owned(), sender);
    let (secrets, approved, scope) =
        (Secrets::placeholder(), Approved::by_operator(survey.fleet.standing.clone()), Scope::default());
    let apply = Apply {
        inventory: &inventory,
        secrets: &secrets,
        survey: &survey,
        scope: &scope,
        approved: &approved,
        reporter: &reporter,
        cancel,
        offer: None,
    };
    let result = apply.run().await;
    drop(reporter);
    let mut events = Vec::new();
    while let Some(event) = receiver.recv().await {
        events.push(event);
    }
    events.sort_by_key(|event| event.host.clone());
    (result, events.iter().map(told).collect())
}

fn told(event: &Event) -> String {
    let kind = serde_json::to_value(&event.kind).expect("events are JSON");
    let name = kind["kind"].as_str().expect("a kind");
    let fields =
        kind.as_object().expect("an object").iter().filter(|(name, _)| !["kind", "millis"].contains(&name.as_str()));
    let host = event.host.as_ref().map_or("-", |host| host.as_str());
    let stage = event.stage.as_deref().unwrap_or("-");
    let fields: Vec<String> = fields.map(|(name, value)| format!("{name}={value}")).collect();
    format!("{host} | {stage} | {name} {}\n", fields.join(" ")).replace(" \n", "\n")
}

#[tokio::test]
async fn a_mirror_that_does_not_answer_is_not_taken_for_one_without_the_package() {
    let words = "W: Failed to fetch the index  Could not connect\nE: Unable to locate package haproxy\n";
    let (_, told) = apply(&Cancel::default(), BTreeMap::from([("db2", Nature::Fails(words))])).await;
    assert!(told.contains(r#"help="db2 cannot reach its package mirror: "#), "{told}");
}

#[tokio::test]
async fn a_host_that_fails_stops_the_run_after_its_stage_and_no_other_host() {
    let (result, told) = apply(&Cancel::default(), BTreeMap::from([("db2", Nature::Fails(FULL))])).await;
    assert_snapshot!(told, @r#"
    - | - | stages_planned titles=["Prepare hosts","Apply the site's own roles","Verify as a client"]
    - | Prepare hosts | stage_started hosts=["db1","db2","db3","web1"]
    - | Prepare hosts | stage_finished outcome="failed" changed=3
    db1 | Prepare hosts | step_started title="group first: create"
    db1 | Prepare hosts | change_applied resource="group first" summary="create"
    db1 | Prepare hosts | host_finished outcome="ok" changed=1
    db2 | Prepare hosts | step_started title="group first: create"
    db2 | Prepare hosts | failed code="xnat::converge::action" message="db2: group first (create) failed with status 10; it said: No space left on device" causes=[] help="free some disk space: `ssh db2 df -h`; then run apply again" output_tail=["groupadd: cannot lock /etc/group","No space left on device"]
    db2 | Prepare hosts | host_finished outcome="failed" changed=0
    db3 | Prepare hosts | step_started title="group first: create"
    db3 | Prepare hosts | change_applied resource="group first" summary="create"
    db3 | Prepare hosts | host_finished outcome="ok" changed=1
    web1 | Prepare hosts | step_started title="group first: create"
    web1 | Prepare hosts | change_applied resource="group first" summary="create"
    web1 | Prepare hosts | host_finished outcome="ok" changed=1
    "#);
    let error = result.expect_err("a host failed");
    assert_snapshot!(error, @r#"
    "Prepare hosts" failed on db2; later stages were not begun
    "#);
    assert_eq!(error.exit(), Exit::Failed);
}

#[tokio::test]
async fn an_interrupted_run_finishes_what_is_under_way_and_says_what_is_left() {
    let cancel = Cancel::default();
    let natures = BTreeMap::from([("db1", Nature::Interrupts(cancel.clone()))]);
    let (result, told) = apply(&cancel, natures).await;
    assert_snapshot!(told, @r#"
    - | - | stages_planned titles=["Prepare hosts","Apply the site's own roles","Verify as a client"]
    - | Prepare hosts | stage_started hosts=["db1","db2","db3","web1"]
    - | Prepare hosts | stage_finished outcome="interrupted" changed=1
    db1 | Prepare hosts | step_started title="group first: create"
    db1 | Prepare hosts | change_applied resource="group first" summary="create"
    db1 | Prepare hosts | host_finished outcome="ok" changed=1
    db2 | Prepare hosts | host_finished outcome="interrupted" changed=0
    db3 | Prepare hosts | host_finished outcome="interrupted" changed=0
    web1 | Prepare hosts | host_finished outcome="interrupted" changed=0
    "#);
    let error = result.expect_err("it was interrupted");
    assert_snapshot!(error, @"interrupted; done: nothing; still to do: Prepare hosts, Apply the site's own roles, Verify as a client");
    assert_eq!(error.exit(), Exit::Interrupted);
}

/// Nobody could look inside PostgreSQL: then nobody knows what a changed parameter needs, and a restart might be among it.
#[tokio::test]
async fn what_nobody_can_judge_is_not_applied() {
    let inventory = inventory();
    let mut survey = survey(&inventory, &BTreeMap::new()).await;
    let told = |survey: &Survey| -> Vec<String> {
        obstacles(survey, &inventory, None).into_iter().map(|obstacle| obstacle.text).collect()
    };
    survey.blind = true;
    assert_eq!(told(&survey), Vec::<String>::new());
    survey.view.config = Answer::Known(serde_json::json!({}));
    assert_eq!(told(&survey), ["no leader can be asked yet which of the parameters need a restart"]);
    survey.blind = false;
    assert_eq!(told(&survey), Vec::<String>::new());
}
