//! `ostk init --client`: settings of coding agents, byte for byte.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};

use crate::fixture::Fixture;

const FILES: &[(&str, &[&str])] = &[
    ("claude", &[".claude/settings.json", ".mcp.json"]),
    ("codex", &[".codex/hooks.json", ".codex/config.toml"]),
    ("cursor", &[".cursor/mcp.json"]),
];

const JSON: &[&str] = &[
    "{}",
    "",
    "{\n}\n",
    "{\"permissions\":{\"allow\":[\"Bash(ls)\"]},\"a\":1}",
    "{\r\n\t\"z\" : [1,2 , 3],\r\n\t\"hooks\":{ }\r\n}\r\n\r\n",
    "  {\n    \"hooks\": {\"Stop\": [], \"PreToolUse\": [ {\"matcher\":\"X\",\"hooks\":[{\"type\":\"command\",\"command\":\"mine\"}]} ]},\n\n    \"mcpServers\": {\"b\": {\"command\": \"b\"},\"a\": {}} }  ",
    "{\n \"mcpServers\": {}, \"hooks\": {\"PreToolUse\": []}}",
];

const TOML: &[&str] =
    &["", "# mine\nmodel = \"o5\"   # odd\n\n\n", "a = 1\r\n[mcp_servers.b]\r\ncommand = \"b\"", "x=1"];

fn texts(path: &str) -> &'static [&'static str] {
    if path.ends_with("toml") { TOML } else { JSON }
}

#[test]
fn installing_and_uninstalling_leaves_every_byte() {
    let fixture = Fixture::new();
    for (client, paths) in FILES {
        for number in 0..JSON.len() {
            let texts: Vec<&str> = paths.iter().map(|path| texts(path)[number % texts(path).len()]).collect();
            for (path, text) in paths.iter().zip(&texts) {
                fixture.write(path, text);
            }
            fixture.good(&["init", "--client", client]);
            let installed: Vec<String> = paths.iter().map(|path| fixture.read(path)).collect();
            for (now, before) in installed.iter().zip(&texts) {
                assert_ne!(now, before);
            }
            fixture.good(&["init", "--client", client]);
            let again: Vec<String> = paths.iter().map(|path| fixture.read(path)).collect();
            assert_eq!(installed, again, "a second time changes nothing");
            fixture.good(&["init", "--client", client, "--uninstall"]);
            for (path, text) in paths.iter().zip(&texts) {
                assert_eq!(&fixture.read(path), text, "{client}");
            }
        }
    }
}

#[test]
fn files_that_were_not_there_are_gone_again() {
    let fixture = Fixture::new();
    for (client, paths) in FILES {
        fixture.good(&["init", "--client", client]);
        assert!(paths.iter().all(|path| fixture.root().join(path).is_file()));
        fixture.good(&["init", "--client", client, "--uninstall"]);
        for path in *paths {
            let path = fixture.root().join(path);
            assert!(!path.exists(), "{}", path.display());
            assert!(path.parent().unwrap() == fixture.root() || !path.parent().unwrap().exists());
        }
    }
}

#[test]
fn what_its_owner_changed_in_between_stays() {
    let fixture = Fixture::new();
    let before = "{\n  \"model\": \"opus\",\n  \"hooks\": {\n    \"Stop\": []\n  }\n}\n";
    fixture.write(".claude/settings.json", before);
    fixture.write(".codex/config.toml", "model = \"o5\"\n");
    fixture.good(&["init", "--client", "claude", "--client", "codex"]);
    let changed = fixture.read(".claude/settings.json").replace("opus", "sonnet");
    fixture.write(".claude/settings.json", &changed);
    let toml = format!("{}\n[tui]\ntheme = \"dark\"\n", fixture.read(".codex/config.toml"));
    fixture.write(".codex/config.toml", &toml);
    fixture.good(&["init", "--client", "claude", "--client", "codex", "--uninstall"]);
    assert_eq!(fixture.read(".claude/settings.json"), before.replace("opus", "sonnet"));
    assert_eq!(fixture.read(".codex/config.toml"), "model = \"o5\"\n\n[tui]\ntheme = \"dark\"\n");
}

#[test]
fn the_entries_are_those_that_the_clients_read() {
    let fixture = Fixture::new();
    fixture.good(&["init", "--client", "claude", "--client", "codex", "--client", "cursor"]);
    let json = |path: &str| serde_json::from_str::<Value>(&fixture.read(path)).unwrap();
    let server = json!({ "mcpServers": { "ostk": { "command": "ostk", "args": ["mcp"] } } });
    assert_eq!(json(".mcp.json"), server);
    assert_eq!(json(".cursor/mcp.json"), server);
    let hooks = &json(".claude/settings.json")["hooks"];
    let before = &hooks["PreToolUse"][0];
    assert_eq!(before["matcher"], "Read|Edit|MultiEdit|Write|NotebookEdit|Bash|WebFetch|WebSearch|mcp__.*");
    assert_eq!(before["hooks"][0]["type"], "command");
    assert_eq!(before["hooks"][0]["command"], "ostk hook pre-tool");
    let codex = &json(".codex/hooks.json")["hooks"];
    assert_eq!(codex["PreToolUse"][0]["matcher"], "Bash|apply_patch");
    for (event, argument) in [
        ("SessionStart", "session-start"),
        ("PreToolUse", "pre-tool"),
        ("PostToolUse", "post-tool"),
        ("Stop", "turn-end"),
        ("SessionEnd", "session-end"),
    ] {
        assert_eq!(hooks[event][0]["hooks"][0]["command"], format!("ostk hook {argument}"));
        assert_eq!(codex[event][0]["hooks"][0]["command"], format!("ostk hook --client codex {argument}"));
    }
    assert_eq!(
        fixture.read(".codex/config.toml"),
        "[mcp_servers.ostk]\ncommand = \"ostk\"\nargs = [\"mcp\"]\n"
    );
}

#[test]
fn a_malformed_file_changes_nothing_anywhere() {
    let fixture = Fixture::new();
    for (malformed, word) in [
        ("{\"mcpServers\": ", "not JSON"),
        ("[]", "not an object"),
        ("{\"mcpServers\": []}", "not an object"),
        // Claude Code does not read what has comments either.
        ("{\n  // mine\n  \"a\": 1\n}\n", "not JSON"),
        ("{\"a\": 1, /* mine */ \"b\": 2,}", "not JSON"),
    ] {
        fixture.write(".mcp.json", malformed);
        let ran = fixture.run(&["init", "--client", "claude"]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.err.contains(".mcp.json") && ran.err.contains(word), "{ran:?}");
        assert_eq!(fixture.read(".mcp.json"), malformed);
        assert!(!fixture.root().join(".claude").exists());
    }
}

#[test]
fn a_link_stays_a_link_and_permissions_stay() {
    let fixture = Fixture::new();
    let (real, link) = (fixture.home().join("shared.json"), fixture.root().join(".mcp.json"));
    fs::write(&real, "{\"a\": 1}").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    fixture.good(&["init", "--client", "claude"]);
    assert!(link.is_symlink());
    assert!(fs::read_to_string(&real).unwrap().contains("\"ostk\""));
    assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o600);
    fixture.good(&["init", "--client", "claude", "--uninstall"]);
    assert!(link.is_symlink());
    assert_eq!(fs::read_to_string(&real).unwrap(), "{\"a\": 1}");
}
