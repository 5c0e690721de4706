//! Clients of etcd, Patroni, PostgreSQL and HAProxy, and one view of the cluster made from their answers.
