//! Why a cluster is in maintenance mode, or one member is in maintenance. Patroni itself only knows that it is; the note lies
//! beside that, in the configuration all members share or in the member's tags, where every other controller finds it.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::view::{ClusterView, Member};

/// Patroni keeps keys it does not know.
const KEY: &str = "xnat_provision_pause";

/// Who began it, when and why. Comes back from the cluster, hence from others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub reason: String,
    pub who: String,
    pub since: Timestamp,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, who, since } = self;
        write!(f, "since {} by {who}: {reason}", since.strftime("%Y-%m-%d %H:%MZ"))
    }
}

impl Note {
    /// The one of the pause that is on now. Whoever ends it with Patroni's own command leaves the note there.
    pub fn of(view: &ClusterView) -> Option<Self> {
        let config = view.config.known().filter(|_| view.paused.known() == Some(&true))?;
        serde_json::from_value(config.get(KEY)?.clone()).ok()
    }

    /// What has the shared configuration say so.
    pub fn begun(&self) -> Value {
        json!({ "pause": true, KEY: self })
    }
}

/// What takes it out again.
pub fn ended() -> Value {
    json!({ "pause": null, KEY: null })
}

/// The tag of a member that says why the others are there.
const TAG: &str = "maintenance";

/// Settings of a member in maintenance, as a file of Patroni's. JSON is YAML.
pub fn member_file(note: &Note) -> String {
    let tags = json!({ "nofailover": true, "noloadbalance": true, "nosync": true, TAG: note.to_string() });
    format!("# Written by `xnat-provision maintenance`, which takes it away again.\n{}\n", json!({ "tags": tags }))
}

/// Since when a member is in maintenance, by whom and why.
pub fn of_member(member: &Member) -> Option<&str> {
    member.listed.as_ref()?.tags.get(TAG)?.as_str()
}
