//! Configuration: defaults, then a TOML file, then flags.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;

/// Resolves a configuration: the type's defaults, overridden by a TOML file, overridden by flags.
///
/// `flags` is anything that serialises to a table of what was given, leaving out what was not, under the configuration's own
/// keys. Let the type deny unknown fields: a misspelt key is then an error that names it and its line.
///
/// # Errors
/// When the file cannot be read, is not TOML, or holds an unknown key or a wrong type.
pub fn resolve<T: DeserializeOwned>(file: Option<&Path>, flags: &impl Serialize) -> Result<T, Error> {
    let mut table = toml::Table::new();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        let bad = |error: toml::de::Error| Error::damaged(path, error.to_string().trim());
        // Once as the type, for messages with a line number; once as a table, to be overridden.
        toml::from_str::<T>(&text).map_err(bad)?;
        table = toml::from_str(&text).map_err(bad)?;
    }
    let flag = |error: String| Error::damaged("the command line", error.trim());
    let given = toml::Table::try_from(flags).map_err(|error| flag(error.to_string()))?;
    merge(&mut table, given);
    table.try_into().map_err(|error: toml::de::Error| flag(error.to_string()))
}

fn merge(into: &mut toml::Table, from: toml::Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(given)) => merge(inner, given),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}
