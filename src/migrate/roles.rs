//! Who is in a server beside its database: roles, their memberships and settings; and what is said of the database itself.
//! A dump has none of it. Read as one JSON document, compared, and written again as SQL.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::fingerprint::Difference;
use crate::quote::{identifier, literal};
use crate::secret::Secret;

/// What a role is called by until the migration is over: one that was made and not kept can be told by it.
pub const MARK: &str = "xnat-provision migrate: not finished";

/// The setting of a database that was moved in by which one can tell, from any machine: from where, when and by whom.
pub const MOVED_IN: &str = "xnat_provision.moved_in";

/// The cluster's own roles: whatever roles of these names are set to elsewhere is not for them.
pub const OWN: [&str; 5] = ["postgres", "replicator", "replicator_next", "rewind", "rewind_next"];

/// Settings whose value is a list of names (as `pg_dump` has it, `variable_is_guc_list_quote`).
const LISTS: [&str; 7] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
    "restrict_nonsystem_relation_kind",
];

/// The roles of a server, and what is said of one of its databases: `$1`.
pub const LOOK: &str = "SELECT json_build_object(
  'roles', (SELECT coalesce(json_agg(json_build_object(
      'name', r.rolname, 'superuser', r.rolsuper, 'inherit', r.rolinherit, 'create_role', r.rolcreaterole,
      'create_db', r.rolcreatedb, 'login', r.rolcanlogin, 'replication', r.rolreplication,
      'bypass_rls', r.rolbypassrls, 'limit', r.rolconnlimit, 'until', r.rolvaliduntil::text,
      'comment', shobj_description(r.oid, 'pg_authid'),
      'settings', (SELECT coalesce(to_json(s.setconfig), '[]') FROM (SELECT 1) one LEFT JOIN pg_db_role_setting s
                    ON s.setrole = r.oid AND s.setdatabase = 0),
      'settings_here', (SELECT coalesce(to_json(s.setconfig), '[]') FROM (SELECT 1) one LEFT JOIN pg_db_role_setting s
                    ON s.setrole = r.oid AND s.setdatabase = d.oid),
      'member_of', (SELECT coalesce(json_agg(json_build_object('role', g.rolname, 'admin', m.admin,
                                                               'inherit', m.inherit, 'set', m.can_set)
                                             ORDER BY g.rolname), '[]')
                      FROM (SELECT roleid, bool_or(admin_option) AS admin,
                                   bool_or(coalesce((to_jsonb(a) ->> 'inherit_option')::boolean, r.rolinherit)) AS inherit,
                                   bool_or(coalesce((to_jsonb(a) ->> 'set_option')::boolean, true)) AS can_set
                              FROM pg_auth_members a WHERE member = r.oid GROUP BY roleid) m JOIN pg_authid g ON g.oid = m.roleid)
    ) ORDER BY r.rolname), '[]') FROM pg_authid r WHERE r.rolname !~ '^pg_'),
  'database', json_build_object(
      'owner', pg_get_userbyid(d.datdba), 'limit', d.datconnlimit,
      'comment', shobj_description(d.oid, 'pg_database'),
      'settings', (SELECT coalesce(to_json(s.setconfig), '[]') FROM (SELECT 1) one LEFT JOIN pg_db_role_setting s
                    ON s.setrole = 0 AND s.setdatabase = d.oid),
      'grants', (SELECT coalesce(json_agg(json_build_object('role', r.rolname, 'privilege', a.privilege_type,
                                                             'grantable', a.is_grantable)
                                          ORDER BY r.rolname, a.privilege_type), '[]')
                   FROM aclexplode(d.datacl) a JOIN pg_authid r ON r.oid = a.grantee WHERE a.grantee <> d.datdba),
      'on_public', (SELECT (SELECT coalesce(json_agg(json_build_object('role', coalesce(r.rolname, 'public'),
                                     'privilege', a.privilege_type, 'grantable', a.is_grantable)
                                   ORDER BY r.rolname, a.privilege_type), '[]')
                              FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
                              LEFT JOIN pg_authid r ON r.oid = a.grantee WHERE a.grantee <> n.nspowner)
                      FROM pg_namespace n WHERE n.nspname = 'public'))
  )::text FROM pg_database d WHERE d.datname = $1";

/// What a server keeps instead of the passwords, apart from the rest: it goes from one server to the other, and is seen by
/// nobody.
pub const VERIFIERS: &str =
    "SELECT rolname::text, rolpassword FROM pg_authid WHERE rolpassword IS NOT NULL AND rolname !~ '^pg_'";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    pub roles: Vec<Role>,
    pub database: Database,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    pub name: String,
    pub superuser: bool,
    pub inherit: bool,
    pub create_role: bool,
    pub create_db: bool,
    pub login: bool,
    pub replication: bool,
    pub bypass_rls: bool,
    pub limit: i32,
    pub until: Option<String>,
    pub comment: Option<String>,
    pub settings: Vec<String>,
    /// In this database only.
    pub settings_here: Vec<String>,
    pub member_of: Vec<Membership>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Membership {
    pub role: String,
    pub admin: bool,
    /// From version 16 on each membership says so; before, it followed from the member.
    pub inherit: bool,
    pub set: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    pub owner: String,
    pub limit: i32,
    pub comment: Option<String>,
    pub settings: Vec<String>,
    /// Those of its owner, and of everybody, are the cluster's business.
    pub grants: Vec<Grant>,
    /// Of its schema `public`, if there is one, to others than the schema's owner; `public`, which no role is called, is
    /// everybody.
    #[serde(default)]
    pub on_public: Option<Vec<Grant>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Grant {
    pub role: String,
    pub privilege: String,
    pub grantable: bool,
}

/// What has to be done on the target for the source's roles to be there, too.
#[derive(Default)]
pub struct Wanted {
    /// Before anything is restored; each made with [`MARK`].
    pub roles: Vec<Secret>,
    /// The names of those.
    pub made: Vec<String>,
    /// Among the roles, once all are there.
    pub memberships: Vec<String>,
    /// Once the database is restored: settings, grants and comments that go with it wherever it goes, or with those roles.
    pub settings: Vec<String>,
    /// When it is in its place: the roles are for good, and what was said of those that the cluster had before.
    pub finally: Vec<String>,
}

/// `database` is the copy, `verifiers` are what the source keeps instead of passwords. Roles that the target has already keep theirs, since they
/// are the cluster's: its superuser, its application's owner; they only become members.
/// `version` is the target's.
pub fn wanted(
    (source, target): (&Server, &Server),
    (database, verifiers): (&str, &[(String, Secret)]),
    version: u32,
) -> Wanted {
    let there: BTreeSet<&str> = target.roles.iter().map(|role| role.name.as_str()).collect();
    let mut wanted = Wanted::default();
    for role in source.roles.iter().filter(|role| !OWN.contains(&role.name.as_str())) {
        let name = identifier(&role.name);
        if !there.contains(role.name.as_str()) {
            let verifier = verifiers.iter().find(|(of, _)| *of == role.name).map(|(_, verifier)| verifier);
            wanted.roles.push(Secret::new(role.creation(verifier)));
            wanted.made.push(role.name.clone());
            wanted.finally.push(comment("ROLE", &name, role.comment.as_deref()));
        }
        for it in &role.member_of {
            let Membership { admin, inherit, set, .. } = it;
            let options = match (version >= MEMBERSHIP_OPTIONS, admin) {
                (true, _) => format!(" WITH ADMIN {admin}, INHERIT {inherit}, SET {set}"),
                (false, true) => " WITH ADMIN OPTION".to_owned(),
                (false, false) => String::new(),
            };
            let grant = format!("GRANT {} TO {name}{options}", identifier(&it.role));
            // among those that stay whatever becomes of the copy, only when it stays too
            let stays = |name: &str| name.starts_with("pg_") || there.contains(name);
            if stays(&role.name) && stays(&it.role) {
                wanted.finally.push(grant)
            } else {
                wanted.memberships.push(grant)
            }
        }
        let here = identifier(database);
        let settings = role.settings.iter().filter_map(|it| Some(format!("ALTER ROLE {name} {}", set(it)?)));
        let ours = there.contains(role.name.as_str());
        if ours {
            wanted.finally.extend(settings)
        } else {
            wanted.settings.extend(settings)
        }
        let in_database = |it: &String| Some(format!("ALTER ROLE {name} IN DATABASE {here} {}", set(it)?));
        wanted.settings.extend(role.settings_here.iter().filter_map(in_database));
    }
    wanted.settings.extend(source.database.statements(&identifier(database)));
    wanted
}

impl Role {
    fn creation(&self, verifier: Option<&Secret>) -> String {
        let name = identifier(&self.name);
        let flag = |is: bool, word: &str| if is { format!(" {word}") } else { format!(" NO{word}") };
        let mut text = format!("CREATE ROLE {name} WITH");
        for (is, word) in [
            (self.superuser, "SUPERUSER"),
            (self.inherit, "INHERIT"),
            (self.create_role, "CREATEROLE"),
            (self.create_db, "CREATEDB"),
            (self.login, "LOGIN"),
            (self.replication, "REPLICATION"),
            (self.bypass_rls, "BYPASSRLS"),
        ] {
            text.push_str(&flag(is, word));
        }
        if self.limit >= 0 {
            text.push_str(&format!(" CONNECTION LIMIT {}", self.limit));
        }
        if let Some(until) = &self.until {
            text.push_str(&format!(" VALID UNTIL {}", literal(until)));
        }
        if let Some(verifier) = verifier {
            text.push_str(&format!(" PASSWORD {}", literal(verifier.expose())));
        }
        // one string of statements is one transaction: no role without its mark
        format!("{text}; COMMENT ON ROLE {name} IS {}", literal(MARK))
    }
}

impl Database {
    fn statements(&self, name: &str) -> Vec<String> {
        let mut all: Vec<String> = self
            .settings
            .iter()
            .filter(|it| !is_ours(it))
            .filter_map(|it| Some(format!("ALTER DATABASE {name} {}", set(it)?)))
            .collect();
        all.extend(self.grants.iter().map(|grant| {
            let option = if grant.grantable { " WITH GRANT OPTION" } else { "" };
            format!("GRANT {} ON DATABASE {name} TO {}{option}", grant.privilege, identifier(&grant.role))
        }));
        if self.limit != -1 {
            all.push(format!("ALTER DATABASE {name} CONNECTION LIMIT {}", self.limit));
        }
        if self.comment.is_some() {
            all.push(comment("DATABASE", name, self.comment.as_deref()));
        }
        all
    }
}

fn comment(of: &str, name: &str, text: Option<&str>) -> String {
    format!("COMMENT ON {of} {name} IS {}", text.map_or_else(|| "NULL".to_owned(), literal))
}

/// `SET name TO value` of what a catalogue has as `name=value`.
fn set(entry: &str) -> Option<String> {
    let (name, value) = entry.split_once('=')?;
    let list = LISTS.contains(&name);
    // the name of an extension's setting has a dot in it, which is none of an identifier
    let name: Vec<String> = name.split('.').map(identifier).collect();
    let value = if list { elements(value).join(", ") } else { literal(value) };
    Some(format!("SET {} TO {value}", name.join(".")))
}

/// What we set for a while is not the site's.
fn is_ours(entry: &str) -> bool {
    entry.starts_with("default_transaction_read_only=") || entry.starts_with(&format!("{MOVED_IN}="))
}

/// A list as a catalogue keeps it, `"$user", public`: each element is a literal of its own, whatever is in it.
fn elements(list: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut quoted = false;
    let mut characters = list.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                all.last_mut().expect("there is one").push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => all.push(String::new()),
            c if c.is_whitespace() && !quoted => {}
            c => all.last_mut().expect("there is one").push(c),
        }
    }
    all.iter().map(|element| literal(element)).collect()
}

/// How far the target is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The copy is there; what comes last is not done.
    Copied,
    Finished,
}

/// From this version on a membership says itself whether the member has the role's rights at once.
const MEMBERSHIP_OPTIONS: u32 = 160_000;

/// What of the source's roles, and of what is said of its database, the target does not have. `made` are the roles that the
/// migration made: nobody but the source has anything to say about them. The others' own attributes are the cluster's.
pub fn differences(source: &Server, target: &Server, (made, stage): (&[String], Stage)) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut differs = |what: String, source: String, target: String| {
        if source != target {
            found.push(Difference { what, source, target });
        }
    };
    for role in source.roles.iter().filter(|role| !OWN.contains(&role.name.as_str())) {
        let Some(other) = target.roles.iter().find(|other| other.name == role.name) else {
            differs(format!("role {}", role.name), "there".to_owned(), "not there".to_owned());
            continue;
        };
        let ours = !made.contains(&role.name);
        if !ours {
            let told = |role: &Role| role.attributes(stage);
            differs(format!("attributes of the role {}", role.name), told(role), told(other));
        }
        let lacking = |mine: &[String], theirs: &[String]| {
            let kept = mine.iter().filter(|it| !theirs.contains(it));
            kept.cloned().collect::<Vec<_>>().join(", ")
        };
        let missing: Vec<String> = role
            .member_of
            .iter()
            .filter(|it| stage == Stage::Finished || !ours || made.contains(&it.role))
            .filter(|it| !other.member_of.contains(it))
            .map(Membership::told)
            .collect();
        let added = other.member_of.iter().filter(|it| !ours && !role.member_of.contains(it));
        let added: Vec<String> = added.map(Membership::told).collect();
        differs(format!("memberships of the role {}", role.name), missing.join(", "), added.join(", "));
        if !ours || stage == Stage::Finished {
            let settings = lacking(&role.settings, &other.settings);
            let added = if ours { String::new() } else { lacking(&other.settings, &role.settings) };
            differs(format!("settings of the role {}", role.name), settings, added);
        }
        let here = lacking(&role.settings_here, &other.settings_here);
        differs(format!("settings of the role {} in this database", role.name), here, String::new());
    }
    let (mine, theirs) = (&source.database, &target.database);
    let settings = mine.settings.iter().filter(|it| !is_ours(it) && !theirs.settings.contains(it));
    differs("settings of the database".to_owned(), settings.cloned().collect::<Vec<_>>().join(", "), String::new());
    let grants = mine.grants.iter().filter(|it| it.role != theirs.owner && !theirs.grants.contains(it));
    let grants: Vec<String> = grants.map(Grant::told).collect();
    differs("grants on the database".to_owned(), grants.join(", "), String::new());
    if let (Stage::Finished, Some(of_source), Some(of_target)) = (stage, &mine.on_public, &theirs.on_public) {
        let beside = |these: &[Grant], others: &[Grant]| Grant::beside(these, others, &theirs.owner);
        let (missing, more) = (beside(of_source, of_target), beside(of_target, of_source));
        differs("grants on the schema public".to_owned(), missing, more);
    }
    let told = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    differs("connection limit of the database".to_owned(), mine.limit.to_string(), theirs.limit.to_string());
    differs("comment of the database".to_owned(), told(&mine.comment), told(&theirs.comment));
    found
}

impl Grant {
    /// Those on `public` that are not among the others. What its owner may, and that nobody else makes tables there, is said
    /// by the inventory.
    fn beside(these: &[Self], others: &[Self], owner: &str) -> String {
        let of_the_inventory =
            |it: &Self| it.role == owner || it.role == "public" && it.privilege == "CREATE" && !it.grantable;
        let kept = these.iter().filter(|it| !of_the_inventory(it) && !others.contains(it));
        kept.map(Self::told).collect::<Vec<_>>().join(", ")
    }

    fn told(&self) -> String {
        format!("{} to {}{}", self.privilege, self.role, if self.grantable { " with grant option" } else { "" })
    }
}

impl Membership {
    /// With all that makes it another one.
    fn told(&self) -> String {
        let words = [(self.admin, " with admin"), (!self.inherit, " without inherit"), (!self.set, " without set")];
        let words: String = words.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect();
        format!("{}{words}", self.role)
    }
}

impl Role {
    fn attributes(&self, stage: Stage) -> String {
        let words = [
            (self.superuser, "superuser"),
            (!self.inherit, "no inherit"),
            (self.create_role, "createrole"),
            (self.create_db, "createdb"),
            (self.login, "login"),
            (self.replication, "replication"),
            (self.bypass_rls, "bypassrls"),
        ];
        let words: Vec<&str> = words.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect();
        let until = self.until.as_deref().unwrap_or("ever");
        let comment = match stage {
            Stage::Copied => String::new(),
            Stage::Finished => format!("; comment {}", self.comment.as_deref().unwrap_or("none")),
        };
        format!("{}; limit {}; until {until}{comment}", words.join(", "), self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str) -> Role {
        Role { name: name.to_owned(), inherit: true, login: true, limit: -1, ..Role::default() }
    }

    #[test]
    fn a_role_is_made_with_what_it_has_and_marked() {
        let source = Server {
            roles: vec![Role { limit: 3, until: Some("infinity".into()), ..role("O'Hara") }],
            ..Server::default()
        };
        let verifiers = [("O'Hara".to_owned(), Secret::new("SCRAM-SHA-256$4096:x"))];
        let wanted = wanted((&source, &Server::default()), ("xnat", &verifiers), 170_000);
        assert_eq!(
            wanted.roles[0].expose(),
            "CREATE ROLE \"O'Hara\" WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS \
             CONNECTION LIMIT 3 VALID UNTIL 'infinity' PASSWORD 'SCRAM-SHA-256$4096:x'; \
             COMMENT ON ROLE \"O'Hara\" IS 'xnat-provision migrate: not finished'"
        );
        assert_eq!(wanted.finally, ["COMMENT ON ROLE \"O'Hara\" IS NULL"]);
    }

    #[test]
    fn who_is_there_already_keeps_what_it_has_and_becomes_a_member() {
        let member = Membership { role: "readers".into(), admin: true, inherit: true, set: true };
        let source = Server {
            roles: vec![Role { member_of: vec![member], settings: vec!["work_mem=8MB".into()], ..role("xnat") }],
            ..Server::default()
        };
        let target = Server { roles: vec![role("xnat"), role("readers")], ..Server::default() };
        let wanted = wanted((&source, &target), ("xnat", &[]), 170_000);
        assert!(wanted.roles.is_empty() && wanted.made.is_empty() && wanted.memberships.is_empty());
        assert_eq!(
            wanted.finally,
            [
                "GRANT \"readers\" TO \"xnat\" WITH ADMIN true, INHERIT true, SET true",
                "ALTER ROLE \"xnat\" SET \"work_mem\" TO '8MB'"
            ]
        );
    }

    #[test]
    fn lists_are_taken_apart_and_our_own_lock_is_not_taken_over() {
        assert_eq!(set("search_path=\"$user\", public").as_deref(), Some("SET \"search_path\" TO '$user', 'public'"));
        assert_eq!(set("search_path=\"\"").as_deref(), Some("SET \"search_path\" TO ''"));
        let hostile = set("search_path=a;alter/**/role/**/me/**/superuser, \"it's \"\"b, c\"");
        assert_eq!(
            hostile.as_deref(),
            Some("SET \"search_path\" TO 'a;alter/**/role/**/me/**/superuser', 'it''s \"b, c'")
        );
        assert_eq!(set("pg_trgm.limit=it's").as_deref(), Some("SET \"pg_trgm\".\"limit\" TO 'it''s'"));
        let database =
            Database { settings: vec!["default_transaction_read_only=on".into()], limit: -1, ..Database::default() };
        assert!(database.statements("x").is_empty());
    }

    #[test]
    fn what_is_missing_is_named() {
        let member = |admin| Membership { role: "readers".into(), admin, inherit: true, set: true };
        let source = Server {
            roles: vec![Role { member_of: vec![member(true)], create_db: true, ..role("a") }, role("b")],
            database: Database {
                settings: vec!["work_mem=8MB".into()],
                comment: Some("ours".into()),
                ..Database::default()
            },
        };
        let target = Server { roles: vec![Role { member_of: vec![member(false)], ..role("a") }], ..Server::default() };
        let told: Vec<String> = differences(&source, &target, (&["a".to_owned()], Stage::Finished))
            .into_iter()
            .map(|it| format!("{}: {}", it.what, it.source))
            .collect();
        assert_eq!(
            told,
            [
                "attributes of the role a: createdb, login; limit -1; until ever; comment none",
                "memberships of the role a: readers with admin",
                "role b: there",
                "settings of the database: work_mem=8MB",
                "comment of the database: ours",
            ]
        );
        assert_eq!(differences(&source, &source, (&["a".to_owned()], Stage::Finished)), []);
    }

    #[test]
    fn who_may_what_in_public_is_told_but_for_what_the_inventory_says() {
        let grant = |role: &str, privilege: &str| Grant {
            role: role.to_owned(),
            privilege: privilege.to_owned(),
            grantable: false,
        };
        let with = |on_public: Vec<Grant>| Server {
            database: Database { owner: "xnat".to_owned(), on_public: Some(on_public), ..Database::default() },
            ..Server::default()
        };
        let source = with(vec![grant("public", "CREATE"), grant("public", "USAGE"), grant("readers", "USAGE")]);
        let target = with(vec![grant("public", "USAGE"), grant("xnat", "CREATE"), grant("xnat", "USAGE")]);
        let found = differences(&source, &target, (&[], Stage::Finished));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].source.as_str(), found[0].target.as_str()), ("USAGE to readers", ""));
        let opened = with(vec![grant("public", "USAGE"), grant("readers", "USAGE"), grant("others", "CREATE")]);
        let found = differences(&source, &opened, (&[], Stage::Finished));
        assert_eq!((found[0].source.as_str(), found[0].target.as_str()), ("", "CREATE to others"));
    }

    #[test]
    fn who_came_with_the_copy_has_no_more_than_before() {
        let member = Membership { role: "readers".into(), admin: false, inherit: true, set: true };
        let more = Role { member_of: vec![member], settings: vec!["role=readers".into()], ..role("a") };
        let source = Server { roles: vec![role("a")], ..Server::default() };
        let target = Server { roles: vec![more], ..Server::default() };
        let told: Vec<String> = differences(&source, &target, (&["a".to_owned()], Stage::Finished))
            .into_iter()
            .map(|it| format!("{}: {:?}, {}", it.what, it.source, it.target))
            .collect();
        assert_eq!(told, ["memberships of the role a: \"\", readers", "settings of the role a: \"\", role=readers"]);
        // what the cluster's own have is for the cluster to say
        assert_eq!(differences(&source, &target, (&[], Stage::Finished)), []);
    }
}
