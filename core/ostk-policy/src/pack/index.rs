//! Which rules of a pack a request can meet, found by hash: the cost of a verdict does not grow with rules about other
//! calls.
//!
//! A rule is filed under one value that it demands of a field which is always one text, `call eq file.write` for one. A
//! rule without such a demand is tried for every request.

use std::collections::HashMap;

use super::{
    Rule,
    condition::{Field, Name, Scalar, Test, text},
};
use crate::facts::Facts;

/// Fields that rules are filed under, those that tell most requests apart first.
const KEYS: [Name; 10] = [
    Name::Tool,
    Name::Model,
    Name::Agent,
    Name::Command,
    Name::Host,
    Name::Path,
    Name::Call,
    Name::Lineage,
    Name::Pin,
    Name::Class,
];

/// The numbers of rules by what they demand.
#[derive(Debug, Default)]
pub(super) struct Index {
    filed: HashMap<Name, HashMap<String, Vec<usize>>>,
    others: Vec<usize>,
}

impl Index {
    pub(super) fn new(rules: &[Rule]) -> Self {
        let mut index = Self::default();
        for (at, rule) in rules.iter().enumerate() {
            let Some((name, values)) = KEYS.into_iter().find_map(|name| Some((name, demanded(rule, name)?)))
            else {
                index.others.push(at);
                continue;
            };
            let filed = index.filed.entry(name).or_default();
            for value in values {
                let numbers = filed.entry(value.to_owned()).or_default();
                if numbers.last() != Some(&at) {
                    numbers.push(at);
                }
            }
        }
        index
    }

    /// The rules that the request can meet, in their order.
    pub(super) fn candidates(&self, facts: &Facts<'_>) -> Vec<usize> {
        let mut found = self.others.clone();
        for (name, filed) in &self.filed {
            found.extend(text(*name, facts).and_then(|text| filed.get(text)).into_iter().flatten());
        }
        found.sort_unstable();
        found
    }
}

/// The texts one of which the rule demands of a field.
fn demanded(rule: &Rule, name: Name) -> Option<Vec<&str>> {
    rule.conditions.iter().find_map(|condition| match &condition.test {
        Test::Among { values, negated: false } if condition.field == Field::Named(name) => {
            let texts = values.iter().filter_map(|value| match value {
                Scalar::Text(text) => Some(text.as_str()),
                _ => None,
            });
            Some(texts.collect())
        }
        _ => None,
    })
}
