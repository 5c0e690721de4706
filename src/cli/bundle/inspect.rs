//! What `verify`, `inspect` and `diff` say.

use serde_json::json;

use super::super::{Failure, Globals, out};
use crate::bundle::sign::{Trusted, signer};
use crate::bundle::{Difference, Manifest, Opened, difference as compare};
use crate::error::Exit;
use crate::report::text::{count, mebibytes};

pub fn verified(bundle: &Opened, key: Option<&Trusted>, globals: &Globals) -> Result<Exit, Failure> {
    let made_by = bundle.signature.as_deref().and_then(signer);
    if globals.json {
        let document = json!({
            "path": bundle.path, "manifest_sha256": bundle.sha256, "signed_by": made_by, "trusted": key.is_some(),
            "files": bundle.manifest.files.len(),
        });
        out::json(&document)?;
        return Ok(Exit::Ok);
    }
    let files = count(bundle.manifest.files.len(), "file");
    let by = match (&made_by, key) {
        (Some(id), Some(_)) => format!("signed by the key {id}, as it should be"),
        (Some(id), None) => format!("signed by the key {id}; whose that is was not checked (--key FILE does)"),
        (None, _) => "not signed: nothing says who has made it".to_owned(),
    };
    let path = bundle.path.display();
    out::text(&format!(
        "{path}: good. {files}, every one as the manifest says; {by}.\nSHA-256 of the manifest: {}\n",
        bundle.sha256
    ))?;
    Ok(Exit::Ok)
}

pub fn contents(bundle: &Opened, globals: &Globals) -> Result<Exit, Failure> {
    if globals.json {
        out::json(&bundle.manifest)?;
        return Ok(Exit::Ok);
    }
    out::text(&text(bundle))?;
    Ok(Exit::Ok)
}

fn text(bundle: &Opened) -> String {
    let Manifest { made_by, target, wanted, facts, since, sources, packages, .. } = &bundle.manifest;
    let fitted = match facts {
        Some(sha256) => format!("the site whose facts have the SHA-256 {sha256}"),
        None => "a minimal installation".to_owned(),
    };
    let mut text = format!("For {target}, {fitted}; made by xnat-provision {made_by}.\n");
    if let Some(since) = since {
        text.push_str(&format!("It leaves out what the bundle whose manifest has the SHA-256 {since} carries.\n"));
    }
    text.push_str(&format!("Asked for: {}.\n", wanted.join(", ")));
    for source in sources {
        let released = source.released.as_ref().map(|date| format!(" (as of {date})")).unwrap_or_default();
        text.push_str(&format!("From: {}{released}\n", source.line));
    }
    let carried = packages.iter().filter(|package| package.carried);
    let (number, bytes) = carried.fold((0, 0), |(number, bytes), package| (number + 1, bytes + package.bytes));
    let named = packages.len() - number;
    let besides = if named == 0 { String::new() } else { format!(", and {named} more that it only names") };
    text.push_str(&format!("{}, {}{besides}:\n\n", count(number, "package"), mebibytes(bytes)));
    let rows: Vec<[String; 4]> = packages
        .iter()
        .map(|it| {
            [
                it.name.clone(),
                it.version.clone(),
                it.arch.clone(),
                if it.carried { mebibytes(it.bytes) } else { "-".to_owned() },
            ]
        })
        .collect();
    text + &out::table(&["Package", "Version", "Architecture", "Size"], &rows)
}

pub fn difference((older, newer): (&Opened, &Opened), globals: &Globals) -> Result<Exit, Failure> {
    let found = compare(&older.manifest, &newer.manifest);
    if globals.json {
        out::json(&found)?;
    } else {
        out::text(&told(&found))?;
    }
    Ok(if found.is_empty() { Exit::Ok } else { Exit::ChangesPending })
}

fn told(found: &Difference) -> String {
    if found.is_empty() {
        return "They have the same in them.\n".to_owned();
    }
    let changed = found.changed.iter().map(|(name, before, after)| format!("~ {name} {before} → {after}\n"));
    let added = found.added.iter().map(|it| format!("+ {it}\n"));
    let removed = found.removed.iter().map(|it| format!("- {it}\n"));
    let files = found.files.iter().map(|it| format!("~ {it}\n"));
    changed.chain(added).chain(removed).chain(files).collect()
}
