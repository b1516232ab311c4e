//! `ostk secret`: both gates, the order of the places, and values for a person at a terminal only.

use crate::fixture::{Fixture, Ran, ran};

const VALUE: &str = "sk-test-0123456789'abcdef";

/// A project whose HUMANFILE lists these secrets.
fn project(names: &[&str]) -> Fixture {
    let fixture = Fixture::new();
    let text = format!("IDENTITY ada\nMODEL claude-sonnet-4-6\nSECRET <<KEYS\n{}\nKEYS\n", names.join("\n"));
    fixture.govern("HUMANFILE", &text);
    fixture
}

fn with_variable(fixture: &Fixture, args: &[&str]) -> Ran {
    ran(fixture.command(args).env("OPENAI_API_KEY", VALUE).output().unwrap())
}

/// Starts a program at a terminal of its own, types the first argument when asked for a value, prints what is shown.
const TERMINAL: &str = "
import os, pty, sys
typed, shown = sys.argv[1].encode(), b''
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
while True:
    try:
        shown += os.read(fd, 1024)
    except OSError:
        break
    if typed and b'not shown' in shown:
        os.write(fd, typed)
        typed = b''
sys.stdout.buffer.write(shown)
";

/// Runs the command with a terminal of its own, at which `typed` is typed when it asks.
fn at_a_terminal(fixture: &Fixture, args: &[&str], typed: &str) -> String {
    let words = [&["-c", TERMINAL, typed, env!("CARGO_BIN_EXE_ostk")], args].concat();
    let output = fixture.program("python3", &words).env("OPENAI_API_KEY", VALUE).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_secret_is_usable_when_it_is_listed_and_present() {
    let fixture = project(&["OPENAI_API_KEY", "MISTRAL_API_KEY"]);
    let list = with_variable(&fixture, &["secret", "list", "--json"]).good().json();
    let of = |name: &str| {
        list["secrets"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap().clone()
    };
    assert_eq!(
        (of("OPENAI_API_KEY")["usable"].clone(), of("OPENAI_API_KEY")["place"].clone()),
        (true.into(), "environment".into())
    );
    assert_eq!(of("MISTRAL_API_KEY")["usable"], false);
    assert_eq!(of("GEMINI_API_KEY")["listed"], false);
    let missing = with_variable(&fixture, &["secret", "test", "MISTRAL_API_KEY"]);
    assert!(missing.code == 1 && missing.err.contains("ostk secret set MISTRAL_API_KEY"), "{missing:?}");
}

#[test]
fn a_secret_that_is_not_listed_is_refused_although_it_is_present() {
    let refused = with_variable(&Fixture::new(), &["secret", "test", "OPENAI_API_KEY"]);
    assert!(refused.code == 3 && refused.err.contains(".ostk/HUMANFILE"), "{refused:?}");
}

#[test]
fn a_test_shows_prefix_length_and_place_and_not_the_value() {
    let shown = with_variable(&project(&["OPENAI_API_KEY"]), &["secret", "test", "OPENAI_API_KEY"]).good();
    assert!(shown.out.contains("sk-t…  25 characters, from the environment"), "{shown:?}");
    assert!(!shown.out.contains("0123"), "{shown:?}");
}

#[test]
fn the_projects_own_command_goes_first() {
    let fixture = project(&["OPENAI_API_KEY"]);
    let settings = "[secrets]\ncommand = [\"sh\", \"-c\", \"echo command-for-$0\"]\n";
    fixture.govern("ostk.toml", settings);
    let shown = with_variable(&fixture, &["secret", "test", "OPENAI_API_KEY", "--json"]).good().json();
    assert_eq!((shown["place"].clone(), shown["characters"].clone()), ("command".into(), 26.into()));
}

#[test]
fn a_value_is_shown_to_a_person_at_a_terminal_and_to_nobody_else() {
    let fixture = project(&["OPENAI_API_KEY"]);
    for verb in ["get", "env"] {
        let refused = with_variable(&fixture, &["secret", verb, "OPENAI_API_KEY"]);
        assert!(refused.code == 3 && !refused.out.contains("0123"), "{refused:?}");
    }
    let shown = at_a_terminal(&fixture, &["secret", "get", "OPENAI_API_KEY"], "");
    assert_eq!(shown.trim(), VALUE);
    let line = at_a_terminal(&fixture, &["secret", "env", "OPENAI_API_KEY"], "");
    assert_eq!(line.trim(), r"export OPENAI_API_KEY='sk-test-0123456789'\''abcdef'");
}

#[test]
fn a_typed_secret_is_not_echoed_and_is_kept_where_there_is_a_keychain() {
    let name = format!("OSTK_TEST_TYPED_{}", std::process::id());
    let fixture = project(&[&name]);
    let said = at_a_terminal(&fixture, &["secret", "set", &name], "typed-by-ada-XX\u{7f}\u{7f}\n");
    assert!(said.contains("not shown") && !said.contains("typed-by-ada"), "{said}");
    if said.contains("is kept") {
        let shown = fixture.run(&["secret", "test", &name]).good().out;
        assert!(shown.contains("12 characters, from the keychain"), "{shown}");
        fixture.run(&["secret", "rm", &name]).good();
        assert_eq!(fixture.run(&["secret", "test", &name]).code, 1);
    } else {
        eprintln!("this machine has no keychain: {said}");
        assert!(said.contains("the kernel's keyring"), "{said}");
    }
}

#[test]
fn a_native_agent_uses_a_key_that_is_listed_and_present_and_no_other() {
    let said = |listed: &str, value: &str| {
        let fixture = Fixture::new();
        fixture.govern("HUMANFILE", &format!("IDENTITY ada\nMODEL m\n{listed}"));
        std::fs::write(fixture.root().join("a.af"), "FROM claude-test\nTASK Say hello.\n").unwrap();
        let mut run = fixture.command(&["run", "a.af"]);
        // A name that leads nowhere: the key is looked for before anything is dialled.
        run.env("ANTHROPIC_BASE_URL", "https://models.invalid").env("ANTHROPIC_API_KEY", value);
        let ran = ran(run.output().unwrap());
        assert_ne!(ran.code, 0, "{ran:?}");
        fixture.run(&["shutdown"]).good();
        fixture.run(&["audit", "export"]).good().out
    };
    let unlisted = said("", VALUE);
    assert!(unlisted.contains("HUMANFILE does not list the secret ANTHROPIC_API_KEY"), "{unlisted}");
    let absent = said("SECRET ANTHROPIC_API_KEY\n", "");
    assert!(absent.contains("ostk secret set ANTHROPIC_API_KEY"), "{absent}");
}
