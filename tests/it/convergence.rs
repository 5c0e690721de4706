//! Every role of every example, on simulated hosts in any state: applied once, there is nothing left to do.

use std::sync::LazyLock;

use proptest::prelude::*;
use xnat_provision::approval::{Approved, Standing};
use xnat_provision::assets::Assets;
use xnat_provision::engine::simulated::{Machine, Node};
use xnat_provision::engine::{Cancel, Converge, Host, Interruption, SimulatedHost};
use xnat_provision::facts::{self, Facts};
use xnat_provision::inventory::Inventory;
use xnat_provision::plan::diff_resources;
use xnat_provision::report::Reporter;
use xnat_provision::resource::{PathKind, Probe, Resource, Restart};
use xnat_provision::role::{self, Input};
use xnat_provision::vault::Secrets;
use xnat_provision::workflow::stage::by_stage;

const EXAMPLES: [&str; 4] = ["minimal", "colocated", "split", "single"];
const FACTS: [&str; 4] = ["bookworm-fresh", "trixie-fresh", "bookworm-member", "trixie-member"];

fn root() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn recorded(name: &str) -> Facts {
    let path = root().join(format!("tests/fixtures/facts/{name}.txt"));
    facts::parse(&std::fs::read_to_string(path).expect(name)).expect(name)
}

static EVERYTHING: LazyLock<Vec<(String, Vec<Vec<Resource>>)>> = LazyLock::new(everything);

/// The stages of every host of every example, on every recorded host.
fn everything() -> Vec<(String, Vec<Vec<Resource>>)> {
    let (secrets, assets) = (Secrets::placeholder(), Assets::default());
    let mut all = Vec::new();
    for example in EXAMPLES {
        let path = root().join(format!("inventory/{example}.toml"));
        let inventory = Inventory::load(&path, None).expect(example).inventory;
        for facts_name in FACTS {
            let facts = recorded(facts_name);
            let secrets = crate::certificates::stand_ins(&inventory, &secrets);
            for host in &inventory.hosts {
                let input = Input { inventory: &inventory, host, facts: &facts, secrets: &secrets, assets: &assets };
                let stages = by_stage(role::expand(&input).expect("expands"));
                all.push((format!("{example} {facts_name} {}", host.name), stages.into_values().collect()));
            }
        }
    }
    all
}

/// What a resource may have been like before: not there, right, wrong, or something else in its place.
#[derive(Clone, Copy, Debug)]
enum Before {
    Absent,
    Right,
    Wrong,
    InTheWay,
}

fn before() -> impl Strategy<Value = Before> {
    prop_oneof![Just(Before::Absent), Just(Before::Right), Just(Before::Wrong), Just(Before::InTheWay)]
}

fn node(resource: &Resource, before: Before) -> Option<(String, Node)> {
    let (path, kind, content, owner, group, mode) = match resource {
        Resource::File(it) => (&it.path, PathKind::File, it.content.as_str(), &it.owner, &it.group, it.mode),
        Resource::Directory(it) => (&it.path, PathKind::Directory, "", &it.owner, &it.group, it.mode),
        _ => return None,
    };
    let right =
        Node { kind, owner: owner.clone(), group: group.clone(), mode, content: content.to_owned(), modified: 0 };
    let node = match before {
        Before::Absent => return None,
        Before::Right => right,
        Before::Wrong if kind == PathKind::File => Node { content: format!("{content}# edited\n"), ..right },
        Before::Wrong => Node { owner: "nobody".to_owned(), mode: mode ^ 0o007, ..right },
        Before::InTheWay => Node { kind: PathKind::Other, ..right },
    };
    Some((path.clone(), node))
}

/// A machine that has some of it already, with some of that wrong.
fn machine(stages: &[Vec<Resource>], states: &[Before]) -> Machine {
    let mut machine = Machine::default();
    for (resource, before) in stages.iter().flatten().zip(states.iter().copied().cycle()) {
        let there = !matches!(before, Before::Absent);
        machine.paths.extend(node(resource, before));
        match resource {
            Resource::Package(it) if there => _ = machine.packages.insert(it.name.clone(), "1.0".to_owned()),
            Resource::Group(it) if there => _ = machine.groups.insert(it.name.clone()),
            Resource::User(it) if there => _ = machine.users.insert(it.name.clone()),
            Resource::Sysctl(it) if there => _ = machine.sysctls.insert(it.key.clone(), "0".to_owned()),
            // A running database would rightly not be restarted; `scenarios.rs` looks at that.
            Resource::Unit(it) if there => {
                let record = machine.units.entry(it.name.clone()).or_default();
                record.enabled = matches!(before, Before::Wrong);
                record.active = it.restart == Restart::Now;
            }
            Resource::Command(it) => {
                machine.makes.insert(it.run.clone(), it.unless.clone());
                if there {
                    machine.holds.insert(it.unless.clone());
                }
            }
            _ => {}
        }
    }
    machine
}

/// Every stage in turn; how many changes were made.
async fn apply(host: &SimulatedHost, stages: &[Vec<Resource>]) -> Result<usize, String> {
    let (reporter, cancel, approved) =
        (Reporter::muted(), Cancel::default(), Approved::by_operator(Standing::default()));
    let mut changed = 0;
    for resources in stages {
        let (approved, interruption) = (&approved, Interruption::Refused);
        let converge = Converge { host, resources, approved, interruption, reporter: &reporter, cancel: &cancel };
        changed += converge.run().await.map_err(|error| error.to_string())?;
    }
    Ok(changed)
}

async fn plan(host: &SimulatedHost, stages: &[Vec<Resource>]) -> Vec<String> {
    let all: Vec<Resource> = stages.iter().flatten().cloned().collect();
    let probes: Vec<Probe> = all.iter().flat_map(Resource::probes).collect();
    let seen = host.observe(&probes).await.expect("a simulated host answers");
    diff_resources(&all, &seen).iter().map(|change| format!("{}: {}", change.resource, change.summary)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_host_was_like_one_apply_leaves_nothing_to_do(states in proptest::collection::vec(before(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        for (name, stages) in EVERYTHING.iter() {
            let host = SimulatedHost::new("db1".into(), machine(stages, &states));
            runtime.block_on(async {
                let planned = plan(&host, stages).await;
                let made = apply(&host, stages).await;
                prop_assert_eq!(made, Ok(planned.len()), "{}: the plan was {:#?}", name, planned);
                prop_assert_eq!(plan(&host, stages).await, Vec::<String>::new(), "{}", name);
                let before = host.history().len();
                prop_assert_eq!(apply(&host, stages).await, Ok(0), "{}", name);
                prop_assert_eq!(host.history().len(), before, "{}", name);
                Ok(())
            })?;
        }
    }
}
