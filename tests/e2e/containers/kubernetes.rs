//! What Kubernetes would make of manifests, as far as ours go: pods with their volumes, users, names and probes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::engine::{Container, Mount};

pub const NAMESPACE: &str = "test";

/// Every manifest of a directory.
pub struct Manifests {
    all: Vec<Value>,
    dockerfile: String,
    /// Where volumes are.
    volumes: PathBuf,
}

/// A pod, and what it is labelled with from the beginning.
pub struct Pod {
    pub container: Container,
    pub labels: Value,
}

impl Manifests {
    pub fn read(directory: &Path, volumes: PathBuf) -> Self {
        let list = fs::read_to_string(directory.join("kustomization.yaml")).expect("rendered");
        let list: Value = serde_saphyr::from_str(&list).expect("YAML");
        let files = list["resources"].as_array().expect("a list").iter().map(|name| name.as_str().expect("a name"));
        let text = |name: &str| fs::read_to_string(directory.join(name)).expect("rendered");
        let all = files.flat_map(|name| serde_saphyr::from_multiple::<Value>(&text(name)).expect("YAML")).collect();
        let dockerfile = fs::read_to_string(directory.join("image/Dockerfile")).expect("rendered");
        Self { all, dockerfile, volumes }
    }

    fn of(&self, kind: &str, name: &Value) -> &Value {
        let is_it = |one: &&Value| one["kind"] == kind && one["metadata"]["name"] == *name;
        self.all.iter().find(is_it).unwrap_or_else(|| panic!("there is no {kind} {name}"))
    }

    /// The pods of all sets, and one of each Deployment's.
    pub fn pods(&self, variables: &BTreeMap<String, String>, account: &Path) -> Vec<Pod> {
        let mut pods = Vec::new();
        for set in &self.all {
            let name = set["metadata"]["name"].as_str().unwrap_or_default();
            let (count, service) = match set["kind"].as_str() {
                Some("StatefulSet") => {
                    (set["spec"]["replicas"].as_u64().expect("a number"), &set["spec"]["serviceName"])
                }
                Some("Deployment") => (1, &Value::Null),
                _ => continue,
            };
            for number in 0..count {
                let pod = format!("{name}-{number}");
                let within = match service.as_str() {
                    Some(service) => format!("{pod}.{service}"),
                    // a Service of the same name leads to it
                    None => name.to_owned(),
                };
                pods.push(self.pod(&pod, &within, &set["spec"], (variables, account)));
            }
        }
        pods
    }

    fn pod(&self, name: &str, within: &str, set: &Value, around: (&BTreeMap<String, String>, &Path)) -> Pod {
        let (template, (variables, account)) = (&set["template"], around);
        let spec = &template["spec"];
        let container = &spec["containers"][0];
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{name}");
        assert_eq!(container["securityContext"]["capabilities"]["drop"][0], "ALL", "{name}");
        let mut environment = variables.clone();
        environment.extend(super::compose::variables(&self.dockerfile, container["name"].as_str().expect("a name")));
        environment.extend(self::environment(container, name));
        let mut mounts = self.mounts(name, set);
        if spec["automountServiceAccountToken"] == true {
            let target = "/var/run/secrets/kubernetes.io/serviceaccount".to_owned();
            mounts.push(Mount::Bind { source: account.to_owned(), target: target.replace("/var/run", "/run") });
        }
        let zone = format!("{NAMESPACE}.svc.cluster.local");
        Pod {
            labels: template["metadata"]["labels"].clone(),
            container: Container {
                name: name.to_owned(),
                names: vec![format!("{within}.{zone}")],
                search: format!("search {zone} svc.cluster.local cluster.local\noptions ndots:5\n"),
                command: texts(&container["args"]),
                environment,
                user: number(&spec["securityContext"]["runAsUser"]),
                capabilities: "-all".to_owned(),
                mounts,
                check: check(container),
            },
        }
    }

    fn mounts(&self, pod: &str, set: &Value) -> Vec<Mount> {
        let spec = &set["template"]["spec"];
        let group = number(&spec["securityContext"]["fsGroup"]);
        let mounts = spec["containers"][0]["volumeMounts"].as_array().expect("a list");
        let mount = |mount: &Value| {
            let target = mount["mountPath"].as_str().expect("a path").to_owned();
            let volumes = spec["volumes"].as_array().expect("a list");
            let Some(volume) = volumes.iter().find(|volume| volume["name"] == mount["name"]) else {
                return Mount::Bind { source: self.claim(pod, set, group), target };
            };
            if volume["emptyDir"].is_object() {
                let options = format!("mode=2777,gid={group}");
                return Mount::Tmpfs { options, target };
            }
            let below = mount["subPath"].as_str().or(mount["subPathExpr"].as_str()).expect("a directory of its own");
            let source = self.projected(pod, &volume["projected"], group).join(below.replace("$(POD_NAME)", pod));
            Mount::Bind { source, target }
        };
        // what is below another comes after it
        let mut all: Vec<Mount> = mounts.iter().map(mount).collect();
        all.sort_by_key(|mount| match mount {
            Mount::Bind { target, .. } | Mount::Tmpfs { target, .. } => target.len(),
        });
        all
    }

    /// A disk of its own, which is there still when the pod is made anew.
    fn claim(&self, pod: &str, set: &Value, group: u32) -> PathBuf {
        assert_eq!(set["volumeClaimTemplates"][0]["spec"]["accessModes"][0], "ReadWriteOnce");
        let path = self.volumes.join(pod);
        fs::create_dir_all(&path).expect("made");
        give(&path, group, 0o2775);
        path
    }

    fn projected(&self, pod: &str, volume: &Value, group: u32) -> PathBuf {
        let directory = self.volumes.join(format!("{pod}.configuration"));
        let mode = number(&volume["defaultMode"]);
        for source in volume["sources"].as_array().expect("a list") {
            let (kind, data, source) = match &source["configMap"] {
                Value::Null => ("Secret", "stringData", &source["secret"]),
                map => ("ConfigMap", "data", map),
            };
            let data = &self.of(kind, &source["name"])[data];
            for item in source["items"].as_array().expect("a list") {
                let key = item["key"].as_str().expect("a key");
                let path = directory.join(item["path"].as_str().expect("a path"));
                fs::create_dir_all(path.parent().expect("a directory")).expect("made");
                fs::write(&path, data[key].as_str().unwrap_or_else(|| panic!("no {key}"))).expect("written");
                give(&path, group, mode);
            }
        }
        directory
    }
}

/// As kubelet does with `fsGroup`.
fn give(path: &Path, group: u32, mode: u32) {
    chown(path, None, Some(group)).expect("root may");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("root may");
}

fn environment(container: &Value, pod: &str) -> BTreeMap<String, String> {
    let variable = |one: &Value| {
        let value = match one["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
            Some("metadata.name") => pod,
            Some("metadata.namespace") => NAMESPACE,
            _ => one["value"].as_str().expect("a value"),
        };
        (one["name"].as_str().expect("a name").to_owned(), value.to_owned())
    };
    container["env"].as_array().into_iter().flatten().map(variable).collect()
}

/// The readiness probe, asked from within.
fn check(container: &Value) -> Vec<String> {
    let probe = &container["readinessProbe"];
    let port = |name: &Value| {
        let ports = container["ports"].as_array().expect("a list");
        number(&ports.iter().find(|port| port["name"] == *name).expect("a port of it")["containerPort"])
    };
    let http = &probe["httpGet"];
    if http.is_object() {
        let scheme = http["scheme"].as_str().unwrap_or("HTTP").to_lowercase();
        let url = format!("{scheme}://127.0.0.1:{}{}", port(&http["port"]), http["path"].as_str().expect("a path"));
        ["curl", "--fail", "--silent", "--insecure", "--max-time", "3", &url].map(str::to_owned).to_vec()
    } else {
        let tcp = format!(": >/dev/tcp/127.0.0.1/{}", port(&probe["tcpSocket"]["port"]));
        ["bash", "-c", &tcp].map(str::to_owned).to_vec()
    }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|word| word.as_str().expect("a word").to_owned()).collect()
}

fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|number| number.try_into().ok()).unwrap_or_else(|| panic!("{value} is no number"))
}
