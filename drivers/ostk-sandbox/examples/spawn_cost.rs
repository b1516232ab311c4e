//! Prints what containment adds to the start of a command: the median time of `true` in the sandbox and outside.
//!
//! `cargo run --release -p ostk-sandbox --example spawn_cost`. The two alternate, so that both see the same machine.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::{
    error::Error,
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use ostk_sandbox::{Exit, Namespaces, Probe, Sandbox, Spec, probe};

const ROUNDS: usize = 300;

fn main() -> Result<(), Box<dyn Error>> {
    let place = std::env::temp_dir().join(format!("spawn-cost-{}", std::process::id()));
    for directory in ["w/.ostk", "w/.git/hooks"] {
        fs::create_dir_all(place.join(directory))?;
    }
    fs::write(place.join("w/.git/config"), "")?;
    let mut spec = Spec::new(["/bin/true"], place.join("w"), place.join("scratch"));
    spec.writable = vec![place.join("w")];
    spec.protected = [".ostk", ".git/hooks", ".git/config"].map(|path| place.join("w").join(path)).to_vec();
    let machine = probe();
    println!("{machine:?}");
    for namespaces in [machine.namespaces, Namespaces::Unavailable] {
        compare(&Sandbox::new(Probe { namespaces, ..machine.clone() }), &spec, namespaces)?;
    }
    fs::remove_dir_all(&place)?;
    Ok(())
}

fn compare(sandbox: &Sandbox, spec: &Spec, namespaces: Namespaces) -> Result<(), Box<dyn Error>> {
    let (mut plain, mut contained) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let mut command = Command::new("/bin/true");
        command.env_clear().stdin(Stdio::piped()).output()?;
        plain.push(started.elapsed());
        let started = Instant::now();
        let outcome = sandbox.run(spec)?;
        contained.push(started.elapsed());
        if outcome.exit != Exit::Code(0) {
            return Err("the contained command failed".into());
        }
    }
    let (plain, contained) = (median(plain), median(contained));
    let added = contained.saturating_sub(plain);
    println!("namespaces {namespaces:?}: plain {plain:?}, contained {contained:?}, added {added:?}");
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
