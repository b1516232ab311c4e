//! What scripts may rely on: the objects that commands print and the records of the log are those of `docs/schemas`.

use std::{collections::BTreeSet, fs, path::Path};

use ostk_agent::{AgentEvent, Outcome, model::StopReason};
use ostk_kernel::{Event, LineageKind, Scope, Via};
use ostk_policy::{ActorKind, Class, DestructiveOps, Mode, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    fixture::{Fixture, ran},
    schema::Schemas,
};

#[test]
fn a_demo_leaves_the_report_and_the_log_that_are_documented() {
    let (fixture, schemas) = (Fixture::with_sources(), Schemas::load());
    let demo = fixture.command(&["demo", "--json", "--keep"]).env("TMPDIR", fixture.home()).output().unwrap();
    let report = ran(demo).good().json();
    schemas.check(schemas.file("demo.json"), &report);
    assert_eq!((&report["ok"], &report["lost"], &report["restarts"]), (&true.into(), &0.into(), &1.into()));
    let of_agents = |name: &str| -> u64 {
        report["agents"].as_array().unwrap().iter().map(|agent| agent[name].as_u64().unwrap()).sum()
    };
    assert_eq!(of_agents("acknowledged"), report["acknowledged"].as_u64().unwrap());
    assert_eq!(of_agents("refused"), report["refused"].as_u64().unwrap());
    assert!(Path::new(report["journal"].as_str().unwrap()).is_file(), "{report}");

    let inside = |args: &[&str]| {
        ran(fixture.command(args).env("OSTK_DIR", report["repo"].as_str().unwrap()).output().unwrap()).good()
    };
    let records = inside(&["audit", "export"]).lines();
    assert_eq!(records.len() as u64, report["records"].as_u64().unwrap());
    let mut seen = BTreeSet::new();
    for record in &records {
        let event = record["event"].as_str().unwrap();
        let family = format!("events/{}.json", event.split('.').next().unwrap());
        schemas.check(schemas.file("record.json"), record);
        schemas.check(schemas.file(&family), record);
        seen.insert(event.to_owned());
    }
    for event in ["agent.step", "file.conflict", "file.foreign", "gate.denied", "shell.receipt"] {
        assert!(seen.contains(event), "{event} of {seen:?}");
    }

    let processes = inside(&["ps", "--json"]).json();
    inside(&["shutdown"]);
    schemas.check(schemas.file("ps.json"), &processes);
    let native = processes.as_array().unwrap().iter().filter(|row| row["kind"] == "native");
    assert!(native.clone().all(|row| row["outcome"]["kind"] == "done"), "{processes}");
    assert_eq!(native.count(), 4);
}

#[test]
fn the_report_on_a_log_is_as_documented_whether_it_is_whole_or_not() {
    let (fixture, schemas) = (Fixture::with_a_log(), Schemas::load());
    let verify = |code: i32| {
        let ran = fixture.run(&["audit", "verify", "--json"]);
        assert_eq!(ran.code, code, "{ran:?}");
        schemas.check(schemas.file("audit-verify.json"), &ran.json());
        ran.json()
    };
    assert_eq!(verify(0)["ok"], true);
    let path = fixture.state().join("journal.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("human:ada", "human:eve", 1)).unwrap();
    let report = verify(1);
    assert!(report["ok"] == false && report["problems"][0]["seq"].is_u64(), "{report}");
    fs::write(fixture.state().join("log/checkpoint"), "nothing").unwrap();
    let problems = verify(1)["problems"].take();
    assert!(problems.as_array().unwrap().iter().any(|problem| problem.get("seq").is_none()), "{problems}");
    fs::remove_dir_all(fixture.state()).unwrap();
}

#[test]
fn the_process_table_is_as_documented() {
    let (fixture, schemas) = (Fixture::new(), Schemas::load());
    fixture.call_as("worker-a", "note", r#"{"text":"here"}"#).good();
    let rows = fixture.run(&["ps", "--json"]).good().json();
    schemas.check(schemas.file("ps.json"), &rows);
    let kinds: BTreeSet<&str> =
        rows.as_array().unwrap().iter().map(|row| row["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["client", "human"].into(), "{rows}");
}

#[test]
fn every_event_has_a_version_and_a_schema_and_every_schema_an_event() {
    let schemas = Schemas::load();
    let documented: BTreeSet<String> = schemas.events().iter().map(|(_, name)| (*name).to_owned()).collect();
    assert_eq!(documented, names::<Event>(json!({ "event": "?", "body": {} })));
    for (file, name) in schemas.events() {
        assert_eq!(file, format!("events/{}.json", name.split('.').next().unwrap()), "{name}");
        assert_eq!(schemas.version(file, name), Some(1), "{name}");
    }
}

#[test]
fn a_schema_has_the_members_of_its_event_no_more_and_no_fewer() {
    let schemas = Schemas::load();
    for (file, name) in schemas.events() {
        let node = schemas.at(file, &format!("/$defs/{name}"));
        let event = |body: &Value| -> Event {
            let tagged = json!({ "event": name, "body": body });
            serde_json::from_value(tagged).unwrap_or_else(|error| panic!("{name}: {error}: {body}"))
        };
        for body in schemas.full(node) {
            schemas.check(node, &body);
            let event = event(&body);
            assert_eq!(serde_json::to_value(&event).unwrap()["body"], body, "{name}");
            // Everything is given, so a member at its default is one that the schema does not have.
            let shown = format!("{event:?}").replace("resource: None", "");
            for default in [": None", ": false", ": []", ": 0", ": {}"] {
                assert!(!shown.contains(default), "{name} has a member that {file} lacks: {shown}");
            }
        }
        let least = schemas.least(node);
        schemas.check(node, &least);
        assert_eq!(serde_json::to_value(event(&least)).unwrap()["body"], least, "{name}");
    }
}

#[test]
fn the_words_of_a_schema_are_those_of_the_log() {
    let schemas = Schemas::load();
    let same = |file: &str, pointer: &str, member: &str, known: BTreeSet<String>| {
        let values = schemas.full(schemas.at(file, pointer));
        let word = |value: &Value| match value {
            Value::String(word) => word.clone(),
            // A variant with data is an object: its tag, or its only member.
            other if member.is_empty() => other.as_object().unwrap().keys().next().unwrap().clone(),
            other => other[member].as_str().unwrap().to_owned(),
        };
        assert_eq!(values.iter().map(word).collect::<BTreeSet<_>>(), known, "{file}#{pointer}");
    };
    let (common, agent) = ("events/common.json", "events/agent.json");
    same(common, "/$defs/class", "", names::<Class>(json!("?")));
    same(common, "/$defs/actor_kind", "", names::<ActorKind>(json!("?")));
    same(common, "/$defs/lineage_kind", "", names::<LineageKind>(json!("?")));
    same(common, "/$defs/mode", "", names::<Mode>(json!("?")));
    let ops = "/$defs/request/properties/actor/properties/destructive_ops";
    same(common, ops, "", names::<DestructiveOps>(json!("?")));
    let scope = "/$defs/approval.answered/properties/scope";
    same("events/approval.json", scope, "", names::<Scope>(json!("?")));
    same(common, "/$defs/resource", "kind", names::<Resource>(json!({ "kind": "?" })));
    same("events/file.json", "/$defs/file.foreign/properties/via", "", names::<Via>(json!("?")));
    same(agent, "/$defs/step", "step", names::<AgentEvent>(json!({ "step": "?" })));
    same(agent, "/$defs/stop", "", names::<StopReason>(json!("?")));
    same(agent, "/$defs/outcome", "kind", names::<Outcome>(json!({ "kind": "?" })));
}

/// The names of an enumeration's variants, from what is said about one that it does not have.
fn names<T: DeserializeOwned>(with_an_unknown_one: Value) -> BTreeSet<String> {
    let said = serde_json::from_value::<T>(with_an_unknown_one).map(drop).unwrap_err().to_string();
    let (_, expected) = said.split_once("expected").unwrap_or_else(|| panic!("{said}"));
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
