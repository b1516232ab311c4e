//! A disk that fills up under the daemon: what was acknowledged stays, what cannot be recorded is refused with a
//! remedy, and the remedy works.
//!
//! The disk is a small file system in a mount namespace of the test's own; or it is a limit on the size of files, at
//! which the system would end a process that does not take care.

use std::process::Command;

use serde_json::Value;

use crate::fixture::{Fixture, ran};

/// Bytes of each file that is written until one is refused, after three digits that make it unlike the others.
const SIZE: usize = 100_000;

/// Prints one line of JSON for each step: `[step, exit code, output]`.
const SCRIPT: &str = r#"
step() { name=$1; shift; out=$("$@" 2>/dev/null); code=$?; printf '["%s",%s,%s]\n' "$name" "$code" "${out:-null}"; return $code; }
write() { printf '{"path":"%s","content":"%03d%s"}' "$1" "$n" "$content" | "$OSTK" call file.write - --json; }
[ -n "$NAMESPACE" ] && mount -t tmpfs -o size=6m none "$DISK" || ulimit -S -f 4000
cd "$DISK" && git init -q . && "$OSTK" init >/dev/null || exit 1
content=$(head -c "$SIZE" /dev/zero | tr '\0' x)
n=0
while [ $n -lt 100 ]; do n=$((n+1)); step "file-$n" write "file-$n.txt" || break; done
m=0
while [ $m -lt 400 ]; do m=$((m+1)); "$OSTK" note "$m $(printf %.10000s "$content")" >/dev/null 2>&1 || break; done
step refused write other.txt
step verify-full "$OSTK" audit verify --json
"$OSTK" shutdown >/dev/null
[ -n "$NAMESPACE" ] && mount -o remount,size=64m "$DISK" || ulimit -S -f unlimited
step accepted write other.txt
step verify-after "$OSTK" audit verify --deep --json
for file in file-*.txt; do step "read-${file%.txt}" "$OSTK" call file.read "{\"path\":\"$file\",\"limit\":1}" --json; done
"$OSTK" shutdown >/dev/null
"#;

fn steps(namespace: bool) -> Vec<(String, i64, Value)> {
    let fixture = Fixture::bare();
    let disk = fixture.home().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mut command = if namespace {
        fixture.program("unshare", &["-Urm", "sh", "-c", SCRIPT])
    } else {
        fixture.program("sh", &["-c", SCRIPT])
    };
    command.env("OSTK", env!("CARGO_BIN_EXE_ostk")).env("DISK", &disk).env("SIZE", SIZE.to_string());
    command.env("NAMESPACE", if namespace { "1" } else { "" });
    let ran = ran(command.output().unwrap()).good();
    let step =
        |line: Value| (line[0].as_str().unwrap().to_owned(), line[1].as_i64().unwrap(), line[2].clone());
    ran.lines().into_iter().map(step).collect()
}

/// Whether an ordinary user gets a mount namespace here.
fn namespaces() -> bool {
    let probe = Command::new("unshare").args(["-Urm", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    probe.is_ok_and(|probe| probe.status.success())
}

#[test]
fn a_full_disk_loses_nothing_and_its_remedy_works() {
    // Without a file system to fill, the other test is all that can be done.
    if namespaces() {
        check(&steps(true));
    }
}

#[test]
fn a_limit_on_the_size_of_files_loses_nothing_and_its_remedy_works() {
    check(&steps(false));
}

fn check(steps: &[(String, i64, Value)]) {
    let step =
        |name: &str| steps.iter().find(|step| step.0 == name).unwrap_or_else(|| panic!("{name}: {steps:?}"));
    let written: Vec<&str> =
        steps.iter().filter(|step| step.0.starts_with("file-") && step.1 == 0).map(|step| &*step.0).collect();
    assert!(written.len() > 3 && written.len() < 90, "{written:?}");

    let (_, code, refusal) = step(&format!("file-{}", written.len() + 1));
    assert_eq!(*code, 1, "{refusal}");
    if refusal["error"]["code"] == "failed" {
        // The file did not fit, while the record of that did.
        assert!(refusal["error"]["message"].as_str().unwrap().contains("nothing was changed"), "{refusal}");
    }
    let refusal = &step("refused").2;
    assert_eq!(refusal["error"]["code"], "poisoned", "{refusal}");
    assert!(refusal["error"]["hint"].as_str().unwrap().contains("ostk shutdown"), "{refusal}");
    assert_eq!(step("verify-full").2["ok"], true);

    assert_eq!(step("accepted").1, 0);
    assert_eq!(step("verify-after").2["ok"], true);
    for name in written {
        let (_, code, read) = step(&format!("read-{name}"));
        assert_eq!((*code, read["size"].as_u64()), (0, Some(SIZE as u64 + 3)), "{name}: {read}");
    }
}
