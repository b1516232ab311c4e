//! Prints what containment adds to the start of a command: `true` in the sandbox and outside, in turn.
//!
//! `cargo run --release -p ostk-sandbox --example spawn_cost [WORDS]`, as root and as an ordinary user; with words, only
//! what has them in its name. Each sample is the difference of two neighbours, so that both saw the same machine.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::{
    error::Error,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use ostk_sandbox::{Exit, LocalSockets, Namespaces, Network, Probe, Sandbox, Spec, WindowSize, probe};

const ROUNDS: usize = 300;
/// Far more than a command here takes.
const LONG: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn Error>> {
    let place = std::env::temp_dir().join(format!("spawn-cost-{}", std::process::id()));
    for directory in ["w/.ostk", "w/.git/hooks", "keys"] {
        fs::create_dir_all(place.join(directory))?;
    }
    fs::write(place.join("w/.git/config"), "")?;
    let mut spec = Spec::new(["/bin/true"], place.join("w"), place.join("scratch"));
    spec.writable = vec![place.join("w")];
    spec.protected = [".ostk", ".git/hooks", ".git/config"].map(|path| place.join("w").join(path)).to_vec();
    spec.hidden = vec![place.join("keys")];
    let machine = probe();
    println!("{machine:?}");
    let without = |namespaces| Probe { namespaces, ..machine.clone() };
    let shared = Probe { processes: false, ..machine.clone() };
    for (name, probe, network) in [
        ("everything", machine.clone(), Network::Host),
        ("everything, and no network", machine.clone(), Network::None),
        ("without a process namespace", shared, Network::Host),
        ("without namespaces", without(Namespaces::Unavailable), Network::Host),
    ] {
        spec.network = network;
        compare(name, &Sandbox::new(probe), &spec)?;
    }
    // What the daemon asks for in the name of an agent: names that are guarded at every depth, and a home to hide.
    spec.network = Network::None;
    let agents = as_an_agents(&spec, &place)?;
    compare("an agent's command", &Sandbox::new(machine.clone()), &agents)?;
    let all = Spec { local_sockets: LocalSockets::All, ..agents };
    compare("an agent's command, and all local sockets", &Sandbox::new(machine.clone()), &all)?;
    // What an agent in a terminal has: started, and served from outside while it runs.
    spec.network = Network::Relayed { ports: vec![3128, 8080] };
    let started = Spec { stdin: Some(Vec::new()), ..spec.clone() };
    compare("everything, and two relays", &Sandbox::new(machine.clone()), &started)?;
    let size = Some(WindowSize { rows: 24, columns: 80 });
    let terminal = Spec { terminal: size, ..started };
    compare("everything, two relays and a terminal", &Sandbox::new(machine.clone()), &terminal)?;
    let observed = Spec { network: Network::Host, observe: true, ..spec };
    compare("everything, and observed", &Sandbox::new(machine), &observed)?;
    fs::remove_dir_all(&place)?;
    Ok(())
}

/// Twenty files and twenty directories of a home are hidden, and settings guarded in a tree of 120 directories.
fn as_an_agents(spec: &Spec, place: &Path) -> Result<Spec, Box<dyn Error>> {
    let mut spec = spec.clone();
    for number in 0..20 {
        let (file, directory) =
            (place.join(format!("home/{number}.key")), place.join(format!("home/{number}")));
        fs::create_dir_all(&directory)?;
        fs::write(&file, "secret")?;
        spec.hidden.extend([file, directory]);
    }
    for number in 0..120 {
        fs::create_dir_all(place.join(format!("w/src/{}/{number}", number % 7)))?;
    }
    for settings in [".vscode", ".claude", "src/1/.envrc"] {
        fs::create_dir_all(place.join("w").join(settings))?;
    }
    spec.protected_names =
        [".git/hooks", ".git/config", ".ostk", ".mcp.json", ".claude", ".vscode", ".envrc"]
            .map(Into::into)
            .to_vec();
    // Most directories of a project have not changed for a while, and their listings are remembered.
    std::thread::sleep(Duration::from_secs(4));
    Ok(spec)
}

fn compare(name: &str, sandbox: &Sandbox, spec: &Spec) -> Result<(), Box<dyn Error>> {
    if std::env::args().nth(1).is_some_and(|words| !name.contains(&words)) {
        return Ok(());
    }
    let (mut plain, mut added) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let mut command = Command::new("/bin/true");
        command.env_clear().stdin(Stdio::piped()).output()?;
        let outside = started.elapsed();
        let started = Instant::now();
        let outcome = match spec.network {
            Network::Relayed { .. } => sandbox.start(spec)?.wait(LONG)?.ok_or("it does not end")?,
            _ => sandbox.run(spec)?,
        };
        added.push(started.elapsed().saturating_sub(outside));
        plain.push(outside);
        if outcome.exit != Exit::Code(0) {
            return Err("the contained command failed".into());
        }
    }
    let [plain, p50, p90] = [at(&mut plain, 50), at(&mut added, 50), at(&mut added, 90)];
    println!("{name}: plain {plain:?}, added {p50:?} at the median, {p90:?} at the 90th percentile");
    Ok(())
}

fn at(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times.get(times.len() * percent / 100).copied().unwrap_or_default()
}
