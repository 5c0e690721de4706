//! Moving a foreign database in: what has to be known of it and speaks against it (`found`, `check`), what it holds in a few
//! numbers (`fingerprint`), its large objects one by one (`objects`), who is in its server beside it (`roles`), and the evidence of what was done (`record`, `text`,
//! `html`). Doing it is `workflow::migrate`'s business. Pure.

pub mod check;
pub mod fingerprint;
pub mod found;
pub mod html;
pub mod objects;
pub mod physical;
pub mod properties;
pub mod record;
pub mod roles;
