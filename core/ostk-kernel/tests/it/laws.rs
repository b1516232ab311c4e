//! What holds for any calls in any interleaving: the fold is the state, the files are the fold, and nobody's
//! acknowledged lines are lost.

use std::collections::BTreeMap;

use ostk_kernel::CallId;
use ostk_log::Hash;
use proptest::prelude::*;
use serde_json::json;

use crate::host::{Host, Reply, ada, agent};

const AGENTS: [&str; 3] = ["u", "v", "w"];
const FILES: [&str; 3] = ["f0", "f1", "f2"];

/// A file in which each agent and the outside have a line of their own, far apart.
fn fresh(file: &str) -> String {
    let line = |who: &str| {
        let rest: String = (0..6).map(|n| format!("{file} {who} filler {n}\n")).collect();
        format!("{who}=0;\n{rest}")
    };
    AGENTS.iter().chain(&["outside"]).map(|who| line(who)).collect()
}

/// One agent as a test sees it: what it believes of each file, what it waits for, what it was promised.
#[derive(Default)]
struct Client {
    views: BTreeMap<usize, String>,
    lines: BTreeMap<usize, String>,
    waits: Option<(CallId, usize, Wish)>,
}

enum Wish {
    Read,
    Edit(String, String),
    Write(String, String),
}

struct World {
    host: Host,
    clients: Vec<Client>,
    outside: BTreeMap<usize, String>,
    count: usize,
}

impl World {
    fn new() -> Self {
        let mut host = Host::new();
        for file in FILES {
            host.put(file, &fresh(file));
        }
        let clients = AGENTS.iter().map(|_| Client::default()).collect();
        Self { host, clients, outside: BTreeMap::new(), count: 0 }
    }

    fn act(&mut self, who: usize, file: usize, action: u8) {
        if action < 8 {
            self.progress(usize::from(action) + who + file);
        } else if action < 10 {
            self.edit_outside(file);
        } else if self.clients[who].waits.is_none() {
            self.wish(who, file, action);
        }
        self.host.sync_to(self.host.log.len().saturating_sub(usize::from(action % 3)));
        self.collect();
    }

    /// Carries out some operation; outcomes need not come in the order of the operations.
    fn progress(&mut self, at: usize) {
        self.host.step(at);
    }

    fn edit_outside(&mut self, file: usize) {
        self.count += 1;
        let line = format!("outside={};", self.count);
        let old = self.outside.insert(file, line.clone()).unwrap_or_else(|| "outside=0;".to_owned());
        let text = self.host.text(FILES[file]);
        assert!(text.contains(&old), "an outside edit was lost");
        self.host.put(FILES[file], &text.replace(&old, &line));
    }

    fn wish(&mut self, who: usize, file: usize, action: u8) {
        self.count += 1;
        let (caller, path) = (agent(AGENTS[who]), FILES[file]);
        let client = &self.clients[who];
        let old = client.lines.get(&file).cloned().unwrap_or_else(|| format!("{}=0;", AGENTS[who]));
        let new = format!("{}={};", AGENTS[who], self.count);
        let (verb, args, wish) = match client.views.get(&file) {
            Some(view) if action < 13 => {
                let content = view.replace(&old, &new);
                ("file.write", json!({ "path": path, "content": content }), Wish::Write(new, content))
            }
            _ if action < 16 => {
                ("file.edit", json!({ "path": path, "old": old, "new": new }), Wish::Edit(old, new))
            }
            _ => ("file.read", json!({ "path": path }), Wish::Read),
        };
        let call = self.host.submit(&caller, verb, args);
        self.clients[who].waits = Some((call, file, wish));
    }

    fn collect(&mut self) {
        for who in 0..self.clients.len() {
            let Some((call, ..)) = &self.clients[who].waits else { continue };
            let Some(reply) = self.host.replies.remove(call) else { continue };
            let Some((_, file, wish)) = self.clients[who].waits.take() else { continue };
            self.hear(who, file, wish, reply);
        }
    }

    fn hear(&mut self, who: usize, file: usize, wish: Wish, reply: Reply) {
        let client = &mut self.clients[who];
        let reply = match reply {
            Ok(reply) => reply,
            // Edits from outside at every single try: nothing was changed, nothing was promised.
            Err(error) if error.message.contains("changed before it was placed") => return,
            Err(error) => panic!("{} on {}: {error:?}", AGENTS[who], FILES[file]),
        };
        match wish {
            Wish::Read => {
                if let Some(content) = reply["content"].as_str() {
                    client.views.insert(file, content.to_owned());
                }
                let view = Hash::of(client.views[&file].as_bytes()).to_string();
                assert_eq!(reply["blob"], view, "what is elided is what the reader has seen");
            }
            Wish::Edit(old, new) => {
                if let Some(view) = client.views.get_mut(&file) {
                    *view = view.replace(&old, &new);
                }
                client.lines.insert(file, new);
            }
            Wish::Write(new, content) => {
                client.views.insert(file, content);
                client.lines.insert(file, new);
            }
        }
    }

    fn end(mut self) {
        self.host.run();
        self.collect();
        for (file, path) in FILES.iter().enumerate() {
            self.host.ok(&ada(), "file.read", json!({ "path": path }));
            let text = self.host.text(path);
            let own = self.clients.iter().filter_map(|client| client.lines.get(&file));
            for line in own.chain(self.outside.get(&file)) {
                assert!(text.contains(line), "{line} was acknowledged and is not in {path}:\n{text}");
            }
            assert_eq!(text.lines().count(), fresh(path).lines().count(), "no line came twice");
        }
        self.host.files_match_the_fold();
        assert!(self.host.kernel.state().open_writes.is_empty());
    }
}

/// Calls of every kind that changes files, on a few files, with arguments that often clash.
fn any_call(host: &mut Host, who: usize, file: usize, action: u8, n: usize) {
    let (caller, path) = (agent(AGENTS[who]), FILES[file]);
    let other = FILES[(file + 1) % 3];
    let (verb, args) = match action {
        0..=1 => ("file.read", json!({ "path": path })),
        2..=3 => (
            "file.edit",
            json!({ "path": path, "old": format!("{path} u filler {}", n % 6), "new": format!("x{n}") }),
        ),
        4 => ("file.write", json!({ "path": path, "content": format!("{n}\n{}", fresh(path)) })),
        5 => (
            "file.write",
            json!({ "path": path, "content": format!("{n}\n"), "executable": n.is_multiple_of(2) }),
        ),
        6 => ("file.delete", json!({ "path": path })),
        7 => ("file.undo", json!({ "lineage": AGENTS[n % 3], "path": path })),
        8 => ("file.undo", json!({ "from": n, "to": n + 20 })),
        9 => ("file.rename", json!({ "from": path, "to": other })),
        10 => (
            "file.batch",
            json!({ "ops": [
            { "path": path, "content": format!("batch {n}\n"), "base_blob": "absent" },
            { "path": other, "old": "outside=0;", "new": format!("outside={n};") } ] }),
        ),
        11 => match host.kernel.state().conflicts.keys().next().cloned() {
            Some(token) => ("file.accept", json!({ "token": token })),
            None => return,
        },
        _ => {
            match n % 3 {
                0 => drop(host.files.remove(path)),
                _ => host.put(path, &format!("from outside {n}\n{}", fresh(path))),
            }
            return;
        }
    };
    host.submit(&caller, verb, args);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_acknowledged_line_is_lost(steps in prop::collection::vec((0..3_usize, 0..3_usize, 0..18_u8), 1..120)) {
        let mut world = World::new();
        for (who, file, action) in steps {
            world.act(who, file, action);
        }
        world.end();
    }

    #[test]
    fn the_fold_is_the_state_and_the_files_are_the_fold(
        steps in prop::collection::vec((0..3_usize, 0..3_usize, 0..22_u8, any::<bool>()), 1..100)
    ) {
        let mut host = Host::new();
        for file in FILES {
            host.put(file, &fresh(file));
        }
        for (n, (who, file, action, crash)) in steps.into_iter().enumerate() {
            match action {
                0..=12 => any_call(&mut host, who, file, action, n),
                21 if crash => {
                    host.crash();
                    host.sync_to(host.log.len());
                    for name in AGENTS {
                        host.submit(&ada(), "session.start", json!({ "name": name, "exact": true, "client": "c" }));
                    }
                }
                _ => drop(host.step(usize::from(action) + who)),
            }
            if crash {
                host.sync_to(host.log.len());
            }
        }
        host.run();
        for file in FILES {
            let _ = host.call(&ada(), "file.read", json!({ "path": file }));
        }
        host.files_match_the_fold();
        prop_assert!(host.kernel.state().open_writes.is_empty());
    }
}
