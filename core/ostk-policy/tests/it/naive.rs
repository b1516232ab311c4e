//! A second evaluator, written from what the documents mean and from nothing of the crate's own: no index, no Cedar,
//! no parser of pins. It agrees with the policy on random requests over random documents, in the effect and in the
//! lines of the pin that forbid.
//!
//! Documents are made as data; their text is what the crate reads, the data is what this reads. A debug build compares
//! 100,000 requests, a release build a million.

use std::fmt::Write as _;

use ostk_policy::{
    Actor, ActorKind, Class, DestructiveOps, Documents, Effect, Mode, Request, Resource, ToolGrant,
};

const REQUESTS: usize = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
/// Requests asked of one set of documents.
const PER_POLICY: usize = 1_000;

/// One line of a pin.
#[derive(Debug, Clone)]
enum Line {
    Read(Vec<&'static str>),
    Write(Vec<&'static str>),
    Execute(&'static str),
    Deny(&'static str),
    DenyPath(&'static str),
    DenyVerb(&'static str),
    Connect(Vec<&'static str>),
}

/// What one set of documents says.
#[derive(Debug, Clone)]
struct World {
    pin: Vec<Line>,
    /// HUMANFILE's CONNECT lines, and its MODE.
    hosts: Vec<&'static str>,
    mode: Option<Mode>,
}

/// A command line, what it runs, and whether that destroys something.
type Command = (&'static str, &'static [&'static str], bool);

const PATHS: [&str; 32] = [
    "",
    "a",
    "a/b",
    "A/b",
    "src",
    "src/main.rs",
    "src/x/y.rs",
    "SRC/main.rs",
    "source/a",
    "docs/a.md",
    "tests/it/a.rs",
    "target/x",
    "infra",
    "infra/deploy.tf",
    "infra/eu/a.tf",
    "Infra/A",
    ".ostk",
    ".ostk/pins/p/pin.caps",
    ".OSTK/x",
    ".ostk/keys/a",
    ".ostk/run/s",
    ".git/config",
    "sub/.git/hooks/x",
    "HUMANFILE",
    "humanfile/x",
    "x/HUMANFILE",
    ".env",
    "web/.env.local",
    "tls/key.pem",
    "id_rsa",
    "agents/w.af",
    "pins/x",
];
const MALFORMED: [&str; 5] = ["/etc/passwd", "../x", "a//b", "./a", "a/.."];
const PATTERNS: [&str; 16] = [
    ".",
    "src",
    "src/",
    "./docs",
    "infra",
    "infra/eu",
    "a/b",
    "SRC",
    "*",
    "*.rs",
    "**/*.rs",
    "src/**",
    "**",
    "*/b",
    "infra/*/*.tf",
    "**/*.pem",
];
const TOKENS: [&str; 6] =
    ["write-kernel", "modify-governance", "write-src", "read-secrets", "spawn-agent", "network"];
const VERBS: [&str; 7] = ["git push", "git", "ls", "make", "file", "file.write", "agent.spawn"];
const COMMANDS: [Command; 15] = [
    ("git push", &["git push"], false),
    ("cd a && git push origin main", &["cd a", "git push origin main"], false),
    ("git status; ls -l", &["git status", "ls -l"], false),
    ("X=1 /usr/bin/git  push", &["git push"], false),
    ("sh -c 'git push'", &["sh", "git push"], false),
    ("env A=1 timeout 5 make all", &["env", "timeout 5", "make all"], false),
    ("find . -name x | xargs ls", &["find .", "xargs ls", "ls"], false),
    ("if make; then echo $(ls); fi", &["make", "ls", "echo"], false),
    ("echo git push", &["echo git push"], false),
    ("git pushy && lsof", &["git pushy", "lsof"], false),
    ("g'i't push", &["git push"], false),
    // It cannot be read, so nobody knows what it destroys.
    ("make 'git push", &["make git push", "make"], true),
    ("make && git push --force", &["make", "git push --force"], true),
    ("rm -rf /", &["rm"], true),
    ("ls | xargs rm", &["ls", "xargs rm", "rm"], true),
];
const HOSTS: [&str; 5] =
    ["example.org:443", "crates.io:80", "a.example.org:443", "EXAMPLE.org:8080", "not a host"];
const HOST_PATTERNS: [&str; 4] = ["example.org", "*.example.org", "crates.io:443", "crates.io"];
const CALLS: [&str; 10] = [
    "file.write",
    "file.read",
    "note",
    "policy.reload",
    "pin.issue",
    "agent.spawn",
    "files",
    "session.start",
    "approval.grant",
    "trust.sign",
];

/// Small and repeatable (xorshift64*): the same run every time.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % most
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn some<T: Copy>(&mut self, list: &[T]) -> Vec<T> {
        (0..=self.below(3)).map(|_| self.of(list)).collect()
    }

    fn line(&mut self) -> Line {
        match self.below(8) {
            0 => Line::Read(self.some(&PATTERNS)),
            1 => Line::Write(self.some(&PATTERNS)),
            2 => Line::Deny(self.of(&TOKENS)),
            3 | 4 => Line::DenyPath(self.of(&PATTERNS)),
            5 | 6 => Line::DenyVerb(self.of(&VERBS)),
            _ => Line::Connect(self.some(&HOST_PATTERNS)),
        }
    }

    fn world(&mut self) -> World {
        let mut pin: Vec<Line> = (0..self.below(6)).map(|_| self.line()).collect();
        if self.once_in(2) {
            pin.push(Line::Execute(self.of(&["shell", "shell(readonly)", "none"])));
        }
        let hosts = if self.once_in(2) { self.some(&HOST_PATTERNS) } else { Vec::new() };
        let mode = self.once_in(3).then(|| self.of(&Mode::ALL));
        World { pin, hosts, mode }
    }

    fn grant(&mut self) -> ToolGrant {
        let (class, patterns): (&str, &[Option<&str>]) = match self.below(9) {
            0 => ("shell", &[None, Some("readonly"), Some("src")]),
            1 => ("file:read", &[None, Some("src"), Some("**/*.rs")]),
            2 => ("file:edit", &[None, Some("src"), Some("a/b")]),
            3 => ("file:write", &[None, Some("docs"), Some("../x")]),
            4 => ("limit:read", &[Some("src"), Some(".")]),
            5 => ("limit:write", &[Some("src"), Some("infra/*/*.tf")]),
            6 => ("limit:connect", &[Some("example.org"), Some("crates.io:80")]),
            7 => ("kernel:secret", &[None, Some("x")]),
            _ => ("frob", &[None]),
        };
        ToolGrant { class: class.to_owned(), pattern: self.of(patterns).map(str::to_owned) }
    }

    fn request(&mut self) -> (Request, Option<Command>) {
        let kind = match self.below(10) {
            0 => ActorKind::Human,
            1 => ActorKind::World,
            2 => ActorKind::Kernel,
            _ => ActorKind::Agent,
        };
        let mut actor = Actor::new(kind, "w");
        actor.pin = match self.below(10) {
            0..=2 => None,
            3 => Some("gone".to_owned()),
            _ => Some("p".to_owned()),
        };
        actor.tools = self.once_in(3).then(|| (0..self.below(4)).map(|_| self.grant()).collect());
        actor.mode = self.once_in(3).then(|| self.of(&Mode::ALL));
        actor.destructive_ops = self.once_in(3).then(|| self.of(&DestructiveOps::ALL));
        let mut command = None;
        let resource = match self.below(12) {
            0..=5 => Resource::Path(self.of(&PATHS).to_owned()),
            6 => Resource::Path(self.of(&MALFORMED).to_owned()),
            7 | 8 => {
                let chosen = self.of(&COMMANDS);
                command = Some(chosen);
                Resource::Command(chosen.0.to_owned())
            }
            9 => Resource::Host(self.of(&HOSTS).to_owned()),
            10 => Resource::Agent("worker-a".to_owned()),
            _ => Resource::None,
        };
        let mut request = Request::new(actor, self.of(&CALLS), self.of(&Class::ALL), resource);
        request.approved = self.once_in(8).then_some(7);
        (request, command)
    }
}

impl World {
    fn documents(&self) -> Documents {
        let mut pin = String::new();
        for line in &self.pin {
            let (key, value) = match line {
                Line::Read(paths) => ("read", paths.join(" ")),
                Line::Write(paths) => ("write", paths.join(" ")),
                Line::Execute(mode) => ("execute", (*mode).to_owned()),
                Line::Deny(token) => ("deny", (*token).to_owned()),
                Line::DenyPath(path) => ("deny-path", (*path).to_owned()),
                Line::DenyVerb(verb) => ("deny-verb", format!("\"{verb}\"")),
                Line::Connect(hosts) => ("connect", hosts.join(" ")),
            };
            writeln!(pin, "{key}: {value}").expect("a string");
        }
        let mut humanfile = "IDENTITY ada\nMODEL m\n".to_owned();
        for host in &self.hosts {
            writeln!(humanfile, "CONNECT {host}").expect("a string");
        }
        if let Some(mode) = self.mode {
            writeln!(humanfile, "MODE {}", mode.as_str()).expect("a string");
        }
        Documents { pins: [("p".to_owned(), pin)].into(), humanfile: Some(humanfile), ..Documents::default() }
    }

    /// The effect, and the lines of the pin that forbid; the lines do not matter where the resource is malformed.
    fn judge(&self, request: &Request, command: Option<Command>) -> (Effect, Option<Vec<usize>>) {
        let asked = Asked::of(request, command);
        let lines = match request.actor.pin.as_deref() {
            Some("p") => self.pin_forbids(&asked),
            _ => Vec::new(),
        };
        let missing = request.actor.pin.as_deref() == Some("gone") && request.class != Class::KernelRead;
        let forbidden = asked.malformed()
            || missing
            || !lines.is_empty()
            || asked.ungranted()
            || asked.beyond_limits()
            || self.built_in(&asked);
        let effect = match () {
            () if forbidden || !permitted(request) => Effect::Deny,
            () => self.consent(&asked),
        };
        (effect, (!asked.malformed()).then_some(lines))
    }

    /// The 1-based lines of the pin that forbid; 0 for a line that is not there.
    fn pin_forbids(&self, asked: &Asked<'_>) -> Vec<usize> {
        let class = asked.request.class;
        let reads = class == Class::FileRead;
        let mut found = Vec::new();
        let numbered = || self.pin.iter().enumerate().map(|(at, line)| (at + 1, line));
        let all = |of: &dyn Fn(&Line) -> Option<Vec<&'static str>>| {
            let first = numbered().find(|(_, line)| of(line).is_some()).map(|(number, _)| number)?;
            Some((first, numbered().filter_map(|(_, line)| of(line)).flatten().collect::<Vec<_>>()))
        };
        let readable = all(&|line| if let Line::Read(paths) = line { Some(paths.clone()) } else { None });
        let writable = all(&|line| if let Line::Write(paths) = line { Some(paths.clone()) } else { None });
        let limited = if reads { &readable } else { &writable };
        if let (true, Some((line, paths))) = (reads || asked.writes(), limited) {
            let inside = asked.path.is_some_and(|path| paths.iter().any(|pattern| covers(pattern, path)));
            found.extend((!inside).then_some(*line));
        }
        let said =
            numbered().find_map(
                |(number, line)| if let Line::Execute(mode) = line { Some((number, *mode)) } else { None },
            );
        let unsaid = (readable.is_some() || writable.is_some()).then_some((0, "none"));
        if let Some((line, mode)) = said.or(unsaid) {
            let runs = match mode {
                "shell" => class != Class::ShellSecret,
                "shell(readonly)" => !matches!(class, Class::ShellSecret | Class::ShellWrite),
                _ => false,
            };
            found.extend((asked.shell() && !runs).then_some(line));
        }
        for (number, line) in numbered() {
            let forbids = match line {
                Line::Deny(token) => asked.token(token),
                Line::DenyPath(pattern) => asked.path.is_some_and(|path| denies(pattern, path)),
                Line::DenyVerb(verb) => asked.verb(verb),
                _ => false,
            };
            found.extend(forbids.then_some(number));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// What no document lifts.
    fn built_in(&self, asked: &Asked<'_>) -> bool {
        let class = asked.request.class;
        match asked.request.actor.kind {
            ActorKind::Human => asked.writes() && (asked.beneath(".ostk") || asked.beneath(".git/hooks")),
            ActorKind::Agent => {
                let governs = ["policy.", "pin.", "trust.", "approval."]
                    .iter()
                    .any(|start| asked.request.call.starts_with(start));
                class == Class::KernelWrite && governs
                    || class == Class::FileRead && (asked.beneath(".ostk/keys") || asked.beneath(".ostk/run"))
                    || asked.writes()
                        && (asked.beneath(".ostk")
                            || asked.lower().split('/').any(|name| name == ".git")
                            || asked.governance())
                    || class == Class::NetConnect && !self.host_granted(asked)
            }
            ActorKind::World | ActorKind::Kernel => false,
        }
    }

    fn host_granted(&self, asked: &Asked<'_>) -> bool {
        let Resource::Host(target) = &asked.request.resource else { return false };
        let within = |hosts: &[&str]| hosts.iter().any(|pattern| host_covers(pattern, target));
        let own: Vec<&str> = self
            .pin
            .iter()
            .filter_map(|line| if let Line::Connect(hosts) = line { Some(hosts.clone()) } else { None })
            .flatten()
            .collect();
        let pinned = asked.request.actor.pin.as_deref() == Some("p") && !own.is_empty();
        let limits: Vec<&str> =
            asked.grants("limit:connect").filter_map(|grant| grant.pattern.as_deref()).collect();
        within(&self.hosts) && (!pinned || within(&own)) && (limits.is_empty() || within(&limits))
    }

    /// What an agent may do without asking.
    fn consent(&self, asked: &Asked<'_>) -> Effect {
        let request = asked.request;
        let destroys = asked.command.is_some_and(|(.., destroys)| destroys);
        match (request.actor.kind, request.actor.destructive_ops.unwrap_or(DestructiveOps::Confirm)) {
            (ActorKind::Agent, DestructiveOps::Deny) if destroys => return Effect::Deny,
            // The documents say to confirm, and an Agentfile cannot say less.
            (ActorKind::Agent, _) if destroys => {
                return if request.approved.is_some() { Effect::Allow } else { Effect::Ask };
            }
            _ => {}
        }
        let own_affair = matches!(request.call.as_str(), "note" | "session.start");
        let free = matches!(request.class, Class::KernelRead | Class::ModelCall | Class::NetConnect);
        if request.actor.kind != ActorKind::Agent || own_affair || free {
            return Effect::Allow;
        }
        let strictness = |mode: Mode| Mode::ALL.iter().position(|each| *each == mode);
        let modes = [self.mode.unwrap_or(Mode::Autonomous), request.actor.mode.unwrap_or(Mode::Autonomous)];
        let mode = modes.into_iter().min_by_key(|mode| strictness(*mode)).unwrap_or(Mode::Plan);
        let reads = matches!(request.class, Class::FileRead | Class::ShellRead);
        let weighty = matches!(request.class, Class::ShellExec | Class::ShellSecret | Class::KernelSpawn);
        let tool = request.actor.tools.is_some() && asked.covered() && !weighty;
        let passes = match mode {
            Mode::Autonomous => true,
            Mode::Auto => reads || asked.writes() || tool,
            Mode::Governed => tool,
            Mode::Plan => tool && reads,
        };
        match (passes, mode, request.approved) {
            (true, ..) => Effect::Allow,
            (false, Mode::Plan, _) if !reads => Effect::Deny,
            (false, _, Some(_)) => Effect::Allow,
            (false, _, None) => Effect::Ask,
        }
    }
}

/// Whether anything permits the actor the class at all.
fn permitted(request: &Request) -> bool {
    match request.actor.kind {
        ActorKind::Kernel | ActorKind::Human => true,
        ActorKind::Agent => !matches!(request.class, Class::ShellSecret | Class::KernelSecret),
        ActorKind::World => false,
    }
}

/// A request with the path that it is about.
struct Asked<'a> {
    request: &'a Request,
    path: Option<&'a str>,
    command: Option<Command>,
}

impl<'a> Asked<'a> {
    fn of(request: &'a Request, command: Option<Command>) -> Self {
        let path = match &request.resource {
            Resource::Path(path) => Some(path.as_str()),
            Resource::None if request.class == Class::FileRead => Some(""),
            _ => None,
        };
        Self { request, path, command }
    }

    fn writes(&self) -> bool {
        matches!(self.request.class, Class::FileEdit | Class::FileWrite)
    }

    fn shell(&self) -> bool {
        matches!(
            self.request.class,
            Class::ShellRead | Class::ShellWrite | Class::ShellExec | Class::ShellSecret
        )
    }

    fn lower(&self) -> String {
        self.path.unwrap_or_default().to_lowercase()
    }

    fn malformed(&self) -> bool {
        let file = self.writes() || self.request.class == Class::FileRead;
        match (&self.request.resource, self.path) {
            (Resource::Host(target), _) => target.contains(' '),
            (_, Some(path)) => MALFORMED.contains(&path),
            (_, None) => file || self.request.class == Class::NetConnect,
        }
    }

    /// The path is this one or lies beneath it, in any case of letters.
    fn beneath(&self, top: &str) -> bool {
        self.path.is_some() && (self.lower() == top || self.lower().starts_with(&format!("{top}/")))
    }

    fn governance(&self) -> bool {
        [
            "humanfile",
            "entityfile",
            ".primefile",
            "agentfile",
            "agentfile.self.sig",
            "ostk.toml",
            "pins",
            "governance.md",
            "genesis.md",
            "authorization.md",
        ]
        .iter()
        .any(|name| self.beneath(name))
    }

    fn token(&self, token: &str) -> bool {
        let class = self.request.class;
        match token {
            "write-kernel" => self.writes() && self.beneath(".ostk"),
            "modify-governance" => {
                let more = [
                    "agents",
                    ".ostk/agents",
                    ".ostk/pins",
                    ".ostk/profiles",
                    ".ostk/humanfile",
                    ".ostk/ostk.toml",
                    ".ostk/policy.cedar",
                    ".ostk/entityfile",
                ];
                self.writes() && (self.governance() || more.iter().any(|name| self.beneath(name)))
            }
            "write-src" => {
                let exactly = |top: &str| {
                    self.path.is_some_and(|path| path == top || path.starts_with(&format!("{top}/")))
                };
                self.writes() && !["docs", "tests", "target"].into_iter().any(exactly)
            }
            "read-secrets" => {
                let secret = self.lower().split('/').any(|name| {
                    name.starts_with(".env")
                        || name.ends_with(".pem")
                        || name.starts_with("id_") && !name.contains('.')
                });
                matches!(class, Class::ShellSecret | Class::KernelSecret)
                    || class == Class::FileRead && (secret || self.beneath(".ostk/keys"))
            }
            "spawn-agent" => class == Class::KernelSpawn,
            _ => class == Class::NetConnect,
        }
    }

    fn verb(&self, verb: &str) -> bool {
        let call = &self.request.call;
        let called = call == verb || call.starts_with(&format!("{verb}."));
        let runs = |run: &&str| *run == verb || run.starts_with(&format!("{verb} "));
        called || self.command.is_some_and(|(_, all, _)| all.iter().any(runs))
    }

    fn grants(&self, class: &'static str) -> impl Iterator<Item = &'a ToolGrant> {
        self.request.actor.tools.iter().flatten().filter(move |grant| grant.class == class)
    }

    fn reaches(&self, grant: &ToolGrant) -> bool {
        match (&grant.pattern, self.path) {
            (None, _) => true,
            (Some(pattern), Some(path)) => !pattern.contains("..") && covers(pattern, path),
            (Some(_), None) => false,
        }
    }

    /// A TOOL covers it.
    fn covered(&self) -> bool {
        let files = |classes: &[&'static str]| {
            classes.iter().any(|class| self.grants(class).any(|grant| self.reaches(grant)))
        };
        match self.request.class {
            Class::FileRead => files(&["file:read", "file:edit", "file:write"]),
            Class::FileEdit => files(&["file:edit", "file:write"]),
            Class::FileWrite => files(&["file:write"]),
            Class::ShellRead | Class::ShellExec => self
                .grants("shell")
                .any(|grant| grant.pattern.as_deref().is_none_or(|pattern| pattern == "readonly")),
            Class::ShellWrite => self.grants("shell").any(|grant| grant.pattern.is_none()),
            Class::KernelSecret => self.grants("kernel:secret").any(|grant| grant.pattern.is_none()),
            _ => false,
        }
    }

    /// There is an Agentfile, it must say so, and it does not.
    fn ungranted(&self) -> bool {
        let needs = self.writes()
            || self.shell()
            || matches!(self.request.class, Class::FileRead | Class::KernelSecret);
        self.request.actor.tools.is_some() && needs && !self.covered()
    }

    fn beyond_limits(&self) -> bool {
        let kind = match self.request.class {
            Class::FileRead => "limit:read",
            Class::FileEdit | Class::FileWrite => "limit:write",
            _ => return false,
        };
        self.grants(kind).next().is_some() && !self.grants(kind).any(|grant| self.reaches(grant))
    }
}

/// A permitting pattern covers the path: exactly as written; without `*` also everything beneath it.
fn covers(pattern: &str, path: &str) -> bool {
    let pattern = pattern.trim_start_matches("./").trim_end_matches('/');
    if pattern == "." {
        return true;
    }
    if !pattern.contains('*') {
        return path == pattern || path.starts_with(&format!("{pattern}/"));
    }
    glob(&parts(pattern), &parts(path))
}

/// A denying pattern reaches the path: in any case of letters, and everything beneath what it matches.
fn denies(pattern: &str, path: &str) -> bool {
    let (pattern, path) = (pattern.to_lowercase(), path.to_lowercase());
    let mut above = path.as_str();
    loop {
        if covers(&pattern, above) {
            return true;
        }
        match above.rsplit_once('/') {
            Some((next, _)) => above = next,
            None if above.is_empty() => return false,
            None => above = "",
        }
    }
}

fn parts(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !part.is_empty()).collect()
}

/// By trying everything.
fn glob(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), None) => glob(rest, &[]),
        (Some((&"**", rest)), Some((_, beneath))) => glob(rest, path) || glob(pattern, beneath),
        (Some((part, rest)), Some((name, beneath))) => one(part, name) && glob(rest, beneath),
        _ => false,
    }
}

/// One component.
fn one(pattern: &str, name: &str) -> bool {
    match (pattern.chars().next(), name.chars().next()) {
        (None, None) => true,
        (Some('*'), _) => {
            one(&pattern[1..], name)
                || name.chars().next().is_some_and(|first| one(pattern, &name[first.len_utf8()..]))
        }
        (Some(a), Some(b)) if a == b => one(&pattern[a.len_utf8()..], &name[b.len_utf8()..]),
        _ => false,
    }
}

/// `*.example.org` is any name below; a port, where one is given, must be the same.
fn host_covers(pattern: &str, target: &str) -> bool {
    let Some((host, port)) = target.rsplit_once(':') else { return false };
    let (name, own) = pattern.split_once(':').unwrap_or((pattern, port));
    let host = host.to_lowercase();
    let named = match name.strip_prefix('*') {
        Some(end) => host.ends_with(end) && host.len() > end.len(),
        None => host == name,
    };
    named && own == port
}

#[test]
fn a_second_evaluator_agrees_on_random_requests_over_random_documents() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut effects = [0_usize; 3];
    for _ in 0..REQUESTS / PER_POLICY {
        let world = random.world();
        let policy = crate::load(&world.documents());
        for _ in 0..PER_POLICY {
            let (request, command) = random.request();
            let (effect, lines) = world.judge(&request, command);
            let verdict = policy.decide(&request);
            assert_eq!(verdict.effect, effect, "{request:?}\nunder {world:?}\n{verdict:?}");
            effects[effect as usize] += 1;
            let Some(lines) = lines.filter(|_| effect == Effect::Deny) else { continue };
            let mut own: Vec<usize> = verdict
                .rules
                .iter()
                .filter(|rule| rule.document.starts_with("pins/"))
                .map(|rule| rule.line)
                .collect();
            own.dedup();
            assert_eq!(own, lines, "{request:?}\nunder {world:?}\n{verdict:?}");
        }
    }
    assert!(effects.iter().all(|seen| *seen > REQUESTS / 50), "each effect is seen often: {effects:?}");
}
