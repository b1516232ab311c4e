//! Splicing into a JSON text without touching what is there.
//!
//! A settings file belongs to its owner: order, spacing and indentation stay, and only the bytes that an entry needs
//! are added or removed. The text is checked by `serde_json` first; the scanner here only finds where things stand.

use std::ops::Range;

use serde_json::Value;

/// What is wrong with a text.
#[derive(Debug, thiserror::Error)]
pub(super) enum JsonError {
    /// Not JSON.
    #[error("not JSON: {0}")]
    Malformed(#[from] serde_json::Error),
    /// JSON, but something else than a settings file has at this place.
    #[error("{0} is not {1}")]
    Shape(String, &'static str),
}

/// A value and where it stands.
#[derive(Clone, Debug)]
struct Node {
    span: Range<usize>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// Key, start of the member, value.
    Object(Vec<(String, usize, Node)>),
    /// The elements.
    Array(Vec<Node>),
    Scalar,
}

/// A text and where its values stand.
pub(super) struct Doc {
    text: String,
    root: Node,
}

impl Doc {
    /// Reads a text whose root is an object; an empty text is an empty object.
    pub(super) fn parse(text: &str) -> Result<Self, JsonError> {
        let text = if text.trim().is_empty() { format!("{{}}{text}") } else { text.to_owned() };
        let value: Value = serde_json::from_str(&text)?;
        if !value.is_object() {
            return Err(JsonError::Shape("the file".to_owned(), "an object"));
        }
        let mut scanner = Scanner { bytes: text.as_bytes(), at: 0 };
        let root = scanner.value();
        Ok(Self { text, root })
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// The value at a path of keys.
    pub(super) fn get(&self, path: &[&str]) -> Option<Value> {
        let node = self.find(path)?;
        serde_json::from_str(self.text.get(node.span.clone())?).ok()
    }

    /// Adds a member to the object at `path`, which must be there. A key that is there is left alone.
    pub(super) fn add_member(&mut self, path: &[&str], key: &str, value: &Value) -> Result<bool, JsonError> {
        let node = self.find(path).ok_or_else(|| shape(path, "there"))?;
        let Kind::Object(members) = &node.kind else { return Err(shape(path, "an object")) };
        if members.iter().any(|(known, ..)| known == key) {
            return Ok(false);
        }
        let item = format!("{}: {}", Value::from(key), self.pretty(value, path.len() + 1));
        let last = members.last().map(|(_, _, value)| value.span.end);
        self.insert(node.span.start, last, &item, path.len())?;
        Ok(true)
    }

    /// Adds an element at the end of the array at `path`, which must be there.
    pub(super) fn add_element(&mut self, path: &[&str], value: &Value) -> Result<(), JsonError> {
        let node = self.find(path).ok_or_else(|| shape(path, "there"))?;
        let Kind::Array(elements) = &node.kind else { return Err(shape(path, "a list")) };
        let item = self.pretty(value, path.len() + 1);
        let last = elements.last().map(|element| element.span.end);
        self.insert(node.span.start, last, &item, path.len())
    }

    /// Gives the value at `path` the very text that it has in `old`.
    pub(super) fn put_back(&mut self, path: &[&str], old: &Self) -> Result<(), JsonError> {
        let text = old.find(path).and_then(|node| old.text.get(node.span.clone()));
        match (self.find(path).map(|node| node.span.clone()), text) {
            (Some(span), Some(text)) => self.splice(span, text),
            _ => Ok(()),
        }
    }

    /// Removes a member of the object at `path`.
    pub(super) fn remove_member(&mut self, path: &[&str], key: &str) -> Result<(), JsonError> {
        let Some(Node { span, kind: Kind::Object(members) }) = self.find(path).cloned() else {
            return Ok(());
        };
        let Some(at) = members.iter().rposition(|(known, ..)| known == key) else { return Ok(()) };
        let items: Vec<Range<usize>> =
            members.iter().map(|(_, start, value)| *start..value.span.end).collect();
        self.cut(&span, &items, at)
    }

    /// Removes the elements of the array at `path` that `ours` knows.
    pub(super) fn remove_elements(
        &mut self,
        path: &[&str],
        ours: impl Fn(&Value) -> bool,
    ) -> Result<(), JsonError> {
        loop {
            let Some(Node { span, kind: Kind::Array(elements) }) = self.find(path).cloned() else {
                return Ok(());
            };
            let is_ours = |node: &Node| {
                let text = self.text.get(node.span.clone()).unwrap_or_default();
                serde_json::from_str(text).is_ok_and(|value| ours(&value))
            };
            let Some(at) = elements.iter().rposition(is_ours) else { return Ok(()) };
            let items: Vec<Range<usize>> = elements.into_iter().map(|element| element.span).collect();
            self.cut(&span, &items, at)?;
        }
    }

    fn find(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(&self.root, |node, key| match &node.kind {
            // Of two members with one key the last counts, as in JavaScript.
            Kind::Object(members) => {
                members.iter().rev().find(|(known, ..)| known == key).map(|(.., node)| node)
            }
            _ => None,
        })
    }

    /// Puts an item after the one that ends at `last`, or first into the brackets that open at `start`.
    fn insert(
        &mut self,
        start: usize,
        last: Option<usize>,
        item: &str,
        depth: usize,
    ) -> Result<(), JsonError> {
        let breaks = self.breaks();
        let indent = self.indent().repeat(depth + 1);
        let (at, text) = match (last, breaks) {
            (Some(end), Some(newline)) => (end, format!(",{newline}{indent}{item}")),
            (Some(end), None) => (end, format!(", {item}")),
            (None, Some(newline)) => {
                // The closing bracket gets a line of its own unless it has one.
                let rest = self.text.get(start + 1..).unwrap_or_default();
                let blank = rest.chars().take_while(|c| c.is_whitespace()).collect::<String>();
                let close = if blank.contains('\n') {
                    String::new()
                } else {
                    format!("{newline}{}", self.indent().repeat(depth))
                };
                (start + 1, format!("{newline}{indent}{item}{close}"))
            }
            (None, None) => (start + 1, item.to_owned()),
        };
        self.splice(at..at, &text)
    }

    /// Removes item `at` of `items` inside brackets, with the comma and the space that belong to it.
    fn cut(&mut self, brackets: &Range<usize>, items: &[Range<usize>], at: usize) -> Result<(), JsonError> {
        let Some(item) = items.get(at) else { return Ok(()) };
        let before = at.checked_sub(1).and_then(|before| items.get(before));
        let range = match (before, items.get(at + 1)) {
            (Some(before), _) => before.end..item.end,
            (None, Some(next)) => item.start..next.start,
            (None, None) => brackets.start + 1..brackets.end - 1,
        };
        self.splice(range, "")
    }

    fn splice(&mut self, range: Range<usize>, with: &str) -> Result<(), JsonError> {
        let mut text = self.text.clone();
        text.replace_range(range, with);
        *self = Self::parse(&text)?;
        Ok(())
    }

    /// The line break of the text; none if everything stands in one line, as in a text that a program wrote.
    fn breaks(&self) -> Option<&'static str> {
        let inner = self.text.trim_end();
        if inner.contains("\r\n") {
            return Some("\r\n");
        }
        let empty = matches!(&self.root.kind, Kind::Object(members) if members.is_empty());
        (empty || inner.contains('\n')).then_some("\n")
    }

    /// One step of the text's indentation: the space before its first member, or two spaces.
    fn indent(&self) -> String {
        let first = match &self.root.kind {
            Kind::Object(members) => members.first().map(|(_, start, _)| *start),
            _ => None,
        };
        let before = first.and_then(|start| self.text.get(..start)).unwrap_or_default();
        match before.rsplit_once('\n') {
            Some((_, space)) if !space.is_empty() && space.chars().all(char::is_whitespace) => {
                space.to_owned()
            }
            _ => "  ".to_owned(),
        }
    }

    fn pretty(&self, value: &Value, depth: usize) -> String {
        let Some(newline) = self.breaks() else { return value.to_string() };
        let plain = serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string());
        let step = self.indent();
        let line = |(number, line): (usize, &str)| {
            let body = line.trim_start();
            let inner = (line.len() - body.len()) / 2;
            if number == 0 { body.to_owned() } else { format!("{}{body}", step.repeat(depth + inner)) }
        };
        plain.lines().enumerate().map(line).collect::<Vec<_>>().join(newline)
    }
}

fn shape(path: &[&str], what: &'static str) -> JsonError {
    JsonError::Shape(format!("`{}`", path.join(".")), what)
}

/// Walks over a text that is known to be JSON; `serde_json` has bounded its depth.
struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    fn skip_space(&mut self) {
        while self.peek().is_ascii_whitespace() {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Node {
        self.skip_space();
        let start = self.at;
        let kind = match self.peek() {
            b'{' => self.object(),
            b'[' => self.array(),
            b'"' => {
                self.string();
                Kind::Scalar
            }
            _ => {
                while !matches!(self.peek(), b',' | b'}' | b']' | 0) && !self.peek().is_ascii_whitespace() {
                    self.at += 1;
                }
                Kind::Scalar
            }
        };
        Node { span: start..self.at, kind }
    }

    fn object(&mut self) -> Kind {
        let mut members = Vec::new();
        self.at += 1;
        while self.more(b'}') {
            let start = self.at;
            let key = self.string();
            self.skip_space();
            self.at += 1; // the colon
            members.push((key, start, self.value()));
        }
        Kind::Object(members)
    }

    fn array(&mut self) -> Kind {
        let mut elements = Vec::new();
        self.at += 1;
        while self.more(b']') {
            elements.push(self.value());
        }
        Kind::Array(elements)
    }

    /// Steps over a comma or the closing bracket; whether an item follows.
    fn more(&mut self, close: u8) -> bool {
        self.skip_space();
        if self.peek() == b',' {
            self.at += 1;
            self.skip_space();
        }
        if self.peek() == close || self.peek() == 0 {
            self.at += 1;
            return false;
        }
        true
    }

    fn string(&mut self) -> String {
        let start = self.at;
        self.at += 1;
        while !matches!(self.peek(), b'"' | 0) {
            self.at += if self.peek() == b'\\' { 2 } else { 1 };
        }
        self.at += 1;
        let raw = self.bytes.get(start..self.at).unwrap_or_default();
        serde_json::from_slice(raw).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ODD: &[&str] = &[
        "{}",
        "{ }\n",
        "{\n}\n",
        "{\"z\":1,\"a\":{\"b\":[ ]}}",
        "{\r\n\t\"z\" : [1,2 , 3],\r\n\t\"a\":{ }\r\n}\r\n\r\n",
        "  {\n    \"hooks\": {\"Stop\": []},\n\n    \"a\\\"}\": \"]}\\\\\" }  ",
        "{\n \"mcpServers\": {\n  \"other\": {\"command\": \"x\"}\n }}",
    ];

    #[test]
    fn a_member_that_is_added_and_removed_leaves_every_byte() {
        for text in ODD {
            let mut doc = Doc::parse(text).unwrap();
            assert!(doc.add_member(&[], "ours", &json!({ "x": [1, { "y": null }] })).unwrap());
            let value: Value = serde_json::from_str(&doc.text).unwrap();
            assert_eq!(value["ours"], json!({ "x": [1, { "y": null }] }), "{}", doc.text);
            assert!(!doc.add_member(&[], "ours", &json!(2)).unwrap(), "a key that is there is left alone");
            let had_members = !Doc::parse(text).unwrap().get(&[]).unwrap().as_object().unwrap().is_empty();
            doc.remove_member(&[], "ours").unwrap();
            if had_members {
                assert_eq!(doc.text, *text);
            } else {
                assert_eq!(serde_json::from_str::<Value>(&doc.text).unwrap(), json!({}));
            }
        }
    }

    #[test]
    fn elements_are_added_at_the_end_and_only_ours_are_removed() {
        let text = "{\n  \"list\": [\n    {\"a\": 1}\n  ]\n}\n";
        let mut doc = Doc::parse(text).unwrap();
        doc.add_element(&["list"], &json!({ "ours": true })).unwrap();
        assert_eq!(
            doc.text,
            "{\n  \"list\": [\n    {\"a\": 1},\n    {\n      \"ours\": true\n    }\n  ]\n}\n"
        );
        doc.remove_elements(&["list"], |value| value.get("ours").is_some()).unwrap();
        assert_eq!(doc.text, text);
    }

    #[test]
    fn the_first_of_several_is_removed_without_its_comma() {
        let mut doc = Doc::parse("{\"a\": 1, \"b\": 2}").unwrap();
        doc.remove_member(&[], "a").unwrap();
        assert_eq!(doc.text, "{\"b\": 2}");
        doc.remove_member(&[], "b").unwrap();
        assert_eq!(doc.text, "{}");
    }

    #[test]
    fn what_is_no_settings_file_is_refused() {
        assert!(matches!(Doc::parse("{\"a\": 1,}"), Err(JsonError::Malformed(_))));
        assert!(matches!(Doc::parse("// c\n{}"), Err(JsonError::Malformed(_))));
        assert!(matches!(Doc::parse("[]"), Err(JsonError::Shape(..))));
        let mut doc = Doc::parse("{\"hooks\": []}").unwrap();
        assert!(matches!(doc.add_member(&["hooks"], "x", &json!(1)), Err(JsonError::Shape(..))));
    }
}
