//! The JSON Schema of the protocol.

use serde_json::{json, Value};

use crate::{ClientMessage, ServerMessage};

/// Returns the JSON Schema of both directions: the definitions `ClientMessage` and `ServerMessage`.
pub fn schema() -> Value {
    let mut generator = schemars::generate::SchemaSettings::draft2020_12().into_generator();
    let client = generator.subschema_for::<ClientMessage>();
    let server = generator.subschema_for::<ServerMessage>();
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "SPDX-License-Identifier: MIT OR Apache-2.0",
        "title": "geom_compositor control protocol",
        "description": "One JSON object per line. Clients send ClientMessage and receive ServerMessage.",
        "version": crate::VERSION,
        "anyOf": [client, server],
        "$defs": generator.take_definitions(true),
    });
    plain_descriptions(&mut schema);
    schema
}

/// Replaces what only rustdoc understands in descriptions, which come from doc comments: line
/// breaks within a paragraph, and links.
fn plain_descriptions(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "description" => {
                        let paragraphs =
                            text.split("\n\n").map(|part| without_links(&part.replace('\n', " ")));
                        *text = paragraphs.collect::<Vec<_>>().join("\n\n");
                    }
                    _ => plain_descriptions(value),
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(plain_descriptions),
        _ => {}
    }
}

/// Replaces ``[`text`](target)`` by its text.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once("[`") {
        let Some((name, (_, after))) =
            link.split_once("`](").and_then(|(name, rest)| Some((name, rest.split_once(')')?)))
        else {
            break;
        };
        plain.push_str(before);
        plain.push_str(&format!("`{name}`"));
        rest = after;
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    /// Returns the names of all fields and the values of all enums in a schema.
    fn names(schema: &serde_json::Value, found: &mut std::collections::BTreeSet<String>) {
        let strings = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        match schema {
            serde_json::Value::Object(fields) => {
                for (key, value) in fields {
                    match (key.as_str(), value) {
                        ("properties", serde_json::Value::Object(properties)) => {
                            found.extend(properties.keys().cloned());
                        }
                        ("enum", serde_json::Value::Array(values)) => {
                            found.extend(values.iter().filter_map(strings))
                        }
                        ("const", value) => found.extend(strings(value)),
                        _ => {}
                    }
                    names(value, found);
                }
            }
            serde_json::Value::Array(elements) => elements.iter().for_each(|element| names(element, found)),
            _ => {}
        }
    }

    #[test]
    fn documentation_has_each_field_and_value() {
        let text = include_str!("../../../docs/control.md");
        let mut found = std::collections::BTreeSet::new();
        names(&super::schema(), &mut found);
        let words: std::collections::BTreeSet<&str> =
            text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
        let missing: Vec<_> = found.iter().filter(|name| !words.contains(name.as_str())).collect();
        assert!(found.len() > 100 && missing.is_empty(), "not in docs/control.md: {missing:?}");
    }

    #[test]
    fn links_are_replaced_by_their_text() {
        let text = "To [`hello`](crate::Request::Hello) and [`ping`](crate::Request::Ping).";
        assert_eq!(super::without_links(text), "To `hello` and `ping`.");
        assert_eq!(super::without_links("An array [`a`, `b`]."), "An array [`a`, `b`].");
    }

    /// `GEOM_WRITE_SCHEMA=1 cargo test -p geom-ipc` updates the file.
    #[test]
    fn schema_in_docs_is_up_to_date() -> Result<(), Box<dyn std::error::Error>> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/control.schema.json");
        let text = serde_json::to_string_pretty(&super::schema())? + "\n";
        if std::env::var_os("GEOM_WRITE_SCHEMA").is_some() {
            std::fs::write(path, &text)?;
        }
        assert_eq!(std::fs::read_to_string(path)?, text);
        Ok(())
    }
}
