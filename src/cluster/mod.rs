//! Clients of etcd, Patroni, PostgreSQL and HAProxy, and one view of the cluster made from their answers.
//!
//! Everything is reached through the host's one [`Transport`](crate::transport::Transport): no port is opened on this
//! machine and no other port than SSH has to be reachable from it. Reads need nothing; writes need
//! [`Approved`](crate::approval::Approved). Nothing here prints or waits for a condition.

pub mod answer;
pub mod assess;
pub mod changes;
pub mod endpoints;
pub mod etcd;
pub mod grid;
pub mod haproxy;
pub mod http;
pub mod initialize;
pub mod keys;
pub mod latency;
pub mod maintenance;
pub mod patroni;
pub mod pause;
pub mod postgres;
pub mod safety;
pub mod shown;
pub mod table;
pub mod tls;
pub mod verify;
pub mod view;

pub use answer::{Answer, Seen};
pub use assess::{Health, Problem, Severity, assess};
pub use view::{ClusterView, Gather, Member, gather};
