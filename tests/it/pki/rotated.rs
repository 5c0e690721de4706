//! A change of the authority, step by step: at each of them every certificate in use is believed by everybody, both by
//! those that were told already and by those that were not.

use jiff::Timestamp;
use proptest::prelude::*;
use xnat_provision::names::HostName;
use xnat_provision::pki::{self, Phase, Pki, PkiError, RotationError, Step, read};
use xnat_provision::secret::Secret;

use super::site::{Signer, Site};

fn begin(site: &Site) -> Pki {
    let mut pki = Pki::default();
    pki::complete(&mut pki, &site.inventory(), Timestamp::now()).expect("issued");
    pki
}

fn step(pki: &mut Pki, site: &Site, step: Step) -> Result<(), PkiError> {
    let result = pki::advance(pki, &site.inventory(), Timestamp::now(), step).map(|_| ());
    // What is cut here is read from the vault by the next run.
    let was_elsewhere = pki.to_table().expect("a table");
    *pki = Pki::from_table(was_elsewhere).expect("read back");
    result
}

/// Every certificate of one state is believed by those who trust what the other says.
fn believed(shown: &Pki, trusting: &Pki) -> bool {
    let trusted = read::certificates(&trusting.trusted(), "them").expect("readable");
    let pairs = shown.hosts.values().flat_map(|pairs| pairs.values()).chain(&shown.operator);
    let mut leaves = pairs.map(|pair| read::certificate(&pair.certificate, "it").expect("readable"));
    leaves.all(|leaf| trusted.iter().any(|authority| leaf.is_signed_by(authority)))
}

#[test]
fn at_every_step_everybody_believes_everybody() {
    let site = Site::new("");
    let mut states = vec![begin(&site)];
    for next in [Step::Introduce { present_key: None }, Step::Switch, Step::Finish] {
        let mut pki = states[states.len() - 1].clone();
        step(&mut pki, &site, next).expect("a step");
        states.push(pki);
    }
    let phases: Vec<Phase> = states.iter().map(Pki::phase).collect();
    assert_eq!(phases, [Phase::Steady, Phase::Introduced, Phase::Switched, Phase::Steady]);
    for pair in states.windows(2) {
        assert!(believed(&pair[0], &pair[1]) && believed(&pair[1], &pair[0]) && believed(&pair[1], &pair[1]));
    }
    // Without the steps in between nobody believes anybody.
    assert!(!believed(&states[0], &states[3]) && !believed(&states[3], &states[0]));
    // Patroni reads its authorities again only when its own certificate is another one.
    let serials = |pki: &Pki| {
        let pairs = pki.hosts.values().flat_map(|pairs| pairs.values());
        pairs.map(|pair| read::certificate(&pair.certificate, "it").expect("readable").serial).collect::<Vec<_>>()
    };
    assert!(serials(&states[0]).iter().zip(serials(&states[1])).all(|(one, other)| *one != other));
}

#[test]
fn steps_in_another_order_are_refused_and_change_nothing() {
    let site = Site::new("");
    let mut pki = begin(&site);
    let refused = |pki: &mut Pki, wrong: Step| {
        let before = pki.clone();
        assert!(matches!(step(pki, &site, wrong), Err(PkiError::Rotation(_))));
        assert_eq!(*pki, before);
    };
    refused(&mut pki, Step::Switch);
    refused(&mut pki, Step::Finish);
    step(&mut pki, &site, Step::Introduce { present_key: None }).expect("begun");
    refused(&mut pki, Step::Introduce { present_key: None });
    refused(&mut pki, Step::Finish);
    refused(&mut pki, Step::Renew(Vec::new()));
    step(&mut pki, &site, Step::Switch).expect("switched");
    refused(&mut pki, Step::Switch);
}

#[test]
fn certificates_of_one_host_are_renewed_alone() {
    let site = Site::new("");
    let mut pki = begin(&site);
    let before = pki.clone();
    step(&mut pki, &site, Step::Renew(vec![HostName::new("db2")])).expect("renewed");
    for (host, pairs) in &pki.hosts {
        assert_eq!(before.hosts[host] != *pairs, host.as_str() == "db2", "{host}");
    }
    assert_eq!(before.authority, pki.authority);
    assert_eq!(before.operator, pki.operator);
}

#[test]
fn from_our_own_authority_to_a_sites_and_back() {
    const OWN: &str = "[tls]\nca_certificate = \"ca.pem\"\nca_key = \"ca-key.pem\"\n";
    let (ours, theirs) = (Site::new(""), Site::new(OWN));
    let root = Signer::root("Example Root");
    theirs.write("ca.pem", &root.certificate);
    theirs.write("ca-key.pem", &root.key);
    let mut pki = begin(&ours);
    assert!(matches!(step(&mut pki, &theirs, Step::Complete), Err(PkiError::OtherAuthority { .. })));
    for next in [Step::Introduce { present_key: None }, Step::Complete, Step::Switch, Step::Complete, Step::Finish] {
        step(&mut pki, &theirs, next).expect("a step");
    }
    assert!(pki.trusted().trim() == root.certificate.replace('\r', "").trim(), "{}", pki.trusted());
    // The way back needs the key that only the site has.
    let result = step(&mut pki, &ours, Step::Introduce { present_key: None });
    assert!(matches!(result, Err(PkiError::Rotation(RotationError::PresentKey))), "{result:?}");
    let present_key = Some(Secret::new(root.key.as_str()));
    for next in [Step::Introduce { present_key }, Step::Resume, Step::Switch, Step::Finish] {
        step(&mut pki, &ours, next).expect("a step");
    }
    assert!(!pki.trusted().contains(root.certificate.lines().nth(3).expect("a line")));
}

#[test]
fn the_authority_that_signs_already_is_no_new_one() {
    let site = Site::new("[tls]\nca_certificate = \"ca.pem\"\nca_key = \"ca-key.pem\"\n");
    let root = Signer::root("Example Root");
    site.write("ca.pem", &root.certificate);
    site.write("ca-key.pem", &root.key);
    let mut pki = begin(&site);
    let result = step(&mut pki, &site, Step::Introduce { present_key: None });
    assert!(matches!(result, Err(PkiError::Rotation(RotationError::SameAuthority))), "{result:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is asked for in whatever order: hosts told of one state and hosts told of the one before it understand
    /// each other, and nothing is lost that was trusted and still in use.
    #[test]
    fn any_order_of_steps_keeps_the_cluster_together(order in prop::collection::vec(0..6_u8, 1..8)) {
        let site = Site::new("");
        let mut pki = begin(&site);
        for number in order {
            let before = pki.clone();
            let next = match number {
                0 => Step::Complete,
                1 => Step::Renew(Vec::new()),
                2 => Step::Introduce { present_key: None },
                3 => Step::Switch,
                4 => Step::Finish,
                _ => Step::Resume,
            };
            // a step that does not fit is refused
            step(&mut pki, &site, next).ok();
            prop_assert!(believed(&before, &pki) && believed(&pki, &before) && believed(&pki, &pki));
        }
    }
}
