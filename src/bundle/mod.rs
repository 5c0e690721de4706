//! Bundles: all that a site without the Internet needs, in one file that can be checked, signed and compared. A connected
//! machine makes one ([`solver`] asks apt what it takes, [`download`] fetches it, [`archive`] packs it); on the other side
//! it is read, checked to the last byte, and offered to hosts ([`offer`]). [`site`] is what travels the other way.

pub mod archive;
mod diff;
pub mod download;
mod error;
pub mod index;
mod manifest;
pub mod offer;
mod sbom;
pub mod sign;
pub mod site;
pub mod solver;

pub use archive::{Content, Opened, Part};
pub use diff::{Difference, difference};
pub use error::BundleError;
pub use manifest::{FORMAT, Listed, Manifest, Packaged, Source, Target};
pub use offer::{Offer, Offered};
pub use sbom::sbom;
