//! `why` says beforehand what a real attempt then comes to: a matrix of agents, calls and resources.
//!
//! Each agent is a client under another pin; each pair is first asked about and then really tried through the socket.
//! An attempt that fails for another reason than the gate's, because a file is not there, counts as allowed; one that
//! waits for consent is refused by a person, whose name its error then holds. Native
//! agents, which an Agentfile bounds, try theirs as the tools of a scripted model.

use std::{
    collections::BTreeSet,
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use libostk::{CallOptions, Client, ClientError, Identity, Project};
use scripted_model::{Script, ScriptedModel};
use serde_json::{Value, json};

use crate::fixture::{Fixture, eventually};

/// Agents by name, with the text of their pin.
const PINS: [(&str, &str); 8] = [
    ("reader", "read: .\nwrite: none\nexecute: none\n"),
    ("parser", "read: src docs\nwrite: src/parser\nexecute: shell\n"),
    ("globs", "write: src/**/*.rs docs/*.md new\nexecute: shell\n"),
    (
        "careful",
        "deny: modify-governance read-secrets spawn-agent\ndeny-path: infra/ **/*.pem\ndeny-verb: \"git push\"\n",
    ),
    ("tester", "deny: write-src network\nexecute: shell(readonly)\n"),
    ("quiet", "deny-verb: note lock nudge process search agent.wait file.delete file.log\n"),
    ("blind", "read: none\nexecute: none\n"),
    ("folded", "deny-path: SRC/parser docs\ndeny-verb: true\n"),
];

const PATHS: [&str; 15] = [
    "src/parser/a.rs",
    "src/main.rs",
    "docs/a.md",
    "infra/deploy.tf",
    "tls/key.pem",
    ".env",
    ".ostk/pins/x/pin.caps",
    ".ostk/keys",
    "HUMANFILE",
    "Src/Parser/b.rs",
    ".git/config",
    "new/file.txt",
    "./src/../docs/b.md",
    "../outside.txt",
    "link.md",
];

const COMMANDS: [&str; 6] = [
    "true",
    "echo hi; git push 2>/dev/null",
    "sh -c 'true && git status -s'",
    "env A=1 true",
    "ls | cat",
    "git push --force 2>/dev/null",
];

/// A call, what `why` is asked about it, and the arguments of a real attempt.
struct Pair {
    verb: &'static str,
    /// The call that `why` is asked about; a client's hook stands for another one.
    asked: &'static str,
    resource: String,
    args: Value,
}

fn pair(verb: &'static str, resource: &str, args: Value) -> Pair {
    Pair { verb, asked: verb, resource: resource.to_owned(), args }
}

/// What a coding agent is about to do with its own tool.
fn hook(asked: &'static str, access: &str, member: &str, resource: &str) -> Pair {
    let args = json!({ "tool": "Tool", "access": access, member: resource });
    Pair { asked, ..pair("hook.before", resource, args) }
}

fn of_path(path: &str) -> Vec<Pair> {
    let one = json!({ "path": path });
    vec![
        pair("file.read", path, one.clone()),
        pair("dir.list", path, one.clone()),
        pair("file.blame", path, one.clone()),
        pair("file.log", path, one.clone()),
        pair("file.edit", path, json!({ "path": path, "old": "nothing like it", "new": "x" })),
        pair("file.write", path, json!({ "path": path, "content": "x\n" })),
        pair("file.batch", path, json!({ "ops": [{ "op": "write", "path": path, "content": "y\n" }] })),
        pair("file.rename", path, json!({ "from": path, "to": path })),
        hook("file.read", "read", "path", path),
        hook("file.edit", "edit", "path", path),
        hook("file.write", "write", "path", path),
        pair("file.undo", path, json!({ "path": path, "seq": 1 })),
        pair("file.delete", path, one),
    ]
}

fn of_command(me: &str, number: usize, command: &str) -> Vec<Pair> {
    let alias = format!("{me}-{number}");
    vec![
        pair("shell.run", command, json!({ "command": command })),
        pair("process.start", command, json!({ "command": command, "alias": alias })),
        hook("shell.run", "shell", "command", command),
        pair("process.interact", &alias, json!({ "alias": alias, "action": "kill" })),
    ]
}

fn others(me: &str) -> Vec<Pair> {
    let agentfile = "FROM ollama/none\nTASK x\nPIN reader\n";
    vec![
        pair("search", "", json!({ "pattern": "nothing" })),
        pair("agent.signal", "nobody", json!({ "lineage": "nobody", "signal": "SIGTERM" })),
        pair("agent.wait", "nobody", json!({ "lineage": "nobody", "timeout_ms": 1 })),
        pair("agent.spawn", "not a name", json!({ "name": "not a name", "agentfile": agentfile })),
        pair("note", "", json!({ "text": "hi" })),
        pair("lock", "", json!({ "action": "create", "name": format!("lock-{me}") })),
        pair("nudge", "nobody", json!({ "lineage": "nobody", "text": "hi" })),
        pair("policy.reload", "", json!({})),
        pair("kernel.state_hash", "", json!({})),
        pair("ps", "", json!({})),
        pair("status", "", json!({})),
        pair("why", "", json!({ "lineage": "x", "verb": "note" })),
        pair("session.end", "", json!({})),
    ]
}

fn matrix(me: &str) -> Vec<Pair> {
    let files = PATHS.into_iter().flat_map(of_path);
    let commands =
        COMMANDS.into_iter().enumerate().flat_map(|(number, command)| of_command(me, number, command));
    files.chain(commands).chain(others(me)).collect()
}

fn attach(fixture: &Fixture, identity: &Identity, pin: Option<&str>) -> Client {
    let mut client = Client::connect(&Project::at(fixture.root()).socket()).unwrap();
    client.attach(identity, "test", pin).unwrap();
    client
}

/// `allow`, `deny` or `ask`, as `why` says it.
fn foretold(client: &mut Client, lineage: &str, verb: &str, resource: &str) -> (String, Value) {
    let args = json!({ "lineage": lineage, "verb": verb, "resource": resource });
    let verdict = client.call("why", &args, &CallOptions::default()).unwrap();
    (verdict["effect"].as_str().unwrap().to_owned(), verdict)
}

/// What a real attempt comes to, with the answer.
fn attempt(client: &mut Client, pair: &Pair) -> (&'static str, String) {
    let options = CallOptions { timeout: Some(Duration::from_secs(30)), ..CallOptions::default() };
    match client.call(pair.verb, &pair.args, &options) {
        Err(ClientError::Call { code, message, .. }) if code == "denied" => {
            (if message.contains("human:ada") { "ask" } else { "deny" }, message)
        }
        Err(ClientError::Call { code, message, .. }) => ("allow", format!("{code}: {message}")),
        Err(error) => panic!("{} {}: {error}", pair.verb, pair.resource),
        Ok(result) => ("allow", result.to_string()),
    }
}

/// Refuses whatever waits for consent, until told to stop.
fn refuse_all(fixture: &Fixture, stop: &AtomicBool) {
    let mut person = attach(fixture, &Identity::Operator("ada".to_owned()), None);
    while !stop.load(Ordering::Relaxed) {
        let open = person.call("approval.list", &json!({}), &CallOptions::default()).unwrap();
        for question in open["approvals"].as_array().unwrap() {
            // It may be answered already, by its deadline.
            let _ = person.call("approval.deny", &json!({ "id": question["id"] }), &CallOptions::default());
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn project() -> Fixture {
    let fixture = Fixture::bare();
    let root = fixture.root();
    for (path, text) in [
        ("src/parser/a.rs", "a\n"),
        ("src/main.rs", "m\n"),
        ("docs/a.md", "d\n"),
        ("docs/b.md", "d\n"),
        ("infra/deploy.tf", "i\n"),
        ("tls/key.pem", "k\n"),
        (".env", "S=1\n"),
        ("Src/Parser/b.rs", "b\n"),
    ] {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), text).unwrap();
    }
    std::os::unix::fs::symlink("infra/deploy.tf", root.join("link.md")).unwrap();
    fixture.run(&["init"]).good();
    fs::remove_dir_all(fixture.state().join("pins")).unwrap();
    for (name, pin) in PINS {
        fs::create_dir_all(fixture.state().join("pins").join(name)).unwrap();
        fs::write(fixture.state().join("pins").join(name).join("pin.caps"), pin).unwrap();
    }
    fixture.call("policy.reload", "{}").good();
    fixture
}

/// Asks and tries every pair of one agent; answers how many there were and what disagreed.
fn compare(fixture: &Fixture, name: &str, pin: Option<&str>) -> (usize, Vec<String>) {
    let mut asker = attach(fixture, &Identity::Operator("ada".to_owned()), None);
    let mut agent = attach(fixture, &Identity::Lineage(name.to_owned()), pin);
    let mut wrong = Vec::new();
    let pairs = matrix(name);
    for pair in &pairs {
        let (effect, verdict) = foretold(&mut asker, name, pair.asked, &pair.resource);
        let (real, answer) = attempt(&mut agent, pair);
        if effect != real {
            wrong
                .push(format!("{name} {} {}\n  why:  {verdict}\n  real: {answer}", pair.verb, pair.resource));
        }
    }
    (pairs.len(), wrong)
}

#[test]
fn why_and_reality_agree_on_a_thousand_pairs_of_agents_and_calls() {
    let fixture = project();
    let mut agents: Vec<(&str, Option<&str>)> = PINS.iter().map(|(name, _)| (*name, Some(*name))).collect();
    agents.push(("free", None));
    let stop = AtomicBool::new(false);
    let results: Vec<(usize, Vec<String>)> = thread::scope(|scope| {
        let (fixture, stop) = (&fixture, &stop);
        scope.spawn(move || refuse_all(fixture, stop));
        let running: Vec<_> =
            agents.into_iter().map(|(name, pin)| scope.spawn(move || compare(fixture, name, pin))).collect();
        let results: Vec<_> = running.into_iter().map(thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::Relaxed);
        results.into_iter().map(Result::unwrap).collect()
    });
    let pairs: usize = results.iter().map(|(pairs, _)| pairs).sum();
    let wrong: Vec<String> = results.into_iter().flat_map(|(_, wrong)| wrong).collect();
    assert!(wrong.is_empty(), "{} of {pairs} pairs:\n{}", wrong.len(), wrong.join("\n"));
    assert!(pairs >= 1_000, "{pairs}");
}

/// Agentfiles by the name of their agent.
const AGENTFILES: [(&str, &str); 4] = [
    ("editor", "TOOL file:edit(src)\nTOOL shell(readonly)\n"),
    (
        "writer",
        "TOOL file:write\nTOOL shell\nLIMIT write-path docs\nLIMIT read-path docs\nLIMIT read-path src\n",
    ),
    ("pinned", "TOOL file:write\nTOOL shell\nPIN careful\n"),
    ("looker", "TOOL file:read(docs)\nPIN quiet\n"),
];

/// What each native agent's model calls, with the tool and its input.
fn tool_calls() -> Vec<(&'static str, String, Value)> {
    let mut calls = Vec::new();
    for path in PATHS.into_iter().filter(|path| !path.contains("..")) {
        calls.push(("file.read", path.to_owned(), json!({ "name": "read", "input": { "path": path } })));
        let edit = json!({ "path": path, "old_str": "nothing like it", "new_str": "x" });
        calls.push(("file.edit", path.to_owned(), json!({ "name": "fs_ops", "input": edit })));
        let write = json!({ "path": path, "content": "x\n" });
        calls.push(("file.write", path.to_owned(), json!({ "name": "fs_ops", "input": write })));
    }
    // Nobody is there to consent to what destroys.
    for command in COMMANDS.into_iter().filter(|command| !command.contains("--force")) {
        calls.push(("shell.run", command.to_owned(), json!({ "name": "bash", "input": { "cmd": command } })));
    }
    calls.push(("search", String::new(), json!({ "name": "search", "input": { "query": "nothing" } })));
    calls.push(("note", String::new(), json!({ "name": "note", "input": { "text": "hi" } })));
    calls.push(("ps", String::new(), json!({ "name": "session", "input": {} })));
    calls
}

/// The calls of an agent that the gate refused, with what they were about.
fn refusals(fixture: &Fixture, agent: &str) -> BTreeSet<(String, String)> {
    let log = fs::read_to_string(fixture.state().join("journal.jsonl")).unwrap();
    let records = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let own = records
        .filter(|record| record["event"] == "gate.denied" && record["actor"] == format!("agent:{agent}"));
    own.map(|record| {
        let request = &record["body"]["request"];
        let name = request["resource"]["name"].as_str().unwrap_or_default();
        (request["call"].as_str().unwrap().to_owned(), name.to_owned())
    })
    .collect()
}

#[test]
fn why_and_reality_agree_on_what_agentfiles_grant() {
    let fixture = project();
    let tools: Vec<Value> = tool_calls().into_iter().map(|(_, _, tool)| json!({ "tool": tool })).collect();
    let turns: Vec<Value> = tools
        .chunks(8)
        .map(|some| json!({ "reply": some }))
        .chain([json!({ "reply": [{ "text": "Done." }] })])
        .collect();
    let script = json!({ "conversations": [{ "name": "try", "turns": turns }] }).to_string();
    let model = ScriptedModel::start(Script::parse(&script).unwrap()).unwrap();
    let base = model.base_url().to_string();
    let mut wrong = Vec::new();
    fixture.run(&["shutdown"]).good();
    for (name, lines) in AGENTFILES {
        let file = format!("{name}.af");
        fs::write(fixture.root().join(&file), format!("FROM claude-test\nTASK Try everything.\n{lines}"))
            .unwrap();
        let mut run = fixture.command(&["run", &file, "--detach"]);
        run.env("ANTHROPIC_BASE_URL", &base).env("ANTHROPIC_API_KEY", "test");
        assert!(run.status().unwrap().success());
    }
    for (name, _) in AGENTFILES {
        let mut asker = attach(&fixture, &Identity::Operator("ada".to_owned()), None);
        let options = CallOptions { timeout: Some(Duration::from_secs(60)), ..CallOptions::default() };
        asker.call("agent.wait", &json!({ "lineage": name, "timeout_ms": 60_000 }), &options).unwrap();
        let mut refused = BTreeSet::new();
        eventually("the log is written", || {
            refused = refusals(&fixture, name);
            !refused.is_empty()
        });
        for (verb, resource, _) in tool_calls() {
            let (effect, verdict) = foretold(&mut asker, name, verb, &resource);
            // A link is on record as what it leads to.
            let led = if resource == "link.md" { "infra/deploy.tf".to_owned() } else { resource.clone() };
            let real = refused.contains(&(verb.to_owned(), led));
            if real == (effect == "allow") {
                wrong.push(format!("{name} {verb} {resource}: {verdict}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
    assert!(model.unmet().is_empty(), "{:?}", model.unmet());
}
