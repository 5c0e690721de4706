//! Holds a document against the schema and finds *every* unknown key, wrong type, missing key and value out of range,
//! where serde would stop at the first. What is wrong is taken out of the document, so that the rest can still be
//! read and checked. Knows nothing of what the values mean.

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::document::{Places, child};
use super::problem::Problem;
use super::suggest;
use super::values::{Period, Size};

type Object = Map<String, Value>;

/// Check a document and prune it.
pub(super) fn check(document: &mut DeTable<'_>, schema: &Value, places: &mut Places) -> Vec<Problem> {
    let mut walk = Walk { root: schema, places, problems: Vec::new() };
    if let Value::Object(schema) = schema {
        walk.table(document, schema, "");
    }
    walk.problems
}

struct Walk<'a> {
    root: &'a Value,
    places: &'a mut Places,
    problems: Vec<Problem>,
}

impl Walk<'_> {
    fn table(&mut self, table: &mut DeTable<'_>, schema: &Object, path: &str) {
        self.missing(table, schema, path);
        let known = schema.get("properties").and_then(Value::as_object);
        for (key, mut value) in std::mem::take(table) {
            let path = child(path, key.get_ref());
            let known_here = known.and_then(|known| known.get(key.get_ref().as_ref()));
            let wanted = known_here.or_else(|| schema.get("additionalProperties").filter(|any| any.is_object()));
            let kept = match wanted.and_then(Value::as_object) {
                Some(wanted) => self.value(&mut value, wanted, &path),
                None => {
                    self.unknown(key.get_ref(), known, &path);
                    false
                }
            };
            if kept {
                table.insert(key, value);
            } else {
                self.places.pruned.insert(path);
            }
        }
    }

    /// Whether the value may stay.
    fn value(&mut self, value: &mut Spanned<DeValue<'_>>, schema: &Object, path: &str) -> bool {
        let types = types(schema);
        if !types.is_empty() && !types.iter().any(|wanted| is(value.get_ref(), wanted)) {
            self.wrong_type(value.get_ref(), &types, schema, path);
            return false;
        }
        match value.get_mut() {
            DeValue::Table(table) => {
                self.table(table, schema, path);
                true
            }
            DeValue::Array(array) => {
                let Some(items) = schema.get("items").and_then(Value::as_object) else { return true };
                let mut all_good = true;
                for (index, item) in array.iter_mut().enumerate() {
                    all_good &= self.value(item, items, &format!("{path}[{index}]"));
                }
                all_good
            }
            scalar => self.scalar(scalar, schema, path),
        }
    }

    fn scalar(&mut self, value: &DeValue<'_>, schema: &Object, path: &str) -> bool {
        let before = self.problems.len();
        match value {
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => self.range(number, schema, path),
                Err(_) => {
                    self.tell("range", format!("{} is a number too large", shown(path)), path, schema, String::new())
                }
            },
            DeValue::String(text) => {
                self.choice(text, schema, path);
                self.format(text, schema, path);
            }
            _ => {}
        }
        self.problems.len() == before
    }

    fn range(&mut self, number: i64, schema: &Object, path: &str) {
        let bound = |name| schema.get(name).and_then(Value::as_i64);
        let (minimum, maximum) = (bound("minimum"), bound("maximum"));
        let message = match (minimum, maximum) {
            (Some(least), _) if number < least => format!("{} is {number}, and must be at least {least}", shown(path)),
            (_, Some(most)) if number > most => format!("{} is {number}, and must be at most {most}", shown(path)),
            _ => return,
        };
        self.tell("range", message, path, schema, String::new());
    }

    fn choice(&mut self, text: &str, schema: &Object, path: &str) {
        let choices = choices(schema);
        if choices.is_empty() || choices.contains(&text) {
            return;
        }
        let message = format!("{} cannot be \"{text}\"", shown(path));
        let nearest = suggest::nearest(text, choices.iter().copied());
        let help = match nearest {
            Some(nearest) => format!("did you mean \"{nearest}\"? It takes {}", quoted_list(&choices)),
            None => format!("use one of {}", quoted_list(&choices)),
        };
        self.tell("value", message, path, schema, help);
    }

    fn format(&mut self, text: &str, schema: &Object, path: &str) {
        let (parses, example) = match schema.get("format").and_then(Value::as_str) {
            Some(Period::FORMAT) => {
                (Period::parse(text).is_some(), "a whole number and ms, s, min or h, such as \"500ms\"")
            }
            Some(Size::FORMAT) => {
                (Size::parse(text).is_some(), "bytes, or a whole number and kB, MB or GB, such as \"16MB\"")
            }
            _ => return,
        };
        if !parses {
            self.tell(
                "value",
                format!("{} cannot be \"{text}\"", shown(path)),
                path,
                schema,
                format!("write {example}"),
            );
        }
    }

    fn wrong_type(&mut self, value: &DeValue<'_>, types: &[&str], schema: &Object, path: &str) {
        let wanted = types.iter().map(|name| type_name(name)).collect::<Vec<_>>().join(" or ");
        let message = format!("{} must be {wanted}, and this is {}", shown(path), type_name(type_of(value)));
        self.tell("type", message, path, schema, how_to_write(value, types, schema, path));
    }

    fn unknown(&mut self, key: &str, known: Option<&Object>, path: &str) {
        let table = table_name(path.strip_suffix(key).unwrap_or_default().trim_end_matches('.'));
        let message = format!("unknown key `{key}` {table}");
        let names: Vec<&str> = known.map(|known| known.keys().map(String::as_str).collect()).unwrap_or_default();
        let help = if let Some(nearest) = suggest::nearest(key, names.iter().copied()) {
            format!("did you mean `{nearest}`?")
        } else if let Some(home) = self.home_of(key) {
            home
        } else {
            format!("the keys here are {}", names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
        };
        let problem = Problem::error("xnat::inventory::unknown_key", message);
        self.problems.push(problem.at(self.places.key(path), "not known here").help(help));
    }

    /// A key that exists in exactly one other table: TOML's usual trap, since a key belongs to the last [table] opened.
    fn home_of(&self, key: &str) -> Option<String> {
        let top = self.root["properties"].as_object()?;
        if top.contains_key(key) {
            let kind = if top[key]["type"] == "string" { "move it" } else { "move the table" };
            return Some(format!("`{key}` belongs to the file itself: {kind} above the first [table]"));
        }
        let owners: Vec<_> = top.iter().filter(|(_, table)| table["properties"].get(key).is_some()).collect();
        match owners[..] {
            [(table, _)] => Some(format!("`{key}` is a key of [{table}]: move it there")),
            _ => None,
        }
    }

    fn missing(&mut self, table: &DeTable<'_>, schema: &Object, path: &str) {
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let known = schema.get("properties").and_then(Value::as_object);
        for name in required.filter(|name| !table.contains_key(*name)) {
            // `adress = …` is one mistake, and it is told as the unknown key.
            if table.iter().any(|(key, _)| known.is_some_and(|known| is_slip_for(key.get_ref(), name, known))) {
                self.places.pruned.insert(child(path, name));
                continue;
            }
            let missing = child(path, name);
            let property = schema.get("properties").and_then(|all| all.get(name)).and_then(Value::as_object);
            let message = match path {
                "" if name == "host" => "there is no [[host]]".to_owned(),
                "" => format!("there is no [{name}]"),
                _ => format!("`{name}` is missing {}", table_name(path)),
            };
            let help = match path {
                "" if name == "host" => {
                    "add a machine:\n[[host]]\nname = \"db1\"\naddress = \"10.0.0.11\"\nroles = [\"etcd\", \"postgres\"]".into()
                }
                "" => format!("add it: [{name}]\nname = \"xnat\""),
                _ => describe(name, property),
            };
            let problem = Problem::error("xnat::inventory::missing_key", message).help(help);
            self.problems.push(problem.at(self.places.value(path), format!("needs `{name}`")));
            self.places.pruned.insert(missing);
        }
    }

    fn tell(&mut self, code: &str, message: String, path: &str, schema: &Object, help: String) {
        let code = match code {
            "range" => "xnat::inventory::out_of_range",
            "type" => "xnat::inventory::wrong_type",
            _ => "xnat::inventory::wrong_value",
        };
        let problem = Problem::error(code, message).at(self.places.value(path), "");
        let name = path.rsplit('.').next().unwrap_or(path);
        let about = describe(name, Some(schema));
        self.problems.push(problem.help(if help.is_empty() { about } else { help }));
    }
}

/// Whether an unknown key is most likely `wanted` misspelt.
fn is_slip_for(key: &str, wanted: &str, known: &Object) -> bool {
    !known.contains_key(key) && suggest::nearest(key, known.keys().map(String::as_str)) == Some(wanted)
}

fn describe(name: &str, schema: Option<&Object>) -> String {
    match schema.and_then(|schema| schema.get("description")).and_then(Value::as_str) {
        Some(description) => format!("`{name}`: {description}"),
        None => format!("see `{name}` in inventory/example.toml"),
    }
}

/// How a path is told to people: `haproxy.port`, `ssh.port` of [[host]] number 2, item 1 of `roles`.
fn shown(path: &str) -> String {
    let (owner, inner) = match split_list(path) {
        Some((list, index, inner)) if !inner.is_empty() => (format!(" of [[{list}]] number {}", index + 1), inner),
        _ => (String::new(), path),
    };
    match inner.strip_suffix(']').and_then(|inner| inner.rsplit_once('[')) {
        Some((name, index)) => match index.parse::<usize>() {
            Ok(index) => format!("item {} of `{name}`{owner}", index + 1),
            Err(_) => format!("`{inner}`{owner}"),
        },
        None => format!("`{inner}`{owner}"),
    }
}

/// `host[1].ssh.port` → `host`, 1, `ssh.port`.
fn split_list(path: &str) -> Option<(&str, usize, &str)> {
    let (list, rest) = path.split_once('[')?;
    let (index, inner) = rest.split_once(']')?;
    let inner = if inner.is_empty() { inner } else { inner.strip_prefix('.')? };
    Some((list, index.parse().ok()?, inner))
}

/// `in [haproxy]`, `in [[host]] number 2`, `at the top of the file`.
fn table_name(path: &str) -> String {
    if path.is_empty() {
        return "at the top of the file".to_owned();
    }
    if let Some((list, index, inner)) = split_list(path) {
        let below = if inner.is_empty() { String::new() } else { format!("`{inner}` of ") };
        return format!("in {below}[[{list}]] number {}", index + 1);
    }
    format!("in [{path}]")
}

fn types(schema: &Object) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        // an enum whose variants are described one by one
        _ if !choices(schema).is_empty() => vec!["string"],
        _ => Vec::new(),
    }
}

fn choices(schema: &Object) -> Vec<&str> {
    if let Some(Value::Array(values)) = schema.get("enum") {
        return values.iter().filter_map(Value::as_str).collect();
    }
    let variants = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    variants.filter_map(|variant| variant["const"].as_str()).collect()
}

fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "string",
        DeValue::Integer(_) => "integer",
        DeValue::Float(_) => "number",
        DeValue::Boolean(_) => "boolean",
        DeValue::Datetime(_) => "date",
        DeValue::Array(_) => "array",
        DeValue::Table(_) => "object",
    }
}

fn is(value: &DeValue<'_>, wanted: &str) -> bool {
    let actual = type_of(value);
    actual == wanted || (actual == "integer" && wanted == "number")
}

fn type_name(json: &str) -> &'static str {
    match json {
        "string" => "a text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "a table",
        _ => "a date",
    }
}

/// The same value as it should have been written, when that can be guessed.
fn how_to_write(value: &DeValue<'_>, types: &[&str], schema: &Object, path: &str) -> String {
    let name = path.rsplit('.').next().unwrap_or(path);
    let wants = |name: &str| types.contains(&name);
    match value {
        DeValue::String(text) if wants("integer") && text.parse::<i64>().is_ok() => {
            format!("leave the quotes out: {name} = {text}")
        }
        DeValue::String(text) if wants("boolean") && (*text == "true" || *text == "false") => {
            format!("leave the quotes out: {name} = {text}")
        }
        DeValue::String(text) if wants("array") => format!("put it into a list: {name} = [\"{text}\"]"),
        DeValue::Integer(number) if schema.get("format").and_then(Value::as_str) == Some(Period::FORMAT) => {
            format!("give the unit: {name} = \"{number}s\" or {name} = \"{number}ms\"")
        }
        DeValue::Integer(number) if wants("string") => format!("put it into quotes: {name} = \"{number}\""),
        DeValue::Table(_) if wants("array") && name == "host" => "each machine is a [[host]], with two brackets".into(),
        _ => String::new(),
    }
}

fn quoted_list(choices: &[&str]) -> String {
    choices.iter().map(|choice| format!("\"{choice}\"")).collect::<Vec<_>>().join(", ")
}
