//! Path patterns of governing documents, and how they meet the path of a request.
//!
//! A pattern without `*` names a path and everything beneath it, by whole components. With `*` (any characters within
//! one component) or `**` (any number of components) it is a glob. Both are anchored at the workspace root and never
//! match a substring. Permitting rules compare exactly as written and a permitting glob covers what it matches;
//! denying rules ignore case and deny everything beneath what they match. Nothing here decides.

/// Longest pattern, in bytes: that of a path.
pub const MAX_PATTERN_BYTES: usize = 4096;

/// An anchored path pattern. See the module's comment for its meaning.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathPattern {
    text: String,
    /// Without `./` and the final `/`; the root is empty.
    normal: String,
}

/// Why a text is no path pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing there.
    #[error("a path may not be empty; `.` is the workspace")]
    Empty,
    /// Too long.
    #[error("a path is longer than {MAX_PATTERN_BYTES} bytes")]
    TooLong,
    /// Begins with `/` or `~`.
    #[error("a path must be relative to the workspace")]
    Absolute,
    /// Has a component `..`.
    #[error("a path may not contain `..`")]
    Parent,
    /// Has an empty component or `.` inside.
    #[error("a path may not contain `//` or `/./`")]
    NotNormal,
    /// Has a character that other tools give a meaning.
    #[error("only `*` and `**` are wild in a path: {0:?} is not accepted")]
    Character(char),
    /// `**` beside other characters.
    #[error("`**` must stand alone between slashes")]
    DoubleStar,
}

impl PathPattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.len() > MAX_PATTERN_BYTES {
            return Err(PatternError::TooLong);
        }
        if text.starts_with(['/', '~']) {
            return Err(PatternError::Absolute);
        }
        if let Some(bad) = text.chars().find(|c| c.is_control() || "?[]{}\\".contains(*c)) {
            return Err(PatternError::Character(bad));
        }
        let trimmed = text.strip_prefix("./").unwrap_or(text);
        let normal = trimmed.strip_suffix('/').unwrap_or(trimmed);
        match normal {
            "" if text == "./" => return Ok(Self { text: text.to_owned(), normal: String::new() }),
            "" => return Err(PatternError::Empty),
            "." => return Ok(Self { text: text.to_owned(), normal: String::new() }),
            _ => normal.split('/').try_for_each(check_component)?,
        }
        Ok(Self { text: text.to_owned(), normal: normal.to_owned() })
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path a pattern without `*` names, `""` for the root; `None` for a glob.
    pub fn literal(&self) -> Option<&str> {
        (!self.normal.contains('*')).then_some(&self.normal)
    }

    /// The directory a glob certainly stays within: its components before the first with a `*`.
    pub fn base(&self) -> &str {
        let Some(star) = self.normal.find('*') else { return &self.normal };
        let before = self.normal.get(..star).unwrap_or_default();
        before.rsplit_once('/').map_or("", |(base, _)| base)
    }

    /// Whether a permitting rule with this pattern covers `path`.
    pub fn covers(&self, path: &str) -> bool {
        match self.literal() {
            Some(literal) => ancestors(path).any(|ancestor| ancestor == literal),
            None => self.glob().matches(&components(path)),
        }
    }

    /// The matcher of a permitting glob.
    pub(crate) fn glob(&self) -> Glob {
        Glob { parts: self.normal.split('/').map(Part::of).collect() }
    }

    /// The matcher of a denying glob: without case, and everything beneath as well. To be given folded components.
    pub(crate) fn deny_glob(&self) -> Glob {
        let mut parts: Vec<Part> = fold(&self.normal).split('/').map(Part::of).collect();
        if parts.last() != Some(&Part::Any) {
            parts.push(Part::Any);
        }
        Glob { parts }
    }
}

fn check_component(component: &str) -> Result<(), PatternError> {
    match component {
        "" | "." => Err(PatternError::NotNormal),
        ".." => Err(PatternError::Parent),
        "**" => Ok(()),
        other if other.contains("**") => Err(PatternError::DoubleStar),
        _ => Ok(()),
    }
}

/// A compiled glob.
#[derive(Debug, Clone)]
pub(crate) struct Glob {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// `**`: any number of components.
    Any,
    /// A component without `*`.
    Exact(String),
    /// A component with `*`.
    Wild(String),
}

impl Part {
    fn of(component: &str) -> Self {
        match component {
            "**" => Self::Any,
            wild if wild.contains('*') => Self::Wild(wild.to_owned()),
            exact => Self::Exact(exact.to_owned()),
        }
    }

    fn matches(&self, component: &str) -> bool {
        match self {
            Self::Any => false,
            Self::Exact(exact) => exact == component,
            Self::Wild(wild) => {
                wildcard(wild.as_bytes(), component.as_bytes(), |p| *p == b'*', |p, c| p == c)
            }
        }
    }
}

impl Glob {
    /// Whether the whole path, given as its components, matches.
    pub(crate) fn matches(&self, components: &[&str]) -> bool {
        wildcard(
            &self.parts,
            components,
            |part| *part == Part::Any,
            |part, component| part.matches(component),
        )
    }
}

/// Matches `pattern` against all of `items`, where a star stands for any run of items. Going back to the latest star
/// is enough, so the cost is at most the product of both lengths.
fn wildcard<P, I>(
    pattern: &[P],
    items: &[I],
    star: impl Fn(&P) -> bool,
    same: impl Fn(&P, &I) -> bool,
) -> bool {
    let (mut at, mut item) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while let Some(current) = items.get(item) {
        match pattern.get(at) {
            Some(part) if star(part) => {
                retry = Some((at + 1, item + 1));
                at += 1;
            }
            Some(part) if same(part, current) => (at, item) = (at + 1, item + 1),
            _ => match retry {
                Some((after_star, next)) => {
                    (at, item) = (after_star, next);
                    retry = Some((after_star, next + 1));
                }
                None => return false,
            },
        }
    }
    pattern.get(at..).is_some_and(|rest| rest.iter().all(star))
}

/// The path, each directory above it, and the root (`""`) last.
pub(crate) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| match path.rsplit_once('/') {
        Some((above, _)) => Some(above),
        None => (!path.is_empty()).then_some(""),
    })
}

/// The components of a path; none for the root.
pub(crate) fn components(path: &str) -> Vec<&str> {
    if path.is_empty() { Vec::new() } else { path.split('/').collect() }
}

/// The form in which denying rules compare: lower case, because some filesystems ignore case.
pub(crate) fn fold(path: &str) -> String {
    if path.is_ascii() { path.to_ascii_lowercase() } else { path.to_lowercase() }
}

/// Whether a path of a request is relative, without `.`, `..`, empty components and NUL. The root is `""`.
pub(crate) fn is_normal(path: &str) -> bool {
    path.is_empty()
        || (!path.contains('\0') && path.split('/').all(|component| !matches!(component, "" | "." | "..")))
}
