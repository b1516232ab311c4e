//! Workers: which needle each is given, in which order, what becomes of one that it does not close, and what a crash
//! leaves of it.

use ostk_agent::model::{Block, ModelRequest, Role};
use serde_json::{Value, json};

use crate::{
    agents::{say, tool},
    host::{Host, ada, agent, exit},
};

/// The text that the model answers.
fn asked(request: &ModelRequest) -> String {
    let last = request.messages.iter().rfind(|message| message.role == Role::User).unwrap();
    let texts = last.content.iter().map(|block| match block {
        Block::Text { text } => text.clone(),
        _ => String::new(),
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// The needle that a text is about.
fn named(text: &str) -> Option<String> {
    let (_, rest) = text.rsplit_once("while you work on it:\n\n")?;
    Some(rest.split_whitespace().next().unwrap().to_owned())
}

/// A worker that does what it is given: closes the needle, and says so.
fn diligent(request: &ModelRequest) -> Vec<Block> {
    match named(&asked(request)) {
        Some(id) => vec![tool("t1", "work", json!({ "action": "close", "id": id }))],
        None => vec![say("Done.")],
    }
}

/// One that a prompt calls lazy says that it has done it, and has not.
fn mixed(request: &ModelRequest) -> Vec<Block> {
    if request.system.contains("lazy") { vec![say("Done.")] } else { diligent(request) }
}

fn host(brain: fn(&ModelRequest) -> Vec<Block>) -> Host {
    let mut host = Host::new();
    host.commands.insert("check".to_owned(), Box::new(|_| exit(0, "")));
    host.brain = Some(Box::new(brain));
    host
}

fn add(host: &mut Host, title: &str, priority: &str, tags: &[&str]) -> String {
    let args =
        json!({ "title": title, "priority": priority, "description": "d", "ac": ["check"], "tags": tags });
    host.ok(&ada(), "work.add", args)["id"].as_str().unwrap().to_owned()
}

fn spawn(host: &mut Host, name: &str, more: &str) {
    let agentfile = format!("FROM scripted\nWORK {more}\n");
    host.ok(&ada(), "agent.spawn", json!({ "name": name, "agentfile": agentfile }));
    host.run();
}

/// Who was given what, in this order.
fn assigned(host: &Host) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let given = host.log.iter().filter(|(draft, _)| draft.event == "needle.assigned");
    given.map(|(draft, _)| (text(&draft.body["lineage"]), text(&draft.body["id"]))).collect()
}

fn pair(lineage: &str, id: &str) -> (String, String) {
    (lineage.to_owned(), id.to_owned())
}

fn status(host: &mut Host, id: &str) -> String {
    let row = host.ok(&ada(), "work.show", json!({ "id": id }));
    row["needle"]["status"].as_str().unwrap().to_owned()
}

fn doing(host: &mut Host, name: &str) -> Value {
    let rows = host.ok(&ada(), "ps", json!({}));
    let rows = rows["processes"].as_array().unwrap();
    rows.iter().find(|row| row["lineage"] == name).unwrap()["doing"].clone()
}

#[test]
fn a_worker_is_given_what_its_filter_lets_through_the_best_first_and_rests_without_work() {
    let mut host = host(diligent);
    add(&mut host, "soon", "P2", &["parser"]);
    add(&mut host, "next", "P1", &["lexer", "more"]);
    add(&mut host, "some day", "P3", &["parser"]);
    add(&mut host, "something else", "P0", &["docs"]);
    spawn(&mut host, "w", "priority>=P2 tags=parser,lexer");
    assert_eq!(assigned(&host), [pair("w", "→002"), pair("w", "→001")]);
    assert_eq!(host.last("needle.closed").actor, "agent:w");
    assert_eq!((host.done["model"], doing(&mut host, "w")), (4, json!("waits for work")));
    for _ in 0..3 {
        host.tick(3_600_000);
        host.run();
    }
    assert_eq!(host.done["model"], 4, "a worker at rest costs nothing");
    add(&mut host, "now", "P0", &["lexer"]);
    host.run();
    assert_eq!(status(&mut host, "5"), "closed", "new work wakes it");
    host.ok(&ada(), "work.edit", json!({ "id": "3", "priority": "P1" }));
    host.run();
    assert_eq!(status(&mut host, "3"), "closed", "so does work that has come to fit");
    assert_eq!(status(&mut host, "4"), "open");
}

#[test]
fn what_waits_for_others_is_given_when_it_is_ready_and_what_is_held_when_it_is_given_back() {
    let mut host = host(diligent);
    add(&mut host, "first", "P1", &["x"]);
    add(&mut host, "second", "P0", &["x"]);
    host.ok(&ada(), "work.link", json!({ "id": "2", "kind": "depends_on", "other": "1" }));
    host.ok(&agent("c"), "work.claim", json!({ "id": "1" }));
    spawn(&mut host, "w", "tags=x");
    assert!(assigned(&host).is_empty());
    host.ok(&agent("c"), "work.release", json!({ "id": "1" }));
    host.run();
    assert_eq!(assigned(&host), [pair("w", "→001"), pair("w", "→002")]);
}

#[test]
fn whoever_has_rested_longest_is_next_and_nobody_is_given_what_another_has() {
    let mut host = host(diligent);
    for name in ["a", "b", "c"] {
        spawn(&mut host, name, "priority=P1");
    }
    for number in 0..4 {
        add(&mut host, &format!("n{number}"), "P1", &[]);
        host.run();
    }
    let order: Vec<String> = assigned(&host).into_iter().map(|(lineage, _)| lineage).collect();
    assert_eq!(order, ["a", "b", "c", "a"]);
    host.syncs = false;
    for number in 4..8 {
        add_unsynced(&mut host, &format!("n{number}"));
    }
    host.syncs = true;
    host.run();
    let given: Vec<String> = assigned(&host).into_iter().map(|(_, id)| id).collect();
    assert_eq!(given.len(), 8, "each once: {given:?}");
    assert_eq!(host.count("needle.closed"), 8);
}

/// Adds a needle without waiting for the disk: whoever is given it cannot go on yet.
fn add_unsynced(host: &mut Host, title: &str) {
    let args = json!({ "title": title, "priority": "P1", "description": "d", "ac": ["check"] });
    host.submit(&ada(), "work.add", args);
}

#[test]
fn a_turn_that_ends_without_closing_is_reminded_of_once_then_the_needle_goes_to_another() {
    let mut host = host(mixed);
    let lazy = "tags=x\nPROMPT You are lazy.";
    add(&mut host, "n", "P1", &["x"]);
    spawn(&mut host, "lazy", lazy);
    assert_eq!(assigned(&host), vec![pair("lazy", "→001"); 2], "twice and no more");
    let counts =
        |host: &Host| (host.count("needle.reminded"), host.count("needle.released"), host.done["model"]);
    assert_eq!(counts(&host), (2, 2, 4));
    assert_eq!(
        host.last("needle.released").body["reason"],
        "its worker's turn ended twice without closing it"
    );
    let told = format!("{:?}", host.conversation(&host.kernel.state().agents["lazy"]));
    assert!(told.contains("you still hold →001"), "{told}");
    let noted = host.last("note.added").body["text_blob"].as_str().unwrap().parse().unwrap();
    assert!(String::from_utf8_lossy(&host.blobs[&noted]).contains("not again"));
    host.tick(3_600_000);
    host.run();
    assert_eq!(counts(&host), (2, 2, 4), "it does not loop");
    host.ok(&ada(), "work.edit", json!({ "id": "1", "description": "clearer now" }));
    host.run();
    assert_eq!(assigned(&host).len(), 4, "a person has changed it, so it is worth another look");
    spawn(&mut host, "good", "tags=x");
    assert_eq!(
        (assigned(&host).last(), status(&mut host, "1")),
        (Some(&pair("good", "→001")), "closed".to_owned())
    );
}

#[test]
fn what_a_worker_gives_back_itself_it_is_not_given_again() {
    let mut host = host(|request| match named(&asked(request)) {
        Some(id) => {
            vec![tool("t1", "work", json!({ "action": "release", "id": id, "reason": "no network" }))]
        }
        None => vec![say("I cannot.")],
    });
    add(&mut host, "n", "P1", &["x"]);
    spawn(&mut host, "w", "tags=x");
    assert_eq!((assigned(&host).len(), host.count("needle.reminded")), (1, 0));
    assert_eq!(status(&mut host, "1"), "open");
    spawn(&mut host, "v", "tags=x");
    assert_eq!(assigned(&host).len(), 2, "another has a look");
}

#[test]
fn a_worker_that_dies_or_is_held_loses_nothing_to_the_project() {
    let mut host = host(diligent);
    spawn(&mut host, "a", "tags=x");
    host.ok(&ada(), "agent.signal", json!({ "lineage": "a", "signal": "SIGSTOP" }));
    add(&mut host, "n", "P1", &["x"]);
    assert!(assigned(&host).is_empty(), "who is held is given nothing");
    spawn(&mut host, "b", "tags=y");
    host.submit(&ada(), "agent.signal", json!({ "lineage": "a", "signal": "SIGCONT" }));
    assert_eq!(assigned(&host), [pair("a", "→001")], "and is looked after when it goes on");
    host.submit(&ada(), "agent.spawn", json!({ "name": "c", "agentfile": "FROM scripted\nWORK tags=x\n" }));
    host.submit(&ada(), "agent.signal", json!({ "lineage": "a", "signal": "SIGKILL" }));
    host.run();
    assert_eq!(assigned(&host), [pair("a", "→001"), pair("c", "→001")]);
    assert_eq!(host.last("needle.released").body["reason"], "its holder ended");
    assert_eq!(status(&mut host, "1"), "closed");
}

#[test]
fn a_worker_keeps_its_needle_while_its_model_answers_however_long_it_takes() {
    let mut host = host(|request| {
        let said = request.messages.iter().filter(|message| message.role == Role::Assistant).count();
        match said {
            0..=9 => vec![tool(&format!("t{said}"), "note", json!({ "text": format!("step {said}") }))],
            10 => vec![tool("close", "work", json!({ "action": "close", "id": "1" }))],
            _ => vec![say("Done.")],
        }
    });
    add(&mut host, "n", "P1", &["x"]);
    host.submit(&ada(), "agent.spawn", json!({ "name": "w", "agentfile": "FROM scripted\nWORK tags=x\n" }));
    for _ in 0..40 {
        host.sync_to(host.log.len());
        host.step(0);
        host.tick(600_000);
    }
    host.run();
    assert_eq!((host.count("needle.released"), status(&mut host, "1")), (0, "closed".to_owned()));
}

#[test]
fn a_full_context_is_left_behind_between_needles_and_its_successor_knows_the_needle_within_one() {
    let mut host = host(diligent);
    add(&mut host, "n1", "P1", &["x"]);
    add(&mut host, "n2", "P1", &["x"]);
    spawn(&mut host, "w", "tags=x\nLIMIT context_window 150");
    assert_eq!((assigned(&host).len(), &host.last("needle.assigned").body["anew"]), (2, &json!(true)));
    let told = format!("{:?}", host.conversation(&host.kernel.state().agents["w"]));
    assert!(told.contains("→002") && !told.contains("→001"), "{told}");

    host.brain = Some(Box::new(|request: &ModelRequest| {
        let taken_over =
            request.messages.iter().any(|message| format!("{message:?}").contains("You take over"));
        match (named(&asked(request)), taken_over) {
            (Some(id), true) => vec![tool("t1", "work", json!({ "action": "close", "id": id }))],
            (_, false) => vec![tool("t0", "note", json!({ "text": "n" }))],
            (None, true) => vec![say("Done.")],
        }
    }));
    add(&mut host, "n3", "P1", &["y"]);
    spawn(&mut host, "v", "tags=y\nLIMIT context_window 115");
    assert_eq!(status(&mut host, "3"), "closed", "a successor was told what it holds");
}

#[test]
fn a_crash_at_any_moment_gives_no_needle_to_two_and_forgets_none() {
    for cut in 0..24 {
        let mut host = host(mixed);
        for (title, tag) in [("n1", "x"), ("n2", "x"), ("n3", "y")] {
            add(&mut host, title, "P1", &[tag]);
        }
        for (name, more) in [("a", "tags=x"), ("b", "tags=x"), ("lazy", "tags=y\nPROMPT You are lazy.")] {
            let agentfile = format!("FROM scripted\nWORK {more}\n");
            host.submit(&ada(), "agent.spawn", json!({ "name": name, "agentfile": agentfile }));
        }
        for step in 0..cut {
            host.sync_to(host.log.len() - step % 2);
            host.step(step);
        }
        if cut % 2 == 0 {
            host.crash()
        } else {
            host.kill()
        }
        host.run();
        for name in ["a", "b", "lazy"] {
            if !host.kernel.state().lineages.contains_key(name) {
                let more = if name == "lazy" { "tags=y\nPROMPT You are lazy." } else { "tags=x" };
                spawn(&mut host, name, more);
            }
        }
        assert_eq!(host.count("needle.closed"), 2, "cut {cut}: {:?}", host.events());
        assert!(host.kernel.state().work.claims.is_empty(), "cut {cut}");
        let lazy = assigned(&host).iter().filter(|(name, _)| name == "lazy").count();
        assert_eq!((lazy, status(&mut host, "3")), (2, "open".to_owned()), "cut {cut}");
    }
}

#[test]
fn a_worker_that_the_rules_let_take_no_work_is_given_none() {
    let documents = ostk_policy::Documents {
        custom: Some(
            "@id(\"no-work\") forbid (principal, action, resource) when { context.call == \"work.next\" };"
                .to_owned(),
        ),
        ..ostk_policy::Documents::default()
    };
    let mut host = Host::with(documents);
    host.brain = Some(Box::new(diligent));
    add(&mut host, "n", "P1", &["x"]);
    spawn(&mut host, "w", "tags=x");
    assert!(assigned(&host).is_empty());
    host.documents = ostk_policy::Documents::default();
    host.commands.insert("check".to_owned(), Box::new(|_| exit(0, "")));
    host.ok(&ada(), "policy.reload", json!({}));
    host.run();
    assert_eq!(status(&mut host, "1"), "closed");
}
