//! Prints how long the look after a command takes: in a tree that has not changed for a while, at the first look, and while
//! a command goes on changing every tenth directory.
//!
//! `cargo run --release -p ostk-files --example sweep_speed`: 2,000 directories with ten files each, and a repository.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::{error::Error, fs, path::Path, thread, time::Duration, time::Instant};

use ostk_files::{Guard, Quarantine, Workspace};

const DIRECTORIES: usize = 2_000;
const ROUNDS: usize = 50;

fn main() -> Result<(), Box<dyn Error>> {
    let place = std::env::temp_dir().join(format!("sweep-speed-{}", std::process::id()));
    for number in 0..DIRECTORIES {
        let directory = directory(&place, number);
        fs::create_dir_all(&directory)?;
        for file in 0..10 {
            fs::write(directory.join(format!("file{file}.rs")), "")?;
        }
    }
    for directory in [".git/objects", ".git/refs/heads", ".git/hooks"] {
        fs::create_dir_all(place.join(directory))?;
    }
    fs::write(place.join(".git/HEAD"), "ref: refs/heads/main\n")?;
    let root = place.to_str().ok_or("the temporary directory is not UTF-8")?;
    let quarantine = Quarantine::new(Workspace::open(root)?);
    let mut guard = Guard::default();
    guard.roots = vec!["".into()];
    guard.names =
        [".mcp.json", ".claude", ".codex", ".vscode", ".cursor", ".envrc", ".idea"].map(Into::into).to_vec();
    let guard = quarantine.guard(guard, &[]);
    let first = look(&quarantine, &guard)?;
    println!("just made: {first:?}");
    thread::sleep(Duration::from_secs(4));
    look(&quarantine, &guard)?;
    let mut unchanged = (0..ROUNDS).map(|_| look(&quarantine, &guard)).collect::<Result<Vec<_>, _>>()?;
    println!("unchanged: {:?}", middle(&mut unchanged));
    let mut changing = Vec::new();
    for round in 0..ROUNDS {
        for number in (0..DIRECTORIES).step_by(10) {
            fs::write(directory(&place, number).join(format!("new{round}")), "")?;
        }
        changing.push(look(&quarantine, &guard)?);
    }
    println!("with changes in every tenth directory: {:?}", middle(&mut changing));
    fs::remove_dir_all(&place)?;
    Ok(())
}

fn directory(place: &Path, number: usize) -> std::path::PathBuf {
    place.join(format!("src/{}/{}", number % 40, number / 40))
}

fn look(quarantine: &Quarantine, guard: &Guard) -> Result<Duration, Box<dyn Error>> {
    let began = Instant::now();
    let taken = quarantine.sweep(guard, "bench");
    let took = began.elapsed();
    if taken.is_empty() { Ok(took) } else { Err(format!("something was taken: {taken:?}").into()) }
}

fn middle(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
