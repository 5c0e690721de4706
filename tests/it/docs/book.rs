//! The book: every chapter is there and nothing is in `docs/` that is no chapter, and its links lead to other chapters.
//! Read as mdBook reads it, so that this needs no mdBook.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{anchors, documents, root, split, targets};

/// A document with what it includes in its place: `{{#include FILE}}`, or `{{#include FILE:ANCHOR}}`. Inside of a comment it
/// is seen by the book alone.
pub fn whole(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let directory = path.parent().expect("it is in a directory");
    let line = |line: &str| {
        let bare = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")).unwrap_or(line);
        match bare.strip_prefix("{{#include ").and_then(|rest| rest.strip_suffix("}}")) {
            Some(asked) => line.replace(bare, &included(directory, asked)) + "\n",
            None => format!("{line}\n"),
        }
    };
    text.lines().map(line).collect()
}

fn included(directory: &Path, asked: &str) -> String {
    let Some((file, anchor)) = asked.split_once(':') else { return whole(&directory.join(asked)) };
    let text = whole(&directory.join(file));
    let (begin, end) = (format!("<!-- ANCHOR: {anchor} -->\n"), format!("<!-- ANCHOR_END: {anchor} -->"));
    let part = text.split_once(&begin).and_then(|(_, rest)| rest.split_once(&end));
    part.unwrap_or_else(|| panic!("{file} has no {begin}")).0.to_owned()
}

/// Chapters by their paths in `docs/`, in the order of the book.
pub fn chapters() -> Vec<String> {
    let summary = std::fs::read_to_string(root().join("docs/SUMMARY.md")).expect("the book has one");
    summary.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned).collect()
}

pub fn chapter(name: &str) -> String {
    whole(&root().join("docs").join(name))
}

#[test]
fn every_document_is_a_chapter_and_every_chapter_a_document() {
    let named = chapters();
    let chapters: BTreeSet<String> = named.iter().map(|chapter| format!("docs/{chapter}")).collect();
    assert_eq!(chapters.len(), named.len(), "one is there twice");
    let there: BTreeSet<String> = (documents().into_iter())
        .filter(|document| document.starts_with("docs/") && document != "docs/SUMMARY.md")
        .collect();
    assert_eq!(chapters, there);
}

/// `..` and `.` resolved: chapters are told apart by their names.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, part| {
        match part {
            std::path::Component::ParentDir => drop(path.pop()),
            std::path::Component::CurDir => {}
            part => path.push(part),
        }
        path
    })
}

#[test]
fn links_of_the_book_lead_to_its_chapters() {
    let texts: BTreeMap<PathBuf, String> =
        chapters().into_iter().map(|name| (PathBuf::from(&name), chapter(&name))).collect();
    let mut wrong = Vec::new();
    for (chapter, text) in &texts {
        let directory = chapter.parent().expect("docs itself");
        for target in first_of_each_name(text) {
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let goal = if path.is_empty() { chapter.clone() } else { plain(&directory.join(path)) };
            let found = texts.get(&goal).is_some_and(|text| anchor.is_empty() || anchors(text).contains(anchor));
            if !found {
                wrong.push(format!("{}: {target}", chapter.display()));
            }
        }
        wrong.extend(unnamed(text).into_iter().map(|name| format!("{}: [{name}] leads nowhere", chapter.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// An included document brings the targets of its own place along, after those of the chapter.
fn first_of_each_name(text: &str) -> Vec<String> {
    let (_, prose) = split(text);
    let mut seen = BTreeSet::new();
    let again: Vec<String> = (super::definitions(&prose).into_iter())
        .filter(|(name, _)| !seen.insert(*name))
        .map(|(_, to)| to.into())
        .collect();
    let mut targets = targets(text);
    for target in again {
        let last = targets.iter().rposition(|one| *one == target).expect("it is among them");
        targets.remove(last);
    }
    targets
}

/// Names in brackets of links whose target stands elsewhere, in an included text, and that have none in this chapter.
fn unnamed(text: &str) -> Vec<String> {
    let (_, prose) = split(text);
    let here: BTreeSet<&str> = super::definitions(&prose).into_iter().map(|(name, _)| name).collect();
    let all = documents();
    let texts: Vec<String> = all.iter().map(|name| super::read(name)).collect();
    let known: BTreeSet<&str> = texts.iter().flat_map(|text| super::definitions(text)).map(|(name, _)| name).collect();
    let names = |rest: &str| !rest.starts_with(['(', '[', ':']);
    let used = |name: &&&str| prose.split(&format!("[{name}]")).skip(1).any(names) && !here.contains(**name);
    known.iter().filter(used).map(|name| (*name).to_owned()).collect()
}
