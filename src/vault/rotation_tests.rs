//! What each phase means, and that no order of cuts locks out a member.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::Path;

use super::*;
use crate::vault::parse;

fn inventory() -> Inventory {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("inventory/example.toml");
    let mut inventory = Inventory::load(&path, None).expect("a good inventory").inventory;
    inventory.secrets.clear();
    inventory
}

fn secrets() -> Secrets {
    let Ok(secrets) = Secrets::try_each(|name| Ok::<_, Infallible>(Secret::new(format!("former-{name}"))));
    secrets
}

/// The vault in every phase from the beginning to the end.
fn all_phases(names: &[&str]) -> Vec<Secrets> {
    let names = names.iter().map(ToString::to_string).collect();
    let mut now = secrets();
    let mut phases = vec![now.clone()];
    let mut step = Step::Begin(names);
    while advance(&mut now, &inventory(), step).expect("it goes on") {
        phases.push(now.clone());
        step = Step::Next;
    }
    phases
}

fn names_of(phases: &[Secrets]) -> Vec<Option<Phase>> {
    phases.iter().map(|secrets| secrets.rotation.as_ref().map(|rotation| rotation.phase)).collect()
}

/// User and password of everybody PostgreSQL knows.
fn known(secrets: &Secrets) -> BTreeSet<(String, String)> {
    let pair = |user: &str, password: &Secret| (user.to_owned(), password.expose().to_owned());
    let real = [pair("replicator", &secrets.replication), pair("rewind", &secrets.rewind)];
    let second = [&REPLICATOR, &REWINDER].into_iter().filter_map(|of| of.bridge(secrets));
    real.into_iter().chain(second.map(|login| pair(login.user, login.password))).collect()
}

fn used(secrets: &Secrets) -> BTreeSet<(String, String)> {
    let logins = [REPLICATOR.used(secrets), REWINDER.used(secrets)];
    logins.into_iter().map(|login| (login.user.to_owned(), login.password.expose().to_owned())).collect()
}

fn let_in(secrets: &Secrets) -> BTreeSet<&'static str> {
    [REPLICATOR.let_in(secrets), REWINDER.let_in(secrets)].concat().into_iter().collect()
}

#[test]
fn the_way_of_a_login_and_of_a_simple_password() {
    let phases = [None, Some(Phase::Introduce), Some(Phase::Move), Some(Phase::Change), Some(Phase::Return), None];
    assert_eq!(names_of(&all_phases(&[])), phases);
    assert_eq!(names_of(&all_phases(&["rewind"])), phases);
    assert_eq!(names_of(&all_phases(&["superuser", "statistics"])), [None, Some(Phase::Change), None]);
}

#[test]
fn what_is_named_changes_and_nothing_else() {
    for named in [vec![], vec!["replication"], vec!["application", "rewind"]] {
        let phases = all_phases(&named);
        let last = phases.last().expect("an end");
        for (name, before) in secrets().each() {
            let changes = named.is_empty() || named.contains(&name);
            assert_eq!(last.named(name) != Some(before), changes, "{name} of {named:?}");
        }
        assert_eq!(last.rotation, None);
    }
}

/// Between two phases some hosts are told and some are not, in any order: whatever a member uses in either must be known
/// and let in by the leader in either.
#[test]
fn a_cut_between_two_phases_locks_out_nobody() {
    for names in [&[][..], &["replication"], &["rewind"], &["replication", "superuser"]] {
        for pair in all_phases(names).windows(2) {
            for (member, leader) in [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(m, l)| (&pair[m], &pair[l])) {
                let (used, known) = (used(member), known(leader));
                assert!(used.is_subset(&known), "{:?}", names_of(pair));
                assert!(used.iter().all(|(user, _)| let_in(leader).contains(user.as_str())), "{:?}", names_of(pair));
            }
        }
    }
}

#[test]
fn the_former_password_is_known_while_it_may_still_be_in_use() {
    for (phase, secrets) in names_of(&all_phases(&[])).into_iter().zip(all_phases(&[])) {
        let former = secrets.former_superuser().map(Secret::expose);
        assert_eq!(former, (phase == Some(Phase::Change)).then_some("former-superuser"), "{phase:?}");
    }
}

#[test]
fn what_is_under_way_is_gone_on_with() {
    let mut now = secrets();
    let (inventory, begin) =
        (inventory(), |names: &[&str]| Step::Begin(names.iter().map(ToString::to_string).collect()));
    assert!(advance(&mut now, &inventory, begin(&["rewind"])).expect("begun"));
    let begun = now.clone();
    for step in [begin(&[]), begin(&["rewind"]), Step::Resume] {
        assert!(!advance(&mut now, &inventory, step).expect("goes on"));
        assert_eq!(now.rotation, begun.rotation);
    }
    let refused = advance(&mut now, &inventory, begin(&["superuser"])).expect_err("another one");
    assert_eq!(refused.to_string(), "new passwords for rewind are under way, and superuser is not among them");
    assert_eq!(now.rotation, begun.rotation);
}

#[test]
fn what_is_kept_elsewhere_or_not_there_yet_is_not_changed() {
    let mut inventory = inventory();
    inventory.secrets.insert("rewind".to_owned(), crate::inventory::Reference::Env("REWIND".into()));
    let mut now = secrets();
    let refused = advance(&mut now, &inventory, Step::Begin(vec!["rewind".into()])).expect_err("not ours");
    assert!(matches!(refused, RotationError::Elsewhere { .. }), "{refused}");
    assert!(advance(&mut now, &inventory, Step::Begin(Vec::new())).expect("the others are ours"));
    assert!(!now.rotation.expect("begun").names().contains("rewind"));
    let refused = advance(&mut Secrets::placeholder(), &inventory, Step::Begin(Vec::new())).expect_err("nothing yet");
    assert!(matches!(refused, RotationError::NothingYet), "{refused}");
}

#[test]
fn every_phase_survives_the_vault() {
    for secrets in all_phases(&[]) {
        let content = parse::Content { secrets: secrets.clone(), recipients: Vec::new() };
        let text = parse::write(&content, "xnat", &BTreeSet::new()).expect("a text");
        let read = parse::parse(Path::new("x.vault"), &text, &BTreeSet::new()).expect("the same");
        assert_eq!(read.secrets.rotation, secrets.rotation);
        if secrets.rotation.is_some() {
            let spoilt = text.replace("phase = \"", "phase = \"x");
            let refused = parse::parse(Path::new("x.vault"), &spoilt, &BTreeSet::new()).expect_err("spoilt");
            assert!(!format!("{refused:?}").contains("former-"), "{refused:?}");
        }
    }
}
