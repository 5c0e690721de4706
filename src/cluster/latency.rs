//! How long etcd takes to agree. Reads only.

use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::json;

use super::http::{CallError, Http};
use super::keys::key;

/// So often both reads are timed; what lies in the middle counts, since one of them may have met something else.
const TRIES: usize = 3;

/// What a read that a majority has to agree on (as every one of Patroni's) takes longer than one from this member's own
/// memory. The way to the member is the same for both, so it does not count.
pub async fn agreement(http: &Http<'_>, cluster: &str) -> Result<Duration, CallError> {
    let (mut own, mut agreed) = ([Duration::ZERO; TRIES], [Duration::ZERO; TRIES]);
    for index in 0..TRIES {
        own[index] = read(http, cluster, true).await?;
        agreed[index] = read(http, cluster, false).await?;
    }
    Ok(middle(agreed).saturating_sub(middle(own)))
}

fn middle(mut times: [Duration; TRIES]) -> Duration {
    times.sort_unstable();
    times[TRIES / 2]
}

async fn read(http: &Http<'_>, cluster: &str, serializable: bool) -> Result<Duration, CallError> {
    let request = json!({ "key": key(cluster, "leader"), "serializable": serializable });
    let start = Instant::now();
    http.accepted(&http.call(Method::POST, "/v3/kv/range", Some(&request)).await?)?;
    Ok(start.elapsed())
}
