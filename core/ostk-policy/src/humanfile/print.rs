//! Writes a HUMANFILE: its directives in one order, each as the parser reads it back. Comments are not kept.

use std::fmt;

use super::{
    Humanfile,
    table::{ROWS, Row, Shape},
};
use crate::{documents::LoadErrors, words::quote};

impl Humanfile {
    /// A file of an operator who begins: a name, a model and, when there is one, the fingerprint of a signing key.
    ///
    /// # Errors
    /// What cannot be a name, a model or a fingerprint.
    pub fn new(identity: &str, model: &str, sign: Option<&str>) -> Result<Self, LoadErrors> {
        let mut text = format!("IDENTITY {}\nMODEL {}\n", quote(identity), quote(model));
        text.extend(sign.map(|sign| format!("SIGN {}\n", quote(sign))));
        Self::parse(super::HUMANFILE_DOCUMENT, &text)
    }

    /// The same file, which also lists these names under SECRET.
    ///
    /// # Errors
    /// What cannot be the name of a secret; it is not quoted.
    pub fn with_secrets<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Self, LoadErrors> {
        let lines = names.into_iter().map(|name| format!("SECRET {}\n", quote(name)));
        let text = lines.fold(self.to_string(), |text, line| text + &line);
        Self::parse(super::HUMANFILE_DOCUMENT, &text)
    }
}

impl fmt::Display for Humanfile {
    /// [`Humanfile::parse`] makes the same file of what is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &ROWS {
            let entries: Vec<String> = self.entries(row.key).map(|words| entry(row, words)).collect();
            match (row.shape, entries.as_slice()) {
                (_, []) => {}
                (Shape::Block, lines) => {
                    writeln!(f, "{}", row.name)?;
                    lines.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
                }
                (_, [one]) if !one.starts_with("<<") => writeln!(f, "{} {one}", row.name)?,
                (_, lines) => {
                    let tag = tag(lines);
                    writeln!(f, "{} <<{tag}", row.name)?;
                    lines.iter().try_for_each(|line| writeln!(f, "{line}"))?;
                    writeln!(f, "{tag}")?;
                }
            }
        }
        Ok(())
    }
}

fn entry(row: &Row, words: &[String]) -> String {
    match row.shape {
        Shape::Line => words.concat(),
        Shape::Block => words.join(": "),
        Shape::Each | Shape::Words(..) => words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" "),
    }
}

/// A word that is none of the lines.
fn tag(lines: &[String]) -> String {
    let mut tag = "END".to_owned();
    while lines.contains(&tag) {
        tag.push('D');
    }
    tag
}
