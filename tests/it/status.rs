//! `status` against recordings of real clusters: what the services answered over HTTP is played to the real clients,
//! what comes out is the text people see. Recorded on Debian 12 and 13, healthy and broken in many ways.

mod cases;
mod conversion;
mod doctor;
mod half_made;
mod health;
mod played;
mod restarts;
mod screen;
mod verbs;

use std::sync::Arc;

use insta::assert_snapshot;
use played::{Hosts, recording};
use xnat_provision::cluster::shown::{Certificate, Shown};
use xnat_provision::cluster::table::{Look, Paint, render};
use xnat_provision::cluster::{Answer, ClusterView, assess};
use xnat_provision::inventory::Signing;
use xnat_provision::names::HostName;
use xnat_provision::pki::Purpose;

async fn shown(name: &str) -> String {
    let recording = Arc::new(recording(name));
    let (view, health) = Hosts::new(&recording).look(&recording).await;
    render(&view, &health, Look::default())
}

/// Without the tables.
async fn judged(name: &str) -> String {
    shown(name).await.split("\n\n").next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn healthy_on_debian_12() {
    assert_snapshot!(shown("bookworm-healthy").await, @r"
    healthy: leader db3, 2 replicas streaming, lag 0

    PostgreSQL
     Member  Role     State      Timeline  Lag  Version  Patroni
     db1     replica  streaming  1         0    15.18    3.0.2
     db2     replica  streaming  1         0    15.18    3.0.2
     db3     leader   running    1              15.18    3.0.2

    etcd
     Member  Role      Health   Term  Index  Size     Version
     db1     follower  healthy  2     228    60.0 kB  3.4.23
     db2     follower  healthy  2     229    56.0 kB  3.4.23
     db3     leader    healthy  2     230    56.0 kB  3.4.23

    HAProxy
     HAProxy  Server  Writes      Reads       Sessions  Patroni says
     lb1      db1     DOWN (503)  UP          0         replica
     lb1      db2     DOWN (503)  UP          0         replica
     lb1      db3     UP          DOWN (503)  0         leader
    ");
}

#[tokio::test]
async fn healthy_on_debian_13() {
    assert_snapshot!(shown("trixie-healthy").await, @r"
    healthy: leader db2, 2 replicas streaming, lag 0

    PostgreSQL
     Member  Role     State      Timeline  Lag  Version  Patroni
     db1     replica  streaming  1         0    17.12    4.0.7
     db2     leader   running    1              17.12    4.0.7
     db3     replica  streaming  1         0    17.12    4.0.7

    etcd
     Member  Role      Health   Term  Index  Size     Version
     db1     leader    healthy  2     69     44.0 kB  3.5.16
     db2     follower  healthy  2     69     44.0 kB  3.5.16
     db3     follower  healthy  2     69     44.0 kB  3.5.16

    HAProxy
     HAProxy  Server  Writes      Reads       Sessions  Patroni says
     lb1      db1     DOWN (503)  UP          0         replica
     lb1      db2     UP          DOWN (503)  0         leader
     lb1      db3     DOWN (503)  UP          0         replica
    ");
}

#[tokio::test]
async fn synchronous_standbys_are_told_apart() {
    assert_snapshot!(shown("trixie-quorum").await, @r"
    healthy: leader db2, 2 replicas streaming, lag 0

    PostgreSQL
     Member  Role            State      Timeline  Lag  Version  Patroni
     db1     quorum standby  streaming  2         0    17.12    4.0.7
     db2     leader          running    2              17.12    4.0.7
     db3     quorum standby  streaming  2         0    17.12    4.0.7

    etcd
     Member  Role      Health   Term  Index  Size     Version
     db1     follower  healthy  4     124    60.0 kB  3.5.16
     db2     leader    healthy  4     124    60.0 kB  3.5.16
     db3     follower  healthy  4     124    60.0 kB  3.5.16

    HAProxy
     HAProxy  Server  Writes      Reads       Sessions  Patroni says
     lb1      db1     DOWN (503)  UP          0         quorum standby
     lb1      db2     UP          DOWN (503)  0         leader
     lb1      db3     DOWN (503)  UP          0         quorum standby
    ");
    assert_snapshot!(shown("bookworm-sync").await, @r"
    healthy: leader db2, 2 replicas streaming, lag 0

    PostgreSQL
     Member  Role          State      Timeline  Lag  Version  Patroni
     db1     sync standby  streaming  3         0    15.18    3.0.2
     db2     leader        running    3              15.18    3.0.2
     db3     replica       streaming  3         0    15.18    3.0.2

    etcd
     Member  Role      Health   Term  Index  Size     Version
     db1     follower  healthy  18    431    76.0 kB  3.4.23
     db2     leader    healthy  18    432    76.0 kB  3.4.23
     db3     follower  healthy  18    433    76.0 kB  3.4.23

    HAProxy
     HAProxy  Server  Writes      Reads       Sessions  Patroni says
     lb1      db1     DOWN (503)  UP          0         sync standby
     lb1      db2     UP          DOWN (503)  0         leader
     lb1      db3     DOWN (503)  UP          0         replica
    ");
}

#[tokio::test]
async fn one_etcd_member_down() {
    assert_snapshot!(shown("trixie-etcd-one-down").await, @r"
    degraded (1 warning): leader db2, 2 replicas streaming, lag 0
     warning  etcd on db1 is down; one more failure and nothing fails over any more: nothing listens on port 2379 of db1
              help: read its log: `ssh db1 journalctl -u etcd -n 50`

    PostgreSQL
     Member  Role     State      Timeline  Lag  Version  Patroni
     db1     replica  streaming  1         0    17.12    4.0.7
     db2     leader   running    1              17.12    4.0.7
     db3     replica  streaming  1         0    17.12    4.0.7

    etcd
     Member  Role      Health   Term  Index  Size     Version
     db1               down
     db2     follower  healthy  3     94     52.0 kB  3.5.16
     db3     leader    healthy  3     94     52.0 kB  3.5.16

    HAProxy
     HAProxy  Server  Writes      Reads       Sessions  Patroni says
     lb1      db1     DOWN (503)  UP          0         replica
     lb1      db2     UP          DOWN (503)  0         leader
     lb1      db3     DOWN (503)  UP          0         replica
    ");
    assert_snapshot!(judged("bookworm-etcd-one-down").await, @r"
    degraded (1 warning): leader db3, 2 replicas streaming, lag 0
     warning  etcd on db1 is down; one more failure and nothing fails over any more: nothing listens on port 2379 of db1
              help: read its log: `ssh db1 journalctl -u etcd -n 50`
    ");
}

#[tokio::test]
async fn no_etcd_quorum() {
    assert_snapshot!(shown("bookworm-etcd-no-quorum").await, @r"
    NOT HEALTHY (1 critical, 3 warnings): leader db3, 2 replicas streaming, lag 0
     critical  etcd has no quorum: 0 of 3 members work and 2 are needed
               help: start what is down: `ssh db1 systemctl restart etcd`, `ssh db2 systemctl restart etcd`
     warning  etcd on db1 is down: nothing listens on port 2379 of db1
              help: read its log: `ssh db1 journalctl -u etcd -n 50`
     warning  etcd on db2 is down: nothing listens on port 2379 of db2
              help: read its log: `ssh db2 journalctl -u etcd -n 50`
     warning  etcd on db3 runs and has no leader
              help: read its log: `ssh db3 journalctl -u etcd -n 50`

    PostgreSQL
     Member  Role     State      Timeline  Lag  Version  Patroni
     db1     replica  streaming  1         0    15.18    3.0.2
     db2     replica  streaming  1         0    15.18    3.0.2
     db3     leader   running    1              15.18    3.0.2

    etcd
     Member  Role      Health     Term  Index  Size     Version
     db1               down
     db2               down
     db3     follower  unhealthy  2     324    64.0 kB  3.4.23

    HAProxy
     HAProxy  Server  Writes      Reads       Sessions  Patroni says
     lb1      db1     DOWN (503)  UP          0         replica
     lb1      db2     DOWN (503)  UP          0         replica
     lb1      db3     UP          DOWN (503)  0         leader
    ");
    assert_snapshot!(judged("trixie-etcd-no-quorum").await, @r"
    NOT HEALTHY (2 critical, 3 warnings): leader db2, 2 replicas streaming, lag 0
     critical  etcd has no quorum: 0 of 3 members work and 2 are needed
               help: start what is down: `ssh db1 systemctl restart etcd`, `ssh db2 systemctl restart etcd`
     critical  HAProxy on lb1 has no server for writes, although db2 is leader
               help: see whether lb1 reaches Patroni: `ssh lb1 curl -i http://10.99.0.2:8008/primary`
     warning  etcd on db1 is down: nothing listens on port 2379 of db1
              help: read its log: `ssh db1 journalctl -u etcd -n 50`
     warning  etcd on db2 is down: nothing listens on port 2379 of db2
              help: read its log: `ssh db2 journalctl -u etcd -n 50`
     warning  etcd on db3 runs and has no leader
              help: read its log: `ssh db3 journalctl -u etcd -n 50`
    ");
}

#[tokio::test]
async fn a_replica_was_stopped() {
    assert_snapshot!(shown("bookworm-replica-stopped").await, @r"
    degraded (2 warnings): leader db3, 1 of 2 replicas streaming, lag unknown
     warning  Patroni on db1 is down: nothing listens on port 8008 of db1
              help: read its log: `ssh db1 journalctl -u patroni -n 50`
     warning  replica db1 does not stream from the leader (its state is: stopped)
              help: read its log: `ssh db1 journalctl -u patroni -n 50`

    PostgreSQL
     Member  Role     State      Timeline  Lag      Version  Patroni
     db1     replica  stopped              unknown           down
     db2     replica  streaming  2         0        15.18    3.0.2
     db3     leader   running    2                  15.18    3.0.2

    etcd
     Member  Role      Health   Term  Index  Size     Version
     db1     follower  healthy  18    366    72.0 kB  3.4.23
     db2     leader    healthy  18    367    72.0 kB  3.4.23
     db3     follower  healthy  18    368    72.0 kB  3.4.23

    HAProxy
     HAProxy  Server  Writes        Reads         Sessions  Patroni says
     lb1      db1     DOWN (L4CON)  DOWN (L4CON)  0         replica
     lb1      db2     DOWN (503)    UP            0         replica
     lb1      db3     UP            DOWN (503)    0         leader
    ");
}

#[tokio::test]
async fn the_leader_was_killed_and_then_replaced() {
    assert_snapshot!(shown("bookworm-leader-killed").await, @r"
    NOT HEALTHY (1 critical): leader db3, 0 of 2 replicas streaming, lag 0
     critical  Patroni on the leader db3 is down: nothing listens on port 8008 of db3
               help: another member takes over when its lease ends, within 28 s; read its log: `ssh db3 journalctl -u patroni -n 50`

    PostgreSQL
     Member  Role     State    Timeline  Lag  Version  Patroni
     db1     replica  running            0    15.18    3.0.2
     db2     replica  running  2         0    15.18    3.0.2
     db3     leader   running  2                       down

    etcd
     Member  Role      Health   Term  Index  Size     Version
     db1     follower  healthy  18    383    72.0 kB  3.4.23
     db2     leader    healthy  18    384    72.0 kB  3.4.23
     db3     follower  healthy  18    385    72.0 kB  3.4.23

    HAProxy
     HAProxy  Server  Writes        Reads         Sessions  Patroni says
     lb1      db1     DOWN (503)    UP            0         replica
     lb1      db2     DOWN (503)    UP            0         replica
     lb1      db3     DOWN (L4CON)  DOWN (L4CON)  0         leader
    ");
    assert_snapshot!(judged("bookworm-failed-over").await, @r"
    NOT HEALTHY (1 critical, 2 warnings): leader db2, 0 of 1 replicas streaming, lag 0
     critical  HAProxy on lb1 has no server for writes, although db2 is leader
               help: see whether lb1 reaches Patroni: `ssh lb1 curl -i http://10.99.0.2:8008/primary`
     warning  Patroni on db3 is down: nothing listens on port 8008 of db3
              help: read its log: `ssh db3 journalctl -u patroni -n 50`
     warning  replica db1 does not stream from the leader (its state is: running)
              help: read its log: `ssh db1 journalctl -u patroni -n 50`; rebuild it if it cannot catch up: `xnat-provision reinit db1 inventory.toml`
    ");
}

#[tokio::test]
async fn a_postgresql_that_hangs_is_noticed_though_patroni_does_not() {
    assert_snapshot!(judged("trixie-postgres-hangs").await, @r"
    NOT HEALTHY (1 critical): leader db2, 2 replicas streaming, lag 0
     critical  Patroni on db2 says PostgreSQL runs, and it does not answer: PostgreSQL on db2 (port 5432) does not answer in time
               help: see whether it hangs: `ssh db2 ps -o stat,cmd -u postgres`
    ");
}

#[tokio::test]
async fn haproxy_down_and_a_patroni_killed() {
    assert_snapshot!(shown("trixie-haproxy-down").await, @r"
    NOT HEALTHY (1 critical, 1 warning): leader db2, 2 replicas streaming, lag 0
     critical  HAProxy on lb1 is down: nothing listens on port 7000 of lb1
               help: read its log: `ssh lb1 journalctl -u haproxy -n 50`
     warning  Patroni on db3 is down: nothing listens on port 8008 of db3
              help: read its log: `ssh db3 journalctl -u patroni -n 50`

    PostgreSQL
     Member  Role     State      Timeline  Lag  Version  Patroni
     db1     replica  streaming  2         0    17.12    4.0.7
     db2     leader   running    2              17.12    4.0.7
     db3     replica  streaming  2         0    17.12    down

    etcd
     Member  Role      Health   Term  Index  Size     Version
     db1     follower  healthy  4     112    60.0 kB  3.5.16
     db2     leader    healthy  4     112    60.0 kB  3.5.16
     db3     follower  healthy  4     112    60.0 kB  3.5.16

    HAProxy
     HAProxy  Server  Writes  Reads  Sessions  Patroni says
     lb1              down
    ");
}

#[tokio::test]
async fn maintenance_mode() {
    assert_snapshot!(judged("trixie-paused").await, @r"
    degraded (1 warning): leader db2, 2 replicas streaming, lag 0
     warning  maintenance mode: nothing fails over
              help: when the work is done: `xnat-provision resume inventory.toml`
     notice  PostgreSQL on db1 waits for a restart to take up its new settings for max_connections
             help: restart it when it suits: `xnat-provision restart --limit db1 inventory.toml`
     notice  PostgreSQL on db2 waits for a restart to take up its new settings for max_connections
             help: restart it when it suits: `xnat-provision restart --limit db2 inventory.toml`
     notice  PostgreSQL on db3 waits for a restart to take up its new settings for max_connections
             help: restart it when it suits: `xnat-provision restart --limit db3 inventory.toml`
    ");
}

#[tokio::test]
async fn a_pending_restart_is_worth_a_notice_and_healthy() {
    assert_snapshot!(judged("bookworm-pending-restart").await, @r"
    healthy: leader db3, 2 replicas streaming, lag 0
     notice  PostgreSQL on db1 waits for a restart to take up its new settings
             help: restart it when it suits: `xnat-provision restart --limit db1 inventory.toml`
     notice  PostgreSQL on db2 waits for a restart to take up its new settings
             help: restart it when it suits: `xnat-provision restart --limit db2 inventory.toml`
     notice  PostgreSQL on db3 waits for a restart to take up its new settings
             help: restart it when it suits: `xnat-provision restart --limit db3 inventory.toml`
    ");
    assert_snapshot!(judged("trixie-pending-restart").await, @r"
    healthy: leader db2, 2 replicas streaming, lag 0
     notice  PostgreSQL on db1 waits for a restart to take up its new settings for max_connections
             help: restart it when it suits: `xnat-provision restart --limit db1 inventory.toml`
     notice  PostgreSQL on db2 waits for a restart to take up its new settings for max_connections
             help: restart it when it suits: `xnat-provision restart --limit db2 inventory.toml`
     notice  PostgreSQL on db3 waits for a restart to take up its new settings for max_connections
             help: restart it when it suits: `xnat-provision restart --limit db3 inventory.toml`
    ");
}

#[tokio::test]
async fn an_unreachable_host_is_not_called_down() {
    let recording = Arc::new(recording("trixie-healthy"));
    let (view, health) = Hosts::new(&recording).without(&["db1", "lb1"]).look(&recording).await;
    assert_snapshot!(render(&view, &health, Look::default()), @r"
    degraded (2 warnings): leader db2, 2 replicas streaming, lag 0
     warning  db1 cannot be reached, so nothing is known of what runs there: no answer within 10 s
              help: try it by hand: `ssh db1 true`
     warning  lb1 cannot be reached, so nothing is known of what runs there: no answer within 10 s
              help: try it by hand: `ssh lb1 true`

    PostgreSQL
     Member  Role     State      Timeline  Lag  Version  Patroni
     db1     replica  streaming  1         0             ?
     db2     leader   running    1              17.12    4.0.7
     db3     replica  streaming  1         0    17.12    4.0.7

    etcd
     Member  Role      Health   Term  Index  Size     Version
     db1               ?
     db2     follower  healthy  2     69     44.0 kB  3.5.16
     db3     follower  healthy  2     69     44.0 kB  3.5.16

    HAProxy
     HAProxy  Server  Writes  Reads  Sessions  Patroni says
     lb1              ?
    ");
}

#[tokio::test]
async fn blind() {
    let recording = Arc::new(recording("trixie-healthy"));
    let (view, health) = Hosts::new(&recording).without(&["db1", "db2", "db3", "lb1"]).look(&recording).await;
    assert!(view.is_blind());
    assert_snapshot!(render(&view, &health, Look::default()), @r"
    unknown: nothing could be asked
     warning  db1 cannot be reached, so nothing is known of what runs there: no answer within 10 s
              help: try it by hand: `ssh db1 true`
     warning  db2 cannot be reached, so nothing is known of what runs there: no answer within 10 s
              help: try it by hand: `ssh db2 true`
     warning  db3 cannot be reached, so nothing is known of what runs there: no answer within 10 s
              help: try it by hand: `ssh db3 true`
     warning  lb1 cannot be reached, so nothing is known of what runs there: no answer within 10 s
              help: try it by hand: `ssh lb1 true`

    PostgreSQL
     Member  Role  State  Timeline  Lag  Version  Patroni
     db1     ?     ?                              ?
     db2     ?     ?                              ?
     db3     ?     ?                              ?

    etcd
     Member  Role  Health  Term  Index  Size  Version
     db1           ?
     db2           ?
     db3           ?

    HAProxy
     HAProxy  Server  Writes  Reads  Sessions  Patroni says
     lb1              ?
    ");
}

#[tokio::test]
async fn on_a_narrow_terminal_and_in_colour() {
    let recording = Arc::new(recording("trixie-etcd-one-down"));
    let (view, health) = Hosts::new(&recording).look(&recording).await;
    let narrow = render(&view, &health, Look { width: Some(60), paint: Paint::Plain });
    // The terminal itself wraps the verdict.
    assert!(narrow.lines().skip(1).all(|line| line.chars().count() <= 60), "{narrow}");
    assert_snapshot!(narrow, @r"
    degraded (1 warning): leader db2, 2 replicas streaming, lag 0
     warning  etcd on db1 is down; one more failure and nothing
              fails over any more: nothing listens on port 2379
              of db1
              help: read its log: `ssh db1 journalctl -u etcd
              -n 50`

    PostgreSQL
     Member  Role     State      Timeline  Lag  Version
     db1     replica  streaming  1         0    17.12
     db2     leader   running    1              17.12
     db3     replica  streaming  1         0    17.12

    etcd
     Member  Role      Health   Term  Index  Size     Version
     db1               down
     db2     follower  healthy  3     94     52.0 kB  3.5.16
     db3     leader    healthy  3     94     52.0 kB  3.5.16

    HAProxy
     HAProxy  Server  Writes      Reads       Patroni says
     lb1      db1     DOWN (503)  UP          replica
     lb1      db2     UP          DOWN (503)  leader
     lb1      db3     DOWN (503)  UP          replica
    ");
    let colour = render(&view, &health, Look { width: Some(120), paint: Paint::Colour });
    assert!(colour.contains('\x1b') && !narrow.contains('\x1b'));
}

#[tokio::test]
async fn a_view_survives_json() {
    for name in ["bookworm-healthy", "trixie-etcd-no-quorum"] {
        let recording = Arc::new(recording(name));
        let (view, _) = Hosts::new(&recording).look(&recording).await;
        let text = serde_json::to_string(&view).expect("JSON");
        assert!(!text.contains("-secret"), "{text}");
        assert_eq!(serde_json::from_str::<ClusterView>(&text).expect("the same back"), view);
    }
}

#[tokio::test]
async fn certificates_are_warned_of_a_month_before_they_end() {
    let recording = Arc::new(recording("trixie-healthy"));
    let (mut view, _) = Hosts::new(&recording).look(&recording).await;
    let ending = |host: &str, purpose, days_left| Shown {
        host: HostName::new(host),
        purpose,
        answer: Answer::Known(Certificate {
            subject: format!("CN={purpose} of {host}"),
            digest: "00".to_owned(),
            ends: "2027-01-01T00:00:00Z".parse().expect("a time"),
            days_left,
        }),
    };
    view.certificates = vec![ending("db1", Purpose::Etcd, 30), ending("db2", Purpose::Etcd, 300)];
    assert!(assess(&view, &played::inventory()).healthy);
    view.certificates = vec![
        ending("db1", Purpose::Etcd, 29),
        ending("db1", Purpose::Postgres, 29),
        ending("lb1", Purpose::Haproxy, 0),
        ending("db2", Purpose::Patroni, -2),
    ];
    let health = assess(&view, &played::inventory());
    let told: Vec<String> = health.problems.iter().map(|one| format!("{:?}: {}", one.severity, one.text)).collect();
    assert_snapshot!(told.join("\n"), @r"
    Critical: the certificate of patroni on db2 ended 2 days ago
    Warning: the certificate of haproxy on lb1 will end within a day
    Warning: the certificates of etcd on db1, postgres on db1 will end in 29 days
    ");
    assert!(health.problems.iter().all(|one| one.help.contains("xnat-provision apply inventory.toml")));
}

#[tokio::test]
async fn authorities_are_warned_of_a_month_before_they_end() {
    let recording = Arc::new(recording("trixie-healthy"));
    let (mut view, _) = Hosts::new(&recording).look(&recording).await;
    let ending = |subject: &str, days_left| Certificate {
        subject: subject.to_owned(),
        digest: "00".to_owned(),
        ends: "2027-01-01T00:00:00Z".parse().expect("a time"),
        days_left,
    };
    let mut inventory = played::inventory();
    view.authorities = vec![ending("CN=ours", 30)];
    assert!(assess(&view, &inventory).healthy);
    view.authorities = vec![ending("CN=ours", 29), ending("CN=root", -1)];
    let told = |inventory: &_| -> Vec<String> {
        let problems = assess(&view, inventory).problems;
        problems.iter().map(|one| format!("{:?}: {}; {}", one.severity, one.text, one.help)).collect()
    };
    assert_snapshot!(told(&inventory).join("\n"), @r"
    Critical: the authority CN=root ended 1 days ago; make a new one: `xnat-provision certs rotate --ca inventory.toml`
    Warning: the authority CN=ours will end in 29 days; make a new one: `xnat-provision certs rotate --ca inventory.toml`
    ");
    let (certificate, key) = ("/ca.pem".into(), "/ca-key.pem".into());
    inventory.tls.signing = Signing::Authority { certificate, key };
    assert_snapshot!(told(&inventory)[1], @"Warning: the authority CN=ours will end in 29 days; name a new one under [tls], then `xnat-provision certs rotate --ca inventory.toml`, with `--present-key` and the key of this one");
    inventory.tls.signing = Signing::Elsewhere { trusted: "/ca.pem".into(), certificates: "/certificates".into() };
    assert_snapshot!(told(&inventory)[1], @"Warning: the authority CN=ours will end in 29 days; append the one that follows it to /ca.pem, run `xnat-provision apply inventory.toml`, then exchange the certificates");
}
