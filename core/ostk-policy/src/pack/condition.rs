//! One condition of a rule: a field of the request, an operator, a value; and whether it holds.
//!
//! A field that the request does not have never matches. On several values (labels, an argument that is a list) the
//! condition must hold for each: where it holds for some only, it cannot be said, and a rule that cannot be judged denies.
//! `contains` asks whether one of several is the value, or whether a text holds it.

use std::borrow::Cow;

use regex::Regex;

use crate::{
    facts::Facts,
    request::{Argument, Request, Resource},
};

/// A part of a request that rules may look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Field {
    Named(Name),
    /// `args.message.to`.
    Argument(String),
}

/// The fields that every request may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Name {
    Lineage,
    Kind,
    Pin,
    Call,
    Class,
    Path,
    Command,
    Host,
    Port,
    Model,
    Tool,
    Agent,
    Labels,
    Task,
    Stack,
}

impl Name {
    pub(super) const ALL: [(&'static str, Self); 15] = [
        ("actor.lineage", Self::Lineage),
        ("actor.kind", Self::Kind),
        ("actor.pin", Self::Pin),
        ("call", Self::Call),
        ("class", Self::Class),
        ("path", Self::Path),
        ("command", Self::Command),
        ("host", Self::Host),
        ("port", Self::Port),
        ("model", Self::Model),
        ("tool", Self::Tool),
        ("agent", Self::Agent),
        ("labels", Self::Labels),
        ("task", Self::Task),
        ("stack", Self::Stack),
    ];
}

impl Field {
    /// As a pack writes it.
    pub(super) fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Named(name) => {
                Cow::Borrowed(Name::ALL.iter().find(|(_, own)| own == name).map_or("", |(text, _)| text))
            }
            Self::Argument(name) => Cow::Owned(format!("args.{name}")),
        }
    }

    /// What the request has there.
    pub(super) fn value<'a>(&self, facts: &'a Facts<'_>) -> Value<'a> {
        let request = facts.request;
        match self {
            Self::Named(Name::Labels) => Value::many(&request.labels),
            Self::Named(Name::Port) => match target(request).and_then(|(_, port)| port.parse().ok()) {
                Some(port) => Value::One(Item::Number(port)),
                None => Value::Missing,
            },
            Self::Named(name) => {
                text(*name, facts).map_or(Value::Missing, |text| Value::One(Item::Text(text)))
            }
            Self::Argument(name) => match request.args.get(name) {
                None => Value::Missing,
                Some(Argument::Flag(flag)) => Value::One(Item::Flag(*flag)),
                Some(Argument::Number(number)) => Value::One(Item::Number(*number)),
                Some(Argument::Text(text)) => Value::One(Item::Text(text)),
                Some(Argument::Texts(texts)) => Value::many(texts),
                Some(Argument::Withheld { .. }) => Value::Withheld,
            },
        }
    }
}

/// The fields that are one text.
pub(super) fn text<'a>(name: Name, facts: &'a Facts<'_>) -> Option<&'a str> {
    let request = facts.request;
    match (name, &request.resource) {
        (Name::Lineage, _) => Some(&request.actor.lineage),
        (Name::Kind, _) => Some(request.actor.kind.as_str()),
        (Name::Pin, _) => request.actor.pin.as_deref(),
        (Name::Call, _) => Some(&request.call),
        (Name::Class, _) => Some(request.class.as_str()),
        (Name::Path, _) => facts.path,
        (Name::Command, Resource::Command(text))
        | (Name::Model, Resource::Model(text))
        | (Name::Tool, Resource::Tool(text))
        | (Name::Agent, Resource::Agent(text)) => Some(text),
        (Name::Host, _) => target(request).map(|(host, _)| host),
        (Name::Task, _) => request.task.as_deref(),
        (Name::Stack, _) => request.stack.as_deref(),
        _ => None,
    }
}

/// Host and port as the request writes them.
fn target(request: &Request) -> Option<(&str, &str)> {
    request.host()?.rsplit_once(':')
}

/// What stands in a field.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Missing,
    /// There, and not to be judged.
    Withheld,
    One(Item<'a>),
    /// Several, at least one.
    Many(&'a [String]),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item<'a> {
    Text(&'a str),
    Number(i64),
    Flag(bool),
}

impl<'a> Value<'a> {
    fn many(texts: &'a [String]) -> Self {
        if texts.is_empty() { Self::Missing } else { Self::Many(texts) }
    }
}

impl Item<'_> {
    fn printed(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Number(number) => Cow::Owned(number.to_string()),
            Self::Flag(flag) => Cow::Owned(flag.to_string()),
        }
    }
}

/// A value that a pack writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scalar {
    Text(String),
    Number(i64),
    Flag(bool),
}

impl Scalar {
    fn is(&self, item: Item<'_>) -> bool {
        match (self, item) {
            (Self::Text(own), Item::Text(text)) => own == text,
            (Self::Number(own), Item::Number(number)) => *own == number,
            (Self::Flag(own), Item::Flag(flag)) => *own == flag,
            _ => false,
        }
    }
}

/// How numbers are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Greater,
    Less,
    AtLeast,
    AtMost,
}

/// What is asked of a field.
#[derive(Debug)]
pub(super) enum Test {
    /// `eq`, `in`; negated `ne`, `not_in`.
    Among { values: Vec<Scalar>, negated: bool },
    /// `gt`, `lt`, `gte`, `lte`.
    Compare(Order, i64),
    /// `contains`.
    Contains(String),
    /// `matches`.
    Matches(Regex),
}

/// One condition.
#[derive(Debug)]
pub(super) struct Condition {
    pub(super) field: Field,
    pub(super) test: Test,
    /// Line and column, which name it among all conditions of a pack.
    pub(super) place: (usize, usize),
}

impl Condition {
    /// Whether it holds; `None` when it cannot be said.
    pub(super) fn judge(&self, facts: &Facts<'_>) -> Option<bool> {
        let value = self.field.value(facts);
        match (&self.test, value) {
            (_, Value::Missing) => Some(false),
            (_, Value::Withheld) => None,
            (Test::Among { values, negated }, value) => {
                each(value, |item| values.iter().any(|own| own.is(item)) != *negated)
            }
            (Test::Matches(regex), value) => each(value, |item| regex.is_match(&item.printed())),
            (Test::Compare(order, limit), Value::One(Item::Number(number))) => Some(match order {
                Order::Greater => number > *limit,
                Order::Less => number < *limit,
                Order::AtLeast => number >= *limit,
                Order::AtMost => number <= *limit,
            }),
            (Test::Contains(part), Value::One(Item::Text(text))) => Some(text.contains(part.as_str())),
            (Test::Contains(part), Value::Many(texts)) => Some(texts.contains(part)),
            (Test::Compare(..) | Test::Contains(_), Value::One(_) | Value::Many(_)) => None,
        }
    }
}

/// Whether something holds for every item; `None` when for some only.
fn each(value: Value<'_>, holds: impl Fn(Item<'_>) -> bool) -> Option<bool> {
    match value {
        Value::One(item) => Some(holds(item)),
        Value::Many(texts) => {
            let count = texts.iter().filter(|text| holds(Item::Text(text))).count();
            if count == texts.len() { Some(true) } else { (count == 0).then_some(false) }
        }
        Value::Missing => Some(false),
        Value::Withheld => None,
    }
}
