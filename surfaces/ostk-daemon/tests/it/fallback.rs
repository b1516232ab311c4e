//! `FALLBACK` with two real providers: one is overloaded, the other answers.

use scripted_model::{Handle, Script, ScriptedModel};
use serde_json::Value;

use crate::fixture::Fixture;

fn serve(script: &str) -> Handle {
    ScriptedModel::start(Script::parse(script).unwrap()).unwrap()
}

#[test]
fn an_agent_whose_provider_is_overloaded_goes_on_with_the_fallback_and_the_log_says_so() {
    let down = r#"{"conversations": [{"name": "down", "turns": [
        {"reply": [{"text": "Never said."}], "fail": {"status": 529, "retry_after_ms": 600000, "times": 1000}},
        {"reply": [], "fail": {"status": 503, "times": 1000}}]}]}"#;
    let up = r#"{"conversations": [{"name": "up", "turns": [
        {"reply": [{"tool": {"name": "fs_ops", "input": {"path": "hello.txt", "content": "hello\n"}}}]},
        {"reply": [{"text": "Written."}]}]}]}"#;
    let (first, second) = (serve(down), serve(up));
    let fixture = Fixture::new();
    fixture.govern(".ostk/HUMANFILE", "IDENTITY ada\nMODEL claude-test\nFALLBACK openai-chat/gpt-test\n");
    fixture.write("greeter.af", "FROM claude-test\nTASK Write a greeting.\n");
    let mut run = fixture.command(&["run", "greeter.af", "--json"]);
    run.env("ANTHROPIC_BASE_URL", first.base_url()).env("OPENAI_BASE_URL", second.openai_base_url());
    let ran = run.output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    assert_eq!(fixture.read("hello.txt"), "hello\n");
    assert_eq!(
        (first.requests().len(), second.requests().len()),
        (1, 2),
        "each is called as often as is needed"
    );
    assert!(second.repeated().is_empty() && second.unmet().is_empty(), "{:?}", second.unmet());
    let table = fixture.good(&["ps"]).out;
    assert!(table.contains("openai-chat/gpt-test for claude-test"), "{table}");
    let log = fixture.log();
    let said: Vec<&Value> =
        log.iter().filter(|(_, event, _)| event == "model.substituted").map(|(.., body)| body).collect();
    assert_eq!(said.len(), 1);
    assert_eq!(
        (&said[0]["model"], &said[0]["fallback"]),
        (&"claude-test".into(), &"openai-chat/gpt-test".into())
    );
    let calls = log.iter().filter(|(.., body)| body["step"]["step"] == "model_intent");
    let calls: Vec<&Value> = calls.map(|(.., body)| &body["step"]["fallback"]).collect();
    assert_eq!(calls, [&Value::Null, &"openai-chat/gpt-test".into(), &"openai-chat/gpt-test".into()]);
}

#[test]
fn from_auto_takes_the_fallback_where_only_that_one_has_a_key() {
    let fixture = Fixture::new();
    let humanfile = "IDENTITY ada\nMODEL claude-test\nFALLBACK openai-chat/gpt-test\nSECRET ANTHROPIC_API_KEY OPENAI_API_KEY\n";
    fixture.govern(".ostk/HUMANFILE", humanfile);
    fixture.write("greeter.af", "FROM auto\nTASK Write a greeting.\n");
    let composed = |keys: &[&str]| {
        let mut run = fixture.command(&["run", "greeter.af", "--dry-run"]);
        run.envs(keys.iter().map(|name| (*name, "a-key-of-some-length")));
        let ran = run.output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8(ran.stdout).unwrap()
    };
    assert!(composed(&["ANTHROPIC_API_KEY", "OPENAI_API_KEY"]).contains("FROM claude-test"));
    assert!(composed(&["OPENAI_API_KEY"]).contains("FROM openai-chat/gpt-test"));
    assert!(composed(&[]).contains("FROM claude-test"), "without any, the first says what is missing");
}

#[test]
fn lint_knows_which_models_nobody_serves() {
    let fixture = Fixture::new();
    fixture.govern(".ostk/HUMANFILE", "IDENTITY ada\nMODEL claude-test\nFALLBACK gemini-nowhere\n");
    let ran = fixture.run(&["lint", "--json"]);
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    let finding = &found["findings"][0];
    assert_eq!((&finding["line"], &finding["severity"]), (&3.into(), &"warning".into()), "{found}");
    assert!(
        finding["message"].as_str().unwrap().contains("no provider is known for the model gemini-nowhere"),
        "{found}"
    );
}
