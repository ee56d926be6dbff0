//! Reads TOML tables key by key, so that a mistake in one line affects only that line.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml_edit::{Document, Item, TableLike, Value};

/// A mistake in a file, or an obsolete name, with its line and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub file: PathBuf,
    /// From 1; `None` if the problem concerns the whole file.
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

/// A file that is being read: its text, for line numbers, and the problems so far.
pub struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    pub problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub fn new(file: &'a Path, text: &'a str) -> Self {
        Self { file, text, problems: Vec::new() }
    }

    /// Parses the file as TOML. If it is not TOML, reports that and returns `None`.
    pub fn document(&mut self) -> Option<Document<&'a str>> {
        match Document::parse(self.text) {
            Ok(document) => Some(document),
            Err(error) => {
                self.report(error.span(), format!("not TOML: {}", error.message()));
                None
            }
        }
    }

    /// Returns the line of an offset in the text, from 1.
    fn line_of(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// Adds a problem at the line where `span` begins.
    pub fn report(&mut self, span: Option<Range<usize>>, message: String) {
        let line = span.map(|span| self.line_of(span.start));
        self.problems.push(Problem { file: self.file.to_owned(), line, message });
    }
}

/// A table. Records which keys were read, so that [`Section::finish`] can report all others.
pub struct Section<'t> {
    name: String,
    table: &'t dyn TableLike,
    /// Where its header is in the file, if it has one.
    header: Option<Range<usize>>,
    known: Vec<&'static str>,
    /// Obsolete keys that the table has, and their new names.
    renamed_keys: Vec<(&'static str, &'static str)>,
    /// Obsolete values that the table has: key, value, and the value's new name.
    renamed_values: Vec<[&'static str; 3]>,
}

/// Returns the values of an enum with their names.
pub fn names<T>() -> impl Iterator<Item = (&'static str, T)> + Clone
where
    T: strum::VariantArray + Copy + Into<&'static str> + 'static,
{
    T::VARIANTS.iter().map(|value| ((*value).into(), *value))
}

impl<'t> Section<'t> {
    pub fn new(name: impl Into<String>, table: &'t dyn TableLike) -> Self {
        Self {
            name: name.into(),
            table,
            header: None,
            known: Vec::new(),
            renamed_keys: Vec::new(),
            renamed_values: Vec::new(),
        }
    }

    /// As [`Section::new`], of a table with a header of its own.
    fn with_header(name: impl Into<String>, table: &'t dyn TableLike, header: Option<Range<usize>>) -> Self {
        Self { header, ..Self::new(name, table) }
    }

    /// Returns where it begins in the file.
    pub fn span(&self) -> Option<Range<usize>> {
        self.header.clone()
    }

    /// Returns the line where it begins, from 1.
    pub fn line(&self, reader: &Reader<'_>) -> usize {
        self.header.as_ref().map_or(1, |header| reader.line_of(header.start))
    }

    /// Accepts `old` in place of `key`, and reports it. Called before `key` is read.
    pub fn rename_key(&mut self, reader: &mut Reader<'_>, old: &'static str, key: &'static str) {
        let Some(item) = self.table.get(old) else { return };
        let message = format!("{}{old} is now called {key}; rename it", self.prefix());
        reader.report(item.span(), message);
        self.renamed_keys.push((old, key));
    }

    /// Accepts the value `old` in place of `new`, and reports it. Called before
    /// [`Section::choice`].
    pub fn rename_value(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        old: &'static str,
        new: &'static str,
    ) {
        let Some(item) = self.table.get(key).filter(|item| item.as_str() == Some(old)) else { return };
        let message = format!("{}{key} = {old:?} is now called {new:?}; rename it", self.prefix());
        reader.report(item.span(), message);
        self.renamed_values.push([key, old, new]);
    }

    fn item(&mut self, key: &'static str) -> Option<&'t Item> {
        self.known.push(key);
        self.table.get(key).or_else(|| {
            let (old, _) = self.renamed_keys.iter().find(|(_, new)| *new == key)?;
            self.table.get(old)
        })
    }

    /// Reads a value by `read`. If that returns `None`, reports the value and `allowed`.
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

    /// Returns whether there is a key.
    pub fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    pub fn string(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Option<String> {
        self.value(reader, key, "a quoted string", |value| value.as_str().map(str::to_owned))
    }

    pub fn boolean(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Option<bool> {
        self.value(reader, key, "true or false", Value::as_bool)
    }

    pub fn integer(&mut self, reader: &mut Reader<'_>, key: &'static str, range: Range<i64>) -> Option<i64> {
        let allowed = format!("a whole number from {} to {}", range.start, range.end - 1);
        self.value(reader, key, &allowed, |value| value.as_integer().filter(|number| range.contains(number)))
    }

    /// Reads a decimal or whole number between two bounds, both included.
    pub fn number(&mut self, reader: &mut Reader<'_>, key: &'static str, min: f64, max: f64) -> Option<f64> {
        self.value(reader, key, &format!("a number from {min} to {max}"), |value| {
            let number = value.as_float().or_else(|| value.as_integer().map(|number| number as f64))?;
            (min..=max).contains(&number).then_some(number)
        })
    }

    /// Reads a string by `parse`, whose error says what is wrong with it.
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

    /// Reads a table of strings whose keys are the user's choice.
    pub fn strings(&self, reader: &mut Reader<'_>) -> BTreeMap<String, String> {
        let mut strings = BTreeMap::new();
        for (name, item) in self.table.iter() {
            match item.as_str() {
                Some(text) => {
                    strings.insert(name.to_owned(), text.to_owned());
                }
                None => reader.report(item.span(), format!("{}{name} is not a quoted string", self.prefix())),
            }
        }
        strings
    }

    /// Reads the name of one of several values.
    pub fn choice<T>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        choices: impl IntoIterator<Item = (&'static str, T)>,
    ) -> Option<T> {
        let mut choices: Vec<_> = choices.into_iter().collect();
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        let renamed: Vec<_> = self.renamed_values.iter().filter(|[of, ..]| *of == key).copied().collect();
        self.value(reader, key, &names.join(", "), |value| {
            let word = value.as_str()?;
            let word = renamed.iter().find(|[_, old, _]| *old == word).map_or(word, |[.., new]| new);
            let place = choices.iter().position(|(name, _)| *name == word)?;
            Some(choices.swap_remove(place).1)
        })
    }

    /// Reads a table within this one.
    pub fn section(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Option<Section<'t>> {
        let item = self.item(key)?;
        let Some(table) = item.as_table_like() else {
            let message = format!("{}{key} is not a table; write [{}{key}]", self.prefix(), self.prefix());
            reader.report(item.span(), message);
            return None;
        };
        Some(Section::new(format!("{}{key}", self.prefix()), table))
    }

    /// Reads the tables within this one, whose names are the user's choice, but not those keys that
    /// were read before.
    pub fn named_sections(&mut self, reader: &mut Reader<'_>) -> Vec<(String, Section<'t>)> {
        let mut sections = Vec::new();
        for (name, item) in self.table.iter().filter(|(name, _)| !self.known.contains(name)) {
            match item.as_table_like() {
                Some(table) => {
                    let full_name = format!("{}{name:?}", self.prefix());
                    sections.push((name.to_owned(), Section::with_header(full_name, table, item.span())));
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

    /// Reads an array of tables, `[[key]]`.
    pub fn sections(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Vec<Section<'t>> {
        let Some(item) = self.item(key) else { return Vec::new() };
        match item.as_array_of_tables() {
            Some(tables) => {
                tables.iter().map(|table| Section::with_header(key, table, table.span())).collect()
            }
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

    /// Reports the keys that were not read. Returns whether there are none.
    pub fn finish(self, reader: &mut Reader<'_>) -> bool {
        let before = reader.problems.len();
        for (key, item) in self.table.iter() {
            let is_renamed = self.renamed_keys.iter().any(|(old, _)| *old == key);
            if !self.known.contains(&key) && !is_renamed {
                let span = item.span().or_else(|| self.table.key(key).and_then(|key| key.span()));
                let message =
                    format!("unknown key {}{key}; known here: {}", self.prefix(), self.known.join(", "));
                reader.report(span, message);
            }
        }
        reader.problems.len() == before
    }
}
