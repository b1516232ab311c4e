//! Packs in Cedar: each rule as a `forbid`, or as a permit that asks, under the conditions written out.
//!
//! Cedar can say everything but regular expressions, so which of those match is a fact of the context. `context.pack`
//! holds the fields that some rule looks at: `values` as sets, and by their kind `text`, `lists` and `number`, because
//! Cedar cannot ask of what kind a value is; `withheld` names what may not be judged; `yes` and `maybe` name the
//! conditions with a regular expression that hold, and those that hold or cannot be judged.

use std::{collections::BTreeSet, sync::Arc};

use cedar_policy::RestrictedExpression as Expression;

use super::{
    Action, Pack, Rule,
    condition::{Condition, Field, Item, Order, Scalar, Test, Value},
};
use crate::{cedar::quote, facts::Facts, verdict::RuleRef};

/// A rule of a pack for the policy set.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) at: Arc<RuleRef>,
    /// A permit that asks, and permits nothing by itself.
    pub(crate) asks: bool,
    pub(crate) source: String,
}

/// The policies of a pack.
pub(crate) fn rules(pack: &Pack) -> Vec<Made> {
    let mut made = Vec::new();
    // The rules above that end the pack, as conditions that must not hold.
    let mut unless = String::new();
    let mut none = String::new();
    for rule in &pack.rules {
        let (yes, maybe) = (all(rule, said), all(rule, possible));
        let mut add = |asks, when: &str| made.push(policy(&rule.at, asks, &format!("{when}{unless}")));
        match rule.action {
            Action::Deny => add(false, &maybe),
            Action::Allow => add(false, &format!("({maybe}) && !({yes})")),
            Action::Ask => {
                add(false, &format!("({maybe}) && !({yes})"));
                add(true, &yes);
            }
        }
        if rule.action != Action::Deny {
            unless.push_str(&format!(" && !({yes})"));
        }
        none.push_str(&format!(" && !({maybe})"));
    }
    if let Some((action, at)) = &pack.default {
        made.push(policy(at, *action == Action::Ask, &format!("true{none}")));
    }
    made
}

fn policy(at: &Arc<RuleRef>, asks: bool, when: &str) -> Made {
    let effect = if asks { "@effect(\"ask-if-permitted\")\npermit" } else { "forbid" };
    let source = format!(
        "{effect} (principal, action, resource)\nwhen {{ (principal is Agent || principal is World) && {when} }};"
    );
    Made { at: Arc::clone(at), asks, source }
}

fn all(rule: &Rule, say: fn(&str, &Condition) -> String) -> String {
    let said = rule.conditions.iter().map(|condition| format!("({})", say(&rule.at.document, condition)));
    said.collect::<Vec<_>>().join(" && ")
}

/// The condition holds.
fn said(document: &str, condition: &Condition) -> String {
    let field = quote(&condition.field.name());
    match &condition.test {
        Test::Among { values, negated: false } => {
            format!(
                "context.pack.values has {field} && {}.containsAll(context.pack.values[{field}])",
                set(values)
            )
        }
        Test::Among { values, negated: true } => {
            format!(
                "context.pack.values has {field} && !({}.containsAny(context.pack.values[{field}]))",
                set(values)
            )
        }
        Test::Compare(order, limit) => {
            let sign = match order {
                Order::Greater => ">",
                Order::Less => "<",
                Order::AtLeast => ">=",
                Order::AtMost => "<=",
            };
            format!("context.pack.number has {field} && context.pack.number[{field}] {sign} {limit}")
        }
        Test::Contains(part) => {
            let like = quote(part).replace('*', "\\*");
            let like = like.strip_prefix('"').and_then(|like| like.strip_suffix('"')).unwrap_or_default();
            format!(
                "(context.pack.text has {field} && context.pack.text[{field}] like \"*{like}*\") || \
                 (context.pack.lists has {field} && context.pack.lists[{field}].contains({}))",
                quote(part)
            )
        }
        Test::Matches(_) => format!("context.pack.yes.contains({})", quote(&name(document, condition))),
    }
}

/// The condition holds or cannot be judged.
fn possible(document: &str, condition: &Condition) -> String {
    let field = quote(&condition.field.name());
    let possible = match &condition.test {
        Test::Among { values, negated: false } => {
            format!(
                "context.pack.values has {field} && {}.containsAny(context.pack.values[{field}])",
                set(values)
            )
        }
        Test::Among { values, negated: true } => {
            format!(
                "context.pack.values has {field} && !({}.containsAll(context.pack.values[{field}]))",
                set(values)
            )
        }
        Test::Compare(..) => format!(
            "({}) || (context.pack.values has {field} && !(context.pack.number has {field}))",
            said(document, condition)
        ),
        Test::Contains(_) => format!(
            "({}) || (context.pack.values has {field} && !(context.pack.text has {field}) && \
             !(context.pack.lists has {field}))",
            said(document, condition)
        ),
        Test::Matches(_) => {
            return format!("context.pack.maybe.contains({})", quote(&name(document, condition)));
        }
    };
    match condition.field {
        Field::Named(_) => possible,
        Field::Argument(_) => format!("({possible}) || context.pack.withheld.contains({field})"),
    }
}

fn name(document: &str, condition: &Condition) -> String {
    format!("{document}:{}:{}", condition.place.0, condition.place.1)
}

fn set(values: &[Scalar]) -> String {
    let written = values.iter().map(|value| match value {
        Scalar::Text(text) => quote(text),
        Scalar::Number(number) => number.to_string(),
        Scalar::Flag(flag) => flag.to_string(),
    });
    format!("[{}]", written.collect::<Vec<_>>().join(", "))
}

/// `context.pack` for a request.
pub(crate) fn context(packs: &[Pack], facts: &Facts<'_>) -> Expression {
    let fields: BTreeSet<&Field> = packs.iter().flat_map(|pack| &pack.fields).collect();
    let (mut values, mut text, mut lists, mut number) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut withheld = Vec::new();
    for field in fields {
        let name = field.name().into_owned();
        match field.value(facts) {
            Value::Missing => {}
            Value::Withheld => withheld.push(Expression::new_string(name)),
            Value::One(item) => {
                values.push((name.clone(), Expression::new_set([expression(item)])));
                match item {
                    Item::Text(_) => text.push((name, expression(item))),
                    Item::Number(_) => number.push((name, expression(item))),
                    Item::Flag(_) => {}
                }
            }
            Value::Many(texts) => {
                let set = || Expression::new_set(texts.iter().map(|text| expression(Item::Text(text))));
                values.push((name.clone(), set()));
                lists.push((name, set()));
            }
        }
    }
    let (yes, maybe) = matching(packs, facts);
    record([
        ("values", record(values)),
        ("text", record(text)),
        ("lists", record(lists)),
        ("number", record(number)),
        ("withheld", Expression::new_set(withheld)),
        ("yes", Expression::new_set(yes)),
        ("maybe", Expression::new_set(maybe)),
    ])
}

/// The names of the conditions with a regular expression that hold, and of those that hold or cannot be judged.
fn matching(packs: &[Pack], facts: &Facts<'_>) -> (Vec<Expression>, Vec<Expression>) {
    let (mut yes, mut maybe) = (Vec::new(), Vec::new());
    for rule in packs.iter().flat_map(|pack| &pack.rules) {
        for condition in rule.conditions.iter().filter(|condition| matches!(condition.test, Test::Matches(_)))
        {
            let verdict = condition.judge(facts);
            let name = || Expression::new_string(name(&rule.at.document, condition));
            yes.extend((verdict == Some(true)).then(name));
            maybe.extend((verdict != Some(false)).then(name));
        }
    }
    (yes, maybe)
}

fn expression(item: Item<'_>) -> Expression {
    match item {
        Item::Text(text) => Expression::new_string(text.to_owned()),
        Item::Number(number) => Expression::new_long(number),
        Item::Flag(flag) => Expression::new_bool(flag),
    }
}

/// A record. Names of fields occur once, which is all that it asks for.
fn record<K: Into<String>>(pairs: impl IntoIterator<Item = (K, Expression)>) -> Expression {
    let pairs = pairs.into_iter().map(|(name, value)| (name.into(), value));
    Expression::new_record(pairs).unwrap_or_else(|_| Expression::new_bool(false))
}
