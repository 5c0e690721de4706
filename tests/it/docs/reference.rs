//! The chapters that the program writes itself: every command, every key of the inventory.

use std::fmt::Write as _;

use clap::CommandFactory as _;
use serde_json::Value;
use xnat_provision::cli::Cli;
use xnat_provision::inventory;

use super::must_say;

#[test]
fn the_reference_is_what_the_program_says() {
    must_say("docs/commands.md", &[("commands", commands())]);
    must_say("docs/inventory.md", &[("inventory", keys())]);
}

/// What `--help` prints of the program itself and of every command that does something, after a list of them.
fn commands() -> String {
    let mut command = Cli::command();
    command.build();
    let mut all = vec![(vec![command.get_name().to_owned()], command.clone())];
    collect(&command, &all[0].0.clone(), &mut all);
    let mut text = String::from("\n| Command | What it does |\n|---|---|\n");
    for (words, command) in &all {
        let (name, about) = (words.join(" "), command.get_about().map(ToString::to_string).unwrap_or_default());
        let _ = writeln!(text, "| [`{name}`](#{}) | {} |", name.replace(' ', "-"), about.replace('|', "\\|"));
    }
    text.push('\n');
    for (words, _) in all {
        let asked = words.iter().map(String::as_str).chain(["--help"]);
        let help = Cli::command().term_width(100).try_get_matches_from(asked).expect_err("help is no command");
        let lines: Vec<String> = help.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
        let _ = writeln!(text, "## `{}`\n\n```text\n{}\n```\n", words.join(" "), lines.join("\n").trim_end());
    }
    text
}

/// Commands that do something, as they are typed: those without commands of their own, and those that have both.
fn collect(command: &clap::Command, before: &[String], all: &mut Vec<(Vec<String>, clap::Command)>) {
    for sub in command.get_subcommands() {
        let words = [before, &[sub.get_name().to_owned()]].concat();
        if !sub.has_subcommands() || sub.is_args_conflicts_with_subcommands_set() {
            all.push((words.clone(), sub.clone()));
        }
        collect(sub, &words, all);
    }
}

/// A table of keys for each table of the inventory, from its schema.
fn keys() -> String {
    let mut text = String::from("\n");
    table_of(("At the top of the file", ""), &inventory::schema(), &mut text);
    text
}

fn table_of((title, path): (&str, &str), schema: &Value, text: &mut String) {
    let properties = schema["properties"].as_object().expect("a table has keys");
    let is_table = |property: &Value| !fields_of(property).is_null();
    let required = |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
    let rows: Vec<String> = (properties.iter().filter(|(_, property)| !is_table(property)))
        .map(|(name, property)| row(name, property, required(name)))
        .collect();
    let about = schema["description"].as_str().unwrap_or_default();
    let _ = writeln!(text, "## {title}\n\n{about}\n");
    if !rows.is_empty() {
        let _ = writeln!(text, "| Key | Kind | Default | Meaning |\n|---|---|---|---|\n{}\n", rows.join("\n"));
    }
    for (name, property) in properties.iter().filter(|(_, property)| is_table(property)) {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let title = if property["items"].is_object() { format!("`[[{path}]]`") } else { format!("`[{path}]`") };
        table_of((&title, &path), fields_of(property), text);
    }
}

fn row(name: &str, property: &Value, required: bool) -> String {
    let default = if required { "required".to_owned() } else { default_of(property) };
    let meaning = property["description"].as_str().unwrap_or_default();
    let meaning = meaning.replace('\n', " ").replace('|', "\\|").replace('<', "\\<");
    format!("| `{name}` | {} | {default} | {meaning} |", kind_of(property))
}

/// The table a key holds, or the one its list is made of.
fn fields_of(property: &Value) -> &Value {
    [property, &property["items"]].into_iter().find(|one| one["properties"].is_object()).unwrap_or(&Value::Null)
}

/// What may be written there.
fn kind_of(property: &Value) -> String {
    let choices = ["enum", "const"].iter().filter_map(|key| property.get(key)).flat_map(|value| match value {
        Value::Array(all) => all.clone(),
        one => vec![one.clone()],
    });
    let choices: Vec<String> = choices.map(|value| format!("`{value}`")).collect();
    let of = |key: &str| {
        property[key]
            .as_array()
            .map(|all| all.iter().filter(|one| one["type"] != "null").map(kind_of).collect::<Vec<_>>())
    };
    match (of("anyOf").or_else(|| of("oneOf")), &property["type"]) {
        _ if !choices.is_empty() => choices.join(", "),
        (Some(kinds), _) => kinds.join(", or "),
        (None, Value::Array(names)) => {
            let one = |name| kind_of(&serde_json::json!({ "type": name, "items": property["items"] }));
            names.iter().map(one).collect::<Vec<_>>().join(", or ")
        }
        (None, Value::String(name)) => match name.as_str() {
            "string" => "text".to_owned(),
            "integer" => "number".to_owned(),
            "boolean" => "true or false".to_owned(),
            "array" => format!("list of {}s", kind_of(&property["items"])),
            "object" => "table".to_owned(),
            other => panic!("no word for {other}: {property}"),
        },
        _ => panic!("no word for {property}"),
    }
}

fn default_of(property: &Value) -> String {
    match &property["default"] {
        Value::Null => String::new(),
        Value::Array(all) if all.is_empty() => String::new(),
        Value::Object(all) if all.is_empty() => String::new(),
        value => format!("`{value}`"),
    }
}
