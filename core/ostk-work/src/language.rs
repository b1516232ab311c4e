//! `.language`: the table of verbs that a project has (specification, section 5.2).
//!
//! Ten columns between `|`: verb, tier, layer, last_gen, momentum, resolution, signature, doc, spec, core_resident.
//! Older files have seven, up to the signature, or eight, with `half_life` after the momentum; both are read, ten are
//! written.

use std::fmt;

/// Layers that a verb may belong to.
const LAYERS: [&str; 11] = [
    "kernel", "service", "device", "user", "process", "state", "info", "resolver", "memory", "ceremony",
    "fleet",
];
/// The momentum from which on a verb is loaded at the start (specification, section 1).
const LOADED_FROM: f64 = 0.45;

/// One verb.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its name, without the colon.
    pub verb: String,
    /// 0 services and devices, 1 kernel and ceremony, 2 stable, 3 flexible.
    pub tier: u8,
    /// Where it belongs.
    pub layer: String,
    /// The generation in which it was used last.
    pub last_gen: u64,
    /// How much it is used, 0 to 1.
    pub momentum: f64,
    /// `internal`, a socket, a directory, or a command line.
    pub resolution: String,
    /// `(args, opt?) → (out)`.
    pub signature: String,
    /// What it does.
    pub doc: String,
    /// Where that is written, or `-`.
    pub spec: String,
    /// It is always there.
    pub core_resident: bool,
}

impl Row {
    /// Whether it is there from the start.
    pub fn is_loaded(&self) -> bool {
        self.core_resident || self.momentum >= LOADED_FROM
    }
}

/// A table of verbs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Language(Vec<Row>);

/// Why a table cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(".language:{line}: {what}")]
pub struct LanguageError {
    line: usize,
    what: String,
}

impl Language {
    /// Reads a table. `#` begins a comment.
    ///
    /// # Errors
    /// At the first line that is no row, with its number.
    pub fn parse(text: &str) -> Result<Self, LanguageError> {
        let lines =
            text.lines().enumerate().map(|(at, line)| (at + 1, line.split('#').next().unwrap_or("").trim()));
        let rows = lines.filter(|(_, line)| !line.is_empty());
        let rows = rows.map(|(number, line)| row(line).map_err(|what| LanguageError { line: number, what }));
        rows.collect::<Result<_, _>>().map(Self)
    }

    /// The row of a verb; the last one of several.
    pub fn lookup(&self, verb: &str) -> Option<&Row> {
        self.0.iter().rev().find(|row| row.verb == verb)
    }

    /// Every row, in order.
    pub fn rows(&self) -> &[Row] {
        &self.0
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.0 {
            let Row { verb, tier, layer, last_gen, momentum, resolution, signature, doc, spec, .. } = row;
            let core = if row.core_resident { " core" } else { "" };
            writeln!(
                f,
                ":{verb} | {tier} | {layer} | {last_gen} | {momentum} | {resolution} | {signature} | {doc} | {spec} |{core}"
            )?;
        }
        Ok(())
    }
}

fn row(line: &str) -> Result<Row, String> {
    let mut columns: Vec<&str> = line.split('|').map(str::trim).collect();
    if columns.len() == 8 {
        columns.remove(5);
    }
    columns.resize(if columns.len() == 7 { 10 } else { columns.len() }, "");
    let [verb, tier, layer, last_gen, momentum, resolution, signature, doc, spec, core] = columns.as_slice()
    else {
        return Err(format!("{} columns; 10 make a row", columns.len()));
    };
    let name = verb.strip_prefix(':').filter(|name| !name.is_empty());
    let tier =
        tier.parse().ok().filter(|tier| *tier <= 3).ok_or_else(|| format!("no tier 0 to 3: {tier:?}"))?;
    let momentum: f64 = momentum
        .parse()
        .ok()
        .filter(|momentum| (0.0..=1.0).contains(momentum))
        .ok_or_else(|| format!("no momentum from 0 to 1: {momentum:?}"))?;
    if !LAYERS.contains(layer) {
        return Err(format!("no such layer: {layer:?}"));
    }
    Ok(Row {
        verb: name.ok_or_else(|| format!("a verb begins with a colon: {verb:?}"))?.to_owned(),
        tier,
        layer: (*layer).to_owned(),
        last_gen: last_gen.parse().map_err(|_| format!("no generation: {last_gen:?}"))?,
        momentum,
        resolution: (*resolution).to_owned(),
        signature: (*signature).to_owned(),
        doc: (*doc).to_owned(),
        spec: (*spec).to_owned(),
        core_resident: *core == "core",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = ":compile | 1 | kernel | 412 | 0.62 | internal | (dry_run?) → (report) | rebuild the needle graph | - | core\n";

    #[test]
    fn the_row_of_the_specification_is_read_and_written_as_it_stands() {
        let language = Language::parse(&format!("# verbs\n\n{ROW}")).unwrap();
        let row = language.lookup("compile").unwrap();
        assert_eq!((row.tier, row.last_gen, row.momentum, row.core_resident), (1, 412, 0.62, true));
        assert_eq!(language.to_string(), ROW);
    }

    #[test]
    fn older_rows_of_seven_and_eight_columns_are_read() {
        let seven = Language::parse(":ps | 0 | info | 3 | 0.2 | internal | () → (rows)\n").unwrap();
        let eight = Language::parse(":ps | 0 | info | 3 | 0.2 | 30 | internal | () → (rows)\n").unwrap();
        assert_eq!(seven, eight);
        assert!(!seven.rows()[0].is_loaded() && seven.rows()[0].signature == "() → (rows)");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, what) in [
            ("\n:a | 1 | kernel", ".language:2: 3 columns"),
            (&ROW.replace(":compile", "compile"), "begins with a colon"),
            (&ROW.replace("| 1 |", "| 4 |"), "no tier"),
            (&ROW.replace("0.62", "1.62"), "no momentum"),
            (&ROW.replace("kernel", "kitchen"), "no such layer"),
        ] {
            let error = Language::parse(text).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
