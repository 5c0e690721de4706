//! The token without which nothing on a host can be changed.
//!
//! `Host::perform` and the writing halves of the cluster clients take `&Approved`; only [`Approved::by_operator`] makes
//! one, and only `cli/confirm.rs` may call it (a layering test holds that). So a dry run cannot change anything by mistake.

/// Proof that somebody saw a plan and said yes.
#[derive(Debug)]
pub struct Approved(());

impl Approved {
    /// To be called where the answer of the administrator (or `--yes`) is read, and nowhere else.
    pub fn by_operator() -> Self {
        Self(())
    }
}
