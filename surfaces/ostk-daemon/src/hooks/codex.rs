//! The entry in Codex's `config.toml`: a table of its own at the end of the file, so that nothing else moves.

use toml::Table;

const HEADER: &str = "[mcp_servers.ostk]";
const BODY: &str = "command = \"ostk\"\nargs = [\"mcp\"]\n";

/// Why there is no entry.
#[derive(Debug, thiserror::Error)]
pub(super) enum TomlError {
    /// Not TOML.
    #[error("not TOML: {0}")]
    Malformed(#[from] toml::de::Error),
    /// Another table cannot be added to it.
    #[error("`mcp_servers` is written in a form that takes no further table")]
    Inline,
}

/// The text with our table, or nothing if a server of this name is there.
pub(super) fn add(text: &str) -> Result<Option<String>, TomlError> {
    if has_server(&text.parse()?) {
        return Ok(None);
    }
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let gap = match text {
        "" => "",
        _ if text.ends_with('\n') => newline,
        _ => return with(text, &format!("{newline}{newline}"), newline),
    };
    with(text, gap, newline)
}

fn with(text: &str, gap: &str, newline: &str) -> Result<Option<String>, TomlError> {
    let added = format!("{text}{gap}{}", block(newline));
    // An inline `mcp_servers = {…}` is closed: what is valid before is not valid after.
    if added.parse::<Table>().is_ok_and(|table| has_server(&table)) {
        Ok(Some(added))
    } else {
        Err(TomlError::Inline)
    }
}

/// The text without our table, if it still stands as it was written. `before` is the text that it was added to, if known.
pub(super) fn remove(text: &str, before: Option<&str>) -> Option<String> {
    let open_ended = before.is_some_and(|before| !before.is_empty() && !before.ends_with('\n'));
    ["\n", "\r\n"].into_iter().find_map(|newline| {
        let block = block(newline);
        let (before, after) = text.split_once(&block)?;
        // The blank line before the table is ours too, and the end of a last line that had none.
        let mut before = before.strip_suffix(newline).unwrap_or(before);
        if open_ended && after.is_empty() {
            before = before.strip_suffix(newline).unwrap_or(before);
        }
        Some(format!("{before}{after}"))
    })
}

fn has_server(table: &Table) -> bool {
    table.get("mcp_servers").and_then(|servers| servers.get("ostk")).is_some()
}

fn block(newline: &str) -> String {
    format!("{HEADER}\n{BODY}").replace('\n', newline)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_comes_last_and_goes_without_a_trace() {
        for text in [
            "",
            "# mine\nmodel = \"o5\"  # odd\n",
            "# no line break",
            "a = 1\r\n[b]\r\nc = 2\r\n",
            "[mcp_servers.x]\ncommand = \"y\"\n",
        ] {
            let added = add(text).unwrap().unwrap();
            assert!(added.starts_with(text) && has_server(&added.parse().unwrap()), "{added}");
            assert_eq!(add(&added).unwrap(), None);
            assert_eq!(remove(&added, Some(text)).unwrap(), text);
        }
    }

    #[test]
    fn a_form_that_takes_no_table_is_refused() {
        assert!(matches!(add("mcp_servers = { x = { command = \"y\" } }\n"), Err(TomlError::Inline)));
        assert!(matches!(add("a = \n"), Err(TomlError::Malformed(_))));
    }
}
