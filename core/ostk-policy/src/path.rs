//! Patterns over workspace paths: a prefix of whole components, or a glob with `*` and `**`. Always anchored.

/// Whether `path` is the pattern, below it, or matched by it. `*` matches within a component, `**` across them.
pub(crate) fn covers(pattern: &str, path: &str) -> bool {
    let pattern = pattern.trim_start_matches("./").trim_end_matches('/');
    if matches!(pattern, "" | "." | "**") {
        return true;
    }
    let wanted: Vec<&str> = pattern.split('/').collect();
    let given: Vec<&str> = path.split('/').collect();
    below(&wanted, &given)
}

/// A pattern also covers what lies below the path that it names.
fn below(wanted: &[&str], given: &[&str]) -> bool {
    match (wanted.split_first(), given.split_first()) {
        (None, _) => true,
        (Some((&"**", rest)), _) => {
            (0..=given.len()).any(|skip| below(rest, given.get(skip..).unwrap_or_default()))
        }
        (Some(_), None) => false,
        (Some((pattern, wanted)), Some((name, given))) => component(pattern, name) && below(wanted, given),
    }
}

/// One component; names are compared without regard to case, so that no file system can be tricked by it.
fn component(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern.eq_ignore_ascii_case(name) };
    let (lower, head) = (name.to_ascii_lowercase(), head.to_ascii_lowercase());
    let Some(rest) = lower.strip_prefix(&head) else { return false };
    let starts = (0..=rest.len()).filter(|at| rest.is_char_boundary(*at));
    starts.filter_map(|at| rest.get(at..)).any(|rest| component(tail, rest))
}

/// A pattern in a document: relative, without `..`.
pub(crate) fn check(pattern: &str) -> Result<(), String> {
    if pattern.is_empty() {
        return Err("the path is empty".to_owned());
    }
    if pattern.starts_with('/') || pattern.starts_with('~') {
        return Err(format!("{pattern:?} is not relative to the workspace"));
    }
    if pattern.split('/').any(|part| part == "..") {
        return Err(format!("{pattern:?} contains `..`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_anchored_and_covers_what_lies_below() {
        for (pattern, path, expected) in [
            ("src", "src/main.rs", true),
            ("src", "src", true),
            ("src", "srcx/main.rs", false),
            ("src", "a/src/main.rs", false),
            ("src/", "src/a", true),
            (".", "a", true),
            ("*.rs", "main.rs", true),
            ("*.rs", "src/main.rs", false),
            ("**/*.rs", "src/deep/main.rs", true),
            ("**/*.rs", "main.rs", true),
            (".env*", ".env.local", true),
            ("Agentfile", "agentfile", true),
            ("a/**/z", "a/z", true),
            ("a/*/z", "a/z", false),
        ] {
            assert_eq!(covers(pattern, path), expected, "{pattern} over {path}");
        }
    }
}
