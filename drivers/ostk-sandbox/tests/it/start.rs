//! What a command is given at its start, and what happens when it cannot start.

use std::{collections::BTreeMap, fs, io::Write as _, os::fd::AsRawFd as _};

use ostk_sandbox::{Exit, SandboxError, Spec, probe, run};

use crate::yard::{Yard, every_way, said, text};

#[test]
fn the_environment_is_what_was_given_and_a_temporary_directory_and_a_home() {
    let yard = Yard::new();
    let mut spec = Spec::new(["/usr/bin/env"], &yard.workspace, yard.scratch());
    spec.env = BTreeMap::from([("GREETING".into(), "hello world".into())]);
    let outcome = run(&spec).unwrap();
    let mut lines: Vec<_> = text(&outcome.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    let scratch = yard.scratch().display().to_string();
    assert_eq!(
        lines,
        ["GREETING=hello world".into(), format!("HOME={scratch}/home"), format!("TMPDIR={scratch}")]
    );
}

#[test]
fn a_given_home_and_temporary_directory_stay() {
    let yard = Yard::new();
    let mut spec = yard.shell("echo $HOME $TMPDIR");
    spec.env.extend([("HOME".into(), "/h".into()), ("TMPDIR".into(), "/t".into())]);
    assert_eq!(text(&run(&spec).unwrap().stdout), "/h /t\n");
}

#[test]
fn no_descriptor_but_the_three_standard_ones_is_inherited() {
    let yard = Yard::new();
    let secret = fs::File::create(yard.outside.join("secret")).unwrap();
    rustix::io::fcntl_setfd(&secret, rustix::io::FdFlags::empty()).unwrap();
    assert!(secret.as_raw_fd() > 2);
    // The shell is not the process that lists, so a descriptor for listing is not in the list.
    let outcome = run(&yard.shell("ls /proc/$$/fd; true")).unwrap();
    assert_eq!(text(&outcome.stdout), "0\n1\n2\n");
}

#[test]
fn the_command_runs_with_no_new_privileges_and_almost_no_capabilities() {
    for (protection, sandbox) in every_way() {
        let yard = Yard::new();
        let outcome = sandbox.run(&yard.shell("cat /proc/self/status")).unwrap();
        let status = text(&outcome.stdout);
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        assert_eq!(field("NoNewPrivs:"), "1");
        // CHOWN, DAC_OVERRIDE, FOWNER, FSETID: bits 0, 1, 3, 4.
        let held = u64::from_str_radix(&field("CapEff:"), 16).unwrap()
            | u64::from_str_radix(&field("CapPrm:"), 16).unwrap();
        assert_eq!(held & !0b11011, 0, "{protection:?}: {held:x}");
    }
}

#[test]
fn the_command_leads_its_own_session_without_a_terminal() {
    let yard = Yard::new();
    let outcome = run(&yard.shell("read stat < /proc/self/stat; set -- $stat; echo $1 $5 $6 $7")).unwrap();
    let ids = text(&outcome.stdout);
    let [pid, group, session, terminal]: [&str; 4] =
        ids.split_whitespace().collect::<Vec<_>>().try_into().unwrap();
    assert_eq!((pid, pid, "0"), (group, session, terminal));
}

#[test]
fn a_process_outside_cannot_be_signalled() {
    if probe().landlock_abi < Some(6) {
        return; // Landlock scopes signals since ABI 6 (Linux 6.12).
    }
    let yard = Yard::new();
    let mut outsider = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let outcome = run(&yard.shell(&format!("kill -KILL {}", outsider.id()))).unwrap();
    assert_eq!(outcome.exit, Exit::Code(1), "{}", said(&outcome));
    assert!(outsider.try_wait().unwrap().is_none());
    outsider.kill().unwrap();
    outsider.wait().unwrap();
}

#[test]
fn files_keep_their_owner() {
    use std::os::unix::fs::MetadataExt as _;
    for (protection, sandbox) in every_way() {
        let yard = Yard::new();
        sandbox.run(&yard.shell("echo x > src/mine")).unwrap();
        let [made, mine] =
            [yard.workspace.join("src/mine"), yard.outside.clone()].map(|path| fs::metadata(path).unwrap());
        assert_eq!((made.uid(), made.gid()), (mine.uid(), mine.gid()), "{protection:?}");
    }
}

#[test]
fn a_missing_program_and_a_file_that_is_none_are_told_apart() {
    let yard = Yard::new();
    let start = |program: &str| run(&Spec::new([program], &yard.workspace, yard.scratch())).unwrap_err();
    assert!(matches!(start("/no/such/program"), SandboxError::NoSuchProgram { .. }));
    assert!(matches!(start("no-such-program"), SandboxError::NoSuchProgram { .. }));
    let plain = yard.workspace.join("src/main.rs");
    let error = start(plain.to_str().unwrap());
    assert!(matches!(error, SandboxError::CannotExecute { .. }), "{error}");
}

#[test]
fn a_spec_that_means_nothing_is_refused() {
    let yard = Yard::new();
    let refused = |change: &dyn Fn(&mut Spec)| {
        let mut spec = yard.shell("true");
        change(&mut spec);
        run(&spec).unwrap_err().to_string()
    };
    assert!(refused(&|spec| spec.argv.clear()).contains("no program"));
    assert!(refused(&|spec| spec.cwd = "/no/such/place".into()).contains("/no/such/place"));
    assert!(refused(&|spec| spec.writable.push("/no/such/tree".into())).contains("/no/such/tree"));
    assert!(refused(&|spec| spec.writable.push("relative".into())).contains("relative"));
    assert!(refused(&|spec| spec.scratch = "/tmp/../etc".into()).contains("/tmp/../etc"));
}

#[test]
fn input_is_passed_on_whole() {
    let yard = Yard::new();
    let mut spec = yard.shell("cat");
    let mut input = Vec::new();
    (0..40_000).for_each(|n| writeln!(input, "{n}").unwrap());
    spec.stdin = Some(input.clone());
    assert_eq!(run(&spec).unwrap().stdout.to_bytes(), input);
    spec.stdin = None;
    assert_eq!(run(&spec).unwrap().stdout.total, 0);
}

#[test]
fn a_command_that_ignores_its_input_still_ends() {
    let yard = Yard::new();
    let mut spec = yard.shell("exit 3");
    spec.stdin = Some(vec![b'x'; 1 << 20]);
    assert_eq!(run(&spec).unwrap().exit, Exit::Code(3));
}

#[test]
fn what_the_machine_offers_can_be_stored_and_read_back() {
    let found = probe();
    let json = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<ostk_sandbox::Probe>(&json).unwrap(), found);
}
