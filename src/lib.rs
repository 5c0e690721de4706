//! `xnat-provision` turns bare Debian machines into a highly available PostgreSQL cluster for XNAT.
//!
//! The map, in the order data flows (dependencies point downwards only, `tests/it/layering.rs` checks it):
//!
//! | module        | what it is for                                                                  |
//! |---------------|---------------------------------------------------------------------------------|
//! | [`cli`]       | clap types, one file per command; prints, chooses the exit status                |
//! | [`workflow`]  | a workflow is its list of stages: `apply`, `plan`, `status`                      |
//! | [`engine`]    | makes it true: hosts, probing, converging, waiting, cancelling                   |
//! | [`plan`]      | what would change, as data and as text                                           |
//! | [`role`]      | roles (TOML) and templates, expanded into resources for a host                   |
//! | [`resource`]  | one file per kind: which probe do I need, how do I differ, what would I do       |
//! | [`screen`]    | the full-screen view of `status --watch`: what was seen in, a picture out         |
//! | [`cluster`]   | clients of etcd, Patroni, PostgreSQL and HAProxy; one view of them               |
//! | [`doctor`]    | from symptoms to causes: findings with evidence, and which explains which         |
//! | [`health`]    | every check by name: measurements in, states with evidence and what to do out      |
//! | [`drill`]     | faults on purpose: what each must not cost, figures, verdict, reports             |
//! | [`migrate`]     | moving a database in: what speaks against it, what it holds, the evidence           |
//! | [`adopt`]     | from what runs on hosts to the inventory of it, and what that cannot say          |
//! | [`render`]    | the same cluster for docker compose and for Kubernetes, from the same roles      |
//! | [`lab`]       | throwaway hosts on this machine (systemd-nspawn), to rehearse and to test on     |
//! | [`transport`] | one SSH connection per host: run a script, open a stream                         |
//! | [`facts`]     | what a host is: one script out, one typed struct back                            |
//! | [`inventory`] | what the administrator wants: TOML in, every mistake at once, a checked model out |
//! | [`bundle`]    | one file for a site without the Internet: made, checked, offered to hosts          |
//! | [`assets`]    | roles and templates built into the binary, and how a site overrides them         |
//! | [`vault`]     | the encrypted file of passwords and certificates                                  |
//! | [`pki`]       | the private certificate authority, and what it signs                              |
//! | [`report`]    | events, and everything that renders them                                         |
//! | [`names`], [`secret`], [`error`], [`approval`], [`files`], [`digest`], [`quote`], [`mirror`], [`version`] | leaves anyone may use                             |

pub mod approval;
pub mod digest;
pub mod error;
pub mod files;
pub mod mirror;
pub mod names;
pub mod quote;
pub mod secret;
pub mod version;

pub mod adopt;
pub mod assets;
pub mod bundle;
pub mod cli;
pub mod cluster;
pub mod doctor;
pub mod drill;
pub mod engine;
pub mod facts;
pub mod health;
pub mod inventory;
pub mod lab;
pub mod migrate;
pub mod pki;
pub mod plan;
pub mod render;
pub mod report;
pub mod resource;
pub mod role;
pub mod screen;
pub mod transport;
pub mod vault;
pub mod workflow;
