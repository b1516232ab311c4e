//! The governance documents as they are on disk, read as one set.
//!
//! The daemon loads them, and commands that look at them without a daemon read them here too; both hand the texts to
//! `ostk-policy`, which alone knows what they mean.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use ostk_files::{Entry, EntryKind};
use ostk_policy::{
    CUSTOM_DOCUMENT, Documents, ENTITYFILE_DOCUMENT, HUMANFILE_DOCUMENT, MAX_PACKS, MAX_PINS, MAX_TEXT_BYTES,
    PRIMEFILE_DOCUMENT,
};

/// The operator's own HUMANFILE, in the home directory.
const GLOBAL_HUMANFILE: &str = ".HUMANFILE";

/// Every document under `state_dir`, the project's `.ostk/`, and the operator's own HUMANFILE. One that is too long or no text is passed on as a text that
/// does not parse, and one pin too many is kept, so that the gate refuses each by name.
pub(crate) fn load(state_dir: &Path) -> Documents {
    let mut pins = BTreeMap::new();
    let entries = fs::read_dir(state_dir.join("pins")).into_iter().flatten().flatten();
    for entry in entries.take(MAX_PINS + 1) {
        let (Ok(name), file) = (entry.file_name().into_string(), entry.path().join("pin.caps")) else {
            continue;
        };
        if file.is_file() {
            pins.insert(name, text(&file));
        }
    }
    let own = |name: &str| optional(&state_dir.join(name));
    // HOME as it was when the daemon started, or of whoever reads without one.
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    Documents {
        pins,
        custom: own(CUSTOM_DOCUMENT),
        packs: packs(&state_dir.join("rules")),
        humanfile: own(HUMANFILE_DOCUMENT),
        global_humanfile: home.and_then(|home| optional(&home.join(GLOBAL_HUMANFILE))),
        primefile: own(PRIMEFILE_DOCUMENT),
        entityfile: own(ENTITYFILE_DOCUMENT),
        // Whoever looks at the signatures fills this in.
        unaccepted: BTreeSet::new(),
    }
}

/// The rule packs: `*.yaml` and `*.yml`.
fn packs(dir: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())));
    let yaml = named.filter(|(name, file)| {
        !name.starts_with('.') && [".yaml", ".yml"].iter().any(|end| name.ends_with(end)) && file.is_file()
    });
    yaml.take(MAX_PACKS + 1).map(|(name, file)| (name, text(&file))).collect()
}

fn optional(file: &Path) -> Option<String> {
    file.is_file().then(|| text(file))
}

fn text(file: &Path) -> String {
    let mut bytes = Vec::new();
    // One byte beyond the limit, so that the parser sees and refuses a text that is too long.
    let read = File::open(file).and_then(|file| file.take(MAX_TEXT_BYTES as u64 + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => String::from_utf8(bytes).unwrap_or_else(|_| "the document is not UTF-8".to_owned()),
        Err(error) => format!("the document cannot be read: {error}"),
    }
}

/// A directory entry as `dir.list` shows it.
pub(crate) fn listed(entry: &Entry) -> String {
    let slash = if entry.kind == EntryKind::Directory { "/" } else { "" };
    format!("{}{slash}", entry.name)
}
