//! Plans as people and programs read them.

use std::collections::BTreeMap;

use insta::assert_snapshot;
use xnat_provision::names::HostName;
use xnat_provision::plan::{ClusterChange, Depth, Plan, PlannedStage, Style, render};
use xnat_provision::resource::{Change, Detail, Effect, ResourceId};

fn change(kind: &str, name: &str, summary: &str) -> Change {
    Change {
        resource: ResourceId::new(kind, name),
        summary: summary.to_owned(),
        detail: Detail::None,
        effect: Effect::Quiet,
        after: Vec::new(),
        actions: Vec::new(),
    }
}

fn new_file() -> Change {
    let text = "--- /dev/null\n+++ /etc/web.cfg\n@@ -0,0 +1,2 @@\n+port 80\n+user web\n";
    Change { detail: Detail::Text(text.to_owned()), ..change("file", "/etc/web.cfg", "create, root:root 0644") }
}

fn other_text() -> Change {
    let text = "--- /etc/web.cfg\n+++ /etc/web.cfg\n@@ -1,2 +1,2 @@\n-port 80\n+port 81\n user web\n";
    Change { detail: Detail::Text(text.to_owned()), ..change("file", "/etc/web.cfg", "update") }
}

fn start() -> Change {
    let after = ["package web", "package web-data", "file /etc/web.cfg"];
    let after = after.map(|id| id.split_once(' ').map(|(kind, name)| ResourceId::new(kind, name)).expect("two words"));
    Change { after: after.to_vec(), ..change("unit", "web.service", "enable, start") }
}

fn secret(old: Option<&str>, new: Option<&str>) -> Change {
    let digest = |digest: Option<&str>| digest.map(|digit| digit.repeat(64));
    let detail = Detail::Digests { old: digest(old), new: digest(new) };
    Change { detail, ..change("file", "/etc/web.key", "update") }
}

fn mode() -> Change {
    let fields = vec![("mode".to_owned(), "0755".to_owned(), "0750".to_owned())];
    Change { detail: Detail::Fields(fields), ..change("directory", "/etc/web", "set owner and mode") }
}

fn service(effect: Effect, summary: &str) -> Change {
    Change { effect, ..change("unit", "db.service", summary) }
}

fn stage(title: &str, hosts: &[(&str, Vec<Change>)]) -> PlannedStage {
    let hosts: BTreeMap<HostName, Vec<Change>> =
        hosts.iter().map(|(name, changes)| (HostName::new(*name), changes.clone())).collect();
    PlannedStage { title: title.to_owned(), hosts, ..PlannedStage::default() }
}

fn plan(stages: Vec<PlannedStage>) -> Plan {
    Plan { cluster: "demo".to_owned(), version: "0.1.0".to_owned(), stages, ..Plan::default() }
}

/// A first apply: alike hosts together, one that differs, an idle stage, and what happens to the cluster.
fn first() -> Plan {
    let alike = || vec![new_file(), secret(None, None), start()];
    let cluster = ClusterChange {
        title: "form a new etcd cluster of db1, db2, lb1".to_owned(),
        detail: vec!["three members".to_owned()],
        effect: Effect::Quiet,
    };
    let etcd = PlannedStage { cluster: vec![cluster], ..stage("Start etcd", &[]) };
    Plan {
        overridden: vec!["templates/web.cfg.j2".to_owned()],
        ..plan(vec![
            stage("Prepare hosts", &[("db1", alike()), ("db2", alike()), ("lb1", vec![mode()])]),
            stage("Install packages", &[]),
            etcd,
        ])
    }
}

/// A later one that restarts members in turn.
fn rolling() -> Plan {
    let restart = || vec![other_text(), service(Effect::RollingRestart, "restart: /etc/web.cfg changed")];
    let order = vec!["restart etcd on db2, db1, one at a time: the database goes on".to_owned()];
    plan(vec![PlannedStage { rolling: order, ..stage("Start etcd", &[("db1", restart()), ("db2", restart())]) }])
}

#[test]
fn what_is_restarted_in_turn_is_marked_and_explained() {
    assert_snapshot!(render(&rolling(), Style::Plain, Depth::Brief), @r"
    1. Start etcd
       db1, db2
         ~ file /etc/web.cfg: update
             --- /etc/web.cfg
             +++ /etc/web.cfg
             @@ -1,2 +1,2 @@
             -port 80
             +port 81
              user web
         * unit db.service: restart: /etc/web.cfg changed
         restart etcd on db2, db1, one at a time: the database goes on
    ");
    assert_eq!(rolling().interruptions(), Vec::<String>::new());
    let stop = Change { effect: Effect::Outage, ..change("unit", "db.service", "stop") };
    let upgrade = Change { effect: Effect::RollingRestart, ..change("package", "db", "1 → 2") };
    let mut more = rolling();
    more.stages[0].hosts.insert(HostName::new("db3"), vec![stop, upgrade]);
    assert_snapshot!(more.interruptions().join("\n"), @r"
    db3: unit db.service: stop
    db3: package db: 1 → 2
    ");
}

/// A later one, of which some is refused.
fn refused() -> Plan {
    let changes = vec![
        other_text(),
        secret(Some("a"), Some("b")),
        service(Effect::Reload, "reload: /etc/web.cfg changed"),
        service(Effect::Restart, "restart: /etc/web.cfg changed"),
        service(Effect::RollingRestart, "restart: /etc/web.cfg changed"),
    ];
    let cluster = ClusterChange {
        title: "change the configuration all members share".to_owned(),
        detail: vec!["max_connections: 100 → 200".to_owned()],
        effect: Effect::RollingRestart,
    };
    plan(vec![PlannedStage { cluster: vec![cluster], ..stage("Start PostgreSQL under Patroni", &[("db1", changes)]) }])
}

#[test]
fn a_first_plan_in_full() {
    assert_snapshot!(render(&first(), Style::Plain, Depth::Full), @r#"
    1. Prepare hosts
       db1, db2
         + file /etc/web.cfg: create, root:root 0644
             --- /dev/null
             +++ /etc/web.cfg
             @@ -0,0 +1,2 @@
             +port 80
             +user web
         ~ file /etc/web.key: update
             content is secret
         + unit web.service: enable, start
             after the packages, file /etc/web.cfg
       lb1
         ~ directory /etc/web: set owner and mode
             mode: 0755 → 0750

    2. Start etcd
         + form a new etcd cluster of db1, db2, lb1
             three members

    Uses the site's own templates/web.cfg.j2.
    "#);
}

#[test]
fn before_the_question_new_files_are_a_line_each() {
    assert_snapshot!(render(&first(), Style::Plain, Depth::Brief), @r#"
    1. Prepare hosts
       db1, db2
         + file /etc/web.cfg: create, root:root 0644, 2 lines
         ~ file /etc/web.key: update
             content is secret
         + unit web.service: enable, start
             after the packages, file /etc/web.cfg
       lb1
         ~ directory /etc/web: set owner and mode
             mode: 0755 → 0750

    2. Start etcd
         + form a new etcd cluster of db1, db2, lb1
             three members

    Uses the site's own templates/web.cfg.j2.
    "#);
}

#[test]
fn what_apply_refuses_is_marked_and_counted() {
    assert_snapshot!(render(&refused(), Style::Plain, Depth::Brief), @r#"
    1. Start PostgreSQL under Patroni
       db1
         ~ file /etc/web.cfg: update
             --- /etc/web.cfg
             +++ /etc/web.cfg
             @@ -1,2 +1,2 @@
             -port 80
             +port 81
              user web
         ~ file /etc/web.key: update
             content is secret: sha256 aaaaaaaaaaaa… → bbbbbbbbbbbb…
         ~ unit db.service: reload: /etc/web.cfg changed
         ~ unit db.service: restart: /etc/web.cfg changed
         ! unit db.service: restart: /etc/web.cfg changed
         ! change the configuration all members share
             max_connections: 100 → 200

    2 of these 6 changes (marked !) would interrupt the running database or etcd: apply refuses this plan and makes none of it.
    "#);
    assert_eq!(refused().interruptions().len(), 2);
}

#[test]
fn a_single_refused_change() {
    let only = plan(vec![stage("Start etcd", &[("db1", vec![service(Effect::RollingRestart, "restart: x changed")])])]);
    assert_snapshot!(render(&only, Style::Plain, Depth::Brief), @r#"
    1. Start etcd
       db1
         ! unit db.service: restart: x changed

    This change would interrupt the running database or etcd: apply refuses this plan and makes none of it.
    "#);
}

#[test]
fn in_colour() {
    let text = render(&refused(), Style::Colour, Depth::Full).replace('\x1b', "ESC");
    assert_snapshot!(text, @r#"
    ESC[1m1. Start PostgreSQL under PatroniESC[0m
       ESC[1mdb1ESC[0m
         ESC[33m~ESC[0m file /etc/web.cfg: update
             ESC[31m--- /etc/web.cfgESC[0m
             ESC[32m+++ /etc/web.cfgESC[0m
             ESC[2m@@ -1,2 +1,2 @@ESC[0m
             ESC[31m-port 80ESC[0m
             ESC[32m+port 81ESC[0m
              user web
         ESC[33m~ESC[0m file /etc/web.key: update
             ESC[2mcontent is secret: sha256 aaaaaaaaaaaa… → bbbbbbbbbbbb…ESC[0m
         ESC[33m~ESC[0m unit db.service: reload: /etc/web.cfg changed
         ESC[33m~ESC[0m unit db.service: restart: /etc/web.cfg changed
         ESC[31m!ESC[0m unit db.service: restart: /etc/web.cfg changed
         ESC[31m!ESC[0m change the configuration all members share
             max_connections: 100 → 200

    ESC[31m2 of these 6 changes (marked !) would interrupt the running database or etcd: apply refuses this plan and makes none of it.ESC[0m
    "#);
}

#[test]
fn nothing_to_change() {
    assert_snapshot!(render(&plan(vec![stage("Start etcd", &[])]), Style::Plain, Depth::Full), @"Nothing to change: demo is as the inventory says.");
}

#[test]
fn as_json_and_back() {
    let plan = refused();
    insta::assert_json_snapshot!(plan, @r#"
    {
      "cluster": "demo",
      "version": "0.1.0",
      "stages": [
        {
          "title": "Start PostgreSQL under Patroni",
          "hosts": {
            "db1": [
              {
                "resource": "file /etc/web.cfg",
                "summary": "update",
                "detail": {
                  "text": "--- /etc/web.cfg\n+++ /etc/web.cfg\n@@ -1,2 +1,2 @@\n-port 80\n+port 81\n user web\n"
                },
                "effect": "quiet"
              },
              {
                "resource": "file /etc/web.key",
                "summary": "update",
                "detail": {
                  "digests": {
                    "old": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                    "new": "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
                  }
                },
                "effect": "quiet"
              },
              {
                "resource": "unit db.service",
                "summary": "reload: /etc/web.cfg changed",
                "detail": "none",
                "effect": "reload"
              },
              {
                "resource": "unit db.service",
                "summary": "restart: /etc/web.cfg changed",
                "detail": "none",
                "effect": "restart"
              },
              {
                "resource": "unit db.service",
                "summary": "restart: /etc/web.cfg changed",
                "detail": "none",
                "effect": "rolling_restart"
              }
            ]
          },
          "cluster": [
            {
              "title": "change the configuration all members share",
              "detail": [
                "max_connections: 100 → 200"
              ],
              "effect": "rolling_restart"
            }
          ]
        }
      ]
    }
    "#);
    let text = serde_json::to_string(&plan).expect("serialises");
    assert_eq!(serde_json::from_str::<Plan>(&text).expect("parses"), plan);
}
