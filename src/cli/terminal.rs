//! Text of clients, monitors and files on a terminal: nothing in it is interpreted, and nothing
//! looks like a row or a line of its own.

use std::io::{self, Write};

use serde::Serialize;

/// Returns whether a character moves the cursor, begins a control sequence, ends a line or changes
/// the order of the characters around it (Unicode Standard Annex #9, bidirectional controls).
fn is_control(character: char) -> bool {
    let is_bidi = matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    character.is_control() || is_bidi || matches!(character, '\u{2028}' | '\u{2029}')
}

/// Replaces such characters by `\uXXXX`, as JSON and TOML write them. All of them have four digits.
fn escape(text: &str, keeps: impl Fn(char) -> bool) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            character if !is_control(character) || keeps(character) => clean.push(character),
            '\n' => clean.push_str("\\n"),
            '\r' => clean.push_str("\\r"),
            '\t' => clean.push_str("\\t"),
            character => clean += &format!("\\u{:04x}", u32::from(character)),
        }
    }
    clean
}

/// Returns a text as a part of one line: a cell of a table, or a line.
pub fn field(text: &str) -> String {
    escape(text, |_| false)
}

/// Returns a text of several lines, whose parts are fields or belong to one source.
pub fn lines(text: &str) -> String {
    escape(text, |character| matches!(character, '\n' | '\t'))
}

/// Returns JSON with escapes for what `serde_json` writes as it is: it escapes C0 only. In JSON,
/// these characters are in strings only.
fn json_text(json: &str) -> String {
    escape(json, |character| character == '\n')
}

/// Returns a value as JSON in several lines.
///
/// # Errors
/// If the value cannot be written as JSON.
pub fn json(value: &(impl Serialize + ?Sized)) -> serde_json::Result<String> {
    serde_json::to_string_pretty(value).map(|text| json_text(&text))
}

/// Returns a value as JSON in one line.
///
/// # Errors
/// If the value cannot be written as JSON.
pub fn json_line(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string(value).map(|text| json_text(&text))
}

/// Prints an error.
pub fn print_error(error: &str) {
    // A failure of standard error cannot be printed.
    let _ = writeln!(io::stderr(), "geom_compositor: {}", lines(error));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A title that clears the screen, sets the clipboard, and fakes a row.
    const HOSTILE: &str =
        "a\x1b[2J\x1b]52;c;cm0=\x07\u{9b}31m\r\n9  7  b\u{202e}c\u{2066}d\u{2028}e\u{7f}é 漢";

    #[test]
    fn nothing_is_left_that_a_terminal_interprets() {
        for clean in [field(HOSTILE), lines(HOSTILE).replace('\n', "")] {
            assert!(!clean.chars().any(is_control), "{clean:?}");
        }
        assert_eq!(
            field(HOSTILE),
            "a\\u001b[2J\\u001b]52;c;cm0=\\u0007\\u009b31m\\r\\n9  7  b\\u202ec\\u2066d\\u2028e\\u007fé 漢"
        );
        assert_eq!(lines("one\n\ttwo\r"), "one\n\ttwo\\r");
    }

    #[test]
    fn json_is_the_same_value_without_controls() -> serde_json::Result<()> {
        let value = serde_json::json!({ "title": HOSTILE });
        for text in [json(&value)?, json_line(&value)?] {
            assert!(!text.replace('\n', "").chars().any(is_control), "{text:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text)?, value);
        }
        Ok(())
    }
}
