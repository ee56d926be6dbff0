//! The protocol as a JSON Schema.

use serde_json::{json, Value};

use crate::{FromClient, FromServer};

/// The schema of both directions: definitions `FromClient` and `FromServer`.
pub fn schema() -> Value {
    let mut generator = schemars::generate::SchemaSettings::draft2020_12().into_generator();
    let client = generator.subschema_for::<FromClient>();
    let server = generator.subschema_for::<FromServer>();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "geom_compositor control protocol",
        "description": "One JSON object a line. FromClient: what clients send; FromServer: what they get.",
        "version": crate::VERSION,
        "anyOf": [client, server],
        "$defs": generator.take_definitions(true),
    })
}

#[cfg(test)]
mod tests {
    /// `GEOM_WRITE_SCHEMA=1 cargo test -p geom-ipc` writes it anew.
    #[test]
    fn the_documented_schema_is_this_one() -> Result<(), Box<dyn std::error::Error>> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/control.schema.json");
        let text = serde_json::to_string_pretty(&super::schema())? + "\n";
        if std::env::var_os("GEOM_WRITE_SCHEMA").is_some() {
            std::fs::write(path, &text)?;
        }
        assert_eq!(std::fs::read_to_string(path)?, text);
        Ok(())
    }
}
