//! Mistakes in a site's roles and templates, as its administrator sees them.

use std::path::PathBuf;

use xnat_provision::assets::Assets;
use xnat_provision::role::RoleError;

use super::{inventory, secrets, site, try_expand};

/// An error as an administrator sees it, without colour.
pub fn render(error: &RoleError) -> String {
    let mut text = String::new();
    let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor());
    handler.render_report(&mut text, error).expect("a report");
    text
}

/// What is said about a site's role.
fn complaint(role: &str) -> String {
    let site = site(&[("roles/ours.toml", role)]);
    let assets = Assets::new(Some(site.path())).expect("it is readable");
    let mut inventory = inventory("minimal");
    inventory.hosts[3].own_roles = vec!["ours".into()];
    let error = try_expand(&inventory, 3, "trixie", &secrets(), &assets).expect_err("the role is wrong");
    let directory: PathBuf = site.path().to_owned();
    render(&error).replace(&directory.display().to_string(), "SITE")
}

#[test]
fn mistakes_in_a_role_are_shown_where_they_are() {
    insta::assert_snapshot!(complaint("title = \"x\"\n[[resource]]\nfil = { path = \"/x\" }\n"), @r#"
    xnat::role::mistake

      × SITE/roles/ours.toml:3:1: unknown field `fil`, expected one of `when`, `directory`, `file`, `package`, `group`, `user`, `sysctl`, `unit`, `command`, `firewall`
       ╭─[SITE/roles/ours.toml:3:1]
     2 │ [[resource]]
     3 │ fil = { path = "/x" }
       · ─┬─
       ·  ╰── here
       ╰────
      help: did you mean `file`?
    "#);
    insta::assert_snapshot!(complaint("title = \"x\"\n[[resource]]\nfile = { path = \"/x\", conten = \"\" }\n"), @r#"
    xnat::role::mistake

      × SITE/roles/ours.toml:3:23: unknown field `conten`, expected one of `path`, `template`, `content`, `owner`, `group`, `mode`, `secret`, `validate`, `frozen_by`
       ╭─[SITE/roles/ours.toml:3:23]
     2 │ [[resource]]
     3 │ file = { path = "/x", conten = "" }
       ·                       ───┬──
       ·                          ╰── here
       ╰────
      help: did you mean `content`?
    "#);
    insta::assert_snapshot!(complaint("title = \"x\"\n[[resource]]\nwhen = \"true\"\n"), @r#"
    xnat::role::mistake

      × SITE/roles/ours.toml:2:1: a resource is of exactly one kind, and this has 0
       ╭─[SITE/roles/ours.toml:2:1]
     1 │ title = "x"
     2 │ [[resource]]
       · ──────┬─────
       ·       ╰── here
     3 │ when = "true"
       ╰────
      help: begin each with [[resource]] and give it one of: directory, file, package, group, user, sysctl, unit, command, firewall
    "#);
    insta::assert_snapshot!(
        complaint("title = \"x\"\n[[resource]]\npackage = { name = \"{{ postgresq.version }}\" }\n"), @r#"
        xnat::role::mistake

          × SITE/roles/ours.toml:3:20: undefined value: `postgresq` is undefined
           ╭─[SITE/roles/ours.toml:3:20]
         2 │ [[resource]]
         3 │ package = { name = "{{ postgresq.version }}" }
           ·                    ────────────┬────────────
           ·                                ╰── here
           ╰────
          help: look up the values there are: cluster, host, facts, etcd, postgresql, patroni, haproxy, database, drill_database, packages, secrets, tls, transition, hosts, firewall, keep_data, containers
        "#);
    insta::assert_snapshot!(
        complaint("title = \"x\"\n[[resource]]\nwhen = \"packages.proxxy\"\npackage = { name = \"x\" }\n"), @r#"
        xnat::role::mistake

          × SITE/roles/ours.toml:3:8: undefined value: it names a value that does not exist
           ╭─[SITE/roles/ours.toml:3:8]
         2 │ [[resource]]
         3 │ when = "packages.proxxy"
           ·        ────────┬────────
           ·                ╰── here
         4 │ package = { name = "x" }
           ╰────
          help: look up the values there are: cluster, host, facts, etcd, postgresql, patroni, haproxy, database, drill_database, packages, secrets, tls, transition, hosts, firewall, keep_data, containers
        "#);
    insta::assert_snapshot!(
        complaint("title = \"x\"\n[[resource]]\nfile = { path = \"/x\", template = \"etcd/etcd.evn.j2\" }\n"), @r#"
        xnat::role::mistake

          × SITE/roles/ours.toml:3:34: there is no template `etcd/etcd.evn.j2`
           ╭─[SITE/roles/ours.toml:3:34]
         2 │ [[resource]]
         3 │ file = { path = "/x", template = "etcd/etcd.evn.j2" }
           ·                                  ─────────┬────────
           ·                                           ╰── here
           ╰────
          help: did you mean `etcd/etcd.env.j2`?
        "#);
    insta::assert_snapshot!(
        complaint("title = \"x\"\n[[resource]]\ndirectory = { path = \"/x\", mode = \"750\" }\n"), @r#"
        xnat::role::mistake

          × SITE/roles/ours.toml:3:35: `750` is not a file mode
           ╭─[SITE/roles/ours.toml:3:35]
         2 │ [[resource]]
         3 │ directory = { path = "/x", mode = "750" }
           ·                                   ──┬──
           ·                                     ╰── here
           ╰────
          help: write four octal digits in quotes: mode = "0640"
        "#);
    insta::assert_snapshot!(
        complaint("title = \"x\"\n[[resource]]\nfile = { path = \"/etc/haproxy/haproxy.cfg\", content = \"\" }\n"), @r#"
        xnat::role::mistake

          × SITE/roles/ours.toml:3:18: /etc/haproxy/haproxy.cfg is declared by the role `haproxy` already
           ╭─[SITE/roles/ours.toml:3:18]
         2 │ [[resource]]
         3 │ file = { path = "/etc/haproxy/haproxy.cfg", content = "" }
           ·                  ────────────┬───────────
           ·                              ╰── here
           ╰────
          help: declare a file once, or override the template
        "#);
}

#[test]
fn mistakes_in_a_template_are_shown_where_they_are() {
    let site = site(&[("templates/haproxy/haproxy.cfg.j2", "global\n    maxconn {{ haproxy.maxcon }}\n")]);
    let assets = Assets::new(Some(site.path())).expect("it is readable");
    let inventory = inventory("minimal");
    let error = try_expand(&inventory, 3, "trixie", &secrets(), &assets).expect_err("there is no maxcon");
    let text = render(&error).replace(&site.path().display().to_string(), "SITE");
    insta::assert_snapshot!(text, @r#"
    xnat::role::mistake

      × SITE/templates/haproxy/haproxy.cfg.j2:2:16: undefined value: `haproxy.maxcon` is undefined
       ╭─[SITE/templates/haproxy/haproxy.cfg.j2:2:16]
     1 │ global
     2 │     maxconn {{ haproxy.maxcon }}
       ·                ───────┬──────
       ·                       ╰── here
       ╰────
      help: look up the values there are: cluster, host, facts, etcd, postgresql, patroni, haproxy, database, drill_database, packages, secrets, tls, transition, hosts, firewall, keep_data, containers
    "#);
}
