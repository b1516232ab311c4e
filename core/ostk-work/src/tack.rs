//! The tack grammar: what a line of the operator's language is (specification, section 7).
//!
//! ```text
//! tack   = chain | query | needle | escalate | hay ;
//! chain  = ":" , verb , { SP , arg } , { SP , ":" , verb , { SP , arg } } ;
//! query  = ".?" , text ;            needle = ( "→" | "->" ) , digits ;
//! escalate = "::" , target ;        hay    = text ;
//! ```
//!
//! Every text is tack: what is nothing else is hay. An argument with spaces stands in double quotes. What a verb means
//! is in `verbs`.

use serde::Serialize;

use crate::NeedleId;

/// One line of tack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "form", rename_all = "snake_case")]
pub enum Tack {
    /// Verbs to carry out, in order.
    Chain {
        /// Each with its arguments.
        steps: Vec<Step>,
    },
    /// A question.
    Query {
        /// Its words.
        text: String,
    },
    /// A needle.
    Needle {
        /// Which.
        id: NeedleId,
    },
    /// Something for an agent, a file or a concept.
    Escalate {
        /// For what.
        target: String,
    },
    /// A thought.
    Hay {
        /// Its words.
        text: String,
    },
}

/// A verb with its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The verb, without its colon.
    pub verb: String,
    /// Its arguments.
    pub args: Vec<String>,
}

impl Tack {
    /// Reads a line.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let hay = || Self::Hay { text: text.to_owned() };
        if let Some(target) = text.strip_prefix("::") {
            let target = target.trim();
            return if target.is_empty() { hay() } else { Self::Escalate { target: target.to_owned() } };
        }
        if let Some(question) = text.strip_prefix(".?") {
            return Self::Query { text: question.trim().to_owned() };
        }
        if text.starts_with(':') {
            return chain(text).map_or_else(hay, |steps| Self::Chain { steps });
        }
        if text.starts_with('→') || text.starts_with("->") {
            return text.parse().map_or_else(|_| hay(), |id| Self::Needle { id });
        }
        hay()
    }

    /// The word for its form.
    pub const fn form(&self) -> &'static str {
        match self {
            Self::Chain { .. } => "chain",
            Self::Query { .. } => "query",
            Self::Needle { .. } => "needle",
            Self::Escalate { .. } => "escalate",
            Self::Hay { .. } => "hay",
        }
    }
}

/// The steps of a text that begins with a verb.
fn chain(text: &str) -> Option<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    for (word, is_quoted) in words(text) {
        let verb = word.strip_prefix(':').filter(|verb| !is_quoted && is_verb(verb));
        match (verb, steps.last_mut()) {
            (Some(verb), _) => steps.push(Step { verb: verb.to_owned(), args: Vec::new() }),
            (None, Some(step)) => step.args.push(word),
            (None, None) => return None,
        }
    }
    Some(steps)
}

/// Letters, digits, `-`, `_` and the `::` of a namespace; a letter first.
fn is_verb(word: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | ':');
    word.starts_with(char::is_alphabetic) && word.chars().all(plain) && !word.ends_with(':')
}

/// Words between spaces, and whether they stood in quotes. A quote that is not closed reaches to the end.
fn words(text: &str) -> Vec<(String, bool)> {
    let (mut found, mut word, mut quoted) = (Vec::new(), String::new(), None);
    let mut take = |word: &mut String, is_quoted: bool| {
        if is_quoted || !word.is_empty() {
            found.push((std::mem::take(word), is_quoted));
        }
    };
    for c in text.chars() {
        match (c, quoted) {
            ('"', Some(true)) => {
                take(&mut word, true);
                quoted = None;
            }
            ('"', _) if word.is_empty() => quoted = Some(true),
            (c, None) if c.is_whitespace() => take(&mut word, false),
            (c, _) => word.push(c),
        }
    }
    take(&mut word, quoted.is_some());
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn step(verb: &str, args: &[&str]) -> Step {
        Step { verb: verb.to_owned(), args: args.iter().map(|arg| (*arg).to_owned()).collect() }
    }

    #[test]
    fn each_form_of_the_grammar_is_read() {
        let chain = |steps: &[Step]| Tack::Chain { steps: steps.to_vec() };
        for (text, expected) in [
            (":list", chain(&[step("list", &[])])),
            (":close 7 done", chain(&[step("close", &["7", "done"])])),
            (
                ":add \"Retry uploads\" p1 :compile",
                chain(&[step("add", &["Retry uploads", "p1"]), step("compile", &[])]),
            ),
            (":kernel::list", chain(&[step("kernel::list", &[])])),
            (":say \":list\" : :?", chain(&[step("say", &[":list", ":", ":?"])])),
            (":say \"\" a\"b", chain(&[step("say", &["", "a\"b"])])),
            (":say \"to the end", chain(&[step("say", &["to the end"])])),
            (".?  what is blocked", Tack::Query { text: "what is blocked".to_owned() }),
            ("→007", Tack::Needle { id: NeedleId::new(7) }),
            (" ->7 ", Tack::Needle { id: NeedleId::new(7) }),
            ("::reviewer", Tack::Escalate { target: "reviewer".to_owned() }),
        ] {
            assert_eq!(Tack::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn everything_else_is_hay() {
        for text in
            ["", ":", "::", ":)", ":7", ": list", "→", "→x", "→7 is late", "-> 7", "retry :list", "7", "a: b"]
        {
            assert_eq!(Tack::parse(text).form(), "hay", "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_tack(text in any::<String>()) {
            let tack = Tack::parse(&text);
            if let Tack::Chain { steps } = &tack {
                prop_assert!(!steps.is_empty());
            }
        }
    }
}
