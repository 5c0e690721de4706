//! What the administrator wants. `raw` is the file format, `shape` holds a file against it, `checks` judge the values,
//! `model` is the checked result that the rest of the program uses. Every mistake is reported at once. No network here.

mod checks;
mod document;
pub mod hba;
pub mod model;
mod origin;
mod problem;
mod raw;
pub mod replace;
mod resolve;
mod schema;
mod secrecy;
mod shape;
mod suggest;
mod surroundings;
mod values;
pub mod version;

use std::path::Path;
use std::sync::Arc;

use miette::NamedSource;
use serde::Deserialize;
use toml::de::Deserializer;

use crate::digest::sha256;
use crate::files;
use crate::report::text;

pub use model::*;
pub use problem::{InventoryErrors, Label, Problem, Problems, Severity};
pub use schema::schema;
pub use suggest::nearest;
pub use values::{Period, Size};

use document::Places;
use surroundings::Surroundings;

/// A good inventory, and what was found worth saying about it.
#[derive(Debug)]
pub struct Loaded {
    pub inventory: Inventory,
    /// Warnings only; a mistake would have been an [`InventoryErrors`].
    pub warnings: Problems,
    /// Of the file, as it was read.
    pub sha256: String,
}

impl Inventory {
    /// Read and check an inventory, with `--assets DIR` if that was given: it wins over `assets` in the file.
    pub fn load(path: &Path, assets: Option<&Path>) -> Result<Loaded, InventoryErrors> {
        let text =
            files::read_text(path).map_err(|source| InventoryErrors::Unreadable { path: path.to_owned(), source })?;
        Self::of_text(&text, path, assets)
    }

    /// The same, of a text that is to become that file.
    pub fn of_text(text: &str, path: &Path, assets: Option<&Path>) -> Result<Loaded, InventoryErrors> {
        let (inventory, mut problems) = examine(text, path, assets);
        let source = Arc::new(NamedSource::new(path.display().to_string(), text::in_place(text)).with_language("toml"));
        problems.iter_mut().for_each(|problem| problem.attach(&source));
        problem::sort(&mut problems);
        let problems = Problems { path: path.to_owned(), all: problems };
        match inventory {
            Some(inventory) if problems.count(Severity::Error) == 0 => {
                Ok(Loaded { inventory, warnings: problems, sha256: sha256(text) })
            }
            _ => Err(InventoryErrors::Invalid(problems)),
        }
    }
}

/// Everything that can be said about the text. No inventory when it is not TOML.
fn examine(text: &str, path: &Path, assets: Option<&Path>) -> (Option<Inventory>, Vec<Problem>) {
    let mut document = match document::parse(text) {
        Ok(document) => document,
        Err(problems) => return (None, problems),
    };
    let mut places = Places::of(document.get_ref());
    let mut problems = shape::check(document.get_mut(), &schema(), &mut places);
    let raw = match raw::Inventory::deserialize(Deserializer::from(document)) {
        Ok(raw) => raw,
        // What the schema does not know, serde still refuses.
        Err(error) => {
            problems.push(Problem::error("xnat::inventory::wrong_value", error.message().trim()).at(error.span(), ""));
            return (None, problems);
        }
    };
    let around = Surroundings::look(&raw, path, assets);
    let mut inventory = resolve::inventory(&raw, path, &around);
    problems.extend(checks::all(&checks::Context {
        raw: &raw,
        inventory: &inventory,
        places: &places,
        around: &around,
    }));
    // from here on the cluster is of those that stay
    inventory.leaving = inventory.hosts.extract_if(.., |host| host.leaving).collect();
    (Some(inventory), problems)
}
