//! Certificates: what is made when, a site's own authority, certificates signed elsewhere, and a change of the authority.

mod brought;
mod rotated;
mod site;

use jiff::{SignedDuration, Timestamp};
use xnat_provision::names::HostName;
use xnat_provision::pki::{self, Pki, Purpose, Why, read};

use site::Site;

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

#[test]
fn certificates_are_made_once_and_again_only_when_something_changed() {
    let site = Site::new("");
    let (mut pki, now) = (Pki::default(), Timestamp::now());
    let made = pki::complete(&mut pki, &site.inventory(), now).expect("issued");
    assert!(made.iter().all(|one| one.why == Why::Missing) && made.len() > 4, "{made:?}");
    let first = pki.clone();
    assert_eq!(pki::complete(&mut pki, &site.inventory(), now).expect("nothing to do"), []);
    assert_eq!(first, pki);
    let kept = Pki::from_table(pki.to_table().expect("a table")).expect("the same");
    assert_eq!(kept, pki);
}

#[test]
fn a_certificate_is_made_anew_for_another_address_and_no_other_one_is() {
    let site = Site::new("");
    let (mut pki, now) = (Pki::default(), Timestamp::now());
    pki::complete(&mut pki, &site.inventory(), now).expect("issued");
    let moved = site.with("10.0.0.11", "10.0.0.99");
    let made = pki::complete(&mut pki, &moved, now).expect("issued");
    assert!(made.iter().all(|one| one.why == Why::Names), "{made:?}");
    let hosts: Vec<&str> = made.iter().filter_map(|one| Some(one.place.as_ref()?.0.as_str())).collect();
    assert_eq!(hosts, ["db1"; 3]);
    let pair = pki.pair(&HostName::new("db1"), Purpose::Etcd).expect("there");
    let read = read::certificate(&pair.certificate, "it").expect("readable");
    assert_eq!(read.names, ["10.0.0.99", "127.0.0.1", "db1", "localhost"]);
}

#[test]
fn one_that_ends_within_a_month_is_renewed_and_says_so() {
    let site = Site::new("");
    let (mut pki, now) = (Pki::default(), Timestamp::now());
    pki::complete(&mut pki, &site.inventory(), now).expect("issued");
    assert_eq!(pki::complete(&mut pki, &site.inventory(), now + days(330)).expect("early"), []);
    let made = pki::complete(&mut pki, &site.inventory(), now + days(350)).expect("renewed");
    let told: Vec<String> = made.iter().map(|one| one.why.to_string()).collect();
    assert!(told.iter().all(|why| why == "since they end in 14 days"), "{told:?}");
    // Everything, this program's own among it.
    assert_eq!(made.iter().filter(|one| one.place.is_none()).count(), 1);
}

#[test]
fn a_short_lived_certificate_is_not_renewed_at_once() {
    let site = Site::new("[tls]\ndays = 6\n");
    let (mut pki, now) = (Pki::default(), Timestamp::now());
    pki::complete(&mut pki, &site.inventory(), now).expect("issued");
    assert_eq!(pki::complete(&mut pki, &site.inventory(), now).expect("again"), []);
}

#[test]
fn an_address_has_one_spelling() {
    let site = Site::new("[tls]\nnames = [\"FD00:0::1\"]\n");
    let (mut pki, now) = (Pki::default(), Timestamp::now());
    pki::complete(&mut pki, &site.inventory(), now).expect("issued");
    assert_eq!(pki::complete(&mut pki, &site.inventory(), now).expect("again"), []);
}

#[test]
fn without_tls_nothing_is_made() {
    let site = Site::new("[tls]\nenabled = false\n");
    let mut pki = Pki::default();
    assert_eq!(pki::complete(&mut pki, &site.inventory(), Timestamp::now()).expect("nothing"), []);
    assert_eq!(pki, Pki::default());
}
