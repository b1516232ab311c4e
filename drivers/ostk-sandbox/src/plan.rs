//! From a spec to everything the child needs, worked out in the daemon before the child exists.
//!
//! For each guarantee that the spec asks for, the best means of this machine is chosen here; one without any means is
//! a reason to refuse. What the means do is said where they are: `trees.rs`, `namespace.rs`, `ruleset.rs`, `filter.rs`.

use std::{
    collections::BTreeMap,
    ffi::{CString, OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
};

use rustix::process::{Resource, Rlimit, getrlimit};
use serde::{Deserialize, Serialize};

use crate::{
    Guarantee, Limits, LocalSockets, Namespaces, Network, Probe, Readable, SandboxError, Spec,
    cgroup::Group,
    child::ChildPlan,
    connect::Connects,
    filter::{self, Extra, Noticed},
    handover::Handover,
    launch::Program,
    mounted,
    namespace::{IdMaps, View},
    notify::Watched,
    observe::Observer,
    paths,
    placeholder::Placeholder,
    relay, ruleset,
    spare::Spare,
    sweep::Sweep,
    trees::{Trees, c_path},
};

/// How protected paths inside writable trees are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// Nothing protected lies inside a writable tree.
    NotNeeded,
    /// Read-only mounts in a private mount namespace.
    Namespace,
    /// Each entry of the tree is allowed by itself: nothing can be created directly in a directory that holds
    /// something protected, so `git commit` fails.
    Enumerated,
    /// Not at all: neither namespaces nor Landlock.
    Missing,
}

/// What holds a command, for the record of its run.
///
/// What this layer does not hold:
/// * without namespaces, mode, owner, times and extended attributes of files outside the writable trees, which Landlock
///   does not cover (in a namespace everything else is mounted read-only);
/// * a protected *file* that somebody outside replaces by rename while a command runs: the mount goes with the old
///   file, and the command can write the new one. What lies inside a protected directory is not affected;
/// * what it creates at some depth under a protected name ([`crate::Process::guarded`] helps to find that), and such names
///   in directories that tools fill;
/// * a hard link into a writable tree that existed before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Containment {
    /// The Landlock ABI that confines it; `None` when there is none and the operator accepted that.
    pub landlock_abi: Option<u32>,
    /// How protected paths are protected.
    pub protection: Protection,
    /// It has a process namespace, so that nothing of it is left when it ends.
    pub own_processes: bool,
    /// It has a network namespace with nothing but a loopback interface, on which there may be relays.
    pub own_network: bool,
    /// What it asked for and does not have; the operator accepted each by name.
    pub missing: Vec<Guarantee>,
}

/// Everything for one start.
pub(crate) struct Plan {
    pub(crate) child: ChildPlan,
    pub(crate) program: Program,
    /// The program as the spec names it.
    pub(crate) name: OsString,
    pub(crate) containment: Containment,
    /// What it can neither change nor make.
    pub(crate) guarded: Vec<PathBuf>,
    /// What is done when the command has ended.
    pub(crate) after: After,
}

/// What is there for the command while it runs, and put back when it has ended.
#[derive(Default)]
pub(crate) struct After {
    pub(crate) group: Group,
    pub(crate) placeholders: Vec<Placeholder>,
    pub(crate) sweep: Sweep,
    pub(crate) observer: Option<Observer>,
    /// While it runs; unless there is an observer, who has them.
    pub(crate) connects: Option<Connects>,
}

/// Checks the spec against the machine and prepares the start.
pub(crate) fn plan(probe: &Probe, spec: &Spec) -> Result<Plan, SandboxError> {
    let (program, name) = program(spec)?;
    let trees = Trees::of(spec)?;
    let missing = missing(probe, spec, &trees)?;
    let means = Means::of(probe, spec, &trees);
    let placeholders = if means.view { trees.placeholders()? } else { Vec::new() };
    let view = if means.view { Some(view(probe, &trees, &means)?) } else { None };
    let grants = match means.view {
        true => trees.grants(spec)?,
        false => trees.enumerated(spec)?,
    };
    let ruleset = probe.landlock_abi.map(|_| ruleset::build(&grants)).transpose()?;
    let cwd = c_path(&paths::resolve("working directory", &spec.cwd)?)?;
    let reads_proc =
        matches!(&spec.readable, Readable::Only(paths) if paths.iter().any(|path| path == "/proc"));
    let ioctls_are_ruled = probe.landlock_abi >= Some(5);
    let group = if probe.totals { Group::new(&spec.limits)? } else { Group::default() };
    let ports = if means.own_network { relays(&spec.network)? } else { Vec::new() };
    require_room(spec)?;
    let hands_out = spec.terminal.is_some() || !ports.is_empty();
    let connects = means.connects.then(|| Connects::new(trees.with_sockets(), means.own_network));
    let (watched, connects, observer) = if spec.observe {
        let (observer, watched) = Observer::new(connects)?;
        (Some(watched), None, Some(observer))
    } else {
        (connects.is_some().then(Watched::here).transpose()?, connects, None)
    };
    let noticed = match &watched {
        Some(_) if spec.observe => Noticed::All,
        Some(_) => Noticed::Connections,
        None => Noticed::Nothing,
    };
    let filtered = probe.filters || watched.is_some();
    let child = ChildPlan {
        view,
        relays: ports,
        terminal: spec.terminal,
        handover: if hands_out { Some(Handover::new()?) } else { None },
        joins: group.joins()?,
        cwd,
        limits: limits(&spec.limits),
        ruleset,
        reads_proc,
        ioctls_are_ruled,
        filter: filtered.then(|| filter::program(means.extra, noticed)),
        watched,
    };
    let containment = Containment {
        landlock_abi: probe.landlock_abi,
        protection: means.protection,
        own_processes: means.own_processes,
        own_network: means.own_network,
        missing,
    };
    let sweep = Sweep::new(trees.refused(spec), spec.scratch.join("refused"));
    let after = After { group, placeholders, sweep, observer, connects };
    Ok(Plan { child, program, name, containment, guarded: trees.guarded(), after })
}

/// Which means are used for one command.
struct Means {
    view: bool,
    protection: Protection,
    own_processes: bool,
    own_network: bool,
    /// Its connections are made for it.
    connects: bool,
    extra: Extra,
}

impl Means {
    fn of(probe: &Probe, spec: &Spec, trees: &Trees) -> Self {
        let view = probe.namespaces != Namespaces::Unavailable;
        let own_network = spec.network != Network::Host && probe.own_network();
        let bounded =
            spec.local_sockets == LocalSockets::Own && probe.landlock_abi < Some(LANDLOCK_WITH_SOCKETS);
        let connects = bounded && view && probe.notices;
        Self {
            view,
            protection: if trees.needs_protection() { probe.protection() } else { Protection::NotNeeded },
            own_processes: probe.own_processes(),
            own_network,
            connects,
            extra: Extra {
                no_network: spec.network != Network::Host && !own_network,
                no_local_sockets: bounded && !connects,
                no_local_datagrams: connects,
                shared_processes: !probe.own_processes(),
            },
        }
    }
}

/// The first Landlock ABI that says to which sockets in the file system one may connect (Linux 7.1).
pub(crate) const LANDLOCK_WITH_SOCKETS: u32 = 9;

/// What the spec asks for and the machine cannot give, if the operator accepted all of it.
fn missing(probe: &Probe, spec: &Spec, trees: &Trees) -> Result<Vec<Guarantee>, SandboxError> {
    let asked = |guarantee: &Guarantee| match guarantee {
        Guarantee::Files | Guarantee::SystemCalls | Guarantee::Processes | Guarantee::Signals => true,
        Guarantee::Protected => trees.needs_protection(),
        Guarantee::Hidden => trees.hides(),
        Guarantee::Network => spec.network != Network::Host,
        Guarantee::Relays => matches!(spec.network, Network::Relayed { .. }),
        Guarantee::LocalSockets => spec.local_sockets == LocalSockets::Own,
        Guarantee::Totals => spec.limits.have_totals(),
    };
    let lacking = Guarantee::ALL.into_iter().filter(asked).filter_map(|guarantee| probe.lacks(guarantee));
    let mut accepted = Vec::new();
    for missing in lacking {
        if !spec.accepted.contains(&missing.guarantee) {
            return Err(SandboxError::Missing(missing));
        }
        accepted.push(missing.guarantee);
    }
    Ok(accepted)
}

/// The ports of its relays.
fn relays(network: &Network) -> Result<Vec<u16>, SandboxError> {
    let Network::Relayed { ports } = network else { return Ok(Vec::new()) };
    relay::require_named(ports)?;
    Ok(ports.clone())
}

/// Output that waits is kept until it is read, so there must be room for what is read from the command at once.
fn require_room(spec: &Spec) -> Result<(), SandboxError> {
    const LEAST: usize = 512 << 10;
    if !spec.output_waits || spec.limits.output_bytes >= LEAST {
        return Ok(());
    }
    Err(SandboxError::InvalidSpec(format!("output that waits takes output_bytes of {LEAST} or more")))
}

fn view(probe: &Probe, trees: &Trees, means: &Means) -> Result<View, SandboxError> {
    let mounted = mounted::all()?;
    let mut mounts = trees.mounts(&mounted)?;
    let way = probe.namespaces;
    Ok(View {
        way,
        maps: IdMaps::of_this_process(),
        processes: means.own_processes,
        network: means.own_network,
        spare: means.own_network.then(|| Spare::take(way, &mounted, &mut mounts)).flatten(),
        mounts,
    })
}

/// The program, its arguments and its environment, as the kernel takes them.
fn program(spec: &Spec) -> Result<(Program, OsString), SandboxError> {
    let Some(name) = spec.argv.first() else {
        return Err(SandboxError::InvalidSpec("there is no program".into()));
    };
    let env = environment(spec);
    let variables =
        env.iter().map(|(name, value)| c_string(&[name.as_bytes(), b"=", value.as_bytes()].concat()));
    let program = Program {
        candidates: candidates(name, env.get(OsStr::new("PATH")))?,
        argv: spec.argv.iter().map(|argument| c_string(argument.as_bytes())).collect::<Result<_, _>>()?,
        env: variables.collect::<Result<_, _>>()?,
    };
    Ok((program, name.clone()))
}

/// Where a program may be: as `execvp(3)` looks for it, and with the same places when there is no `PATH`.
fn candidates(name: &OsStr, path: Option<&OsString>) -> Result<Vec<CString>, SandboxError> {
    if name.as_bytes().contains(&b'/') {
        return Ok(vec![c_string(name.as_bytes())?]);
    }
    let places = path.map_or(OsStr::new("/bin:/usr/bin"), OsString::as_os_str);
    std::env::split_paths(places).map(|place| c_path(&place.join(name))).collect()
}

fn c_string(bytes: &[u8]) -> Result<CString, SandboxError> {
    let shown = || String::from_utf8_lossy(bytes).into_owned();
    CString::new(bytes).map_err(|_| SandboxError::InvalidSpec(format!("{} holds a zero byte", shown())))
}

fn environment(spec: &Spec) -> BTreeMap<OsString, OsString> {
    let mut env = spec.env.clone();
    env.entry("TMPDIR".into()).or_insert_with(|| spec.scratch.clone().into());
    env.entry("HOME".into()).or_insert_with(|| spec.scratch.join("home").into());
    env
}

/// The resource limits, none above what the daemon itself may have. Never a core: a limit of one byte is too small for
/// a file, and unlike zero it also keeps the kernel from handing a crash to a program outside (core(5)).
fn limits(limits: &Limits) -> Vec<(Resource, Rlimit)> {
    let wanted = [
        (Resource::Cpu, limits.cpu_s),
        (Resource::As, limits.memory_bytes),
        (Resource::Fsize, limits.file_bytes),
        (Resource::Nproc, limits.processes),
        (Resource::Nofile, limits.open_files),
        (Resource::Core, Some(1)),
    ];
    let bounded = |(resource, wanted): (Resource, Option<u64>)| {
        let value = wanted?.min(getrlimit(resource).maximum.unwrap_or(u64::MAX));
        Some((resource, Rlimit { current: Some(value), maximum: Some(value) }))
    };
    wanted.into_iter().filter_map(bounded).collect()
}
