//! What a drill is and what it shows: the faults there are and what each must not cost, what was recorded while one lasted,
//! the figures that follow from it, and whether they are good enough. Doing it is `workflow::drill`'s business.

mod attempt;
mod bound;
mod fault;
mod figures;
pub mod html;
mod record;
mod svg;
mod text;
mod verdict;

pub use attempt::{Attempt, Entry};
pub use bound::{Bound, bound};
pub use fault::{Fault, Moves};
pub use figures::{Figures, Spread, figures};
pub use record::{Balancer, Ledger, Lock, Note, Recording, Role, Server, Span, longest_gap};
pub use text::{explained, history, table};
pub use verdict::{Budget, Drill, Finding, Run, Setting, judge};
