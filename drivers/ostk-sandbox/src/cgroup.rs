//! Limits on a command and all its processes together: a control group of its own, where this process may make one.
//!
//! Both hierarchies are known: one for each controller (v1), and the unified one (v2), where a group can be made in this
//! process's own group or the nearest above that hands the controller down and lets this user in. The child joins
//! by writing to the files that [`Group::joins`] names; the group goes when the command has ended.

use std::{
    ffi::CString,
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use crate::{Limits, SandboxError, trees::c_path};

/// A group can be removed when the kernel has taken its last process out of it, shortly after its end.
const REMOVAL_TRIES: u32 = 100;
const REMOVAL_PAUSE: Duration = Duration::from_millis(2);
/// The length of a period in which processor time is counted, in microseconds: the kernel's own default.
const PERIOD_US: u64 = 100_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Controller {
    Memory,
    Processes,
    Processor,
}

impl Controller {
    const ALL: [Self; 3] = [Self::Memory, Self::Processes, Self::Processor];

    const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Processes => "pids",
            Self::Processor => "cpu",
        }
    }

    /// The file that takes the limit, and what is written to it.
    fn setting(self, unified: bool, limits: &Limits) -> Option<(&'static str, String)> {
        let quota = limits.cpu_percent.map(|percent| u64::from(percent) * PERIOD_US / 100);
        match (self, unified) {
            (Self::Memory, true) => Some(("memory.max", limits.total_memory_bytes?.to_string())),
            (Self::Memory, false) => Some(("memory.limit_in_bytes", limits.total_memory_bytes?.to_string())),
            (Self::Processes, _) => Some(("pids.max", limits.total_processes?.to_string())),
            (Self::Processor, true) => Some(("cpu.max", format!("{} {PERIOD_US}", quota?))),
            (Self::Processor, false) => Some(("cpu.cfs_quota_us", quota?.to_string())),
        }
    }
}

/// Whether groups can be made for every controller, found out by making one for each.
pub(crate) fn works() -> bool {
    Controller::ALL.into_iter().all(|controller| place_of(controller).is_some())
}

/// The groups of one command, one for each hierarchy; removed when dropped.
#[derive(Debug, Default)]
pub(crate) struct Group {
    directories: Vec<PathBuf>,
}

impl Group {
    /// Makes the groups that `limits` need; none when nothing is limited as a whole.
    pub(crate) fn new(limits: &Limits) -> Result<Self, SandboxError> {
        let mut group = Self::default();
        for controller in Controller::ALL {
            let wanted = |unified| controller.setting(unified, limits);
            if wanted(true).is_none() {
                continue;
            }
            let failed = || SandboxError::io("make a control group");
            let missing = || io::Error::new(io::ErrorKind::NotFound, controller.name());
            let place = place_of(controller).ok_or_else(missing).map_err(failed())?;
            let directory = place.directory.join(group_name());
            fs::create_dir(&directory).map_err(failed())?;
            group.directories.push(directory.clone());
            if let Some((file, value)) = wanted(place.unified) {
                fs::write(directory.join(file), value).map_err(failed())?;
            }
        }
        Ok(group)
    }

    /// The files to which a process writes `0` to join.
    pub(crate) fn joins(&self) -> Result<Vec<CString>, SandboxError> {
        self.directories.iter().map(|directory| c_path(&directory.join("cgroup.procs"))).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.directories.is_empty()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for directory in &self.directories {
            let removed = (0..REMOVAL_TRIES).any(|_| {
                let done = fs::remove_dir(directory).is_ok();
                if !done {
                    thread::sleep(REMOVAL_PAUSE);
                }
                done
            });
            // What is left is an empty group: it limits nobody and costs the kernel a little memory.
            debug_assert!(removed, "{}", directory.display());
        }
    }
}

fn group_name() -> String {
    static MADE: AtomicU64 = AtomicU64::new(0);
    format!("ostk-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed))
}

/// Where groups can be made.
struct Place {
    directory: PathBuf,
    unified: bool,
}

fn place_of(controller: Controller) -> Option<Place> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    find(controller.name(), &mounts, &groups, &can_hold)
}

/// `usable` says whether a group for the controller can be made in a directory of the unified hierarchy or not.
fn find(
    controller: &str,
    mounts: &str,
    groups: &str,
    usable: &dyn Fn(&Path, Option<&str>) -> bool,
) -> Option<Place> {
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(mounted), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let unified = kind == "cgroup2";
        let holds = unified || (kind == "cgroup" && options.split(',').any(|option| option == controller));
        let Some(own) = own_group(groups, controller, unified).filter(|_| holds) else { continue };
        let own = Path::new(mounted).join(own.trim_start_matches('/'));
        let above = own.ancestors().take_while(|place| place.starts_with(mounted));
        let wanted = unified.then_some(controller);
        if let Some(place) = above.into_iter().find(|place| usable(place, wanted)) {
            return Some(Place { directory: place.to_owned(), unified });
        }
    }
    None
}

/// The group of this process: lines of `/proc/self/cgroup` are `number:controllers:path`.
fn own_group<'a>(groups: &'a str, controller: &str, unified: bool) -> Option<&'a str> {
    groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let listed = controllers.split(',').any(|listed| listed == controller);
        (if unified { controllers.is_empty() } else { listed }).then_some(path)
    })
}

fn can_hold(place: &Path, unified_controller: Option<&str>) -> bool {
    if let Some(controller) = unified_controller {
        let handed_down = fs::read_to_string(place.join("cgroup.subtree_control")).unwrap_or_default();
        if !handed_down.split_whitespace().any(|name| name == controller) {
            return false;
        }
    }
    let tried = place.join(group_name());
    fs::create_dir(&tried).is_ok() && fs::remove_dir(&tried).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUPS: &str = "4:memory:/a/b\n3:cpu,cpuacct:/c\n0::/user.slice/app.slice/term.scope\n";

    #[test]
    fn a_controller_is_found_in_its_own_hierarchy() {
        let mounts = "cgroup /cg/cpu cgroup rw,cpu,cpuacct 0 0\ncgroup /cg/memory cgroup rw,memory 0 0\n";
        let any = |_: &Path, unified: Option<&str>| unified.is_none();
        let place = |controller| find(controller, mounts, GROUPS, &any).map(|place| place.directory);
        assert_eq!(place("memory"), Some("/cg/memory/a/b".into()));
        assert_eq!(place("cpu"), Some("/cg/cpu/c".into()));
        assert_eq!(place("pids"), None);
    }

    #[test]
    fn in_the_unified_hierarchy_the_nearest_group_that_hands_the_controller_down_is_taken() {
        let mounts = "cgroup2 /cg cgroup2 rw,nsdelegate 0 0\n";
        let slice =
            |place: &Path, unified: Option<&str>| unified == Some("pids") && place.ends_with("app.slice");
        let place = find("pids", mounts, GROUPS, &slice).unwrap();
        assert_eq!((place.directory, place.unified), ("/cg/user.slice/app.slice".into(), true));
        assert!(find("memory", mounts, GROUPS, &slice).is_none());
    }
}
