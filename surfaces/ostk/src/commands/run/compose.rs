//! An Agentfile and what it names, put together into the one text that the kernel is asked with.
//!
//! Variables come from the environment, a profile from `.ostk/profiles/`, texts and skills from files beside the
//! Agentfile. Whatever is loaded lies inside the repository and is bounded. What the kernel would refuse is refused
//! here, by the line of the file that the person wrote.

use std::{env, fs, path::Path};

use ostk_agent::{Agentfile, AgentfileError, Use};
use ostk_policy::Humanfile;

use crate::failure::Failure;

/// The largest Agentfile, and the largest file that one names.
const MAX_FILE: u64 = 256 * 1024;
/// Profiles that stand behind each other; more is a mistake.
const MAX_PROFILES: usize = 8;
/// What is loaded or settled here, so that the kernel never sees it.
const SETTLED_HERE: [&str; 5] = ["FROM auto", "FROM-PROFILE", "SKILL", "PROMPT file://", "TASK file://"];

/// What an Agentfile is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An agent inside the daemon.
    Native,
    /// A command that is an agent, and chooses its model itself.
    Command,
}

/// The Agentfile at `path`, complete. `root` is the repository's.
pub(super) fn compose(path: &Path, root: &Path, pin: Option<&str>, kind: Kind) -> Result<Agentfile, Failure> {
    let root = root.canonicalize()?;
    let mut file = read(path, &root)?;
    let mut profiles: Vec<String> = Vec::new();
    while let Some(name) = file.profile.take() {
        if profiles.contains(&name) || profiles.len() >= MAX_PROFILES {
            let message =
                format!("FROM-PROFILE {name}: more than {MAX_PROFILES} profiles, or a circle of them");
            return Err(Failure::usage(message));
        }
        let profile = profile(&root, &name)?;
        let next = profile.profile.clone();
        file = Agentfile { profile: next, ..file.over(profile) };
        profiles.push(name);
    }
    if file.from == "auto" && kind == Kind::Native {
        file.from = auto(&root)?;
    }
    if let Some(pin) = pin {
        file.pin = Some(pin.to_owned());
    }
    Ok(file)
}

/// The model of `FROM auto`: that of the environment, else MODEL of HUMANFILE, or its FALLBACK where only that one has a
/// key.
fn auto(root: &Path) -> Result<String, Failure> {
    if let Ok(model) = env::var("OSTK_MODEL") {
        return Ok(model);
    }
    let documents = ostk_daemon::read_documents(&root.join(".ostk"));
    let file = Humanfile::of(&documents)
        .map_err(|errors| Failure::check(errors).hint("ostk lint shows each with its line"))?;
    let model = file.model().ok_or_else(|| {
        Failure::usage("FROM auto: no model is named")
            .hint("name one in HUMANFILE, or export OSTK_MODEL=claude-sonnet-4-6")
    })?;
    let fallback =
        file.fallback().filter(|fallback| !has_key(root, &file, model) && has_key(root, &file, fallback));
    Ok(fallback.unwrap_or(model).to_owned())
}

/// Whether a call of this model finds the key that it needs. May ask the operator's own command.
fn has_key(root: &Path, file: &Humanfile, model: &str) -> bool {
    let state_dir = root.join(".ostk");
    let Ok(needed) = ostk_daemon::key_of_model(model) else { return false };
    let kept = |name: &str| {
        let store = ostk_daemon::secret_store(&state_dir, &crate::commands::health::keys_of_log(&state_dir));
        store.is_ok_and(|store| matches!(store.place(name), Ok(Some(_))))
    };
    needed.is_none_or(|name| file.secrets().any(|listed| listed == name) && kept(name))
}

/// Reads one Agentfile, with the texts and skills that it names.
fn read(path: &Path, root: &Path) -> Result<Agentfile, Failure> {
    let refuse = |errors: Vec<AgentfileError>| {
        let lines: Vec<String> = errors.iter().map(|error| format!("{}: {error}", path.display())).collect();
        Failure::usage(lines.join("\n"))
    };
    let text = bounded(path).map_err(|reason| Failure::usage(format!("{}: {reason}", path.display())))?;
    let parsed = Agentfile::parse_with_uses(&text, &|name| env::var(name).ok());
    let (mut file, uses) = parsed.map_err(refuse)?;
    let refused = refused(uses);
    if !refused.is_empty() {
        return Err(refuse(refused));
    }
    let beside = path.parent().unwrap_or(Path::new(""));
    file.load_files(&|name| inside(&beside.join(name), root)).map_err(refuse)?;
    for name in std::mem::take(&mut file.skills) {
        let text = skill(beside, root, &name);
        file.prompts.push(text.map_err(|reason| Failure::usage(format!("SKILL {name}: {reason}")))?);
    }
    Ok(file)
}

/// The directives that nothing here or in the kernel carries out.
pub(crate) fn refused(uses: Vec<Use>) -> Vec<AgentfileError> {
    let kernels: Vec<_> =
        uses.into_iter().filter(|used| !SETTLED_HERE.contains(&used.name.as_str())).collect();
    ostk_kernel::not_carried_out(&kernels)
}

fn profile(root: &Path, name: &str) -> Result<Agentfile, Failure> {
    let directory = root.join(".ostk/profiles");
    let candidates = [format!("{name}.af"), format!("{name}.Agentfile")].map(|file| directory.join(file));
    match candidates.iter().find(|path| is_name(name) && path.is_file()) {
        Some(path) => read(path, root),
        None => Err(Failure::usage(format!("FROM-PROFILE {name}: there is no .ostk/profiles/{name}.af"))),
    }
}

/// The instructions of a skill: beside the Agentfile, else the project's.
fn skill(beside: &Path, root: &Path, name: &str) -> Result<String, String> {
    let places = [beside.to_owned(), root.join(".ostk"), root.to_owned()];
    let candidates = places.map(|place| place.join("skills").join(name).join("SKILL.md"));
    let found = candidates.iter().find(|path| is_name(name) && path.is_file());
    let text = inside(found.ok_or_else(|| format!("there is no skills/{name}/SKILL.md"))?, root)?;
    let text = text.trim();
    if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// A name that is no path.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && !name.starts_with('.') && name.chars().all(plain)
}

/// The text of a file that lies in the repository once every link is followed.
fn inside(path: &Path, root: &Path) -> Result<String, String> {
    let real = path.canonicalize().map_err(|error| error.to_string())?;
    if !real.starts_with(root) {
        return Err("it lies outside the repository".to_owned());
    }
    bounded(&real)
}

fn bounded(path: &Path) -> Result<String, String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    if metadata.len() > MAX_FILE {
        return Err(format!("it is larger than {MAX_FILE} bytes"));
    }
    fs::read_to_string(path).map_err(|error| error.to_string())
}
