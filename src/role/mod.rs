//! Roles and templates, expanded into the resources of a host. A role is data (`roles/*.toml`): an ordered list of
//! resources; its files' text comes from templates. Pure: reads nothing but the assets it is given, and touches no host.

mod containers;
pub mod context;
pub mod dynamic;
pub mod error;
pub mod expand;
pub mod file;
mod filters;
pub mod render;
mod sources;

pub use containers::Containers;
pub use dynamic::dynamic_config;
pub use error::RoleError;
pub use expand::{
    Data, Input, RoleResources, Transition, expand, expand_contained, expand_during, expand_follow, expand_joining,
    expand_major, expand_reset,
};
