//! A test for each row of the table against ostk, and one that the attempts get out where nothing holds them: that shows
//! that the others can fail.
//!
//! The tests are made from the table, so this has a harness of its own. A row that means nothing on this machine says so
//! and passes; an attempt that did not run fails.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may fail where it stands, and says what it leaves out"
)]

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::OnceLock,
};

use escape::{Class, Contender, Outcome, Programs, Row};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let mut trials: Vec<_> = escape::all().map(|row| Trial::test(row.id, move || stopped(row))).collect();
    trials.extend(escape::all().filter(|row| row.class != Class::Work).map(|row| {
        Trial::test(format!("{}-works-without-a-sandbox", row.id), move || works_without_a_sandbox(row))
    }));
    trials.push(Trial::test("names-are-unique", names_are_unique));
    let mut arguments = Arguments::from_args();
    // Each starts a daemon and a dozen processes.
    arguments.test_threads = arguments.test_threads.or(Some(3));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn stopped(row: &'static Row) -> Result<(), Failed> {
    let judged = escape::judge(row, Contender::Ostk, &programs(Contender::Ostk))
        .map_err(|error| format!("{error:#}"))?;
    match judged.outcome {
        Outcome::Stopped => Ok(()),
        Outcome::NotApplicable(why) => {
            eprintln!("{}: not applicable here: {why}", row.id);
            Ok(())
        }
        Outcome::Escaped(found) => Err(format!("it escaped: {}\n{}", found.join("; "), judged.said).into()),
        Outcome::NotAttempted(said) => Err(format!("the attempt did not run: {said}").into()),
    }
}

fn works_without_a_sandbox(row: &'static Row) -> Result<(), Failed> {
    let judged = escape::judge(row, Contender::None, &programs(Contender::None))
        .map_err(|error| format!("{error:#}"))?;
    match judged.outcome {
        Outcome::Escaped(_) => Ok(()),
        Outcome::NotApplicable(why) => {
            eprintln!("{}: {why}", row.id);
            Ok(())
        }
        Outcome::Stopped => Err(format!("nothing held it, and it did not get out: {}", judged.said).into()),
        Outcome::NotAttempted(said) => Err(format!("the attempt did not run: {said}").into()),
    }
}

fn names_are_unique() -> Result<(), Failed> {
    let mut names: Vec<_> = escape::all().map(|row| row.id).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    if names.len() == count { Ok(()) } else { Err("two rows have one name".into()) }
}

fn programs(contender: Contender) -> Programs {
    let ostk = ostk();
    let program = if contender == Contender::Ostk { ostk.clone() } else { PathBuf::new() };
    Programs { escape: env!("CARGO_BIN_EXE_escape").into(), ostk, contender: program }
}

/// The binary under test: named by `OSTK_BIN`, else built into this build's own target directory.
fn ostk() -> PathBuf {
    static OSTK: OnceLock<PathBuf> = OnceLock::new();
    OSTK.get_or_init(|| {
        if let Some(named) = env::var_os("OSTK_BIN") {
            return named.into();
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        let test = env::current_exe().unwrap();
        // <target>/<profile>/deps/<this test>
        let (profile, target) = (test.ancestors().nth(2).unwrap(), test.ancestors().nth(3).unwrap());
        let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args(["build", "--quiet", "-p", "ostk", "--target-dir"]).arg(target).current_dir(root);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "ostk does not build");
        profile.join("ostk")
    })
    .clone()
}
