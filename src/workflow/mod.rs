//! Workflows: each is its list of stages. [`survey`] reads the hosts and the cluster and makes the plan; [`apply`] runs
//! one; [`upgrade`] makes another plan of the same survey, and [`major`] brings another major version of PostgreSQL. `plan` is a survey that stops there; [`preflight`] looks at hosts closely, for `check`; `status` asks the cluster and needs neither facts nor roles.

pub mod adopt;
pub mod apply;
pub mod certificates;
mod cluster_plan;
pub mod conversion;
pub mod doctor;
mod drain;
pub mod drill;
pub mod half_made;
mod handover;
pub mod health;
mod in_turn;
pub mod lock;
pub mod logs;
mod maintenance;
pub mod major;
mod members;
pub mod migrate;
mod operation;
mod parameters;
pub mod preflight;
pub mod reboot;
pub mod reset;
mod rolling;
pub mod stage;
pub mod support_bundle;
pub mod survey;
pub mod upgrade;
pub mod wanted;
mod whole;

pub use apply::{Applied, Apply, ApplyError};
pub use cluster_plan::Started;
pub use operation::{Operation, OperationError, Wanted};
pub use parameters::Restarts;
pub use preflight::{Checked, Mending, Preflight};
pub use rolling::{STRANGER, obstacles};
pub use survey::{HostProblem, Scope, Survey, SurveyError, Surveyor};
