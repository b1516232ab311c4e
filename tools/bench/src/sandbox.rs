//! What containment adds to the start of a command: `true` in the sandbox and outside, in turn.
//!
//! Each sample is a difference of neighbours, so that all saw the same machine; it can be negative. Every layer that this
//! machine offers is on. Without network it has a network namespace of its own as well, as a command has by default.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
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
    let sandbox = Sandbox::new(probe());
    let (mut plain, mut added) = (Vec::new(), [Vec::new(), Vec::new()]);
    for _ in 0..ROUNDS {
        let (outside, output) =
            seconds(|| Command::new("/bin/true").env_clear().stdin(Stdio::piped()).output());
        output?;
        plain.push(outside * 1e3);
        for (spec, added) in [&spec, &alone].into_iter().zip(&mut added) {
            let (inside, outcome) = seconds(|| sandbox.run(spec));
            ensure!(outcome?.exit == Exit::Code(0), "the contained command failed");
            added.push((inside - outside) * 1e3);
        }
    }
    let [with_network, without] = added;
    Ok(vec![
        Figure::low("true, outside the sandbox", "ms", plain),
        Figure::low("added by the sandbox", "ms", with_network).median(3.0),
        Figure::low("added by the sandbox, without network", "ms", without).median(3.0),
    ])
}
