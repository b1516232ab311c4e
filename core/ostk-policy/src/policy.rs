//! The documents compiled: one Cedar policy set that says what they mean, and an index that says it faster.
//!
//! [`Policy::decide`] asks the index for the built-in rules and the pins, and Cedar only for the operator's own rules.
//! [`Policy::decide_by_cedar`] asks Cedar for everything: slower, the same answer, for tests and for whoever replays
//! the verdicts of a log. Both are pure. A rule that cannot be evaluated denies.

use std::{collections::HashMap, sync::Arc};

use ostk_log::Hash;

use crate::{
    bounds::{Bounds, bounds},
    cedar::{self, Engine, Evaluation},
    consent::{self, Approvals, Consent},
    defaults::{DEFAULT_DOCUMENT, DEFAULT_POLICY, Defaults},
    documents::{
        CUSTOM_DOCUMENT, Documents, Lint, LoadError, LoadErrors, MAX_LINES, MAX_PINS, MAX_TEXT_BYTES,
    },
    entityfile::Entityfile,
    facts::{Facts, Given},
    host::HostPattern,
    humanfile::Humanfile,
    index::PinIndex,
    listing::ListedRule,
    pack::{MAX_PACKS, Objections, Pack},
    path::PathPattern,
    pin::Pin,
    primefile::Primefile,
    request::{Actor, Request},
    verdict::{Effect, RuleRef, Verdict},
};

/// Version of what the rules mean. Part of the fingerprint; raised whenever equal texts and an equal request could get
/// another verdict.
pub const SEMANTICS_VERSION: u32 = 3;

/// A pin in both forms.
#[derive(Debug)]
struct LoadedPin {
    pin: Pin,
    index: PinIndex,
}

/// Compiled documents. Immutable; a change of a document makes a new one.
#[derive(Debug)]
pub struct Policy {
    defaults: Defaults,
    pins: HashMap<String, LoadedPin>,
    /// The operator's own rules, when there are any.
    custom: Option<Engine>,
    packs: Vec<Pack>,
    /// Both layers of HUMANFILE.
    humanfile: Humanfile,
    /// Hosts that agents may reach.
    hosts: Vec<HostPattern>,
    /// Labels of paths.
    labels: Vec<(PathPattern, String)>,
    /// What agents do without asking.
    approvals: Approvals,
    /// The texts of the operator's own rules.
    rules: String,
    /// Every rule.
    all: Engine,
    fingerprint: Hash,
}

/// What was found before it is put into words.
#[derive(Debug, Default)]
struct Findings {
    forbids: Vec<Arc<RuleRef>>,
    permits: Vec<Arc<RuleRef>>,
    /// Rules of packs that ask for a person.
    asks: Vec<Arc<RuleRef>>,
    ask: bool,
    error: Option<(RuleRef, String)>,
}

impl Findings {
    fn add(&mut self, evaluation: Evaluation) {
        let rules = if evaluation.allowed { &mut self.permits } else { &mut self.forbids };
        rules.extend(evaluation.rules);
        self.asks.extend(evaluation.asks);
        self.ask |= evaluation.ask;
        self.error = evaluation.error;
    }
}

impl Policy {
    /// Compiles the documents. All or nothing.
    ///
    /// # Errors
    /// Everything that is malformed, up to twenty problems.
    pub fn load(documents: &Documents) -> Result<Self, LoadErrors> {
        let mut errors = Vec::new();
        let mut rules = keep(cedar::read(DEFAULT_DOCUMENT, DEFAULT_POLICY), &mut errors);
        let defaults = Defaults::new(rules.iter().map(|rule| Arc::clone(&rule.at)));
        let mut pins = HashMap::new();
        for (name, text) in &documents.pins {
            let Some(pin) = load_pin(name, text, &mut errors) else { continue };
            match cedar::pin_rules(&pin) {
                Ok(made) => rules.extend(made),
                Err(error) => errors.push(error),
            }
            pins.insert(name.clone(), LoadedPin { index: PinIndex::new(&pin), pin });
        }
        if documents.pins.len() > MAX_PINS {
            errors.push(whole(".ostk/pins", format!("more than {MAX_PINS} pins")));
        }
        let own = load_own(documents, &mut errors);
        let humanfile = load_others(documents, &mut errors);
        let packs = load_packs(documents, &mut rules, &mut errors);
        let engine = |rules: &[cedar::Rule], errors: &mut Vec<LoadError>| {
            Engine::new(rules).map_err(|problem| errors.push(whole(CUSTOM_DOCUMENT, problem))).ok()
        };
        let custom = if own.is_empty() { None } else { engine(&own, &mut errors) };
        rules.extend(own);
        let all = engine(&rules, &mut errors);
        match (LoadErrors::from_list(errors), all) {
            (None, Some(all)) => {
                let hosts = humanfile.connect().collect();
                let approvals = approvals(&humanfile);
                let labels = humanfile.labels().collect();
                Ok(Self {
                    defaults,
                    pins,
                    custom,
                    packs,
                    humanfile,
                    hosts,
                    labels,
                    approvals,
                    rules: documents.custom.clone().unwrap_or_default(),
                    all,
                    fingerprint: fingerprint(documents),
                })
            }
            (Some(errors), _) => Err(errors),
            (None, None) => Err(whole(CUSTOM_DOCUMENT, "bug: no policy set".to_owned()).into()),
        }
    }

    /// The digest of all effective texts, the built-in policy included, and of [`SEMANTICS_VERSION`].
    pub const fn fingerprint(&self) -> Hash {
        self.fingerprint
    }

    /// The verdict on a request. Cost does not grow with the number of pins or of their rules; with the operator's own
    /// rules it grows by Cedar's cost per rule.
    pub fn decide(&self, request: &Request) -> Verdict {
        let (facts, pin) = self.facts(request);
        let mut findings = Findings::default();
        self.defaults.forbids(&facts, &mut findings.forbids);
        if let Some(pin) = pin {
            pin.index.forbids(&facts, &mut findings.forbids);
        }
        findings.permits.extend(self.defaults.permits(&facts));
        let mut objections = Objections::default();
        self.packs.iter().for_each(|pack| pack.object(&facts, &mut objections));
        findings.forbids.append(&mut objections.forbids);
        findings.asks = objections.asks;
        if let Some(custom) = &self.custom {
            findings.add(custom.evaluate(&facts, pin.map(|pin| &pin.pin), &[]));
        }
        self.conclude(&facts, findings)
    }

    /// The same verdict from Cedar alone: the oracle of the index, and the slow and independent way to replay a log.
    pub fn decide_by_cedar(&self, request: &Request) -> Verdict {
        let (facts, pin) = self.facts(request);
        let mut findings = Findings::default();
        findings.add(self.all.evaluate(&facts, pin.map(|pin| &pin.pin), &self.packs));
        self.conclude(&facts, findings)
    }

    /// A rule that failed denies; then a forbid; then a permit, after which the chain of consent is walked; otherwise
    /// the default is to deny.
    fn conclude(&self, facts: &Facts<'_>, mut findings: Findings) -> Verdict {
        let request = facts.request;
        // Cedar names rules in no order; the reason must not depend on it.
        findings.forbids.sort_unstable();
        if let Some((rule, problem)) = findings.error {
            let because = format!("a rule could not be evaluated: {problem}");
            return Verdict::word(request, Effect::Deny, vec![rule], Some(&because));
        }
        if !findings.forbids.is_empty() {
            let message = || self.message(&findings.forbids);
            let because = because(request, &findings.forbids).or_else(message);
            return Verdict::word(request, Effect::Deny, plain(findings.forbids), because.as_deref());
        }
        if findings.permits.is_empty() {
            return Verdict::word(request, Effect::Deny, Vec::new(), Some("no rule permits it"));
        }
        let (rule, why) = match consent::chain(facts, self.approvals) {
            Consent::Refused(rule, why) => {
                return Verdict::word(request, Effect::Deny, plain(vec![rule]), Some(&why));
            }
            Consent::Needed(rule, why) => (Some(rule), Some(why)),
            Consent::Given => (None, None),
        };
        let asks = rule.is_some() || findings.ask || !findings.asks.is_empty();
        if !asks || request.approved.is_some() {
            return Verdict::word(request, Effect::Allow, plain(findings.permits), None);
        }
        let why = why.or_else(|| self.message(&findings.asks));
        findings.asks.extend(rule);
        let rules = if findings.asks.is_empty() { findings.permits } else { findings.asks };
        Verdict::word(request, Effect::Ask, plain(rules), why.as_deref())
    }

    /// The sentence of the first of these rules that has one.
    fn message(&self, rules: &[Arc<RuleRef>]) -> Option<String> {
        let said = |rule: &Arc<RuleRef>| self.packs.iter().find_map(|pack| pack.message(rule));
        rules
            .iter()
            .min()
            .and_then(|first| said(first).or_else(|| rules.iter().find_map(said)))
            .map(str::to_owned)
    }

    /// Whether every verdict needs Cedar, so that keeping verdicts pays.
    pub(crate) const fn is_costly(&self) -> bool {
        self.custom.is_some()
    }

    /// The labels that the documents give to a path.
    pub fn labels_of(&self, path: &str) -> impl Iterator<Item = &str> {
        let covers = |(pattern, _): &&(PathPattern, String)| pattern.covers(path);
        self.labels.iter().filter(covers).map(|(_, label)| label.as_str())
    }

    /// Names of the secrets that HUMANFILE lets calls use.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.humanfile.secrets()
    }

    /// Whether a rule may look at the arguments of a call, so that they must be among the inputs of its verdict.
    pub fn looks_at_arguments(&self) -> bool {
        self.custom.is_some() || !self.packs.is_empty()
    }

    /// What the sandbox of a process of this actor must keep to: the same documents, the other enforcement point.
    pub fn bounds(&self, actor: &Actor) -> Bounds {
        let pin = actor.pin.as_ref().map(|name| self.pins.get(name).map(|loaded| &loaded.pin));
        let secrets = self.humanfile.secrets().map(str::to_owned).collect();
        Bounds { secrets, ..bounds(actor, pin, &self.hosts) }
    }

    pub(crate) fn listed(&self) -> Vec<ListedRule> {
        self.all.listed()
    }

    /// Both layers of HUMANFILE as one.
    pub const fn humanfile(&self) -> &Humanfile {
        &self.humanfile
    }

    /// A pin, for display.
    pub fn pin(&self, name: &str) -> Option<&Pin> {
        self.pins.get(name).map(|loaded| &loaded.pin)
    }

    /// What was accepted and probably means something else than its author thinks, by document and line.
    pub fn lints(&self) -> Vec<Lint> {
        let pins = self.pins.values().flat_map(|loaded| loaded.pin.lints());
        let packs = self.packs.iter().flat_map(Pack::lints);
        let mut lints: Vec<Lint> = pins.chain(packs).chain(self.humanfile.lints()).cloned().collect();
        lints.sort_by(|a, b| (&a.document, a.line).cmp(&(&b.document, b.line)));
        lints
    }

    fn facts<'a>(&'a self, request: &'a Request) -> (Facts<'a>, Option<&'a LoadedPin>) {
        let pin = request.actor.pin.as_ref().and_then(|name| self.pins.get(name));
        let given = Given {
            hosts: &self.hosts,
            pin_hosts: pin.and_then(|pin| pin.pin.hosts()),
            pin_missing: request.actor.pin.is_some() && pin.is_none(),
            rules: &self.rules,
        };
        (Facts::new(request, given), pin)
    }
}

fn plain(rules: Vec<Arc<RuleRef>>) -> Vec<RuleRef> {
    rules.into_iter().map(Arc::unwrap_or_clone).collect()
}

/// Words for the built-in rules whose name does not say it all, the weightiest first.
fn because(request: &Request, forbids: &[Arc<RuleRef>]) -> Option<String> {
    let pin = request.actor.pin.as_deref().unwrap_or_default();
    let words = [
        ("a-resource-must-be-well-formed", "a path is relative to the workspace and has no `..`"),
        ("a-pin-must-exist", &format!("there is no pin {pin:?} in force")),
        ("a-tool-must-be-granted", "no TOOL of its Agentfile grants it"),
        ("stay-within-the-agentfile-limits", "it lies beyond the LIMITs of its Agentfile"),
        (
            "a-host-must-be-granted",
            "HUMANFILE has no CONNECT for it, or the pin or the Agentfile leaves it out",
        ),
        (
            "a-name-must-lead-to-the-public-internet",
            "its name leads to an address that is not public; grant the address itself",
        ),
    ];
    let holds = |id: &str| forbids.iter().any(|rule| rule.document == DEFAULT_DOCUMENT && rule.text == id);
    words.into_iter().find(|(id, _)| holds(id)).map(|(_, words)| words.to_owned())
}

fn fingerprint(documents: &Documents) -> Hash {
    let mut text = format!("ostk-policy/{SEMANTICS_VERSION}\0");
    for (name, body) in [(DEFAULT_DOCUMENT.to_owned(), DEFAULT_POLICY)].into_iter().chain(documents.texts()) {
        // The length goes before each text, so that no text can look like two.
        text.push_str(&format!("{name}\0{}\0{body}", body.len()));
    }
    text.extend(documents.unaccepted.iter().map(|name| format!("\0unaccepted\0{name}")));
    Hash::of(text.as_bytes())
}

/// What is left of a result when its errors are set aside.
fn keep<T>(result: Result<Vec<T>, Vec<LoadError>>, errors: &mut Vec<LoadError>) -> Vec<T> {
    result.unwrap_or_else(|found| {
        errors.extend(found);
        Vec::new()
    })
}

/// Whether a name is one that verdicts and command lines can show as it is.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    !name.is_empty() && name.len() <= 128 && !name.starts_with('.') && name.chars().all(plain)
}

fn load_pin(name: &str, text: &str, errors: &mut Vec<LoadError>) -> Option<Pin> {
    if !is_name(name) {
        let shown: String = name.chars().take(80).collect();
        errors.push(whole(".ostk/pins", format!("not a name for a pin: {shown:?}")));
        return None;
    }
    Pin::parse(name, text).map_err(|found| errors.extend(found.into_list())).ok()
}

/// Reads what holds no rules: HUMANFILE, which is returned, `.primefile` and ENTITYFILE.
fn load_others(documents: &Documents, errors: &mut Vec<LoadError>) -> Humanfile {
    let humanfile = Humanfile::of(documents);
    let prime = documents.primefile.as_deref().map(Primefile::parse).and_then(Result::err);
    let entity = documents.entityfile.as_deref().map(Entityfile::parse).and_then(Result::err);
    errors.extend(prime.into_iter().chain(entity).flat_map(LoadErrors::into_list));
    humanfile.unwrap_or_else(|found| {
        errors.extend(found.into_list());
        Humanfile::default()
    })
}

/// Reads the packs and adds their rules.
fn load_packs(documents: &Documents, rules: &mut Vec<cedar::Rule>, errors: &mut Vec<LoadError>) -> Vec<Pack> {
    if documents.packs.len() > MAX_PACKS {
        errors.push(whole("rules", format!("more than {MAX_PACKS} packs")));
    }
    let mut packs = Vec::new();
    for (name, text) in &documents.packs {
        if !is_name(name) {
            let shown: String = name.chars().take(80).collect();
            errors.push(whole("rules", format!("not a name for a pack: {shown:?}")));
            continue;
        }
        let compiled = Pack::parse(name, text).and_then(|pack| Ok((cedar::pack_rules(&pack)?, pack)));
        match compiled {
            Ok((made, pack)) => {
                rules.extend(made);
                packs.push(pack);
            }
            Err(found) => errors.extend(found.into_list()),
        }
    }
    packs
}

fn approvals(humanfile: &Humanfile) -> Approvals {
    let default = Approvals::default();
    Approvals { mode: humanfile.mode().unwrap_or(default.mode), ..default }
}

/// The operator's own rules; those that permit are left out while their document is not accepted.
fn load_own(documents: &Documents, errors: &mut Vec<LoadError>) -> Vec<cedar::Rule> {
    let Some(text) = documents.custom.as_deref() else { return Vec::new() };
    let rules = keep(load_custom(text), errors);
    if documents.unaccepted.contains(CUSTOM_DOCUMENT) {
        return rules.into_iter().filter_map(cedar::Rule::narrowed).collect();
    }
    rules
}

fn load_custom(text: &str) -> Result<Vec<cedar::Rule>, Vec<LoadError>> {
    if text.len() > MAX_TEXT_BYTES || text.lines().nth(MAX_LINES).is_some() {
        let message = format!("the rules have at most {MAX_TEXT_BYTES} bytes and {MAX_LINES} lines");
        return Err(vec![whole(CUSTOM_DOCUMENT, message)]);
    }
    cedar::read(CUSTOM_DOCUMENT, text)
}

/// A problem of a document as a whole.
fn whole(document: &str, message: String) -> LoadError {
    LoadError { document: document.to_owned(), line: 1, column: 1, message, hint: None }
}
