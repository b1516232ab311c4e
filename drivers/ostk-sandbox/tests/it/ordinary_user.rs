//! The tests as root say little about an ordinary user, whose sandbox takes a user namespace. So when they run as root,
//! the file tests run once more in a process of another user.

use std::{
    env, fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::Command,
};

/// `nobody`.
const OTHER_USER: u32 = 65534;

#[test]
fn an_ordinary_user_is_contained_as_well() {
    if !rustix::process::geteuid().is_root() {
        return; // Then every other test is this test.
    }
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let tests = place.path().join("tests");
    fs::copy(env::current_exe().unwrap(), &tests).unwrap();
    let mut command = Command::new(&tests);
    command
        .args(["files::", "hostile::", "limits::", "sockets::", "start::", "workday::p"])
        .uid(OTHER_USER)
        .gid(OTHER_USER)
        .current_dir(place.path());
    command.env("TMPDIR", place.path()).env("HOME", place.path());
    let output = output(&mut command);
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && report.contains("no_known_way"), "{report}");
}

/// Other tests start processes at the same time, and those hold the copied file open for writing until they have become
/// a program.
fn output(command: &mut Command) -> std::process::Output {
    for _ in 0..100 {
        match command.output() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            output => return output.unwrap(),
        }
    }
    command.output().unwrap()
}
