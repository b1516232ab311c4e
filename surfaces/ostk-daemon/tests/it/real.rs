//! Real coding agents, without a person and without their vendors: a scripted model says what they do.
//!
//! A client is installed from its package registry, once for all runs of these tests. Where the registry cannot be
//! reached the tests say so and check nothing.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

use scripted_model::{Handle, Script, ScriptedModel};
use serde_json::{Value, json};

/// The client `name` of the package `package@version`, or nothing if its registry cannot be reached.
pub(crate) fn install(package: &str, version: &str, name: &str) -> Option<PathBuf> {
    let prefix = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{version}"));
    let (binary, package) = (prefix.join("node_modules/.bin").join(name), format!("{package}@{version}"));
    // Tests are processes of their own and run side by side: one of them installs, the others wait for it.
    let lock = File::create(prefix.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let works = || Command::new(&binary).arg("--version").output().is_ok_and(|ran| ran.status.success());
    if !works() {
        let reached = Command::new("npm").args(["view", &package, "version"]).output();
        if !reached.is_ok_and(|ran| ran.status.success()) {
            eprintln!("skipped: npm cannot reach its registry, so there is no {name} to test with");
            return None;
        }
        let ran =
            Command::new("npm").arg("install").arg("--prefix").arg(&prefix).arg(&package).output().unwrap();
        assert!(ran.status.success() && works(), "{ran:?}");
    }
    Some(binary)
}

/// A model that makes these tool calls one after the other, each once the one before was answered as is expected.
pub(crate) fn model(prompt: &str, turns: &[(&str, Value, Value)]) -> Handle {
    let mut script = Vec::new();
    let mut expect = json!({});
    for (tool, input, then) in turns {
        script.push(json!({ "expect": expect, "reply": [{ "tool": { "name": tool, "input": input } }] }));
        expect = then.clone();
    }
    script.push(json!({ "expect": expect, "reply": [{ "text": "Finished." }] }));
    let tool = turns[0].0;
    let conversation =
        json!({ "name": "task", "match": { "first_user": prompt, "tool": tool }, "turns": script });
    ScriptedModel::start(Script::from_value(json!({ "conversations": [conversation] })).unwrap()).unwrap()
}
