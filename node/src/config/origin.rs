//! Where each setting comes from: a line of the file, or its default.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::{Config, ConfigError};

/// A setting that is in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Its name with its section: `rpc.max_batch`.
    pub field: String,
    /// Its value; none where there is no default either.
    pub value: Option<toml::Value>,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a setting comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The file says so.
    File {
        /// In this line, counted from 1.
        line: usize,
    },
    /// Nobody said otherwise.
    Default,
}

impl Config {
    /// All settings that hold where `text` is the file, in the order of their names.
    ///
    /// # Errors
    /// As [`Config::parse`].
    pub fn settings(text: &str) -> Result<Vec<Setting>, ConfigError> {
        let config = Self::parse(text)?;
        let lines = lines(text);
        let table = toml::Table::try_from(&config).map_err(|error| ConfigError::Syntax(error.to_string()))?;
        let mut values = BTreeMap::from([("keys.passphrase_file".to_owned(), None)]);
        flatten("", table, &mut values);
        let setting = |(field, value): (String, Option<toml::Value>)| {
            let origin = lines.get(&field).map_or(Origin::Default, |line| Origin::File { line: *line });
            Setting { field, value, origin }
        };
        Ok(values.into_iter().map(setting).collect())
    }
}

fn flatten(prefix: &str, table: toml::Table, values: &mut BTreeMap<String, Option<toml::Value>>) {
    for (name, value) in table {
        let field = format!("{prefix}{name}");
        match value {
            toml::Value::Table(section) => flatten(&format!("{field}."), section, values),
            value => {
                values.insert(field, Some(value));
            }
        }
    }
}

/// The line, counted from 1, of every field that `text` sets. Of a text that is not TOML there are none.
pub(super) fn lines(text: &str) -> BTreeMap<String, usize> {
    let mut lines = BTreeMap::new();
    if let Ok(table) = DeTable::parse(text) {
        visit("", table.get_ref(), text, &mut lines);
    }
    lines
}

fn visit(prefix: &str, table: &DeTable<'_>, text: &str, lines: &mut BTreeMap<String, usize>) {
    for (name, value) in table {
        let field = format!("{prefix}{}", name.get_ref());
        match value.get_ref() {
            DeValue::Table(section) => visit(&format!("{field}."), section, text, lines),
            _ => {
                let before = text.as_bytes().iter().take(name.span().start);
                lines.insert(field, 1 + before.filter(|byte| **byte == b'\n').count());
            }
        }
    }
}
