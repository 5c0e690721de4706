//! Which pass of a conversion to TLS comes next, as the services are seen, and the form files have in it.

use std::path::Path;
use std::sync::Arc;

use insta::assert_snapshot;
use xnat_provision::assets::Assets;
use xnat_provision::cluster::{Answer, ClusterView, haproxy};
use xnat_provision::facts;
use xnat_provision::inventory::Inventory;
use xnat_provision::resource::Resource;
use xnat_provision::role::{Input, Transition, expand, expand_during};
use xnat_provision::workflow::{Started, conversion};

use crate::certificates::stand_ins;

use super::played::{Hosts, inventory, recording, secrets};

const STARTED: Started = Started { etcd: true, postgres: true };

fn known<T>(answer: &mut Answer<T>) -> &mut T {
    match answer {
        Answer::Known(value) => value,
        Answer::Down(reason) | Answer::Unknown(reason) => panic!("{reason}"),
    }
}

async fn plain() -> ClusterView {
    let recording = Arc::new(recording("trixie-healthy"));
    Hosts::new(&recording).look(&recording).await.0
}

fn with_tls() -> Inventory {
    let mut inventory = inventory();
    inventory.tls.enabled = true;
    inventory
}

fn next(view: &ClusterView) -> Option<Transition> {
    conversion::next(&with_tls(), STARTED, view)
}

#[tokio::test]
async fn the_pass_follows_from_what_is_seen_and_never_goes_back() {
    let mut view = plain().await;
    assert_eq!(next(&view), Some(Transition::Opening));
    assert_eq!(conversion::next(&with_tls(), Started { etcd: false, postgres: false }, &view), None, "it is new");
    assert_eq!(conversion::next(&inventory(), STARTED, &view), None, "it is not to speak TLS");
    // pass 1, step by step
    for member in 0..3 {
        known(&mut view.etcd[member].answer).tls = true;
        known(&mut view.etcd[member].answer).plain = true;
        assert_eq!(next(&view), Some(Transition::Opening));
    }
    for member in 0..3 {
        known(&mut view.members[member].server).tls = true;
        assert_eq!(next(&view), Some(Transition::Opening));
    }
    assert_eq!(conversion::speaks_tls(&view).len(), 3);
    known(&mut view.haproxy[0].answer).iter_mut().for_each(|server| server.either_way = true);
    assert_eq!(next(&view), Some(Transition::Moving));
    // a member that shuts out those who still come plainly is no door for anybody
    let mut deaf = view.clone();
    known(&mut deaf.etcd[1].answer).plain = false;
    assert_eq!(next(&deaf), Some(Transition::Opening));
    assert_eq!(conversion::deaf(&deaf, next(&deaf)).map(ToString::to_string).collect::<Vec<_>>(), ["db2"]);
    assert_eq!(conversion::deaf(&deaf, None).count(), 0);
    // who cannot be asked is not taken for somebody who knows TLS …
    let mut away = view.clone();
    away.etcd[0].answer = Answer::Unknown("no connection".into());
    assert_eq!(next(&away), Some(Transition::Opening));
    // … unless others have moved already: nobody is turned back
    known(&mut view.members[0].patroni).tls = true;
    let mut away = view.clone();
    away.etcd[0].answer = Answer::Unknown("no connection".into());
    away.members[2].server = Answer::Down("refused".into());
    assert_eq!(next(&away), Some(Transition::Moving));
    known(&mut view.members[1].patroni).tls = true;
    assert_eq!(next(&view), Some(Transition::Moving));
    known(&mut view.members[2].patroni).tls = true;
    assert_eq!(next(&view), None, "what is left is the form that stays");
    let plain: Vec<_> =
        conversion::plain_peers(&view, &inventory()).into_iter().map(|(host, _)| host.to_string()).collect();
    assert_eq!(plain, ["db1", "db2", "db3"]);
}

#[test]
fn a_member_that_is_there_twice_counts_once_and_by_its_better_half() {
    let row = |name: &str, status: &str| format!("primary,{name},{status},2,L7OK,200,0,1\n");
    let rows = [row("db1", "DOWN"), row("db1:tls", "UP"), row("db2", "UP"), row("db2:tls", "DOWN"), row("db3", "UP")];
    let text = format!("# pxname,svname,status,type,check_status,check_code,scur,lastchg\n{}", rows.concat());
    let seen: Vec<String> = haproxy::parse(&text)
        .expect("it is CSV")
        .iter()
        .map(|server| format!("{} {} {}", server.name, server.status, server.either_way))
        .collect();
    assert_eq!(seen, ["db1 UP true", "db2 UP true", "db3 UP false"]);
}

/// The lines of the files that a pass makes differ from what stays.
#[test]
fn forms_of_the_files_in_each_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let inventory = Inventory::load(&root.join("inventory/colocated.toml"), None).expect("a good example").inventory;
    let facts = std::fs::read_to_string(root.join("tests/fixtures/facts/trixie-fresh.txt")).expect("recorded");
    let (facts, assets) = (facts::parse(&facts).expect("facts"), Assets::default());
    let secrets = stand_ins(&inventory, &secrets());
    let input =
        Input { inventory: &inventory, host: &inventory.hosts[0], facts: &facts, secrets: &secrets, assets: &assets };
    let files = |roles: Vec<xnat_provision::role::RoleResources>| -> Vec<(String, String)> {
        let all = roles.into_iter().flat_map(|role| role.resources);
        let file = |resource| match resource {
            Resource::File(file) => Some((file.path, file.content)),
            _ => None,
        };
        all.filter_map(file).collect()
    };
    let stays = files(expand(&input).expect("expands"));
    let mut text = String::new();
    for transition in [Transition::Opening, Transition::Moving] {
        text.push_str(&format!("{transition:?}\n"));
        let now = files(expand_during(&input, transition).expect("expands"));
        for ((path, now), (_, stays)) in now.iter().zip(&stays).filter(|(now, stays)| now != stays) {
            text.push_str(&format!("{path}\n"));
            let diff = similar::TextDiff::from_lines(now, stays);
            let lines = diff.iter_all_changes().filter(|change| change.tag() != similar::ChangeTag::Equal);
            text.extend(lines.map(|change| format!("  {}{change}", change.tag())));
        }
    }
    assert_snapshot!(text, @r#"
    Opening
    /etc/etcd/etcd.env
      -ETCD_LISTEN_PEER_URLS="http://0.0.0.0:2380"
      -ETCD_LISTEN_CLIENT_URLS="https://0.0.0.0:2379,http://0.0.0.0:2379"
      -# A thread that is late at the start of etcd 3.4 serves plain clients as if they spoke TLS. With more of them than cores one
      -# is free at once, also while the machine is busy.
      -GOMAXPROCS=16
      -ETCD_ADVERTISE_CLIENT_URLS="http://10.0.0.11:2379"
      +ETCD_LISTEN_PEER_URLS="https://0.0.0.0:2380"
      +ETCD_LISTEN_CLIENT_URLS="https://0.0.0.0:2379"
      +ETCD_ADVERTISE_CLIENT_URLS="https://10.0.0.11:2379"
    /etc/patroni/xnat/20-member.yml
      +# How etcd is spoken to is only read at the start. (Who its members are is in 30-settings.yml.)
      +etcd3:
      +  protocol: https
      +  cacert: "/etc/patroni/tls/ca.pem"
      +  cert: "/etc/patroni/tls/patroni.pem"
      +  key: "/etc/patroni/tls/patroni-key.pem"
      +
    /etc/patroni/xnat/30-settings.yml
      -  protocol: http
      +# Anybody may ask how it is; who wants to change something shows a certificate of ours besides the password.
      +restapi:
      +  certfile: "/etc/patroni/tls/patroni.pem"
      +  keyfile: "/etc/patroni/tls/patroni-key.pem"
      +  cafile: "/etc/patroni/tls/ca.pem"
      +  verify_client: optional
      +
      +# What `patronictl` shows, and what a leader shows the others when it asks them whether it may go on without etcd.
      +ctl:
      +  certfile: "/etc/patroni/tls/patroni.pem"
      +  keyfile: "/etc/patroni/tls/patroni-key.pem"
      +  cacert: "/etc/patroni/tls/ca.pem"
      +
      +  # Towards the other members. (Names and passwords are in 40-secrets.yml.)
      +  authentication:
      +    replication:
      +      sslmode: verify-full
      +      sslrootcert: "/etc/patroni/tls/ca.pem"
      +    rewind:
      +      sslmode: verify-full
      +      sslrootcert: "/etc/patroni/tls/ca.pem"
      -    - "host replication replicator 127.0.0.1/32 scram-sha-256"
      -    - "host replication replicator ::1/128 scram-sha-256"
      -    - "host replication replicator 10.0.0.11/32 scram-sha-256"
      -    - "host replication replicator 10.0.0.12/32 scram-sha-256"
      -    - "host replication replicator 10.0.0.13/32 scram-sha-256"
      -    - "host postgres rewind 10.0.0.11/32 scram-sha-256"
      -    - "host postgres rewind 10.0.0.12/32 scram-sha-256"
      -    - "host postgres rewind 10.0.0.13/32 scram-sha-256"
      +    - "hostssl replication replicator 127.0.0.1/32 scram-sha-256"
      +    - "hostssl replication replicator ::1/128 scram-sha-256"
      +    - "hostssl replication replicator 10.0.0.11/32 scram-sha-256"
      +    - "hostssl replication replicator 10.0.0.12/32 scram-sha-256"
      +    - "hostssl replication replicator 10.0.0.13/32 scram-sha-256"
      +    - "hostssl postgres rewind 10.0.0.11/32 scram-sha-256"
      +    - "hostssl postgres rewind 10.0.0.12/32 scram-sha-256"
      +    - "hostssl postgres rewind 10.0.0.13/32 scram-sha-256"
      -    - "host \"xnat\" \"xnat\" 127.0.0.1/32 scram-sha-256"
      -    - "host \"xnat\" \"xnat\" ::1/128 scram-sha-256"
      -    - "host \"xnat\" \"xnat\" 10.0.0.11/32 scram-sha-256"
      -    - "host \"xnat\" \"xnat\" 10.0.0.12/32 scram-sha-256"
      -    - "host \"xnat\" \"xnat\" 10.0.0.13/32 scram-sha-256"
      +    - "hostssl \"xnat\" \"xnat\" 127.0.0.1/32 scram-sha-256"
      +    - "hostssl \"xnat\" \"xnat\" ::1/128 scram-sha-256"
      +    - "hostssl \"xnat\" \"xnat\" 10.0.0.11/32 scram-sha-256"
      +    - "hostssl \"xnat\" \"xnat\" 10.0.0.12/32 scram-sha-256"
      +    - "hostssl \"xnat\" \"xnat\" 10.0.0.13/32 scram-sha-256"
      -    - "host xnat_provision_drill \"xnat\" 10.0.0.11/32 scram-sha-256"
      -    - "host xnat_provision_drill \"xnat\" 10.0.0.12/32 scram-sha-256"
      -    - "host xnat_provision_drill \"xnat\" 10.0.0.13/32 scram-sha-256"
      -    - "host \"xnat\" \"xnat\" 10.0.0.0/24 scram-sha-256"
      +    - "hostssl xnat_provision_drill \"xnat\" 10.0.0.11/32 scram-sha-256"
      +    - "hostssl xnat_provision_drill \"xnat\" 10.0.0.12/32 scram-sha-256"
      +    - "hostssl xnat_provision_drill \"xnat\" 10.0.0.13/32 scram-sha-256"
      +    - "hostssl \"xnat\" \"xnat\" 10.0.0.0/24 scram-sha-256"
    /etc/haproxy/haproxy.cfg
      -# The cluster is being converted to TLS: every member is there twice, so that whichever way its Patroni answers is up.
      +    # Patroni's certificate is one of ours, and the member's own.
      +    default-server check-ssl verify required ca-file /etc/haproxy/tls/ca.pem ssl-min-ver TLSv1.2
      -    server db1 10.0.0.11:5432 check
      -    server db1:tls 10.0.0.11:5432 check check-ssl verify required ca-file /etc/haproxy/tls/ca.pem ssl-min-ver TLSv1.2 verifyhost db1
      -    server db2 10.0.0.12:5432 check
      -    server db2:tls 10.0.0.12:5432 check check-ssl verify required ca-file /etc/haproxy/tls/ca.pem ssl-min-ver TLSv1.2 verifyhost db2
      -    server db3 10.0.0.13:5432 check
      -    server db3:tls 10.0.0.13:5432 check check-ssl verify required ca-file /etc/haproxy/tls/ca.pem ssl-min-ver TLSv1.2 verifyhost db3
      +    server db1 10.0.0.11:5432 check verifyhost db1
      +    server db2 10.0.0.12:5432 check verifyhost db2
      +    server db3 10.0.0.13:5432 check verifyhost db3
      -    server db1 10.0.0.11:5432 check
      -    server db1:tls 10.0.0.11:5432 check check-ssl verify required ca-file /etc/haproxy/tls/ca.pem ssl-min-ver TLSv1.2 verifyhost db1
      -    server db2 10.0.0.12:5432 check
      -    server db2:tls 10.0.0.12:5432 check check-ssl verify required ca-file /etc/haproxy/tls/ca.pem ssl-min-ver TLSv1.2 verifyhost db2
      -    server db3 10.0.0.13:5432 check
      -    server db3:tls 10.0.0.13:5432 check check-ssl verify required ca-file /etc/haproxy/tls/ca.pem ssl-min-ver TLSv1.2 verifyhost db3
      +    server db1 10.0.0.11:5432 check verifyhost db1
      +    server db2 10.0.0.12:5432 check verifyhost db2
      +    server db3 10.0.0.13:5432 check verifyhost db3
    Moving
    /etc/etcd/etcd.env
      -ETCD_LISTEN_PEER_URLS="http://0.0.0.0:2380"
      -ETCD_LISTEN_CLIENT_URLS="https://0.0.0.0:2379,http://0.0.0.0:2379"
      -# A thread that is late at the start of etcd 3.4 serves plain clients as if they spoke TLS. With more of them than cores one
      -# is free at once, also while the machine is busy.
      -GOMAXPROCS=16
      -ETCD_ADVERTISE_CLIENT_URLS="http://10.0.0.11:2379"
      +ETCD_LISTEN_PEER_URLS="https://0.0.0.0:2380"
      +ETCD_LISTEN_CLIENT_URLS="https://0.0.0.0:2379"
      +ETCD_ADVERTISE_CLIENT_URLS="https://10.0.0.11:2379"
    /etc/haproxy/haproxy.cfg
      -# The cluster is being converted to TLS: every member is there twice, so that whichever way its Patroni answers is up.
      +    # Patroni's certificate is one of ours, and the member's own.
      +    default-server check-ssl verify required ca-file /etc/haproxy/tls/ca.pem ssl-min-ver TLSv1.2
      -    server db1 10.0.0.11:5432 check
      -    server db1:tls 10.0.0.11:5432 check check-ssl verify required ca-file /etc/haproxy/tls/ca.pem ssl-min-ver TLSv1.2 verifyhost db1
      -    server db2 10.0.0.12:5432 check
      -    server db2:tls 10.0.0.12:5432 check check-ssl verify required ca-file /etc/haproxy/tls/ca.pem ssl-min-ver TLSv1.2 verifyhost db2
      -    server db3 10.0.0.13:5432 check
      -    server db3:tls 10.0.0.13:5432 check check-ssl verify required ca-file /etc/haproxy/tls/ca.pem ssl-min-ver TLSv1.2 verifyhost db3
      +    server db1 10.0.0.11:5432 check verifyhost db1
      +    server db2 10.0.0.12:5432 check verifyhost db2
      +    server db3 10.0.0.13:5432 check verifyhost db3
      -    server db1 10.0.0.11:5432 check
      -    server db1:tls 10.0.0.11:5432 check check-ssl verify required ca-file /etc/haproxy/tls/ca.pem ssl-min-ver TLSv1.2 verifyhost db1
      -    server db2 10.0.0.12:5432 check
      -    server db2:tls 10.0.0.12:5432 check check-ssl verify required ca-file /etc/haproxy/tls/ca.pem ssl-min-ver TLSv1.2 verifyhost db2
      -    server db3 10.0.0.13:5432 check
      -    server db3:tls 10.0.0.13:5432 check check-ssl verify required ca-file /etc/haproxy/tls/ca.pem ssl-min-ver TLSv1.2 verifyhost db3
      +    server db1 10.0.0.11:5432 check verifyhost db1
      +    server db2 10.0.0.12:5432 check verifyhost db2
      +    server db3 10.0.0.13:5432 check verifyhost db3
    "#);
}

#[test]
fn a_pass_without_some_hosts_says_that_the_next_one_waits() {
    let all = conversion::told(Some(Transition::Moving), &[]).expect("a pass");
    assert!(all.ends_with("(etcd and HAProxy too; each etcd member restarts once more)."), "{all}");
    let some = conversion::told(Some(Transition::Moving), &["db3", "lb1"]).expect("a pass");
    assert!(some.contains("--limit leaves out db3, lb1"), "{some}");
}
