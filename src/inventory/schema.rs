//! The JSON Schema of an inventory, from the types that parse it. Editors complete from it, `shape` checks against it.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use serde_json::Value;

use super::raw;

/// The schema as a JSON document.
pub fn schema() -> Value {
    let mut settings = SchemaSettings::draft07();
    // Draft 7, because that is what TOML language servers read; without $ref, so that `shape` need not follow any.
    settings.inline_subschemas = true;
    let mut schema = settings.into_generator().into_root_schema_for::<raw::Inventory>();
    NoNull.transform(&mut schema);
    schema.to_value()
}

/// TOML has no null, so `Option` means nothing but "may be left out", which `required` says already.
struct NoNull;

impl Transform for NoNull {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(object) = schema.as_object_mut() else { return };
        if object.get("default").is_some_and(Value::is_null) {
            object.remove("default");
        }
        if let Some(Value::Array(types)) = object.get_mut("type") {
            types.retain(|name| name != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                object.insert("type".into(), only);
            }
        }
        if let Some(Value::Array(values)) = object.get_mut("enum") {
            values.retain(|value| !value.is_null());
        }
        hoist_only_choice(object);
        drop_needless_defaults(object);
    }
}

/// `anyOf: [X, null]` becomes X, keeping what was said about the field.
fn hoist_only_choice(object: &mut serde_json::Map<String, Value>) {
    let Some(Value::Array(choices)) = object.get("anyOf") else { return };
    let [Value::Object(only)] = choices.iter().filter(|c| c["type"] != "null").collect::<Vec<_>>()[..] else { return };
    let only = only.clone();
    object.remove("anyOf");
    for (key, value) in only {
        object.entry(key).or_insert(value);
    }
}

/// What must be given has no default, although serde needs one to read a file with mistakes in it.
fn drop_needless_defaults(object: &mut serde_json::Map<String, Value>) {
    let Some(Value::Array(required)) = object.get("required").cloned() else { return };
    let Some(Value::Object(properties)) = object.get_mut("properties") else { return };
    for name in required.iter().filter_map(Value::as_str) {
        if let Some(Value::Object(property)) = properties.get_mut(name) {
            property.remove("default");
        }
    }
}
