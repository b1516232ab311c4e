//! What containment adds to the start of a command: `true` in the sandbox and outside, in turn.
//!
//! Each sample is a difference of neighbours, so that all saw the same machine; it can be negative. Every layer that this
//! machine offers is on. Without network it has a network namespace of its own as well, as a command has by default.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use ostk_sandbox::{Exit, Network, Sandbox, Spec, probe};

use crate::figure::{Figure, seconds};

const ROUNDS: usize = 300;

pub(crate) fn measure(dir: &Path) -> Result<Vec<Figure>> {
    let root = dir.join("w");
    for directory in [".ostk", ".git/hooks"] {
        fs::create_dir_all(root.join(directory))?;
    }
    fs::write(root.join(".git/config"), "")?;
    let mut spec = Spec::new(["/bin/true"], &root, dir.join("scratch"));
    spec.writable = vec![root.clone()];
    spec.protected = [".ostk", ".git/hooks", ".git/config"].map(|path| root.join(path)).to_vec();
    let alone = Spec { network: Network::None, ..spec.clone() };
    let agents = as_an_agents(&alone, dir)?;
    let sandbox = Sandbox::new(probe());
    let (mut plain, mut added) = (Vec::new(), Vec::new());
    for spec in [&spec, &alone, &agents] {
        let (mut outside, more) = side_by_side(&sandbox, spec)?;
        plain.append(&mut outside);
        added.push(more);
    }
    let [with_network, without, agents] =
        added.try_into().map_err(|_| anyhow::anyhow!("three kinds of commands"))?;
    Ok(vec![
        Figure::low("true, outside the sandbox", "ms", plain),
        Figure::low("added by the sandbox", "ms", with_network).median(3.0),
        Figure::low("added by the sandbox, without network", "ms", without).median(3.0),
        Figure::low("added by the sandbox, an agent's command", "ms", agents).median(3.0),
    ])
}

/// Milliseconds of the command outside, and what it took more inside right after. Commands with the same bounds follow each
/// other, as those of an agent do.
fn side_by_side(sandbox: &Sandbox, spec: &Spec) -> Result<(Vec<f64>, Vec<f64>)> {
    let (mut plain, mut added) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (outside, output) =
            seconds(|| Command::new("/bin/true").env_clear().stdin(Stdio::piped()).output());
        output?;
        let (inside, outcome) = seconds(|| sandbox.run(spec));
        ensure!(outcome?.exit == Exit::Code(0), "the contained command failed");
        plain.push(outside * 1e3);
        added.push((inside - outside) * 1e3);
    }
    Ok((plain, added))
}

/// Twenty files and twenty directories of a home are hidden, and settings guarded in a tree of 130 directories.
fn as_an_agents(spec: &Spec, dir: &Path) -> Result<Spec> {
    let mut spec = spec.clone();
    for number in 0..20 {
        let (file, directory) = (dir.join(format!("home/{number}.key")), dir.join(format!("home/{number}")));
        fs::create_dir_all(&directory)?;
        fs::write(&file, "secret")?;
        spec.hidden.extend([file, directory]);
    }
    for number in 0..120 {
        fs::create_dir_all(dir.join(format!("w/src/{}/{number}", number % 7)))?;
    }
    for settings in [".vscode", ".claude", "src/1/.envrc"] {
        fs::create_dir_all(dir.join("w").join(settings))?;
    }
    let names = [".git/hooks", ".git/config", ".ostk", ".mcp.json", ".claude", ".vscode", ".envrc"];
    spec.protected_names = names.map(Into::into).to_vec();
    // Most directories of a project have not changed for a while, and what is in them is remembered.
    thread::sleep(Duration::from_secs(4));
    Ok(spec)
}
