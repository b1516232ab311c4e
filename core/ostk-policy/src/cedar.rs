//! The one Cedar policy set that all documents compile to, and its evaluation.
//!
//! Every line of a pin becomes one `forbid`; the built-in policy and the operator's rules are Cedar already. A
//! policy's id is its [`RuleRef`] as text, so that Cedar's diagnostics lead back to a line of a document. This is the
//! meaning of the documents: the index in `index` and `defaults` is only a faster way to the same answer.

use std::{
    collections::{BTreeMap, HashMap},
    str::FromStr,
    sync::Arc,
};

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision, Effect as CedarEffect, Entities, EntityId,
    EntityTypeName, EntityUid, Policy as CedarPolicy, PolicyId, PolicySet, Request as CedarRequest,
    RestrictedExpression,
};
use miette::Diagnostic;

use crate::{
    defaults::GOVERNANCE,
    documents::LoadError,
    facts::Facts,
    grant,
    index::{MORE_GOVERNANCE, NOT_SOURCE},
    listing::ListedRule,
    pack::{self, Pack},
    path::{PathPattern, components, fold},
    pin::{At, DenyToken, Execute, PathList, Pin},
    request::{ActorKind, Argument, Class, Resource},
    shell,
    verdict::{Effect, RuleRef},
};

/// Longest text of a rule without an `@id`, in characters.
const MAX_RULE_TEXT: usize = 160;

const READ: &str = r#"Action::"file_read""#;
const WRITES: &str = r#"Action::"file_edit", Action::"file_write""#;

/// A Cedar policy with the line it comes from.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) at: Arc<RuleRef>,
    permit: Permit,
    policy: CedarPolicy,
}

impl Rule {
    /// The rule as one of a document that nobody accepted: what it forbids and what it asks for holds, and it permits
    /// nothing; `None` when nothing is left of it.
    pub(crate) fn narrowed(mut self) -> Option<Self> {
        if self.policy.effect() == CedarEffect::Permit {
            match self.permit {
                Permit::Freely => return None,
                Permit::Ask | Permit::Narrow => self.permit = Permit::Narrow,
            }
        }
        Some(self)
    }
}

/// What a rule does when it permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Permit {
    /// It permits.
    Freely,
    /// It permits, and a person must consent.
    Ask,
    /// It permits nothing; what another rule permits needs a person's consent.
    Narrow,
}

/// What Cedar says about a request.
#[derive(Debug)]
pub(crate) struct Evaluation {
    pub(crate) allowed: bool,
    /// One of the permits asks for a person.
    pub(crate) ask: bool,
    /// Rules of packs that ask for a person.
    pub(crate) asks: Vec<Arc<RuleRef>>,
    /// The permits, when allowed; otherwise the forbids, of which there may be none.
    pub(crate) rules: Vec<Arc<RuleRef>>,
    /// A rule that could not be evaluated, with the reason. Such a request is denied.
    pub(crate) error: Option<(RuleRef, String)>,
}

/// A policy set that can be asked.
#[derive(Debug)]
pub(crate) struct Engine {
    set: PolicySet,
    rules: HashMap<PolicyId, (Arc<RuleRef>, Permit)>,
    /// As they were given.
    order: Vec<PolicyId>,
    types: HashMap<&'static str, EntityTypeName>,
    authorizer: Authorizer,
    entities: Entities,
}

const TYPES: [&str; 10] =
    ["Human", "Agent", "World", "Kernel", "Action", "Path", "Command", "Model", "Tool", "Host"];
const NOTHING: &str = "Nothing";

impl Engine {
    /// # Errors
    /// Two rules of one name, or more than Cedar takes.
    pub(crate) fn new(rules: &[Rule]) -> Result<Self, String> {
        let set = PolicySet::from_policies(rules.iter().map(|rule| rule.policy.clone()));
        let mut types = HashMap::new();
        for name in TYPES.into_iter().chain([NOTHING]) {
            types.insert(name, EntityTypeName::from_str(name).map_err(|e| e.to_string())?);
        }
        Ok(Self {
            set: set.map_err(|e| e.to_string())?,
            rules: rules.iter().map(|r| (r.policy.id().clone(), (Arc::clone(&r.at), r.permit))).collect(),
            order: rules.iter().map(|rule| rule.policy.id().clone()).collect(),
            types,
            authorizer: Authorizer::new(),
            entities: Entities::empty(),
        })
    }

    /// The rules in the order in which they were given.
    pub(crate) fn listed(&self) -> Vec<ListedRule> {
        let listed = |id: &PolicyId| {
            let (policy, (at, permit)) = (self.set.policy(id)?, self.rules.get(id)?);
            let effect = match (policy.effect(), permit) {
                (CedarEffect::Forbid, _) => Effect::Deny,
                (CedarEffect::Permit, Permit::Freely) => Effect::Allow,
                (CedarEffect::Permit, Permit::Ask | Permit::Narrow) => Effect::Ask,
            };
            Some(ListedRule { at: RuleRef::clone(at), effect, source: policy.to_string() })
        };
        self.order.iter().filter_map(listed).collect()
    }

    /// Evaluates every policy of the set. `pin` is that of the actor, `packs` those that are in the set.
    pub(crate) fn evaluate(&self, facts: &Facts<'_>, pin: Option<&Pin>, packs: &[Pack]) -> Evaluation {
        let request = match self.request(facts, pin, packs) {
            Ok(request) => request,
            Err(problem) => return Evaluation::failed("the request", problem),
        };
        let response = self.authorizer.is_authorized(&request, &self.set, &self.entities);
        if let Some(AuthorizationError::PolicyEvaluationError(error)) = response.diagnostics().errors().next()
        {
            let rule = self.rules.get(error.policy_id()).map(|(rule, _)| RuleRef::clone(rule));
            let error = rule.map(|rule| (rule, error.inner().to_string()));
            return match error {
                Some(error) => Evaluation { error: Some(error), ..Evaluation::nothing() },
                None => Evaluation::failed("a rule", "it could not be evaluated".to_owned()),
            };
        }
        let found: Vec<_> = response.diagnostics().reason().filter_map(|id| self.rules.get(id)).collect();
        let (asks, rules): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|(_, permit)| *permit == Permit::Narrow);
        let refs = |rules: Vec<&(Arc<RuleRef>, Permit)>| {
            rules.into_iter().map(|(rule, _)| Arc::clone(rule)).collect::<Vec<_>>()
        };
        Evaluation {
            allowed: response.decision() == Decision::Allow && !rules.is_empty(),
            ask: rules.iter().any(|(_, permit)| *permit == Permit::Ask),
            asks: refs(asks),
            rules: refs(rules),
            error: None,
        }
    }

    fn uid(&self, kind: &str, id: &str) -> Result<EntityUid, String> {
        let kind = self.types.get(kind).cloned().ok_or_else(|| format!("bug: no entity type {kind}"))?;
        Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
    }

    fn request(&self, facts: &Facts<'_>, pin: Option<&Pin>, packs: &[Pack]) -> Result<CedarRequest, String> {
        let request = facts.request;
        let principal = match request.actor.kind {
            ActorKind::Human => "Human",
            ActorKind::Agent => "Agent",
            ActorKind::World => "World",
            ActorKind::Kernel => "Kernel",
        };
        let (kind, id) = match &request.resource {
            Resource::None => (NOTHING, ""),
            Resource::Path(path) => ("Path", path.as_str()),
            Resource::Command(command) => ("Command", command.as_str()),
            Resource::Model(model) => ("Model", model.as_str()),
            Resource::Agent(agent) => ("Agent", agent.as_str()),
            Resource::Tool(tool) => ("Tool", tool.as_str()),
            Resource::Host(host) => ("Host", host.as_str()),
        };
        let mut pairs = context(facts, pin);
        if !packs.is_empty() {
            pairs.push(("pack".to_owned(), pack::context(packs, facts)));
        }
        let context = Context::from_pairs(pairs).map_err(|e| e.to_string())?;
        CedarRequest::new(
            self.uid(principal, &request.actor.lineage)?,
            self.uid("Action", request.class.as_str())?,
            self.uid(kind, id)?,
            context,
            None,
        )
        .map_err(|e| e.to_string())
    }
}

impl Evaluation {
    fn failed(what: &str, problem: String) -> Self {
        let rule = RuleRef { document: "cedar".to_owned(), line: 0, text: what.to_owned() };
        Self { error: Some((rule, problem)), ..Self::nothing() }
    }

    const fn nothing() -> Self {
        Self { allowed: false, ask: false, asks: Vec::new(), rules: Vec::new(), error: None }
    }
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn set<'a>(values: impl IntoIterator<Item = &'a str>) -> RestrictedExpression {
    RestrictedExpression::new_set(values.into_iter().map(text))
}

/// The context of a request, as the head of `default.cedar` describes it.
fn context(facts: &Facts<'_>, pin: Option<&Pin>) -> Vec<(String, RestrictedExpression)> {
    let request = facts.request;
    let verbs = request
        .command()
        .zip(facts.survey())
        .map(|(command, survey)| shell::verbs(command, survey))
        .unwrap_or_default();
    let flag = RestrictedExpression::new_bool;
    let mut pairs = vec![
        ("call", text(&request.call)),
        ("class", text(request.class.as_str())),
        ("lineage", text(&request.actor.lineage)),
        ("labels", set(request.labels.iter().map(String::as_str))),
        ("under", set(facts.under())),
        ("under_folded", set(facts.under_folded())),
        ("names_folded", set(facts.names_folded())),
        ("verbs", set(verbs.iter().map(String::as_str))),
        ("malformed", flag(facts.malformed)),
        ("pin_missing", flag(facts.pin_missing)),
        ("secret", flag(facts.secret())),
        ("beyond_limits", flag(facts.beyond_limits())),
        ("globs", set(matching_globs(facts, pin))),
        ("deny_globs", set(matching_deny_globs(facts, pin))),
    ];
    pairs.extend(facts.path.map(|path| ("path", text(path))));
    pairs.extend(facts.folded.as_deref().map(|path| ("folded", text(path))));
    pairs.extend(request.actor.pin.as_deref().map(|pin| ("pin", text(pin))));
    pairs.extend(request.stack.as_deref().map(|stack| ("stack", text(stack))));
    pairs.extend(request.task.as_deref().map(|task| ("task", text(task))));
    pairs.push(("host_granted", flag(facts.host_granted)));
    pairs.push(("unjudgeable", flag(facts.unjudgeable)));
    pairs.push(("private_address", flag(facts.private_address)));
    pairs.push(("beyond_arguments", flag(facts.beyond_arguments())));
    pairs.push(("args", arguments(&request.args)));
    if let Some(tools) = &request.actor.tools {
        let granted = Class::ALL.into_iter().filter(|class| grant::grants(tools, *class, facts.path));
        pairs.push(("tools", set(granted.map(Class::as_str))));
    }
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The arguments as a record. One that is withheld is left out, so that a rule which names it fails, and so denies.
fn arguments(args: &BTreeMap<String, Argument>) -> RestrictedExpression {
    let value = |argument: &Argument| match argument {
        Argument::Flag(flag) => Some(RestrictedExpression::new_bool(*flag)),
        Argument::Number(number) => Some(RestrictedExpression::new_long(*number)),
        Argument::Text(value) => Some(text(value)),
        Argument::Texts(values) => Some(set(values.iter().map(String::as_str))),
        Argument::Withheld { .. } => None,
    };
    let pairs = args.iter().filter_map(|(name, argument)| Some((name.clone(), value(argument)?)));
    // Names of a map occur once, which is all that a record asks for.
    RestrictedExpression::new_record(pairs).unwrap_or_else(|_| RestrictedExpression::new_bool(false))
}

/// The permitting globs of the pin that match the path. Cedar's `like` knows no components, so a glob is a fact.
fn matching_globs<'a>(facts: &Facts<'_>, pin: Option<&'a Pin>) -> Vec<&'a str> {
    let Some((path, pin)) = facts.path.zip(pin) else { return Vec::new() };
    let parts = components(path);
    let lists = pin.read.iter().chain(&pin.write).flat_map(|list| &list.paths);
    let globs = lists.filter(|path| path.literal().is_none());
    globs.filter(|glob| glob.glob().matches(&parts)).map(PathPattern::as_str).collect()
}

/// The denying globs of the pin that match the path.
fn matching_deny_globs<'a>(facts: &Facts<'_>, pin: Option<&'a Pin>) -> Vec<&'a str> {
    let Some(pin) = pin.filter(|_| facts.path.is_some()) else { return Vec::new() };
    let parts = facts.components_folded();
    let globs = pin.denied().filter(|path| path.literal().is_none());
    globs.filter(|glob| glob.deny_glob().matches(&parts)).map(PathPattern::as_str).collect()
}

/// The `forbid`s that a pin stands for.
///
/// # Errors
/// A bug: a line of the pin that Cedar does not take.
pub(crate) fn pin_rules(pin: &Pin) -> Result<Vec<Rule>, LoadError> {
    let mut made = Vec::new();
    for (key, actions, list) in [("read", READ, &pin.read), ("write", WRITES, &pin.write)] {
        made.extend(
            list.as_ref().map(|l| (pin.list_rule(key, l), actions.to_owned(), format!("!({})", covered(l)))),
        );
    }
    made.extend(pin.execute_rule().map(|(mode, rule)| (rule, denied_shells(mode), String::new())));
    for at in &pin.deny {
        made.extend(
            token_conditions(at).into_iter().map(|(actions, when)| (pin.token_rule(at), actions, when)),
        );
    }
    made.extend(
        pin.deny_paths.iter().map(|at| (pin.deny_path_rule(at), String::new(), denied_path(&at.value))),
    );
    made.extend(
        pin.deny_verbs.iter().map(|at| (pin.deny_verb_rule(at), String::new(), denied_verb(&at.value))),
    );
    made.into_iter()
        .enumerate()
        .map(|(nth, (rule, actions, when))| forbid(pin, nth, rule, &actions, &when))
        .collect()
}

/// `forbid` for those under the pin, on some actions or all, under a condition or always.
fn forbid(pin: &Pin, nth: usize, rule: RuleRef, actions: &str, when: &str) -> Result<Rule, LoadError> {
    let action = if actions.is_empty() { "action".to_owned() } else { format!("action in [{actions}]") };
    let and = if when.is_empty() { String::new() } else { format!(" && ({when})") };
    let source = format!(
        "forbid (principal, {action}, resource) when {{ context has pin && context.pin == {}{and} }};",
        quote(&pin.name)
    );
    // The number tells apart the two policies that one token may become.
    let id = PolicyId::new(format!("{rule} [{nth}]"));
    match CedarPolicy::parse(Some(id), source) {
        Ok(policy) => Ok(Rule { at: Arc::new(rule), permit: Permit::Freely, policy }),
        Err(problem) => Err(not_accepted(&rule, &problem)),
    }
}

fn not_accepted(rule: &RuleRef, problem: &cedar_policy::ParseErrors) -> LoadError {
    LoadError {
        message: format!("bug: not accepted by Cedar: {problem}"),
        document: rule.document.clone(),
        line: rule.line.max(1),
        column: 1,
        hint: None,
    }
}

/// The policies that a pack stands for.
///
/// # Errors
/// A bug: a rule that Cedar does not take.
pub(crate) fn pack_rules(pack: &Pack) -> Result<Vec<Rule>, LoadError> {
    let compiled = |(nth, made): (usize, pack::Made)| {
        let id = PolicyId::new(format!("{} [{nth}]", made.at));
        let permit = if made.asks { Permit::Narrow } else { Permit::Freely };
        match CedarPolicy::parse(Some(id), made.source) {
            Ok(policy) => Ok(Rule { at: made.at, permit, policy }),
            Err(problem) => Err(not_accepted(&made.at, &problem)),
        }
    };
    pack::rules(pack).into_iter().enumerate().map(compiled).collect()
}

fn covered(list: &PathList) -> String {
    let literals = list.paths.iter().filter_map(PathPattern::literal);
    let globs = list.paths.iter().filter(|path| path.literal().is_none()).map(PathPattern::as_str);
    format!("context.under.containsAny({}) || context.globs.containsAny({})", quoted(literals), quoted(globs))
}

fn denied_shells(mode: Execute) -> String {
    let denied: &[Class] = match mode {
        Execute::Shell => &[Class::ShellSecret],
        Execute::ReadonlyShell => &[Class::ShellWrite, Class::ShellSecret],
        Execute::None => &[Class::ShellRead, Class::ShellWrite, Class::ShellExec, Class::ShellSecret],
    };
    let actions: Vec<String> = denied.iter().map(|class| format!("Action::\"{}\"", class.as_str())).collect();
    actions.join(", ")
}

/// The actions and the condition of each `forbid` that a token stands for.
fn token_conditions(at: &At<DenyToken>) -> Vec<(String, String)> {
    let writes = WRITES.to_owned();
    match at.value {
        DenyToken::WriteKernel => vec![(writes, r#"context.under_folded.contains(".ostk")"#.to_owned())],
        DenyToken::ModifyGovernance => {
            let names = GOVERNANCE.into_iter().chain(MORE_GOVERNANCE);
            vec![(writes, format!("context.under_folded.containsAny({})", quoted(names)))]
        }
        DenyToken::WriteSrc => vec![(writes, format!("!context.under.containsAny({})", quoted(NOT_SOURCE)))],
        DenyToken::ReadSecrets => vec![
            (READ.to_owned(), "context.secret".to_owned()),
            (r#"Action::"shell_secret", Action::"kernel_secret""#.to_owned(), String::new()),
        ],
        DenyToken::SpawnAgent => vec![(r#"Action::"kernel_spawn""#.to_owned(), String::new())],
        DenyToken::Network => vec![(r#"Action::"net_connect""#.to_owned(), String::new())],
    }
}

fn denied_path(pattern: &PathPattern) -> String {
    match pattern.literal() {
        Some(literal) => format!("context.under_folded.contains({})", quote(&fold(literal))),
        None => format!("context.deny_globs.contains({})", quote(pattern.as_str())),
    }
}

fn denied_verb(verb: &str) -> String {
    let quoted = quote(verb);
    let family = quote(&format!("{verb}.")).trim_end_matches('"').replace('*', "\\*");
    format!("context.verbs.contains({quoted}) || context.call == {quoted} || context.call like {family}*\"")
}

/// A Cedar string literal.
pub(crate) fn quote(value: &str) -> String {
    format!("\"{}\"", value.escape_default())
}

/// A Cedar set of string literals.
fn quoted<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let values: Vec<String> = values.into_iter().map(quote).collect();
    format!("[{}]", values.join(", "))
}

/// Reads a Cedar text, with the line of each of its rules.
///
/// # Errors
/// What Cedar says, with line and column; a template; an `@effect` that is not `"ask"` on a `permit`.
pub(crate) fn read(document: &str, source: &str) -> Result<Vec<Rule>, Vec<LoadError>> {
    let parsed = PolicySet::from_str(source).map_err(|errors| {
        errors.iter().map(|error| parse_error(document, source, error)).collect::<Vec<_>>()
    })?;
    if parsed.num_of_templates() > 0 {
        return Err(vec![at(document, source, 0, "templates (`?principal`) are not used here".to_owned())]);
    }
    let mut policies: Vec<&CedarPolicy> = parsed.policies().collect();
    policies.sort_by_key(|policy| policy.id().to_string().trim_start_matches("policy").parse::<usize>().ok());
    let mut rules = Vec::new();
    let mut offset = 0;
    for policy in policies {
        let text = policy.to_string();
        let start = find_policy(source, &text, offset);
        let (line, _) = line_column(source, start);
        offset = start + text.len();
        rules.push(located(document, line, &text, policy).map_err(|error| vec![error])?);
    }
    Ok(rules)
}

/// Where `text` begins in `source` at or after `from`, outside a comment line.
fn find_policy(source: &str, text: &str, from: usize) -> usize {
    let mut hits = source.get(from..).unwrap_or_default().match_indices(text).map(|(at, _)| from + at);
    let commented = |at: usize| {
        let before = source.get(..at).unwrap_or_default();
        before.rsplit('\n').next().is_some_and(|line| line.contains("//"))
    };
    hits.find(|at| !commented(*at)).unwrap_or(from)
}

fn located(document: &str, line: usize, source: &str, policy: &CedarPolicy) -> Result<Rule, LoadError> {
    let named = policy.annotation("id").filter(|id| !id.is_empty());
    let text = named.unwrap_or_else(|| source.lines().next().unwrap_or_default().trim());
    let rule =
        RuleRef { document: document.to_owned(), line, text: text.chars().take(MAX_RULE_TEXT).collect() };
    let permit = match (policy.annotation("effect"), policy.effect()) {
        (None, _) => Permit::Freely,
        (Some("ask"), CedarEffect::Permit) => Permit::Ask,
        _ => {
            let message = "`@effect` can only be \"ask\", on a permit".to_owned();
            return Err(LoadError { document: rule.document, line, column: 1, message, hint: None });
        }
    };
    let policy = policy.new_id(PolicyId::new(rule.to_string()));
    Ok(Rule { at: Arc::new(rule), permit, policy })
}

fn parse_error(document: &str, source: &str, error: &cedar_policy::ParseError) -> LoadError {
    let offset = error.labels().and_then(|mut labels| labels.next()).map_or(0, |label| label.offset());
    let mut problem = at(document, source, offset, error.to_string());
    problem.hint = error.help().map(|help| help.to_string());
    problem
}

fn at(document: &str, source: &str, offset: usize, message: String) -> LoadError {
    let (line, column) = line_column(source, offset);
    LoadError { document: document.to_owned(), line, column, message, hint: None }
}

/// 1-based line and column, in characters, of a byte offset.
fn line_column(source: &str, offset: usize) -> (usize, usize) {
    let before = source.get(..offset).unwrap_or(source);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    (line, column)
}
