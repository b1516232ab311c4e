//! `ostk run`: an Agentfile, what it names, and what becomes of it.

use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::fixture::Fixture;

fn refusal(fixture: &Fixture, text: &str) -> String {
    fixture.write("agents/x.af", text);
    let ran = fixture.run(&["run", "agents/x.af", "--dry-run"]);
    assert_eq!(ran.code, 2, "{text}: {ran:?}");
    ran.err
}

#[test]
fn an_agentfile_is_put_together_from_its_profile_its_texts_its_skills_and_its_variables() {
    let fixture = Fixture::new();
    let profile =
        "FROM claude-sonnet-4-6\nPROMPT House rules.\nLIMIT turns 9\nLIMIT tokens 5000\nPIN house\n";
    fixture.write(".ostk/profiles/house.af", profile);
    fixture.write("agents/prompts/mine.md", "Be brief.\n\n- ${not a variable}\n");
    fixture.write("agents/skills/review/SKILL.md", "Look twice.\n");
    let file = "FROM auto\nFROM-PROFILE house\nPROMPT file://prompts/mine.md\nSKILL review\n\
                TASK Mend ${PART:-the parser}.\nLIMIT turns 3\n";
    fixture.write("agents/fix.af", file);
    let ran = fixture.good(&["run", "agents/fix.af", "--dry-run", "--json"]);
    let shown: Value = serde_json::from_str(&ran.out).unwrap();
    let wanted = "FROM claude-sonnet-4-6\nPROMPT House rules.\nPROMPT Be brief.\n\n  - $${not a variable}\n\
                  PROMPT Look twice.\nTASK Mend the parser.\nLIMIT turns 3\nLIMIT tokens 5000\nPIN house\n";
    assert_eq!(shown["agentfile"], wanted);
}

#[test]
fn what_an_agentfile_may_not_name_or_ask_for_is_refused_by_its_own_line() {
    let fixture = Fixture::new();
    symlink("/etc/hostname", fixture.root().join("out.md")).unwrap();
    fixture.write("a.md", "text");
    fixture.write("agents/large.md", &"x".repeat(300_000));
    fixture.write(".ostk/profiles/one.af", "FROM auto\nFROM-PROFILE two\n");
    fixture.write(".ostk/profiles/two.af", "FROM auto\nFROM-PROFILE one\n");
    for (line, reason) in [
        ("PROMPT file://../a.md", "line 2:8: PROMPT: \"../a.md\" is outside the workspace"),
        ("PROMPT file://large.md", "larger than"),
        ("PROMPT file://nothing.md", "No such file"),
        ("SKILL ../review", "there is no skills/../review/SKILL.md"),
        ("FROM-PROFILE one", "a circle of them"),
        ("FROM-PROFILE ../../x", "there is no .ostk/profiles/"),
        ("INTERRUPT x", "agents/x.af: line 2: INTERRUPT: is not carried out"),
        ("LIMIT verb git", "lines of a PIN"),
    ] {
        let said = refusal(&fixture, &format!("FROM claude-sonnet-4-6\n{line}\nTASK x\n"));
        assert!(said.contains(reason), "{line}: {said}");
    }
    fixture.write("linked.af", "FROM claude-sonnet-4-6\nTASK file://out.md\n");
    let ran = fixture.run(&["run", "linked.af", "--dry-run"]);
    assert!(ran.err.contains("outside the repository"), "{ran:?}");
    // Neither a profile nor a HUMANFILE says which model.
    std::fs::remove_file(fixture.root().join(".ostk/HUMANFILE")).unwrap();
    assert!(refusal(&fixture, "FROM auto\nTASK x\n").contains("OSTK_MODEL"));
}

#[test]
fn an_agent_starts_with_its_models_window_and_under_a_budget_that_can_be_kept() {
    let fixture = Fixture::new();
    let start = |name: &str, text: &str| {
        fixture.write("x.af", text);
        fixture.run(&["run", "x.af", "--name", name, "--detach"])
    };
    assert_eq!(start("a", "FROM claude-sonnet-4-6\nTASK x\nLIMIT budget_usd 1\n").code, 0);
    assert_eq!(start("b", "FROM ollama/tiny\nTASK x\nLIMIT context_window 8192\n").code, 0);
    let unpriced = start("c", "FROM openrouter/x/y\nTASK x\nLIMIT budget_usd 1\n");
    assert!(unpriced.err.contains("the price of openrouter/x/y is not known"), "{unpriced:?}");
    let unknown = start("d", "FROM nonsense\nTASK x\n");
    assert!(unknown.err.contains("nonsense"), "{unknown:?}");
    let windows: Vec<u64> = fixture
        .log()
        .iter()
        .filter_map(|(_, _, body)| body["step"]["config"]["context_window"].as_u64())
        .collect();
    assert_eq!(windows, [1_000_000, 8_192]);
}
