//! Cases of `diff`, and the SQL of every change.

use insta::assert_snapshot;

use super::*;

fn objects() -> Objects {
    let role = |name: &str| Role {
        name: name.into(),
        attributes: Attributes { login: true, replication: name == REPLICATOR, ..Attributes::default() },
        password: Secret::new(format!("{name}-password")),
        functions: if name == REWIND { REWIND_FUNCTIONS.map(String::from).into() } else { BTreeSet::new() },
    };
    Objects {
        superuser: Secret::new("postgres-password"),
        former_superuser: None,
        departed: vec![rotation::REPLICATOR.second, rotation::REWINDER.second],
        roles: vec![role(REPLICATOR), role(REWIND), role("xnat")],
        database: Database {
            name: "xnat".into(),
            owner: "xnat".into(),
            encoding: "UTF8".into(),
            locale: "C.UTF-8".into(),
            extensions: vec!["uuid-ossp".into()],
        },
    }
}

fn as_wanted() -> State {
    let objects = objects();
    let roles = objects.roles.iter().map(|role| {
        let verifier = Some(scram::verifier(&role.password));
        let state = RoleState { attributes: role.attributes.clone(), verifier, functions: role.functions.clone() };
        (role.name.clone(), state)
    });
    State {
        superuser: Some(scram::verifier(&objects.superuser)),
        roles: roles.collect(),
        database: Some(DatabaseState {
            owner: "xnat".into(),
            encoding: "UTF8".into(),
            collate: "C.utf8".into(),
            ctype: "C.UTF-8".into(),
            public_connect: false,
            extensions: ["plpgsql".into(), "uuid-ossp".into()].into(),
            schema: Some(SchemaState { owner_creates: true, public_creates: false }),
        }),
    }
}

fn changes(state: &State) -> String {
    diff(&objects(), state).changes.iter().map(|change| format!("{change}\n")).collect()
}

#[test]
fn what_is_as_wanted_needs_nothing() {
    assert_eq!(diff(&objects(), &as_wanted()), Difference::default());
}

#[test]
fn another_superuser_password_means_another_cluster() {
    let mut state = as_wanted();
    assert!(!is_stranger(&objects(), &state));
    state.superuser = Some(scram::verifier(&Secret::new("another password")));
    assert!(is_stranger(&objects(), &state));
    // what cannot be compared tells nothing
    for stored in [None, Some("md53175bce1d3201d16594cebf9d7eb3f9d")] {
        state.superuser = stored.map(Secret::new);
        assert!(!is_stranger(&objects(), &state));
    }
}

#[test]
fn after_a_bootstrap_only_the_application_is_missing() {
    assert_snapshot!(changes(&after_bootstrap(&objects())), @r"
    create role xnat
    create database xnat, owned by xnat (UTF8, C.UTF-8)
    let only its owner connect to database xnat
    let xnat and nobody else create tables in schema public of database xnat
    create extension uuid-ossp in database xnat
    ");
}

#[test]
fn what_was_tampered_with_is_repaired() {
    let mut state = as_wanted();
    let role = |state: &mut State, name: &str| state.roles.remove(name).expect("it is there");
    let mut rewind = role(&mut state, REWIND);
    rewind.functions.pop_first();
    rewind.attributes.superuser = true;
    let mut xnat = role(&mut state, "xnat");
    xnat.verifier = Some(Secret::new("md5d7f4"));
    state.roles.extend([(REWIND.to_owned(), rewind), ("xnat".to_owned(), xnat)]);
    let database = state.database.as_mut().expect("it is there");
    database.owner = "postgres".into();
    database.public_connect = true;
    database.schema = Some(SchemaState { owner_creates: true, public_creates: true });
    assert_snapshot!(changes(&state), @r"
    make role rewind LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
    let role rewind execute 1 functions of pg_rewind
    set the password of role xnat
    give database xnat from postgres to xnat
    let only its owner connect to database xnat
    let xnat and nobody else create tables in schema public of database xnat
    ");
}

#[test]
fn another_locale_is_a_warning_and_no_change() {
    let mut state = as_wanted();
    let database = state.database.as_mut().expect("it is there");
    database.collate = "de_DE.UTF-8".into();
    let difference = diff(&objects(), &state);
    assert!(difference.changes.is_empty());
    assert_snapshot!(difference.warnings[0].text, @"database xnat has encoding UTF8 and locale de_DE.UTF-8/C.UTF-8, the inventory says UTF8 and C.UTF-8: that cannot be changed in place");
}

#[test]
fn the_sql_of_every_change() {
    let mut objects = objects();
    objects.roles[2].name = "o'x\"nat".into();
    objects.database.owner = "o'x\"nat".into();
    let mut sql = String::new();
    for change in diff(&objects, &State::default()).changes {
        for statement in change.statements() {
            sql.push_str(&format!("{}: {}\n", change.database(), statement.expose()));
        }
    }
    insta::with_settings!({ filters => vec![(r"SCRAM-SHA-256\$4096:\S+'", "VERIFIER'")] }, {
        assert_snapshot!(sql, @r#"
        postgres: CREATE ROLE "replicator" WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE REPLICATION NOBYPASSRLS PASSWORD 'VERIFIER'
        postgres: CREATE ROLE "rewind" WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD 'VERIFIER'
        postgres: GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text, boolean, boolean) TO "rewind"
        postgres: GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_binary_file(text) TO "rewind"
        postgres: GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean) TO "rewind"
        postgres: GRANT EXECUTE ON FUNCTION pg_catalog.pg_stat_file(text, boolean) TO "rewind"
        postgres: CREATE ROLE "o'x""nat" WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD 'VERIFIER'
        postgres: CREATE DATABASE "xnat" OWNER "o'x""nat" TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'
        postgres: REVOKE CONNECT ON DATABASE "xnat" FROM PUBLIC
        xnat: GRANT ALL ON SCHEMA public TO "o'x""nat"
        xnat: REVOKE CREATE ON SCHEMA public FROM PUBLIC
        xnat: CREATE EXTENSION IF NOT EXISTS "uuid-ossp"
        "#);
    });
}

#[test]
fn no_text_holds_a_password_and_no_statement_a_clear_one() {
    for change in diff(&objects(), &State::default()).changes {
        assert!(!format!("{change} {change:?}").contains("-password"), "{change:?}");
        assert!(change.statements().iter().all(|s| !s.expose().contains("-password")));
    }
}
