//! Reads TOML tables key by key, so that one bad line costs only itself.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml_edit::{Document, Item, TableLike, Value};

/// One mistake in a file, with its place and remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub file: PathBuf,
    /// From 1; none where the whole file is meant.
    pub line: Option<usize>,
    pub message: String,
}

impl Problem {
    pub fn of_file(file: &Path, message: String) -> Self {
        Self { file: file.to_owned(), line: None, message }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// A file under reading: its text, for line numbers, and what was wrong so far.
pub struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    pub problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub fn new(file: &'a Path, text: &'a str) -> Self {
        Self { file, text, problems: Vec::new() }
    }

    /// The file as TOML; where it is none, that is reported.
    pub fn document(&mut self) -> Option<Document<&'a str>> {
        match Document::parse(self.text) {
            Ok(document) => Some(document),
            Err(error) => {
                self.report(error.span(), format!("not TOML: {}", error.message()));
                None
            }
        }
    }

    pub fn report(&mut self, span: Option<Range<usize>>, message: String) {
        let line = span.map(|span| {
            let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
            before.iter().filter(|byte| **byte == b'\n').count() + 1
        });
        self.problems.push(Problem { file: self.file.to_owned(), line, message });
    }
}

/// One table; keys that nobody asks for are reported by [`Section::finish`].
pub struct Section<'t> {
    name: String,
    table: &'t dyn TableLike,
    known: Vec<&'static str>,
}

impl<'t> Section<'t> {
    pub fn new(name: impl Into<String>, table: &'t dyn TableLike) -> Self {
        Self { name: name.into(), table, known: Vec::new() }
    }

    fn item(&mut self, key: &'static str) -> Option<&'t Item> {
        self.known.push(key);
        self.table.get(key)
    }

    /// A value, read by `read`, which says what is allowed where it refuses.
    pub fn value<T>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        allowed: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let item = self.item(key)?;
        let result = item.as_value().and_then(read);
        if result.is_none() {
            let written = item.as_value().map(|value| value.to_string().trim().to_owned());
            let written = written.unwrap_or_else(|| "a table".into());
            let message = format!("{}{key} = {written} is not allowed; allowed: {allowed}", self.prefix());
            reader.report(item.span(), message);
        }
        result
    }

    pub fn string(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Option<String> {
        self.value(reader, key, "a text in quotes", |value| value.as_str().map(str::to_owned))
    }

    pub fn boolean(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Option<bool> {
        self.value(reader, key, "true or false", Value::as_bool)
    }

    pub fn integer(&mut self, reader: &mut Reader<'_>, key: &'static str, range: Range<i64>) -> Option<i64> {
        let allowed = format!("a whole number from {} to {}", range.start, range.end - 1);
        self.value(reader, key, &allowed, |value| value.as_integer().filter(|number| range.contains(number)))
    }

    /// A decimal or whole number between two bounds, both included.
    pub fn number(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        least: f64,
        most: f64,
    ) -> Option<f64> {
        self.value(reader, key, &format!("a number from {least} to {most}"), |value| {
            let number = value.as_float().or_else(|| value.as_integer().map(|number| number as f64))?;
            (least..=most).contains(&number).then_some(number)
        })
    }

    /// A text, read by what says itself what is wrong with it.
    pub fn parsed_by<T>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.string(reader, key)?;
        let parsed = parse(&text);
        if let Err(why) = &parsed {
            reader.report(self.table.get(key).and_then(Item::span), format!("{}{key}: {why}", self.prefix()));
        }
        parsed.ok()
    }

    /// All of it as texts under names of the user's choice.
    pub fn texts(&self, reader: &mut Reader<'_>) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        for (name, item) in self.table.iter() {
            match item.as_str() {
                Some(text) => {
                    texts.insert(name.to_owned(), text.to_owned());
                }
                None => {
                    reader.report(item.span(), format!("{}{name} is not a text in quotes", self.prefix()))
                }
            }
        }
        texts
    }

    /// One of a list of words.
    pub fn choice<T: Copy>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        self.value(reader, key, &names.join(", "), |value| {
            let word = value.as_str()?;
            choices.iter().find(|(name, _)| *name == word).map(|(_, choice)| *choice)
        })
    }

    /// A table below this one.
    pub fn section(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Option<Section<'t>> {
        let item = self.item(key)?;
        let Some(table) = item.as_table_like() else {
            let message = format!("{}{key} is not a table; write [{}{key}]", self.prefix(), self.prefix());
            reader.report(item.span(), message);
            return None;
        };
        Some(Section::new(format!("{}{key}", self.prefix()), table))
    }

    /// The tables below this one under names of the user's choice.
    pub fn named_sections(&mut self, reader: &mut Reader<'_>) -> Vec<(String, Section<'t>)> {
        let mut sections = Vec::new();
        for (name, item) in self.table.iter() {
            match item.as_table_like() {
                Some(table) => {
                    sections
                        .push((name.to_owned(), Section::new(format!("{}{name:?}", self.prefix()), table)));
                }
                None => {
                    let message =
                        format!("{}{name} is not a table; write [{}{name:?}]", self.prefix(), self.prefix());
                    reader.report(item.span(), message);
                }
            }
        }
        sections
    }

    /// The tables of an array of tables, `[[key]]`.
    pub fn sections(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Vec<Section<'t>> {
        let Some(item) = self.item(key) else { return Vec::new() };
        match item.as_array_of_tables() {
            Some(tables) => tables.iter().map(|table| Section::new(key, table)).collect(),
            None => {
                reader.report(item.span(), format!("{key} is not a list of tables; write [[{key}]]"));
                Vec::new()
            }
        }
    }

    fn prefix(&self) -> String {
        if self.name.is_empty() {
            String::new()
        } else {
            format!("{}.", self.name)
        }
    }

    /// Reports keys that were never asked for.
    pub fn finish(self, reader: &mut Reader<'_>) {
        for (key, item) in self.table.iter() {
            if !self.known.contains(&key) {
                let span = item.span().or_else(|| self.table.key(key).and_then(|key| key.span()));
                let message =
                    format!("unknown key {}{key}; known here: {}", self.prefix(), self.known.join(", "));
                reader.report(span, message);
            }
        }
    }
}
