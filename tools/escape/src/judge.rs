//! One row against one contender: the scene is made, the attempt runs, and the world is looked at.
//!
//! The attempt is never asked whether it succeeded. Whatever a row is about, everything is looked at: files, what the
//! servers heard, the process outside, secrets in the output, what is left running.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::{
    attempt,
    contender::{Contender, MOST_MEMORY_MIB, MOST_PROCESSES},
    row::{Class, Need, Program, Row, Shows},
    targets::Targets,
    watch::{Seen, Watch},
    world::{World, dangerous_files},
    yard::Yard,
};

/// The longest attempt takes some four seconds; a machine under load makes that more.
const DEADLINE: Duration = Duration::from_secs(60);

/// Pages that forked processes share are counted in each of them.
const SHARED_MIB: u64 = 100;

/// What came of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The attempt ran, and nothing of what it wanted happened.
    Stopped,
    /// It got out: what was found.
    Escaped(Vec<String>),
    /// It means nothing here: why.
    NotApplicable(String),
    /// It did not run: what it said. Never taken for stopped.
    NotAttempted(String),
}

/// A row, its outcome and what the attempt said.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Which.
    pub row: &'static Row,
    /// What came of it.
    pub outcome: Outcome,
    /// The attempt's output, for whoever wonders.
    pub said: String,
}

/// The programs that a run needs.
#[derive(Clone, Debug)]
pub struct Programs {
    /// This program: `escape`.
    pub escape: PathBuf,
    /// The binary of ostk.
    pub ostk: PathBuf,
    /// That of the contender.
    pub contender: PathBuf,
}

/// Tries a row.
pub fn judge(row: &'static Row, contender: Contender, programs: &Programs) -> Result<Judged> {
    if let Some(why) = not_applicable(row, contender) {
        return Ok(Judged { row, outcome: Outcome::NotApplicable(why), said: String::new() });
    }
    let yard = Yard::new(row)?;
    let totals = ostk_sandbox::probe().totals && row.class == Class::Limits;
    let daemon = contender.prepare(row, &yard, &programs.ostk, totals)?;
    if row.id == "prefix" {
        yard.make_beside()?;
    }
    let mut targets = Targets::new(&yard, &programs.escape)?;
    let key = u32::from_str_radix(yard.nonce.get(1..8).unwrap_or("1"), 16).unwrap_or(1);
    let facts = facts(&yard, &targets, programs, key);
    let guarded: Vec<_> = yard.guarded().into_iter().chain([targets.shared()]).collect();
    let before = World::of(&guarded);
    let log = Log::of(&yard.workspace);
    let watch = Watch::new(&yard.nonce, targets.outsider.pid(), key);

    let command = match row.program {
        Program::Client(_) => {
            let mut command = attempt::command(row, &facts);
            yard.give_environment(&mut command);
            command.current_dir(&yard.workspace);
            command
        }
        _ => contender.command(row, &yard, &programs.contender, &argv(row, &facts, programs)),
    };
    let (said, code) = run(command, &yard.temporary.join("said"))?;
    let (seen, left) = watch.end();

    let mut found = before.changed(&World::of(&guarded));
    dangerous_files(&yard.workspace, &mut found);
    found.extend(log.damage(contender, &yard, &programs.ostk));
    found.extend(afterwards(row, &yard, programs)?);
    let heard = targets.heard(row.shows == Shows::Heard);
    found.extend(heard.iter().map(|who| format!("heard: {who}")));
    if said.contains(&yard.secret) || heard.iter().any(|who| who.contains(&yard.secret)) {
        found.push("the secret is in its output".to_owned());
    }
    found.extend(
        targets
            .outsider
            .touched()
            .into_iter()
            .chain(seen.outsider.iter().cloned())
            .map(|what| format!("the process outside: {what}")),
    );
    found.extend(left.iter().map(|process| format!("still running: {process}")));
    found.extend(held(row, &seen));
    unmount(&yard);
    drop((targets, daemon));

    let outcome = match (row.class, row.program) {
        (_, Program::Client(_)) if code == Some(127) => Outcome::NotAttempted(said.clone()),
        (_, Program::Client(_)) => verdict(found),
        _ if !ran(row, &said) => Outcome::NotAttempted(said.clone()),
        (Class::Work, _) => works(&yard, found),
        _ => verdict(found),
    };
    Ok(Judged { row, outcome, said })
}

fn verdict(found: Vec<String>) -> Outcome {
    if found.is_empty() { Outcome::Stopped } else { Outcome::Escaped(found) }
}

/// Ordinary work is "stopped" as well when it succeeds and does no harm: nothing escaped.
fn works(yard: &Yard, mut found: Vec<String>) -> Outcome {
    let proof = fs::read_to_string(yard.workspace.join("proof")).unwrap_or_default();
    if proof.trim() != "works" {
        found.push("the work did not succeed".to_owned());
    }
    verdict(found)
}

/// It said that it began, and neither the shell nor Python was missing. One that was ended from outside has no last line.
fn ran(row: &Row, said: &str) -> bool {
    let missing = |code: &str| said.contains(&format!("{}{code}", attempt::ends(row.id)));
    said.contains(&attempt::begins(row.id))
        && !missing("127")
        && !missing("126")
        && !said.contains("SyntaxError")
}

fn argv(row: &Row, facts: &[(String, String)], programs: &Programs) -> Vec<String> {
    let program = programs.escape.display().to_string();
    let facts = facts.iter().map(|(name, value)| format!("{name}={value}"));
    [program, "attempt".to_owned(), row.id.to_owned()].into_iter().chain(facts).collect()
}

fn facts(yard: &Yard, targets: &Targets, programs: &Programs, key: u32) -> Vec<(String, String)> {
    let paths = [
        ("W", &yard.workspace),
        ("O", &yard.outside),
        ("H", &yard.home),
        ("K", &yard.keys),
        ("RUNTIME", &yard.runtime),
        ("OSTK", &programs.ostk),
    ];
    let mut facts: Vec<_> = paths.map(|(name, path)| (name.to_owned(), path.display().to_string())).to_vec();
    facts.push(("NONCE".to_owned(), yard.nonce.clone()));
    facts.push(("PAYLOAD".to_owned(), format!("touch {}", yard.outside.join("pwned").display())));
    facts.push(("KEY".to_owned(), key.to_string()));
    facts.push(("DISK".to_owned(), disk().unwrap_or_else(|| "/dev/vda".to_owned())));
    facts.extend_from_slice(targets.facts());
    facts
}

/// A disk of this machine.
fn disk() -> Option<String> {
    use std::os::unix::fs::FileTypeExt as _;
    let is_disk = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_block_device());
    let entries = fs::read_dir("/dev").ok()?.flatten();
    entries
        .filter(is_disk)
        .map(|entry| entry.path().display().to_string())
        .find(|path| !path.contains("loop"))
}

/// Runs a command to its end and returns what it said. Its output goes to a file, for a process that is left behind would
/// hold a pipe open.
fn run(mut command: Command, file: &Path) -> Result<(String, Option<i32>)> {
    let output = fs::File::create(file)?;
    let mut child = command
        .stdout(output.try_clone()?)
        .stderr(output)
        .stdin(Stdio::null())
        .spawn()
        .context("the contender")?;
    let code = wait(&mut child)?;
    Ok((String::from_utf8_lossy(&fs::read(file)?).into_owned(), code))
}

fn wait(child: &mut Child) -> Result<Option<i32>> {
    let over = Instant::now() + DEADLINE;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code());
        }
        if Instant::now() > over {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// The person goes on working; what that changes outside was the attempt's doing.
fn afterwards(row: &Row, yard: &Yard, programs: &Programs) -> Result<Vec<String>> {
    if row.afterwards.is_empty() {
        return Ok(Vec::new());
    }
    let outside = [yard.outside.clone()];
    let before = World::of(&outside);
    let mut command = yard.person(row.afterwards);
    command.env("OSTK", &programs.ostk).env_remove("GITHUB_TOKEN");
    run(command, &yard.temporary.join("afterwards"))?;
    let changed = before.changed(&World::of(&outside));
    Ok(changed.into_iter().map(|what| format!("when a person went on working: {what}")).collect())
}

fn held(row: &Row, seen: &Seen) -> Vec<String> {
    match row.shows {
        Shows::Held(what) => {
            let matching: BTreeSet<_> = seen.held.iter().filter(|held| held.starts_with(what)).collect();
            matching.into_iter().map(|held| format!("it held {held}")).collect()
        }
        Shows::Processes if seen.most_processes > MOST_PROCESSES => {
            vec![format!("{} processes at once", seen.most_processes)]
        }
        Shows::Memory if seen.most_memory_kib > (MOST_MEMORY_MIB + SHARED_MIB) << 10 => {
            vec![format!("{} MiB at once", seen.most_memory_kib >> 10)]
        }
        _ => Vec::new(),
    }
}

/// The log as it was.
struct Log {
    journal: Vec<u8>,
    files: BTreeSet<PathBuf>,
}

impl Log {
    fn of(workspace: &Path) -> Self {
        let state = workspace.join(".ostk");
        let names = |name: &str| {
            fs::read_dir(state.join(name)).into_iter().flatten().flatten().map(|entry| entry.path())
        };
        Self {
            journal: fs::read(state.join("journal.jsonl")).unwrap_or_default(),
            files: names("packs")
                .chain(names("log"))
                .filter(|path| path.extension().is_none_or(|extension| extension != "new"))
                .collect(),
        }
    }

    /// What is missing of it, or was added by somebody else than the daemon.
    fn damage(&self, contender: Contender, yard: &Yard, ostk: &Path) -> Vec<String> {
        let now = Self::of(&yard.workspace);
        let mut found: Vec<_> =
            self.files.difference(&now.files).map(|path| format!("{} is gone", path.display())).collect();
        if !now.journal.starts_with(&self.journal) {
            found.push("the log was rewritten".to_owned());
        } else if contender == Contender::None && now.journal.len() != self.journal.len() {
            found.push("something was appended to the log".to_owned());
        } else if contender == Contender::Ostk {
            let mut verify = Command::new(ostk);
            verify.args(["audit", "verify"]);
            yard.give_environment(&mut verify);
            let said = verify.current_dir(&yard.workspace).stdin(Stdio::null()).output();
            if !said.is_ok_and(|said| said.status.success()) {
                found.push("the log does not verify".to_owned());
            }
        }
        found
    }
}

/// Takes down what an attempt has mounted in the scene.
fn unmount(yard: &Yard) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let place = yard.outside.display().to_string();
    for target in
        mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|target| target.starts_with(&place))
    {
        let _ = Command::new("umount").arg(target).status();
    }
}

/// Why a row says nothing about a contender on this machine, if so.
fn not_applicable(row: &Row, contender: Contender) -> Option<String> {
    if contender == Contender::None
        && let Some(why) = row.unshown
    {
        return Some(format!("cannot be shown here: {why}"));
    }
    if contender != Contender::Ostk && contender != Contender::None && row.is_about_ostk() {
        return Some("it is about ostk alone".to_owned());
    }
    if matches!(row.program, Program::Python(_)) && !Path::new(attempt::PYTHON).exists() {
        return Some(format!("{} is missing", attempt::PYTHON));
    }
    row.needs.iter().find_map(|need| lacks(*need))
}

fn lacks(need: Need) -> Option<String> {
    let probe = ostk_sandbox::probe;
    match need {
        Need::Program(name) => {
            let places = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
            let there = places.iter().any(|place| Path::new(place).join(name).exists());
            (!there).then(|| format!("{name} is not installed"))
        }
        Need::Root => (!rustix::process::geteuid().is_root()).then(|| "it takes root's rights".to_owned()),
        Need::Path(path) => (!Path::new(path).exists()).then(|| format!("there is no {path}")),
        Need::Totals => (!probe().totals).then(|| "no control groups to make".to_owned()),
        Need::Typing => {
            let on =
                fs::read_to_string("/proc/sys/dev/tty/legacy_tiocsti").is_ok_and(|text| text.trim() == "1");
            (!on).then(|| "this kernel lets nobody type into terminals".to_owned())
        }
        Need::Namespaces => {
            let without = probe().namespaces == ostk_sandbox::Namespaces::Unavailable;
            without.then(|| "without namespaces the documents say that it does not work".to_owned())
        }
    }
}
