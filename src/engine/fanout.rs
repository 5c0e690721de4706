//! The one way to do something on many hosts.

use std::collections::BTreeMap;
use std::future::Future;

use futures::StreamExt;
use futures::stream;

use crate::names::HostName;

/// Run `work` for every host, at most `limit` at a time, and keep every host's result: one that fails stops nobody.
pub async fn for_each_host<T, F, Fut>(hosts: Vec<HostName>, limit: usize, work: F) -> BTreeMap<HostName, T>
where
    F: Fn(HostName) -> Fut,
    Fut: Future<Output = T>,
{
    stream::iter(hosts)
        .map(|host| {
            let future = work(host.clone());
            async move { (host, future.await) }
        })
        .buffer_unordered(limit.max(1))
        .collect()
        .await
}
