//! Printing: plain text that fits, colour on a terminal only, JSON when asked.

use std::io::{IsTerminal, Write};

use serde_json::Value;

use crate::{args::Color, failure::Failure};

/// How to print.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
    color: bool,
}

/// The few colours in use, as SGR numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Paint {
    Bold = 1,
    Dim = 2,
    Red = 31,
    Green = 32,
    Yellow = 33,
    Cyan = 36,
}

impl Output {
    pub(crate) fn new(json: bool, color: Color) -> Self {
        let auto = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let color = match color {
            Color::Auto => auto,
            Color::Always => true,
            Color::Never => false,
        };
        Self { json, color }
    }

    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a value as JSON or, for people, the text that `human` makes of it.
    pub(crate) fn show(&self, value: &Value, human: impl FnOnce(&Self) -> String) {
        if self.json { self.line(&value.to_string()) } else { self.line(human(self).trim_end()) }
    }

    /// Prints one line. A reader that went away (`| head`) is no error.
    pub(crate) fn line(&self, text: &str) {
        self.try_line(text);
    }

    /// Prints one line; false when nobody reads any more.
    pub(crate) fn try_line(&self, text: &str) -> bool {
        writeln!(std::io::stdout(), "{text}").is_ok()
    }

    pub(crate) fn paint(&self, paint: Paint, text: &str) -> String {
        if self.color { format!("\u{1b}[{}m{text}\u{1b}[0m", paint as u8) } else { text.to_owned() }
    }

    pub(crate) fn failure(&self, failure: &Failure) {
        if self.json {
            return self.line(&failure.to_json().to_string());
        }
        let mut text = format!("{} {}", self.paint(Paint::Red, "Error:"), failure.message());
        if let Some(hint) = failure.remedy() {
            text.push_str(&format!("\n{} {hint}", self.paint(Paint::Cyan, "Hint:")));
        }
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// A table whose columns are as wide as their longest cell; the last column is not padded.
    pub(crate) fn table(&self, head: &[&str], rows: &[Vec<String>]) -> String {
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain(head.get(column).map(|cell| cell.chars().count())).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let line = |cells: Vec<&str>| {
            let last = cells.len().saturating_sub(1);
            let pad = |(number, cell): (usize, &str)| match widths.get(number) {
                Some(width) if number < last => format!("{cell:<width$}"),
                _ => cell.to_owned(),
            };
            cells.into_iter().enumerate().map(pad).collect::<Vec<_>>().join("  ")
        };
        let mut lines = vec![self.paint(Paint::Bold, &line(head.to_vec()))];
        lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
        lines.join("\n")
    }
}
