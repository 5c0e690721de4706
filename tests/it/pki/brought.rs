//! An authority of the site's own, and certificates that somebody else has signed.

use std::fs;

use jiff::Timestamp;
use rcgen::ExtendedKeyUsagePurpose;
use xnat_provision::names::HostName;
use xnat_provision::pki::{self, Fault, Pki, PkiError, Purpose, read};

use super::site::{Leaf, Signer, Site, set_mode};

const AUTHORITY: &str = "[tls]\nca_certificate = \"ca.pem\"\nca_key = \"ca-key.pem\"\n";
const ELSEWHERE: &str = "[tls]\nca_certificate = \"ca.pem\"\ncertificates = \"certificates\"\n";

fn complete(site: &Site) -> Result<Pki, PkiError> {
    let mut pki = Pki::default();
    pki::complete(&mut pki, &site.inventory(), Timestamp::now()).map(|_| pki)
}

/// What is said, with the directory left out.
fn faults(site: &Site) -> Vec<String> {
    match complete(site) {
        Err(PkiError::Supplied { faults }) => {
            assert!(faults.iter().all(|fault: &Fault| fault.help.len() > 20), "{faults:?}");
            let directory = format!("{}/", site.path("").display()).replace("//", "/");
            faults.iter().map(|fault| fault.to_string().replace(&directory, "")).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn site_with(certificate: &str, key: &str) -> Site {
    let site = Site::new(AUTHORITY);
    site.write("ca.pem", certificate);
    site.write("ca-key.pem", key);
    site
}

#[test]
fn an_intermediate_authority_signs_and_its_chain_is_served_without_the_root() {
    let root = Signer::root("Example Root");
    let middle = root.intermediate("Example Databases");
    let chain = format!("some words before it\n{}{}", middle.certificate, root.certificate);
    let site = site_with(&chain, &middle.key);
    let pki = complete(&site).expect("issued");
    let pair = pki.pair(&HostName::new("db1"), Purpose::Postgres).expect("there");
    let served = read::certificates(&pair.certificate, "it").expect("readable");
    let subjects: Vec<&str> = served.iter().map(|one| one.subject.as_str()).collect();
    assert_eq!(subjects, ["CN=postgres of db1", "CN=Example Databases"]);
    assert!(served[0].is_signed_by(&served[1]));
    assert_eq!(read::certificates(&pki.trusted(), "them").expect("readable").len(), 2);
    // The key of the authority stays where it is.
    let kept = pki.to_table().expect("a table").to_string();
    assert!(!kept.contains(middle.key.lines().nth(1).expect("a line of the key")), "{kept}");
    let mut kept = Pki::from_table(pki.to_table().expect("a table")).expect("read back");
    assert_eq!(pki::complete(&mut kept, &site.inventory(), Timestamp::now()).expect("complete"), []);
    assert_eq!(kept, pki);
}

#[test]
fn an_authority_that_cannot_be_used_is_told_precisely() {
    let (root, other) = (Signer::root("Example Root"), Signer::root("Other Root"));
    let middle = root.intermediate("Example Databases");
    let nobody = Signer::nobody("Nobody");
    let cases = [
        (("-".to_owned(), root.key.clone()), "ca.pem holds no certificate in PEM form"),
        (
            (root.key.clone(), root.key.clone()),
            "ca.pem holds no certificate in PEM form (it is not a certificate in PEM form: it holds a PRIVATE KEY)",
        ),
        ((root.certificate.clone(), other.key.clone()), "ca-key.pem is not the key of the certificate in ca.pem"),
        ((root.certificate.clone(), root.certificate.clone()), "ca-key.pem holds no private key in PKCS #8 form"),
        (
            (root.certificate.clone(), "-----BEGIN ENCRYPTED PRIVATE KEY-----\n".to_owned()),
            "ca-key.pem is an encrypted private key",
        ),
        (
            (nobody.certificate.clone(), nobody.key.clone()),
            "ca.pem is not an authority: \"CN=Nobody\" may not sign certificates",
        ),
        (
            (middle.certificate.clone(), middle.key.clone()),
            "ca.pem does not lead up to a root: its last certificate was signed by \"CN=Example Root\"",
        ),
        (
            (format!("{}{}", middle.certificate, other.certificate), middle.key.clone()),
            "ca.pem is no chain: \"CN=Example Databases\" is not signed by the next, \"CN=Other Root\"",
        ),
    ];
    for ((certificate, key), expected) in cases {
        let told = faults(&site_with(&certificate, &key));
        assert!(
            told.len() == 1 && told[0].replace(&dirs(&told[0]), "").starts_with(expected),
            "{told:?} is not {expected}"
        );
    }
}

/// The directory of a path named in the middle of a fault.
fn dirs(told: &str) -> String {
    let word = told.split(' ').find(|word| word.starts_with('/')).unwrap_or_default();
    word.rfind('/').map_or(String::new(), |end| word[..=end].to_owned())
}

#[test]
fn an_authority_is_judged_by_the_clock() {
    let root = Signer::root("Example Root");
    let site = site_with(&root.certificate, &root.key);
    let late = "4200-01-01T00:00:00Z".parse().expect("a time");
    let error = pki::complete(&mut Pki::default(), &site.inventory(), late).expect_err("it has ended");
    let PkiError::Supplied { faults } = error else { panic!("{error:?}") };
    assert!(faults[0].what.starts_with("has ended: \"CN=Example Root\" was good until 4096-01-01"), "{faults:?}");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let root = Signer::root("Example Root");
    let site = site_with(&root.certificate, &root.key);
    set_mode(&site.path("ca-key.pem"), 0o640);
    assert_eq!(faults(&site), ["ca-key.pem holds a private key and has mode 0640: others can read it"]);
}

#[test]
fn another_authority_is_not_taken_at_once() {
    let (one, other) = (Signer::root("One Root"), Signer::root("Other Root"));
    let site = site_with(&one.certificate, &one.key);
    let mut pki = complete(&site).expect("issued");
    let before = pki.clone();
    site.write("ca.pem", &other.certificate);
    site.write("ca-key.pem", &other.key);
    let error = pki::complete(&mut pki, &site.inventory(), Timestamp::now()).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "the cluster's certificates are of \"CN=One Root\", and the inventory names the authority \"CN=Other Root\""
    );
    assert_eq!(pki, before);
}

#[test]
fn without_its_key_an_authority_signs_nothing_new() {
    let one = Signer::root("One Root");
    let site = site_with(&one.certificate, &one.key);
    let mut kept = Pki::from_table(complete(&site).expect("issued").to_table().expect("a table")).expect("read back");
    let silent = Site::new("");
    assert_eq!(pki::complete(&mut kept, &silent.inventory(), Timestamp::now()).expect("nothing to sign"), []);
    let moved = silent.with("10.0.0.11", "10.0.0.99");
    let error = pki::complete(&mut kept, &moved, Timestamp::now()).expect_err("it cannot sign");
    assert!(matches!(error, PkiError::NoKey { .. }), "{error:?}");
}

/// Every file a site needs, signed by somebody.
fn fill(site: &Site, signer: &Signer, chain: &str) {
    for wanted in pki::wanted(&site.inventory()) {
        let names: Vec<&str> = wanted.public_names().collect();
        let (certificate, key) = pki::files(Some(&wanted));
        let leaf = signer.leaf(Leaf::of(&names));
        site.write(&format!("certificates/{certificate}"), &format!("{}{chain}", leaf.certificate));
        site.write(&format!("certificates/{key}"), &leaf.key);
    }
    let leaf = signer.leaf(Leaf::of(&["operator"]));
    site.write("certificates/operator.pem", &format!("{}{chain}", leaf.certificate));
    site.write("certificates/operator-key.pem", &leaf.key);
}

fn elsewhere(root: &Signer) -> Site {
    let site = Site::new(ELSEWHERE);
    site.write("ca.pem", &root.certificate);
    fs::create_dir_all(site.path("certificates")).expect("made");
    site
}

#[test]
fn certificates_signed_elsewhere_are_used_and_not_kept() {
    let root = Signer::root("Example Root");
    let middle = root.intermediate("Example Databases");
    let site = elsewhere(&root);
    fill(&site, &middle, &middle.certificate);
    let pki = complete(&site).expect("used");
    let pair = pki.pair(&HostName::new("web1"), Purpose::Haproxy).expect("there");
    assert_eq!(read::certificates(&pair.certificate, "it").expect("readable").len(), 2);
    let kept = Pki::from_table(pki.to_table().expect("a table")).expect("read back");
    assert!(kept.hosts.is_empty() && kept.operator.is_none() && kept.authority.is_some(), "{kept:?}");
}

#[test]
fn trust_changes_through_a_file_with_both_authorities_only() {
    let (one, other) = (Signer::root("One Root"), Signer::root("Other Root"));
    let site = elsewhere(&one);
    fill(&site, &one, "");
    let mut pki = complete(&site).expect("used");
    let mut again = |site: &Site| pki::complete(&mut pki, &site.inventory(), Timestamp::now()).map(|_| ());
    let both = format!("{}{}", one.certificate, other.certificate);
    site.write("ca.pem", &both);
    fill(&site, &other, "");
    assert!(matches!(again(&site), Err(PkiError::OtherAuthority { .. })), "nobody believes the other yet");
    fill(&site, &one, "");
    again(&site).expect("both are trusted");
    fill(&site, &other, "");
    again(&site).expect("and either may sign");
    site.write("ca.pem", &other.certificate);
    again(&site).expect("the former is not needed any more");
    site.write("ca.pem", &one.certificate);
    fill(&site, &one, "");
    assert!(matches!(again(&site), Err(PkiError::OtherAuthority { .. })));
}

#[test]
fn every_fault_of_every_file_is_told_at_once() {
    let (root, other) = (Signer::root("Example Root"), Signer::root("Other Root"));
    let site = elsewhere(&root);
    fill(&site, &root, "");
    let write = |name: &str, leaf: Signer| {
        site.write(&format!("certificates/{name}.pem"), &leaf.certificate);
        site.write(&format!("certificates/{name}-key.pem"), &leaf.key);
    };
    write("db1-etcd", other.leaf(Leaf::of(&["db1", "10.0.0.11"])));
    write(
        "db1-patroni",
        root.leaf(Leaf { uses: &[ExtendedKeyUsagePurpose::ServerAuth], ..Leaf::of(&["db1", "10.0.0.11"]) }),
    );
    write("db1-postgres", root.leaf(Leaf::of(&["db1", "10.0.0.11", "web1"])));
    write("db2-etcd", root.leaf(Leaf { until: Some((2020, 1, 1)), ..Leaf::of(&["db2", "10.0.0.12"]) }));
    write("db2-postgres", root.leaf(Leaf { careless: true, ..Leaf::of(&["db2", "10.0.0.12", "web1", "10.0.0.21"]) }));
    fs::remove_file(site.path("certificates/db2-patroni.pem")).expect("removed");
    fs::remove_file(site.path("certificates/db2-patroni-key.pem")).expect("removed");
    let stranger = root.leaf(Leaf::of(&["x"]));
    site.write("certificates/db3-etcd-key.pem", &stranger.key);
    write("operator", root.leaf(Leaf { uses: &[ExtendedKeyUsagePurpose::ServerAuth], ..Leaf::of(&["x"]) }));
    let told = faults(&site).iter().map(|one| one.replace(&dirs(one), "")).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(told, @r#"
    certificates/db1-etcd.pem is not signed by an authority in ca_certificate: "CN=rcgen self signed cert" was signed by "CN=Other Root"
    certificates/db1-patroni.pem may not be used as clientAuth
    certificates/db1-postgres.pem is not for 10.0.0.21
    certificates/db2-etcd.pem has ended: "CN=rcgen self signed cert" was good until 2020-01-01
    certificates/db2-patroni.pem cannot be read: No such file or directory (os error 2)
    certificates/db2-patroni-key.pem cannot be read: No such file or directory (os error 2)
    certificates/db2-postgres.pem is not as RFC 5280 has it: "CN=rcgen self signed cert" is without an authority key identifier
    certificates/db3-etcd-key.pem is not the key of the certificate in certificates/db3-etcd.pem
    certificates/operator.pem may not be used as clientAuth
    "#);
}

#[test]
fn a_wildcard_stands_for_one_label() {
    let root = Signer::root("Example Root");
    let leaf = root.leaf(Leaf::of(&["*.example.org", "db1"]));
    let read = read::certificate(&leaf.certificate, "it").expect("readable");
    let covered = ["a.example.org", "DB1", "example.org", "a.b.example.org", "db2"].map(|name| read.covers(name));
    assert_eq!(covered, [true, true, false, false, false]);
}
