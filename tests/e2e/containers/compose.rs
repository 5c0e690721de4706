//! What docker compose would make of a file, as far as ours goes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::engine::{Container, Mount};

/// Every service of the rendered file.
pub fn containers(directory: &Path, volumes: &Path) -> Vec<Container> {
    let file = directory.join("docker-compose.override.yml");
    let text = fs::read_to_string(&file).expect("it was rendered");
    let compose: Value = serde_saphyr::from_str(&text).expect("YAML");
    let services = compose["services"].as_object().expect("services");
    services.iter().map(|(name, service)| container(name, service, directory, volumes)).collect()
}

fn container(name: &str, service: &Value, directory: &Path, volumes: &Path) -> Container {
    assert_eq!(service["read_only"], true, "{name}: nothing is written to the image");
    assert_eq!(service["cap_drop"][0], "ALL", "{name}");
    let target = text(&service["build"]["target"]);
    let build = directory.join(text(&service["build"]["context"]));
    let dockerfile = fs::read_to_string(build.join("Dockerfile")).expect("rendered");
    let mut environment = variables(&dockerfile, target);
    environment.extend(self::environment(service, directory));
    Container {
        name: name.to_owned(),
        names: vec![name.to_owned()],
        command: command(&dockerfile, target),
        environment,
        capabilities: capabilities(service),
        mounts: mounts(service, directory, volumes),
        check: list(&service["healthcheck"]["test"])[1..].iter().map(|word| (*word).to_owned()).collect(),
        ..Container::default()
    }
}

fn stage<'a>(dockerfile: &'a str, target: &str) -> &'a str {
    let rest = dockerfile.split(&format!("AS {target}\n")).nth(1).expect("the stage is there");
    rest.split("\nFROM ").next().unwrap_or(rest)
}

/// The CMD of a stage.
pub fn command(dockerfile: &str, target: &str) -> Vec<String> {
    let line = stage(dockerfile, target).lines().find_map(|line| line.strip_prefix("CMD "));
    serde_json::from_str(line.expect("the stage has a command")).expect("a list of words")
}

/// The ENV of a stage.
pub fn variables(dockerfile: &str, target: &str) -> BTreeMap<String, String> {
    let lines = stage(dockerfile, target).lines().filter_map(|line| line.strip_prefix("ENV "));
    lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn environment(service: &Value, directory: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for file in list(&service["env_file"]) {
        let content = fs::read_to_string(directory.join(file)).expect("rendered");
        let lines = content.lines().filter(|line| !line.starts_with('#'));
        all.extend(
            lines
                .map(|line| line.split_once('=').expect("NAME=VALUE"))
                .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned())),
        );
    }
    for (name, value) in service["environment"].as_object().into_iter().flatten() {
        all.insert(name.clone(), text(value).to_owned());
    }
    all
}

/// As setpriv has them.
fn capabilities(service: &Value) -> String {
    let added = list(&service["cap_add"]).into_iter().map(|name| format!(",+{}", name.to_lowercase()));
    std::iter::once("-all".to_owned()).chain(added).collect()
}

fn mounts(service: &Value, directory: &Path, volumes: &Path) -> Vec<Mount> {
    let tmpfs = list(&service["tmpfs"]).into_iter().map(|one| {
        let (target, options) = one.split_once(':').unwrap_or((one, "mode=1777"));
        Mount::Tmpfs { options: options.to_owned(), target: target.to_owned() }
    });
    let volumes = list(&service["volumes"]).into_iter().map(|one| {
        let mut parts = one.split(':');
        let (source, target) = (parts.next().expect("a source"), parts.next().expect("a target"));
        let source = match source.strip_prefix("./") {
            Some(below) => directory.join(below),
            None => volumes.join(source),
        };
        fs::create_dir_all(&source).expect("made");
        Mount::Bind { source, target: target.to_owned() }
    });
    tmpfs.chain(volumes).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn list(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(text).collect()
}
