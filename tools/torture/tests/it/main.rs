//! The short torture: every change to ostk must survive it. The long one is `cargo xtask torture`.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use torture::Options;

/// The binary under test: named by `OSTK_BIN`, else built into this build's own target directory.
fn ostk() -> PathBuf {
    if let Some(named) = env::var_os("OSTK_BIN") {
        return named.into();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let test = env::current_exe().unwrap();
    // <target>/<profile>/deps/<this test>
    let (profile, target) = (test.ancestors().nth(2).unwrap(), test.ancestors().nth(3).unwrap());
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "-p", "ostk", "--target-dir"]).arg(target).current_dir(root);
    if profile.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().unwrap().success(), "ostk does not build");
    profile.join("ostk")
}

#[test]
fn eight_clients_lose_nothing_while_they_and_the_daemon_are_killed() {
    let options = Options {
        ostk: ostk(),
        torture: env!("CARGO_BIN_EXE_torture").into(),
        clients: 8,
        edits: 12,
        files: 20,
        kills: 4,
        seed: 20_260_101,
        keep: false,
        limit: Duration::from_secs(60),
    };
    let report = torture::run(&options).unwrap();
    let text = serde_json::to_string_pretty(&report).unwrap();
    assert!(report.ok, "{text}");
    assert_eq!((report.counts.lost, report.counts.overwritten, report.counts.duplicated), (0, 0, 0));
    // It must have exercised what it is about.
    assert_eq!(report.counts.kills + report.counts.clients_killed, 4, "{text}");
    assert!(report.counts.kills > 0 && report.counts.clients_killed > 0, "{text}");
    assert!(report.counts.acknowledged > 40 && report.counts.merged > 0, "{text}");
}
