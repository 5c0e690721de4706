//! Why a cluster could not be rendered.

use crate::error::{Exit, Fails};
use crate::names::HostName;
use crate::role::RoleError;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RenderError {
    #[error("no release of Debian has PostgreSQL {version} that images could be made of")]
    #[diagnostic(
        code(xnat::render::version),
        help(
            "set `version = 17` or 15 under [postgresql], or name a repository that has it under [[packages.repository]]"
        )
    )]
    NoVersion { version: u32 },
    #[error("certificates are signed elsewhere, and for containers there are none")]
    #[diagnostic(
        code(xnat::render::signed_elsewhere),
        help(
            "in a copy of the inventory, leave `certificates` out of [tls]: an authority is made then, or name `ca_key` and yours signs"
        )
    )]
    SignedElsewhere,
    #[error("new passwords are under way, and what is rendered would be neither the old nor the new ones")]
    #[diagnostic(
        code(xnat::render::rotating),
        help("finish that first: `xnat-provision secrets rotate` and the inventory")
    )]
    Rotating,
    #[error(
        "a container would be called {name}, as a host of the inventory is, and the vault has certificates by name"
    )]
    #[diagnostic(code(xnat::render::name), help("in a copy of the inventory, give that host another name"))]
    NameTaken { name: HostName },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Role(#[from] RoleError),
}

impl Fails for RenderError {
    fn exit(&self) -> Exit {
        match self {
            Self::Role(error) => error.exit(),
            _ => Exit::Usage,
        }
    }
}
