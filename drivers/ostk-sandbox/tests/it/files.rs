//! What a command can and cannot change.

use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt as _, time::Duration};

use ostk_sandbox::{
    Exit, Guarantee, Missing, Namespaces, Network, Probe, Protection, Readable, Sandbox, SandboxError, probe,
};

use crate::yard::{Yard, every_way, said, text};

/// Ways to change what is protected. `$W` is the workspace, `$OUT` a directory beside it, `$DAEMON` the process
/// outside the sandbox. Each must leave everything guarded as it is.
const ATTACKS: [&str; 42] = [
    "echo x > .ostk/journal.jsonl",
    "echo x >> .ostk/journal.jsonl",
    "echo x > .ostk/new",
    "truncate -s 0 .ostk/journal.jsonl",
    "rm -rf .ostk",
    "mv .ostk elsewhere",
    "mv .ostk/pins src/pins",
    "mv src/main.rs .ostk/main.rs",
    "mv -T src .ostk/pins",
    "echo x > .git/hooks/pre-commit",
    "echo x > .git/hooks/post-commit",
    "rm -rf .git/hooks",
    "mv .git/hooks .git/old && mkdir .git/hooks && echo x > .git/hooks/pre-commit",
    "mv .git old; mkdir -p .git/hooks && echo x > .git/hooks/pre-commit",
    "cp -r .git copy; rm -rf .git; mv copy .git; echo x > .git/hooks/pre-commit",
    "echo x > .git/config",
    "git config core.hooksPath /tmp",
    "cp .git/config c && echo x >> c && mv c .git/config",
    "rm -f HUMANFILE && echo x > HUMANFILE",
    "echo x > h; mv h HUMANFILE",
    "ln -sf .ostk link && echo x > link/new",
    "ln -s $OUT link; echo x > link/file; echo x > link/new",
    "ln -sfn src/main.rs HUMANFILE",
    "ln .ostk/journal.jsonl h && echo x > h",
    "ln HUMANFILE src/h && echo x > src/h",
    "ln .git/config .git/c && echo x > .git/c",
    "ln $OUT/file src/h && echo x > src/h",
    "mv $OUT/file src/taken",
    "mv src/main.rs $OUT/given",
    "rm -f $OUT/file; rmdir $OUT",
    "truncate -s 0 $OUT/file",
    "echo x > $OUT/file; mkdir $OUT/d; ln -s a $OUT/l; mkfifo $OUT/p",
    "echo x > /proc/self/root$W/.ostk/new; echo x > /proc/self/root$OUT/file",
    "echo x > /proc/self/cwd/.ostk/new; echo x > /proc/self/cwd/../outside/file",
    "echo x > /proc/$DAEMON/root$W/.ostk/new; echo x > /proc/$DAEMON/root$OUT/file",
    "for fd in /proc/$DAEMON/fd/*; do echo x > $fd/.ostk/new; done",
    "umount .ostk; umount -l .git/hooks; echo x > .ostk/new; echo x > .git/hooks/new",
    "mount -o remount,rw,bind .ostk; mount -o remount,rw,bind HUMANFILE; echo x > .ostk/new; echo x > HUMANFILE",
    "mount --bind $W/src $W/.ostk && echo x > .ostk/new; mkdir m; mount --bind $W m && echo x > m/.ostk/new",
    "unshare --user --map-root-user --mount sh -c 'umount .ostk; mount -o remount,rw,bind .ostk; echo x > .ostk/new'",
    "unshare --mount sh -c 'umount -l .ostk; echo x > .ostk/new'",
    "nsenter --target $DAEMON --mount sh -c \"echo x > $W/.ostk/new\"",
];

#[test]
fn no_known_way_changes_what_is_protected_or_outside() {
    for (protection, sandbox) in every_way() {
        let yard = Yard::new();
        // Creates scratch and whatever else the first start creates.
        sandbox.run(&yard.shell("true")).unwrap();
        for attack in ATTACKS {
            let before = yard.guarded();
            let mut spec = yard.shell(attack);
            spec.env.insert("W".into(), yard.workspace.clone().into());
            spec.env.insert("OUT".into(), yard.outside.clone().into());
            spec.env.insert("DAEMON".into(), std::process::id().to_string().into());
            let outcome = sandbox.run(&spec).unwrap();
            assert_eq!(outcome.containment.protection, protection);
            assert!(before == yard.guarded(), "{protection:?}: {attack}: {}", said(&outcome));
        }
    }
}

#[test]
fn the_attacks_would_succeed_without_a_sandbox() {
    let succeeds = |attack: &str| {
        let yard = Yard::new();
        let before = yard.guarded();
        let mut shell = std::process::Command::new("/bin/sh");
        shell
            .args(["-c", attack])
            .current_dir(&yard.workspace)
            .env("W", &yard.workspace)
            .env("OUT", &yard.outside);
        shell.env("DAEMON", std::process::id().to_string()).output().unwrap();
        before != yard.guarded()
    };
    // Those that take mounts or other processes need rights that the tests may not have.
    let plain = ATTACKS.iter().filter(|attack| !attack.contains("mount") && !attack.contains("/fd/"));
    let harmless: Vec<_> = plain.filter(|attack| !succeeds(attack)).collect();
    assert!(harmless.is_empty(), "{harmless:?}");
}

#[test]
fn work_in_the_workspace_and_in_scratch_goes_on() {
    for (protection, sandbox) in every_way() {
        let yard = Yard::new();
        let script = "set -e; echo new > src/new.rs; mv src/new.rs src/moved.rs; mkdir src/d; rm src/main.rs
            ln -s moved.rs src/link; echo t > $TMPDIR/t; echo h > $HOME/h; echo n > /dev/null; cat .ostk/journal.jsonl";
        let outcome = sandbox.run(&yard.shell(script)).unwrap();
        assert_eq!(outcome.exit, Exit::Code(0), "{protection:?} {}", said(&outcome));
        assert_eq!(fs::read_to_string(yard.workspace.join("src/moved.rs")).unwrap(), "new\n");
        assert!(yard.scratch().join("t").exists() && yard.scratch().join("home/h").exists());
        assert!(!yard.workspace.join("src/main.rs").exists());
    }
}

#[test]
fn git_commits_where_there_are_namespaces() {
    for (protection, sandbox) in every_way().into_iter().filter(|way| way.0 == Protection::Namespace) {
        let yard = Yard::new();
        let script =
            "git add src && git -c user.name=a -c user.email=a@b commit -q -m one && git log --oneline";
        let outcome = sandbox.run(&yard.shell(script)).unwrap();
        assert_eq!(outcome.exit, Exit::Code(0), "{protection:?} {}", said(&outcome));
        assert!(text(&outcome.stdout).contains("one"));
    }
}

#[test]
fn modes_and_times_of_protected_files_stay_where_there_are_namespaces() {
    for (_, sandbox) in every_way().into_iter().filter(|way| way.0 == Protection::Namespace) {
        let yard = Yard::new();
        let outcome = sandbox.run(&yard.shell("chmod 777 HUMANFILE || touch -d 2001-01-01 .ostk")).unwrap();
        assert_eq!(outcome.exit, Exit::Code(1), "{}", said(&outcome));
    }
}

#[test]
fn missing_hooks_are_created_empty_and_guarded() {
    for (protection, sandbox) in every_way() {
        let yard = Yard::new();
        fs::remove_dir_all(yard.workspace.join(".git/hooks")).unwrap();
        let outcome =
            sandbox.run(&yard.shell("mkdir -p .git/hooks; echo x > .git/hooks/pre-commit")).unwrap();
        let hooks = fs::read_dir(yard.workspace.join(".git/hooks")).unwrap();
        assert_eq!(hooks.count(), 0, "{protection:?} {}", said(&outcome));
    }
}

#[test]
fn a_protected_path_that_does_not_exist_cannot_be_created_and_leaves_no_trace() {
    for (protection, sandbox) in every_way() {
        let yard = Yard::new();
        let script = "mkdir -p .claude/commands; echo x > .mcp.json; echo x > .claude/settings.json; mkdir -p deep/er;
            mv .claude other; ln -sfn src .mcp.json; rm -rf .mcp.json .claude; mkdir .claude; echo x > .mcp.json;
            mv deep .vscode; mv -T deep .vscode; ln -s deep .vscode; echo x > .vscode/tasks.json";
        let mut spec = yard.shell(script);
        let missing = [".claude/settings.json", ".mcp.json", ".vscode", "Agentfile"];
        spec.protected.extend(missing.map(|path| yard.workspace.join(path)));
        let outcome = sandbox.run(&spec).unwrap();
        for path in missing.into_iter().chain([".claude"]) {
            let found = fs::symlink_metadata(yard.workspace.join(path));
            assert!(found.is_err(), "{protection:?}: {path}: {}", said(&outcome));
        }
    }
}

#[test]
fn a_missing_protected_path_stays_guarded_while_any_of_two_commands_runs() {
    let yard = Yard::new();
    let with_missing = |script: &str| {
        let mut spec = yard.shell(script);
        spec.protected.push(yard.workspace.join(".mcp.json"));
        spec
    };
    let long = ostk_sandbox::start(&with_missing("read line; echo x > .mcp.json; echo tried")).unwrap();
    ostk_sandbox::run(&with_missing("true")).unwrap();
    long.write_stdin(b"go\n").unwrap();
    let outcome = long.wait(std::time::Duration::from_secs(30)).unwrap().unwrap();
    assert!(text(&outcome.stdout).contains("tried"));
    assert!(!yard.workspace.join(".mcp.json").exists(), "{}", said(&outcome));
}

#[test]
fn a_protected_path_behind_a_link_is_refused() {
    let yard = Yard::new();
    fs::rename(yard.workspace.join("HUMANFILE"), yard.workspace.join("src/real")).unwrap();
    std::os::unix::fs::symlink("src/real", yard.workspace.join("HUMANFILE")).unwrap();
    assert!(matches!(ostk_sandbox::run(&yard.shell("true")), Err(SandboxError::ProtectedLink { .. })));
}

#[test]
fn only_readable_paths_can_be_read() {
    let yard = Yard::new();
    let mut spec = yard.shell("cat src/main.rs && ! cat ../outside/file");
    spec.readable = Readable::Only(["/usr", "/bin", "/lib", "/lib64", "/etc"].map(Into::into).to_vec());
    let outcome = ostk_sandbox::run(&spec).unwrap();
    assert_eq!(outcome.exit, Exit::Code(0), "{}", said(&outcome));
}

#[test]
fn hidden_files_and_directories_cannot_be_read() {
    for (protection, sandbox) in every_way() {
        let yard = Yard::new();
        let keys = yard.outside.join("keys");
        fs::create_dir(&keys).unwrap();
        fs::write(keys.join("signing.key"), "secret").unwrap();
        let script =
            "cat ../outside/keys/signing.key ../outside/file; umount ../outside/keys; cat ../outside/keys/*";
        let mut spec = yard.shell(script);
        spec.hidden = vec![keys, yard.outside.join("file"), yard.outside.join("missing")];
        let outcome = sandbox.run(&spec).unwrap();
        assert_eq!(text(&outcome.stdout), "", "{protection:?}");
    }
}

#[test]
fn what_takes_the_place_of_something_hidden_is_hidden_from_the_next_command() {
    let sandbox = Sandbox::new(probe());
    let yard = Yard::new();
    let (keys, file) = (yard.outside.join("keys"), yard.outside.join("file"));
    fs::create_dir(&keys).unwrap();
    let mut spec = yard.shell("cat ../outside/keys/* ../outside/file; true");
    spec.network = Network::None;
    spec.hidden = vec![keys.clone(), file.clone()];
    // What the next commands may not see is covered for them beforehand, on a thread of its own.
    for round in 0..6 {
        let outcome = sandbox.run(&spec).unwrap();
        assert_eq!(text(&outcome.stdout), "", "round {round}");
        std::thread::sleep(Duration::from_millis(100));
        let (new_keys, new_file) = (yard.outside.join("new-keys"), yard.outside.join("new-file"));
        fs::create_dir(&new_keys).unwrap();
        for new in [new_keys.join("signing.key"), new_file.clone()] {
            fs::write(new, format!("secret {round}")).unwrap();
        }
        fs::rename(&keys, yard.outside.join(format!("old-{round}"))).unwrap();
        fs::rename(new_keys, &keys).unwrap();
        fs::rename(new_file, &file).unwrap();
    }
}

#[test]
fn a_machine_without_landlock_refuses_and_says_what_to_do() {
    let yard = Yard::new();
    let without = |landlock_abi| Sandbox::new(Probe { landlock_abi, ..probe() });
    let error = without(None).run(&yard.shell("touch src/ran")).unwrap_err().to_string();
    assert!(error.contains("no Landlock") && error.contains("accept_missing = [\"files\"]"), "{error}");
    let old = without(Some(2)).run(&yard.shell("true")).unwrap_err();
    let SandboxError::Missing(Missing { guarantee: Guarantee::Files, why, .. }) = old else {
        panic!("{old}")
    };
    assert!(why.contains("emptying"), "{why}");
    assert!(!yard.workspace.join("src/ran").exists());
}

#[test]
fn what_the_operator_accepted_by_name_is_done_without_and_the_outcome_says_so() {
    let yard = Yard::new();
    let bare = Probe {
        landlock_abi: None,
        namespaces: Namespaces::Unavailable,
        processes: false,
        networks: false,
        filters: false,
        notices: false,
        totals: false,
    };
    let lacking: Vec<_> = bare.missing().into_iter().map(|missing| missing.guarantee).collect();
    assert_eq!(lacking, Guarantee::ALL);
    let bare = Sandbox::new(bare);
    let mut spec = yard.shell("echo ran");
    spec.accepted = BTreeSet::from([Guarantee::Files]);
    assert!(matches!(bare.run(&spec), Err(SandboxError::Missing(_))));
    spec.accepted = Guarantee::ALL.into();
    let outcome = bare.run(&spec).unwrap();
    assert_eq!(text(&outcome.stdout), "ran\n");
    assert_eq!(outcome.containment.landlock_abi, None);
    assert_eq!(outcome.containment.protection, Protection::Missing);
    let missing = [
        Guarantee::Files,
        Guarantee::Protected,
        Guarantee::SystemCalls,
        Guarantee::Processes,
        Guarantee::Signals,
        Guarantee::LocalSockets,
    ];
    assert_eq!(outcome.containment.missing, missing);
}

#[test]
fn what_a_killed_daemon_left_in_the_place_of_a_protected_path_goes_with_the_next_command() {
    use std::os::unix::fs::PermissionsExt as _;
    let yard = Yard::new();
    let path = yard.workspace.join(".mcp.json");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o1555)).unwrap();
    fs::create_dir(yard.workspace.join(".vscode")).unwrap();
    let mut spec = yard.shell("echo x > .mcp.json/x; rmdir .mcp.json; echo x > .vscode/x");
    spec.protected.extend([path.clone(), yard.workspace.join(".vscode")]);
    let sandbox = Sandbox::new(probe());
    if sandbox.run(&spec).unwrap().containment.protection == Protection::Namespace {
        assert!(fs::symlink_metadata(&path).is_err());
    }
    // Somebody's own directory stays, empty as it was.
    assert_eq!(fs::read_dir(yard.workspace.join(".vscode")).unwrap().count(), 0);
}

#[test]
fn protected_names_are_guarded_at_every_depth_where_they_are() {
    for (protection, sandbox) in every_way() {
        let yard = Yard::new();
        let inner = yard.workspace.join("a/b");
        fs::create_dir_all(inner.join(".git/hooks")).unwrap();
        fs::create_dir_all(yard.workspace.join("pkg/.vscode")).unwrap();
        fs::create_dir_all(yard.workspace.join(".git/modules/sub/hooks")).unwrap();
        fs::create_dir_all(yard.workspace.join(".git/modules/sub/objects")).unwrap();
        fs::write(yard.workspace.join(".git/modules/sub/HEAD"), "").unwrap();
        for file in ["a/b/.git/config", "pkg/.vscode/tasks.json", ".git/modules/sub/config"] {
            fs::write(yard.workspace.join(file), "as it was").unwrap();
        }
        let script = "for d in a/b/.git .git/modules/sub; do echo x > $d/hooks/post-checkout; echo x > $d/config; done
            mv a/b/.git a/b/g; mv a c; echo x > pkg/.vscode/tasks.json; mv pkg/.vscode pkg/v; rm -rf pkg; mv pkg p
            mv .git/modules/sub .git/modules/other; rm -rf .git/modules";
        let mut spec = yard.shell(script);
        spec.protected_names = [".git/hooks", ".git/config", ".vscode"].map(Into::into).to_vec();
        let outcome = sandbox.run(&spec).unwrap();
        for file in ["a/b/.git/config", "pkg/.vscode/tasks.json", ".git/modules/sub/config"] {
            let now = fs::read_to_string(yard.workspace.join(file)).unwrap_or_default();
            assert_eq!(now, "as it was", "{protection:?} {file}: {}", said(&outcome));
        }
        for hooks in ["a/b/.git/hooks", ".git/modules/sub/hooks"] {
            assert_eq!(fs::read_dir(yard.workspace.join(hooks)).unwrap().count(), 0, "{protection:?}");
        }
    }
}

#[test]
fn what_a_command_leaves_at_a_refused_path_is_gone_when_its_end_is_known() {
    for (protection, sandbox) in every_way() {
        let yard = Yard::new();
        let script = "echo src/evil > .git/commondir; mkdir pins; echo x > pins/p; ln -s src Agentfile; echo x > src/stays";
        let mut spec = yard.shell(script);
        let refused = [".git/commondir", "pins", "Agentfile", "src/main.rs", "never"];
        spec.refused = refused.map(|path| yard.workspace.join(path)).to_vec();
        let outcome = sandbox.run(&spec).unwrap();
        for path in [".git/commondir", "pins", "Agentfile"] {
            let found = fs::symlink_metadata(yard.workspace.join(path));
            assert!(found.is_err(), "{protection:?} {path}: {}", said(&outcome));
        }
        assert!(outcome.refused.iter().all(|refused| refused.removed), "{:?}", outcome.refused);
        assert!(yard.workspace.join("src/stays").exists() && yard.workspace.join("src/main.rs").exists());
        if protection == Protection::Namespace {
            assert_eq!(outcome.refused.len(), 3);
        }
    }
}

#[test]
fn what_is_cleared_away_does_not_go_where_a_link_of_the_command_leads() {
    for (protection, sandbox) in every_way() {
        let yard = Yard::new();
        let mut spec = yard.shell("ln -s \"$OUTSIDE\" \"$TMPDIR/refused\"; echo planted > Agentfile");
        spec.env.insert("OUTSIDE".into(), yard.outside.clone().into());
        spec.refused = vec![yard.workspace.join("Agentfile")];
        let before = yard.guarded();
        let outcome = sandbox.run(&spec).unwrap();
        assert_eq!(yard.guarded(), before, "{protection:?}: {}", said(&outcome));
        assert!(!yard.workspace.join("Agentfile").exists(), "{protection:?}");
    }
}

#[test]
fn modes_times_owners_and_attributes_outside_stay_where_there_are_namespaces() {
    let script = "chmod 777 \"$F\"; chown 1:1 \"$F\"; touch -d 2001-01-01T00:00:00 \"$F\"; chmod 700 \"${F%/file}\"
        python3 -c 'import os; f = os.environ[\"F\"]; os.setxattr(f, \"user.x\", b\"x\")'; chmod 755 src/main.rs && touch src/new";
    for (protection, sandbox) in every_way().into_iter().filter(|way| way.0 == Protection::Namespace) {
        let yard = Yard::new();
        let file = yard.outside.join("file");
        let state = || {
            let there = fs::metadata(&file).unwrap();
            (
                there.mode(),
                there.uid(),
                there.mtime(),
                there.ctime_nsec(),
                fs::metadata(&yard.outside).unwrap().mode(),
            )
        };
        let before = state();
        let mut spec = yard.shell(script);
        spec.env.insert("F".into(), file.clone().into());
        let outcome = sandbox.run(&spec).unwrap();
        assert_eq!((state(), outcome.exit), (before, Exit::Code(0)), "{protection:?}: {}", said(&outcome));
    }
}

#[test]
fn what_git_obeys_of_every_repository_in_the_workspace_stays_as_it_is() {
    // `bare` has no hooks, the settings of `inside` name files of its work tree, and `tree` is linked to the first.
    let scene = "set -e; export HOME=$PWD GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
        for r in . bare inside; do git init -q $r; git -C $r commit -q --allow-empty -m x; done
        rm -r bare/.git/hooks; mkdir inside/.hooks; : > inside/.gitconfig
        git -C inside config core.hooksPath .hooks; git -C inside config include.path ../.gitconfig
        git worktree add -q --detach tree";
    let script = "for h in bare/.git/hooks inside/.hooks; do mkdir -p $h; echo x > $h/pre-commit; done
        for f in inside/.gitconfig bare/.git/config.worktree bare/.git/commondir tree/.git .git/worktrees/tree/commondir \
            .git/worktrees/tree/config.worktree; do echo x > $f; done; mv tree t; rm -rf tree/.git; mv bare b; mv inside i";
    let kept = ["bare/.git", "inside/.hooks", "inside/.gitconfig", "tree/.git", ".git/worktrees/tree"];
    for (protection, sandbox) in every_way() {
        let yard = Yard::new();
        let git = std::process::Command::new("sh").args(["-c", scene]).current_dir(&yard.workspace).status();
        assert!(git.unwrap().success());
        let state = || yard.contents(&kept);
        let mut before = state();
        // It is made, so that it can be guarded.
        before.insert(yard.workspace.join("bare/.git/hooks"), None);
        let mut spec = yard.shell(script);
        spec.protected_names = [".git/hooks", ".git/config"].map(Into::into).to_vec();
        let outcome = sandbox.run(&spec).unwrap();
        assert_eq!(state(), before, "{protection:?}: {}", said(&outcome));
    }
}
