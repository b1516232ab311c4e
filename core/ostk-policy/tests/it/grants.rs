//! What an Agentfile's TOOL grants and path LIMITs give and take.

use ostk_policy::{Class, Documents, Resource, ToolGrant};

use crate::{allows, ask, both, command, load, path, tool};

fn with(tools: &[ToolGrant], class: Class, resource: Resource) -> bool {
    let mut request = ask(class, resource);
    request.actor.tools = Some(tools.to_vec());
    allows(&both(&load(&Documents::default()), &request))
}

#[test]
fn a_tool_that_is_not_granted_is_refused() {
    let shell = [tool("shell", None)];
    assert!(with(&shell, Class::ShellExec, command("ls")));
    assert!(!with(&shell, Class::FileRead, path("a")));
    assert!(!with(&[], Class::FileRead, path("a")));
    for class in [Class::ModelCall, Class::KernelRead, Class::KernelWrite, Class::KernelSpawn] {
        assert!(with(&[], class, Resource::None), "{class:?} needs no grant");
    }
    assert!(!with(&[tool("frobnicate", None)], Class::FileRead, path("a")), "an unknown grant gives nothing");
}

#[test]
fn a_grant_for_a_path_is_anchored_and_reaches_no_further() {
    let edit = [tool("file:edit", Some("src/parser"))];
    assert!(with(&edit, Class::FileEdit, path("src/parser/a.rs")));
    assert!(with(&edit, Class::FileRead, path("src/parser/a.rs")), "who may edit may read");
    assert!(!with(&edit, Class::FileWrite, path("src/parser/a.rs")));
    assert!(!with(&edit, Class::FileEdit, path("x/src/parser/a.rs")));
    assert!(!with(&edit, Class::FileEdit, path("src/parser2")));
    assert!(!with(&edit, Class::FileRead, Resource::None), "a search reads the whole workspace");
    assert!(!with(&[tool("file:edit", Some("../a"))], Class::FileEdit, path("a")));
}

#[test]
fn limits_restrict_and_grant_nothing() {
    let all = [tool("file:write", None), tool("limit:write", Some("out")), tool("limit:read", Some("src"))];
    assert!(with(&all, Class::FileWrite, path("out/a")));
    assert!(!with(&all, Class::FileWrite, path("src/a")));
    assert!(with(&all, Class::FileRead, path("src/a")));
    assert!(!with(&all, Class::FileRead, path("out/a")));
    assert!(!with(&[tool("limit:write", Some("out"))], Class::FileWrite, path("out/a")));
}

#[test]
fn a_shell_that_only_reads_does_not_write() {
    let shell = [tool("shell", Some("readonly"))];
    assert!(with(&shell, Class::ShellRead, command("ls")));
    assert!(!with(&shell, Class::ShellWrite, command("rm a")));
    assert!(!with(&[tool("shell", Some("git *"))], Class::ShellExec, command("git push")), "no such pattern");
}

#[test]
fn a_grant_is_read_as_an_agentfile_writes_it_or_refused_by_name() {
    assert_eq!(ToolGrant::parse("file:edit(src/parser)"), Ok(tool("file:edit", Some("src/parser"))));
    assert_eq!(ToolGrant::parse("shell(readonly)"), Ok(tool("shell", Some("readonly"))));
    assert_eq!(ToolGrant::parse(" limit:write(out) "), Ok(tool("limit:write", Some("out"))));
    for (text, message) in [
        ("file:wirte", "no such tool: \"file:wirte\"; did you mean file:write?"),
        ("file:edit(src", "a pattern stands in parentheses at the end"),
        ("shell(git *)", "shell takes no path; shell takes `readonly`, files and limits take a path"),
        ("limit:read", "limit:read needs a path in parentheses"),
        ("file:edit(../a)", "a path may not contain `..`"),
    ] {
        assert_eq!(ToolGrant::parse(text).map_err(|error| error.to_string()), Err(message.to_owned()));
    }
}

#[test]
fn a_grant_does_not_lift_what_is_forbidden() {
    assert!(!with(&[tool("file:write", None)], Class::FileWrite, path(".ostk/x")));
}
