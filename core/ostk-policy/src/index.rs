//! A pin's rules in a form whose cost does not grow with their number.
//!
//! Literal paths and verbs are found by hash: one look-up for each directory above the path. Globs are filed under the
//! directory they stay within, so only those near the path are tried. Says the same as the Cedar rules that `cedar`
//! makes of the pin; the tests compare the two.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::{
    defaults::GOVERNANCE,
    facts::Facts,
    path::{Glob, PathPattern, components, fold},
    pin::{At, DenyToken, Execute, PathList, Pin},
    request::Class,
    shell::each_verb,
    verdict::RuleRef,
};

/// What `modify-governance` protects besides [`GOVERNANCE`], in lower case.
pub(crate) const MORE_GOVERNANCE: [&str; 8] = [
    "agents",
    ".ostk/agents",
    ".ostk/pins",
    ".ostk/profiles",
    ".ostk/humanfile",
    ".ostk/ostk.toml",
    ".ostk/policy.cedar",
    ".ostk/entityfile",
];

/// Where `write-src` still lets files be written.
pub(crate) const NOT_SOURCE: [&str; 3] = ["docs", "tests", "target"];

/// A compiled pin.
#[derive(Debug)]
pub(crate) struct PinIndex {
    read: Option<Allowed>,
    write: Option<Allowed>,
    execute: Option<(Execute, Arc<RuleRef>)>,
    tokens: Vec<(DenyToken, Arc<RuleRef>)>,
    paths: HashMap<String, Vec<Arc<RuleRef>>>,
    globs: HashMap<String, Vec<(Glob, Arc<RuleRef>)>>,
    verbs: HashMap<String, Vec<Arc<RuleRef>>>,
}

/// The paths of a `read:` or `write:` list.
#[derive(Debug)]
struct Allowed {
    literals: HashSet<String>,
    globs: HashMap<String, Vec<Glob>>,
    rule: Arc<RuleRef>,
}

impl Allowed {
    fn new(list: &PathList, rule: RuleRef) -> Self {
        let literals = list.paths.iter().filter_map(PathPattern::literal).map(str::to_owned).collect();
        let mut globs: HashMap<String, Vec<Glob>> = HashMap::new();
        for path in list.paths.iter().filter(|path| path.literal().is_none()) {
            globs.entry(path.base().to_owned()).or_default().push(path.glob());
        }
        Self { literals, globs, rule: Arc::new(rule) }
    }

    fn covers(&self, facts: &Facts<'_>) -> bool {
        if facts.under().any(|path| self.literals.contains(path)) {
            return true;
        }
        let Some(path) = facts.path.filter(|_| !self.globs.is_empty()) else { return false };
        let parts = components(path);
        let mut near = facts.under().filter_map(|base| self.globs.get(base)).flatten();
        near.any(|glob| glob.matches(&parts))
    }
}

impl PinIndex {
    pub(crate) fn new(pin: &Pin) -> Self {
        let mut paths: HashMap<String, Vec<Arc<RuleRef>>> = HashMap::new();
        let mut globs: HashMap<String, Vec<(Glob, Arc<RuleRef>)>> = HashMap::new();
        for at in &pin.deny_paths {
            let rule = Arc::new(pin.deny_path_rule(at));
            match at.value.literal() {
                Some(literal) => paths.entry(fold(literal)).or_default().push(rule),
                None => globs.entry(fold(at.value.base())).or_default().push((at.value.deny_glob(), rule)),
            }
        }
        let mut verbs: HashMap<String, Vec<Arc<RuleRef>>> = HashMap::new();
        for at in &pin.deny_verbs {
            verbs.entry(at.value.clone()).or_default().push(Arc::new(pin.deny_verb_rule(at)));
        }
        let allowed = |key, list: &Option<PathList>| {
            list.as_ref().map(|list| Allowed::new(list, pin.list_rule(key, list)))
        };
        let token = |at: &At<DenyToken>| (at.value, Arc::new(pin.token_rule(at)));
        Self {
            read: allowed("read", &pin.read),
            write: allowed("write", &pin.write),
            execute: pin.execute_rule().map(|(mode, rule)| (mode, Arc::new(rule))),
            tokens: pin.deny.iter().map(token).collect(),
            paths,
            globs,
            verbs,
        }
    }

    /// Adds the rules of this pin that forbid the request.
    pub(crate) fn forbids(&self, facts: &Facts<'_>, found: &mut Vec<Arc<RuleRef>>) {
        let class = facts.request.class;
        let list = match class {
            Class::FileRead => self.read.as_ref(),
            Class::FileEdit | Class::FileWrite => self.write.as_ref(),
            _ => None,
        };
        found.extend(list.filter(|list| !list.covers(facts)).map(|list| Arc::clone(&list.rule)));
        if let Some((mode, rule)) = &self.execute
            && !may_execute(*mode, class)
        {
            found.push(Arc::clone(rule));
        }
        let denied = self.tokens.iter().filter(|(token, _)| token_denies(*token, facts));
        found.extend(denied.map(|(_, rule)| Arc::clone(rule)));
        self.forbidden_paths(facts, found);
        self.forbidden_verbs(facts, found);
    }

    fn forbidden_paths(&self, facts: &Facts<'_>, found: &mut Vec<Arc<RuleRef>>) {
        found.extend(facts.under_folded().filter_map(|path| self.paths.get(path)).flatten().cloned());
        if self.globs.is_empty() || facts.path.is_none() {
            return;
        }
        let parts = facts.components_folded();
        let near = facts.under_folded().filter_map(|base| self.globs.get(base)).flatten();
        found.extend(near.filter(|(glob, _)| glob.matches(&parts)).map(|(_, rule)| Arc::clone(rule)));
    }

    fn forbidden_verbs(&self, facts: &Facts<'_>, found: &mut Vec<Arc<RuleRef>>) {
        if self.verbs.is_empty() {
            return;
        }
        for call in calls(&facts.request.call) {
            found.extend(self.verbs.get(call).into_iter().flatten().cloned());
        }
        if let (Some(command), Some(survey)) = (facts.request.command(), facts.survey()) {
            each_verb(command, survey, |verb| {
                found.extend(self.verbs.get(verb).into_iter().flatten().cloned())
            });
        }
    }
}

/// A system call and its families: `file.write`, `file`.
pub(crate) fn calls(call: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(call), |call| call.rsplit_once('.').map(|(family, _)| family))
}

fn may_execute(mode: Execute, class: Class) -> bool {
    match mode {
        _ if !class.is_shell() => true,
        Execute::Shell => class != Class::ShellSecret,
        Execute::ReadonlyShell => matches!(class, Class::ShellRead | Class::ShellExec),
        Execute::None => false,
    }
}

fn token_denies(token: DenyToken, facts: &Facts<'_>) -> bool {
    let class = facts.request.class;
    let writes = class.is_file_write();
    match token {
        DenyToken::WriteKernel => writes && facts.under_folded().any(|path| path == ".ostk"),
        DenyToken::ModifyGovernance => {
            writes
                && facts
                    .under_folded()
                    .any(|path| GOVERNANCE.contains(&path) || MORE_GOVERNANCE.contains(&path))
        }
        DenyToken::WriteSrc => writes && !facts.under().any(|path| NOT_SOURCE.contains(&path)),
        DenyToken::ReadSecrets => match class {
            Class::ShellSecret | Class::KernelSecret => true,
            Class::FileRead => facts.secret(),
            _ => false,
        },
        DenyToken::SpawnAgent => class == Class::KernelSpawn,
        DenyToken::Network => class == Class::NetConnect,
    }
}
