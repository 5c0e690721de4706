//! XNAT itself: stopped before its database moves, pointed at the cluster, started again, and waited for. What its
//! settings were is kept beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::MigrateError;
use crate::approval::Approved;
use crate::engine::wait::Wait;
use crate::engine::{Cancel, HostError};
use crate::error::one_line;
use crate::inventory::Xnat;
use crate::migrate::properties;
use crate::names::HostName;
use crate::quote::{heredoc_base64, sh};
use crate::report::{Kind, Reporter};
use crate::transport::{Output, Script, Transport};

/// Tomcat takes its time to stop, and XNAT minutes to start.
const STOPPING: Duration = Duration::from_secs(180);
const STARTING: Duration = Duration::from_secs(600);
/// `replace LIKE FILE` writes a whole new file, with owner and mode of another. The directory may be XNAT's own, so the name
/// it has meanwhile is one that nobody can have laid there before.
const REPLACE: &str = "replace() {
  new=$(mktemp -- \"$2.XXXXXX\")
  cat >\"$new\"
  chown --reference=\"$1\" -- \"$new\"
  chmod --reference=\"$1\" -- \"$new\"
  sync \"$new\"
  mv -T -- \"$new\" \"$2\"
}
";

/// By which one can tell where it leads.
const URL: &str = "datasource.url";
/// What comes after may have a password in it.
fn beginning(url: &str) -> &str {
    url.split('?').next().unwrap_or_default()
}

/// A status line and some of what follows.
const ANSWER: usize = 4096;

/// Its machines, as far as there are any.
pub struct Application<'a> {
    pub xnat: &'a Xnat,
    pub machines: &'a BTreeMap<HostName, Arc<dyn Transport>>,
}

/// What XNAT is told of its database.
pub struct Address<'a> {
    pub settings: &'a [(&'a str, String)],
    /// Whose certificates to believe, and where that is to lie; none without TLS.
    pub authorities: Option<(&'a str, &'a str)>,
    /// What the former settings are called: a suffix.
    pub kept_as: &'a str,
}

/// How XNAT goes back to where it was.
pub struct Back<'a> {
    /// What the former settings are called: a suffix.
    pub kept_as: &'a str,
    /// It must not be started with settings that begin so, which are the cluster's.
    pub cluster: Option<&'a str>,
    /// Where it is at work it could only read, or with other settings.
    pub anew: bool,
}

impl Application<'_> {
    pub fn is_there(&self) -> bool {
        !self.machines.is_empty()
    }

    /// That it can be done at all; where each reaches its database now.
    pub async fn look(&self) -> Result<Vec<(HostName, String)>, MigrateError> {
        let unit = sh(&self.xnat.unit);
        let known =
            format!("systemctl cat {unit} >/dev/null 2>&1 || {{ echo 'there is no unit of this name' >&2; exit 1; }}");
        let mut found = Vec::new();
        for (host, machine) in self.machines {
            let what = format!("look for {} on {host}", self.xnat.unit);
            run(machine.as_ref(), (what, known.clone()), Duration::from_secs(30)).await?;
            let text = self.read(host, machine.as_ref(), "").await?.unwrap_or_default();
            let url = properties::value(&text, URL).unwrap_or("nowhere, as it seems");
            found.push((host.clone(), beginning(url).to_owned()));
        }
        Ok(found)
    }

    /// Its settings, or those of the file that is called so besides, if there is one.
    async fn read(
        &self,
        host: &HostName,
        machine: &dyn Transport,
        suffix: &str,
    ) -> Result<Option<String>, MigrateError> {
        let what = format!("read {}{suffix} on {host}", self.xnat.properties);
        let script = match suffix {
            "" => format!("base64 -w0 -- {}", sh(&self.xnat.properties)),
            suffix => format!(
                "file=$(readlink -f -- {}){}\n! [ -e \"$file\" ] || {{ echo there; base64 -w0 -- \"$file\"; }}",
                sh(&self.xnat.properties),
                sh(suffix)
            ),
        };
        let output = run(machine, (what.clone(), script), Duration::from_secs(30)).await?;
        let said = match suffix {
            "" => Some(output.stdout.as_str()),
            _ => output.stdout.strip_prefix("there\n"),
        };
        let bytes = said.map(|said| STANDARD.decode(said.trim())).transpose();
        let bytes = bytes.map_err(|error| MigrateError::failed(&what, error.to_string()))?;
        // Java reads it as Latin-1, in which every byte is a character; so it comes back as it was
        Ok(bytes.map(|bytes| bytes.iter().map(|byte| char::from(*byte)).collect()))
    }

    /// None of them is at work any more.
    pub async fn stop(&self, (approved, reporter): (&Approved, &Reporter)) -> Result<(), MigrateError> {
        let unit = sh(&self.xnat.unit);
        let script = format!(
            "systemctl stop {unit} && ! systemctl is-active --quiet {unit} || {{ systemctl status --no-pager {unit} >&2; exit 1; }}"
        );
        self.on_each("stop", |_| script.clone(), (approved, reporter)).await
    }

    /// Anew where its settings have just become others.
    pub async fn start(
        &self,
        anew: &BTreeSet<HostName>,
        (approved, reporter): (&Approved, &Reporter),
    ) -> Result<(), MigrateError> {
        let unit = sh(&self.xnat.unit);
        let script = |host: &HostName| match anew.contains(host) {
            true => format!("systemctl restart {unit}"),
            false => format!("systemctl start {unit}"),
        };
        self.on_each("start", script, (approved, reporter)).await
    }

    /// All of them, also when one fails: it must not keep the others from starting.
    async fn on_each(
        &self,
        verb: &str,
        script: impl Fn(&HostName) -> String,
        (approved, reporter): (&Approved, &Reporter),
    ) -> Result<(), MigrateError> {
        // the locks are the cluster's; whoever comes to nothing has to be able to start XNAT all the same
        if verb == "stop" && self.is_there() {
            approved.still_holds().map_err(HostError::from)?;
        }
        let mut failed = Ok(());
        for (host, machine) in self.machines {
            let what = format!("{verb} {} on {host}", self.xnat.unit);
            match run(machine.as_ref(), (what, script(host)), STOPPING).await {
                Ok(_) => {
                    let (resource, summary) = (format!("unit {}", self.xnat.unit), verb.to_owned());
                    reporter.for_host(host).emit(Kind::ChangeApplied { resource, summary, millis: 0 }).await;
                }
                Err(error) => failed = Err(error),
            }
        }
        failed
    }

    /// Its settings lead to the cluster; the file is whole at every moment, and keeps owner and mode. Where they did not before.
    pub async fn point(
        &self,
        address: &Address<'_>,
        (approved, reporter): (&Approved, &Reporter),
    ) -> Result<BTreeSet<HostName>, MigrateError> {
        let mut changed = BTreeSet::new();
        let suffix = sh(address.kept_as);
        for (host, machine) in self.machines {
            approved.still_holds().map_err(HostError::from)?;
            let former = self.read(host, machine.as_ref(), "").await?.unwrap_or_default();
            let text = properties::rewrite(&former, address.settings);
            if text != former {
                changed.insert(host.clone());
            }
            // what is added is ASCII, the rest is as it was read
            let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect();
            let authorities = address.authorities.map_or_else(String::new, |(text, path)| {
                let path = sh(path);
                let body = heredoc_base64(text.as_bytes());
                format!("umask 022\nbase64 -d >{path}.new {body}mv -- {path}.new {path}\n")
            });
            let script = format!(
                "set -e\n{authorities}{REPLACE}file=$(readlink -f -- {file})\n[ -e \"$file\"{suffix} ] || replace \"$file\" \"$file\"{suffix} <\"$file\"\n\
                 base64 -d {body}",
                file = sh(&self.xnat.properties),
                body = heredoc_base64(&bytes).replacen("\n", " | replace \"$file\" \"$file\"\n", 1)
            );
            let what = format!("write {} on {host}", self.xnat.properties);
            run(machine.as_ref(), (what, script), Duration::from_secs(60)).await?;
            let summary = format!("leads to the cluster; what it was is {}{}", self.xnat.properties, address.kept_as);
            let resource = format!("file {}", self.xnat.properties);
            reporter.for_host(host).emit(Kind::ChangeApplied { resource, summary, millis: 0 }).await;
        }
        Ok(changed)
    }

    /// Its settings are what they were, where they lead elsewhere now, and it is at work. One that fails does not keep the others
    /// from it; and neither do locks, which are the cluster's.
    pub async fn as_before(
        &self,
        back: &Back<'_>,
        (approved, reporter): (&Approved, &Reporter),
    ) -> Result<(), MigrateError> {
        let (mut failed, mut right, mut anew) = (Ok(()), BTreeMap::new(), BTreeSet::new());
        for (host, machine) in self.machines {
            match self.settings_back(host, machine.as_ref(), back).await {
                Ok(changed) => {
                    right.insert(host.clone(), machine.clone());
                    if changed {
                        let resource = format!("file {}", self.xnat.properties);
                        let summary = "as it was before the move".to_owned();
                        reporter.for_host(host).emit(Kind::ChangeApplied { resource, summary, millis: 0 }).await;
                    }
                    if changed || back.anew {
                        anew.insert(host.clone());
                    }
                }
                Err(error) => failed = Err(error),
            }
        }
        let started = Application { xnat: self.xnat, machines: &right }.start(&anew, (approved, reporter)).await;
        failed.and(started)
    }

    async fn settings_back(
        &self,
        host: &HostName,
        machine: &dyn Transport,
        back: &Back<'_>,
    ) -> Result<bool, MigrateError> {
        let what = format!("put back {} on {host}", self.xnat.properties);
        let (now, kept) = self.now_and_kept(host, machine, back.kept_as).await?;
        if kept.is_none() && back.cluster.is_some_and(|cluster| beginning(&now) == cluster) {
            let reason = "it leads to the cluster, and what it was before is not kept: change it by hand";
            return Err(MigrateError::failed(what, reason));
        }
        if kept.is_none_or(|kept| kept == now) {
            return Ok(false);
        }
        let script = format!(
            "set -e\n{REPLACE}file=$(readlink -f -- {file})\nreplace \"$file\"{suffix} \"$file\" <\"$file\"{suffix}\n",
            file = sh(&self.xnat.properties),
            suffix = sh(back.kept_as)
        );
        run(machine, (what, script), Duration::from_secs(60)).await?;
        Ok(true)
    }

    /// Where its settings lead, and where those that were kept did.
    async fn now_and_kept(
        &self,
        host: &HostName,
        machine: &dyn Transport,
        kept_as: &str,
    ) -> Result<(String, Option<String>), MigrateError> {
        let url = |text: String| properties::value(&text, URL).unwrap_or_default().to_owned();
        let now = self.read(host, machine, "").await?.map(url).unwrap_or_default();
        let kept = match kept_as {
            "" => None,
            kept_as => self.read(host, machine, kept_as).await?.map(url),
        };
        Ok((now, kept))
    }

    /// Those that do not use the cluster, however somebody may have written its address.
    pub async fn elsewhere(&self, kept_as: &str, cluster: &str) -> Result<Vec<HostName>, MigrateError> {
        let mut found = Vec::new();
        for (host, machine) in self.machines {
            let (now, kept) = self.now_and_kept(host, machine.as_ref(), kept_as).await?;
            if beginning(&now) != cluster && kept.is_none_or(|kept| kept == now) {
                found.push(host.clone());
            }
        }
        Ok(found)
    }

    /// Until each shows its page.
    pub async fn answers(&self, (reporter, cancel): (&Reporter, &Cancel)) -> Result<(), MigrateError> {
        let wait = Wait {
            what: "XNAT to show its page".to_owned(),
            deadline: STARTING,
            interval: Duration::from_secs(2),
            help: format!("see its log there: `journalctl -u {} -n 50`", self.xnat.unit),
        };
        let all = || async {
            for (host, machine) in self.machines {
                let line = self.page(machine.as_ref()).await.map_err(|reason| format!("{host}: {reason}"))?;
                let status = line.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
                if status.is_none_or(|status| status >= 400) {
                    return Err(format!("{host} says {line:?}"));
                }
            }
            Ok(())
        };
        Ok(wait.until(reporter, cancel, all).await?)
    }

    /// The status line.
    async fn page(&self, machine: &dyn Transport) -> Result<String, String> {
        let asked = async {
            let mut stream = machine.open("127.0.0.1", self.xnat.port).await.map_err(|error| one_line(&error))?;
            let question = format!("GET {} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n", self.xnat.page);
            let io = |error: std::io::Error| error.to_string();
            stream.write_all(question.as_bytes()).await.map_err(io)?;
            let mut answer = vec![0; ANSWER];
            let length = stream.read(&mut answer).await.map_err(io)?;
            Ok(String::from_utf8_lossy(&answer[..length]).lines().next().unwrap_or_default().to_owned())
        };
        match tokio::time::timeout(Duration::from_secs(30), asked).await {
            Ok(answer) => answer,
            Err(_) => Err("no answer within 30 s".to_owned()),
        }
    }
}

async fn run(
    machine: &dyn Transport,
    (what, text): (String, String),
    deadline: Duration,
) -> Result<Output, MigrateError> {
    let output = machine.run(Script::as_root(what.clone(), text).timeout(deadline)).await?;
    if output.ok() { Ok(output) } else { Err(MigrateError::failed(what, output.stderr.trim())) }
}
