//! Makes it true. `host` is the trait everything goes through, `remote` the one over SSH (the only place where actions
//! run), `simulated` the one in memory; `converge` brings the resources of a stage on one host to their wanted state;
//! `fleet` is every host of an inventory, `hold` the lock a run has on each, `history` what
//! they remember of runs, `newer` which packages they could have, `reboot` whether a machine has to be restarted, `carry` how the packages of a bundle reach them, `relay` how they give them to each other, `ended` how a database that does not run has ended, `step` a member's part in what its cluster does as a whole, `major` in an upgrade to another major version; `wait` and `cancel` are how anything waits or stops.

pub mod cancel;
pub mod carry;
pub mod command;
pub mod converge;
pub mod dump;
pub mod ended;
pub mod fanout;
pub mod fleet;
pub mod history;
pub mod hold;
pub mod host;
pub mod major;
pub mod newer;
pub mod reboot;
mod relay;
pub mod remote;
pub mod shell;
pub mod simulated;
pub mod step;
pub mod wait;

pub use cancel::Cancel;
pub use carry::{Carrier, CarryError, Parcel};
pub use converge::{Converge, ConvergeError, Interruption, Permit};
pub use ended::Ended;
pub use fanout::for_each_host;
pub use fleet::{Connection, Connector, Dialer, Fleet};
pub use history::Remembered;
pub use hold::{Claim, Hold, HoldError};
pub use host::{Host, HostError, Performed};
pub use major::DataDir;
pub use newer::{Newest, Question, Step, System};
pub use reboot::Boot;
pub use remote::RemoteHost;
pub use shell::facts::Scrutiny;
pub use simulated::SimulatedHost;
pub use step::{MemberStep, Program, StepError};
