//! How a PostgreSQL that does not run has ended, by its control file: whether it led, and whether it was shut down. Asked
//! only: nothing is changed.

use std::time::Duration;

use super::fleet::Fleet;
use super::host::HostError;
use super::shell;
use crate::facts::Control;
use crate::names::HostName;
use crate::transport::Script;

/// What the control file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// PostgreSQL's own words: `shut down`, `shut down in recovery`, `in production`, …
    pub state: String,
    pub timeline: u32,
}

impl Ended {
    /// It took writes until it ended, in whatever way.
    pub fn led(&self) -> bool {
        !self.state.contains("recovery")
    }

    pub fn cleanly(&self) -> bool {
        self.state.starts_with("shut down")
    }
}

impl Fleet {
    /// None where there is no data, or no connection.
    pub async fn ended(&self, name: &HostName, cluster: &str) -> Result<Option<Ended>, HostError> {
        let Some(transport) = self.connections.get(name) else { return Ok(None) };
        let script = Script::as_root("read PostgreSQL's control file", shell::ended(cluster));
        let (what, host) = (script.title.clone(), name.clone());
        let output = transport.run(script.timeout(Duration::from_secs(60))).await;
        let output = output.map_err(|source| HostError::Transport { host, what, source })?;
        if output.status != 0 {
            let stderr = output.stderr.trim().to_owned();
            return Err(HostError::Observe { host: name.clone(), status: output.status, stderr });
        }
        if output.stdout.trim().is_empty() {
            return Ok(None);
        }
        let unread = || HostError::Answer { host: name.clone(), line: output.stdout.chars().take(200).collect() };
        read(&output.stdout).ok_or_else(unread).map(Some)
    }
}

fn read(said: &str) -> Option<Ended> {
    let Control { state, timeline, .. } = Control::read(said.lines())?;
    let timeline = timeline.parse().ok()?;
    (!state.is_empty()).then_some(Ended { state, timeline })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_led_and_who_was_shut_down() {
        let said = |state| {
            format!(
                "pg_control version number:            1700\nDatabase cluster state:               {state}\nLatest checkpoint's TimeLineID:       3\n"
            )
        };
        let of = |state| read(&said(state)).map(|it| (it.led(), it.cleanly(), it.timeline));
        assert_eq!(of("shut down"), Some((true, true, 3)));
        assert_eq!(of("in production"), Some((true, false, 3)));
        assert_eq!(of("shut down in recovery"), Some((false, true, 3)));
        assert_eq!(of("in archive recovery"), Some((false, false, 3)));
        assert_eq!(read("pg_controldata: error\n"), None);
    }
}
