//! Large objects one by one: what each holds, whose it is, and the SQL that makes one like another. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::quote::{identifier, literal};

/// So many bytes of an object are read and written at once.
pub const PIECE: i32 = 4_194_304;

/// Number, size, a digest of the content, owner, grants (`grantee privilege grantable`, one a line; nobody is PUBLIC) and
/// comment of each. What was never written in the middle of one reads as zeros.
pub const LOOK: &str = "SELECT m.oid, s.size,
       coalesce((SELECT md5(string_agg(md5(lo_get(m.oid, piece, 4194304)), '' ORDER BY piece))
                   FROM generate_series(0::bigint, s.size, 4194304::bigint) piece), ''),
       pg_get_userbyid(m.lomowner)::text,
       (SELECT coalesce(string_agg(g.line, E'\\n' ORDER BY g.line COLLATE \"C\"), '')
          FROM (SELECT quote_ident(coalesce(r.rolname, '')) || ' ' || a.privilege_type || ' ' || a.is_grantable AS line
                  FROM aclexplode(coalesce(m.lomacl, acldefault('L', m.lomowner))) a
                  LEFT JOIN pg_roles r ON r.oid = a.grantee) g),
       obj_description(m.oid, 'pg_largeobject')
  FROM pg_largeobject_metadata m, LATERAL (SELECT coalesce((
       SELECT p.pageno::bigint * (current_setting('block_size')::int / 4) + length(p.data)
         FROM pg_largeobject p WHERE p.loid = m.oid ORDER BY p.pageno DESC LIMIT 1), 0) AS size) s";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    pub size: i64,
    pub content: String,
    pub owner: String,
    pub grants: String,
    pub comment: Option<String>,
}

/// What has to be done to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    Remove(u32),
    /// As it is here; there it is so, if at all.
    Make {
        oid: u32,
        like: &'a Object,
        now: Option<&'a Object>,
    },
}

/// What makes theirs like mine.
pub fn changes<'a>(mine: &'a BTreeMap<u32, Object>, theirs: &'a BTreeMap<u32, Object>) -> Vec<Change<'a>> {
    let gone = theirs.keys().filter(|oid| !mine.contains_key(oid)).map(|oid| Change::Remove(*oid));
    let other = mine.iter().filter(|(oid, like)| theirs.get(oid) != Some(like));
    gone.chain(other.map(|(oid, like)| Change::Make { oid: *oid, like, now: theirs.get(oid) })).collect()
}

impl Change<'_> {
    pub fn oid(&self) -> u32 {
        match self {
            Self::Remove(oid) | Self::Make { oid, .. } => *oid,
        }
    }

    /// Before its content comes: it is there, empty where that is another one, and whose it should be.
    pub fn statements(&self) -> String {
        let (oid, like, now) = match self {
            Self::Remove(oid) => return format!("SELECT lo_unlink({oid})"),
            Self::Make { oid, like, now } => (oid, like, now),
        };
        let mut all = Vec::new();
        match now {
            None => all.push(format!("SELECT lo_create({oid})")),
            // 131072 is INV_WRITE
            Some(_) if self.has_other_content() => {
                all.push(format!("SELECT lo_truncate64(lo_open({oid}, 131072), 0)"));
            }
            Some(_) => {}
        }
        let said = |object: &Object| (object.owner.clone(), object.grants.clone(), object.comment.clone());
        if now.map(said) != Some(said(like)) {
            all.extend(owned(*oid, like, now.map_or("", |now| now.grants.as_str())));
        }
        all.join("; ")
    }

    fn has_other_content(&self) -> bool {
        match self {
            Self::Remove(_) => false,
            Self::Make { like, now, .. } => {
                now.is_none_or(|now| (now.size, &now.content) != (like.size, &like.content))
            }
        }
    }

    /// Where each piece begins that has to be written.
    pub fn pieces(&self) -> Vec<i64> {
        match self {
            Self::Make { like, .. } if self.has_other_content() => {
                (0..like.size).step_by(PIECE.unsigned_abs() as usize).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Whose it is, who may use it, and what is said of it. `before` are the grants that there are.
fn owned(oid: u32, like: &Object, before: &str) -> Vec<String> {
    let mut all = vec![format!("ALTER LARGE OBJECT {oid} OWNER TO {}", identifier(&like.owner))];
    let grantees: BTreeSet<&str> = [before, &like.grants].iter().flat_map(|text| text.lines().map(grantee)).collect();
    // also what somebody has granted on
    all.extend(grantees.iter().map(|who| format!("REVOKE ALL ON LARGE OBJECT {oid} FROM {who} CASCADE")));
    for line in like.grants.lines() {
        let mut words = line.rsplitn(3, ' ');
        let (grantable, privilege) = (words.next(), words.next().unwrap_or_default());
        let option = if grantable == Some("true") { " WITH GRANT OPTION" } else { "" };
        all.push(format!("GRANT {privilege} ON LARGE OBJECT {oid} TO {}{option}", grantee(line)));
    }
    let comment = like.comment.as_deref().map_or_else(|| "NULL".to_owned(), literal);
    all.push(format!("COMMENT ON LARGE OBJECT {oid} IS {comment}"));
    all
}

/// As SQL has it; a name may have spaces in it, the two words behind have none.
fn grantee(line: &str) -> &str {
    match line.rsplitn(3, ' ').nth(2) {
        None | Some("" | "\"\"") => "PUBLIC",
        Some(name) => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(size: i64, content: &str, grants: &str) -> Object {
        Object {
            size,
            content: content.to_owned(),
            owner: "x nat".to_owned(),
            grants: grants.to_owned(),
            comment: None,
        }
    }

    #[test]
    fn what_is_the_same_is_left_alone_and_the_rest_is_made_like_it() {
        let mine = BTreeMap::from([
            (1, object(3, "a", "")),
            (2, object(5_000_000, "b", "")),
            (3, object(0, "", "\"\" SELECT false\n\"x nat\" SELECT true")),
        ]);
        let theirs =
            BTreeMap::from([(1, object(3, "a", "")), (3, object(0, "", "y UPDATE false")), (4, object(1, "d", ""))]);
        let found = changes(&mine, &theirs);
        assert_eq!(found.iter().map(Change::oid).collect::<Vec<_>>(), [4, 2, 3]);
        assert_eq!(found.iter().map(|change| change.pieces().len()).collect::<Vec<_>>(), [0, 2, 0]);
        insta::assert_snapshot!(found.iter().map(Change::statements).collect::<Vec<_>>().join("\n").replace("; ", ";\n"), @r#"
        SELECT lo_unlink(4)
        SELECT lo_create(2);
        ALTER LARGE OBJECT 2 OWNER TO "x nat";
        COMMENT ON LARGE OBJECT 2 IS NULL
        ALTER LARGE OBJECT 3 OWNER TO "x nat";
        REVOKE ALL ON LARGE OBJECT 3 FROM "x nat" CASCADE;
        REVOKE ALL ON LARGE OBJECT 3 FROM PUBLIC CASCADE;
        REVOKE ALL ON LARGE OBJECT 3 FROM y CASCADE;
        GRANT SELECT ON LARGE OBJECT 3 TO PUBLIC;
        GRANT SELECT ON LARGE OBJECT 3 TO "x nat" WITH GRANT OPTION;
        COMMENT ON LARGE OBJECT 3 IS NULL
        "#);
    }

    #[test]
    fn another_content_is_written_into_the_same_object() {
        let (mine, theirs) = (BTreeMap::from([(1, object(3, "a", ""))]), BTreeMap::from([(1, object(9, "b", ""))]));
        let found = changes(&mine, &theirs);
        assert_eq!(found[0].statements(), "SELECT lo_truncate64(lo_open(1, 131072), 0)");
        assert_eq!(found[0].pieces(), [0]);
    }
}
