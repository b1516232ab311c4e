//! Which governing documents are signed, by whom, how far that person is trusted, and which documents may widen.
//!
//! A document that has a signature must be what was signed: the daemon does not start with one that is not, nor does it
//! load one. `.sig` is the operator's own signature (`ostk sign`), `.asc` one of OpenPGP. A document is *accepted* when the
//! operator of this machine signed it, or a key of tier T0 or T1 did; one that is not accepted only narrows. Also called by
//! `ostk boot`, `ostk doctor` and `ostk sign --verify`, without a daemon.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use ostk_kernel::{KeyStanding, TrustedKeys};
use ostk_keys::{
    KeyStore,
    openpgp::{
        ANCHORS, GithubKeys, KeyDirectory, Keyring, MAX_SIGNATURE_BYTES, Seconds, Standing, Tier, Verified,
        tier, verify_detached,
    },
};
use ostk_log::{DocumentStatement, Hash, KeyId, Timestamp};
use ostk_policy::{CUSTOM_DOCUMENT, Documents, HUMANFILE_DOCUMENT, Humanfile, MAX_PINS, MAX_TEXT_BYTES};

/// Documents with a fixed place under `.ostk/`.
const FIXED: [&str; 5] = ["HUMANFILE", ".primefile", "ENTITYFILE", "ostk.toml", "policy.cedar"];
/// Files of rules that are looked at.
const MAX_RULES: usize = 1_000;
/// The operator's own signature.
const OPERATOR: &str = ".sig";
/// Signatures of OpenPGP; the second is a person's beside the kernel's on the `.primefile`.
const OPENPGP: [&str; 2] = [".asc", ".t0.asc"];
/// Saved answers of GitHub in the key directory: `github-<account>.json`.
const GITHUB: (&str, &str) = ("github-", ".json");
const MAX_DIRECTORIES: usize = 16;
/// Below the key directory: signatures that stay on this machine.
const ACCEPTED: &str = "accepted";
/// Documents of the policy that can give agents more than the built-in rules do. Pins and rule packs cannot.
const WIDENING: [&str; 2] = [HUMANFILE_DOCUMENT, CUSTOM_DOCUMENT];
/// The settings, which can do so too.
pub(crate) const SETTINGS: &str = "ostk.toml";

/// What is to be said of a document's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// There is none.
    None,
    /// It holds, and its key is known here: the operator's, or one of a person in gpg's keyring.
    Known(String),
    /// It holds or may hold; that key is not known here, or may no longer be relied on.
    Unproven(String),
    /// The document or the signature was changed.
    Broken(String),
}

/// A document and its signature.
#[derive(Debug, Clone)]
pub struct SignedDocument {
    /// From the repository's root, such as `.ostk/HUMANFILE`.
    pub path: String,
    /// The signature; of several, the one that says the worst.
    pub signature: Signature,
    /// The operator of this machine signed it, or a key of tier T0 or T1 did: it may widen what agents get.
    pub accepted: bool,
}

/// What is known of the project's trust.
#[derive(Debug, Clone)]
pub struct Trust {
    /// The documents that are there, and those of which only the signature is.
    pub documents: Vec<SignedDocument>,
    /// How far whoever signed HUMANFILE is trusted.
    pub standing: Standing,
    /// `[trust] require_signed` of `ostk.toml`.
    pub require_signed: bool,
}

impl Trust {
    /// Documents that could widen what agents get, and only narrow because nobody accepted them here.
    pub fn unaccepted(&self) -> impl Iterator<Item = &str> {
        let widening = |name: &str| WIDENING.contains(&name) || name == SETTINGS;
        let these = self.documents.iter().filter(|document| !document.accepted);
        these.filter_map(|document| document.path.strip_prefix(".ostk/")).filter(move |name| widening(name))
    }

    /// Each document that may not be used, and why.
    pub fn refusals(&self) -> Vec<(String, String)> {
        let why = |document: &SignedDocument| match &document.signature {
            Signature::Broken(why) => Some(why.clone()),
            Signature::None if self.require_signed => Some("it is not signed, and must be".to_owned()),
            Signature::Unproven(why) if self.require_signed => Some(format!("{why}, and it must be signed")),
            _ => None,
        };
        self.documents.iter().filter_map(|document| Some((document.path.clone(), why(document)?))).collect()
    }

    /// The refusals as one text with the remedy; `None` when there is none.
    pub fn problem(&self) -> Option<String> {
        let refusals = self.refusals();
        let (first, _) = refusals.first()?;
        let lines: Vec<String> = refusals.iter().map(|(path, why)| format!("{path}: {why}")).collect();
        Some(format!(
            "{}\nHint: look at the change (git diff {first}), then: ostk sign {first}",
            lines.join("\n")
        ))
    }
}

/// Looks at the documents of the project whose state is in `state_dir`. `known` are the keys that the log speaks of, beside the operator's own.
///
/// # Errors
/// When a file, the key directory or gpg's keyring cannot be read.
pub fn look(state_dir: &Path, known: &TrustedKeys) -> Result<Trust, String> {
    let look = Look::new(state_dir, known)?;
    let mut documents = Vec::new();
    for name in names(state_dir) {
        let signature = look.signature(&name)?;
        if signature != Signature::None || state_dir.join(&name).is_file() {
            let accepted = look.accepts(&name)?;
            documents.push(SignedDocument { path: format!(".ostk/{name}"), signature, accepted });
        }
    }
    let standing = look.standing()?;
    Ok(Trust { documents, standing, require_signed: require_signed(state_dir)? })
}

/// The governing documents as they are, and which of them nobody accepted: all, where the signatures cannot be looked at.
pub(crate) fn read_accepted(state_dir: &Path, known: &TrustedKeys) -> Documents {
    let mut documents = crate::documents::load(state_dir);
    let is_there = |name: &&str| state_dir.join(name).is_file();
    let not_accepted = |name: &&str| !accepts(state_dir, name, known).unwrap_or(false);
    documents.unaccepted =
        WIDENING.into_iter().filter(is_there).filter(not_accepted).map(str::to_owned).collect();
    documents
}

/// [`read_accepted`] for a command that knows nothing of the log.
pub fn read_documents(state_dir: &Path) -> Documents {
    read_accepted(state_dir, &TrustedKeys::new())
}

/// Whether the document `name` under `state_dir` is accepted on this machine.
///
/// # Errors
/// When a file, the key directory or gpg's keyring cannot be read.
pub(crate) fn accepts(state_dir: &Path, name: &str, known: &TrustedKeys) -> Result<bool, String> {
    Look::new(state_dir, known)?.accepts(name)
}

/// Where the signature of a document is that stays on this machine: it is named after the place of the document, so that
/// a copy elsewhere is not accepted with it.
pub fn acceptance_file(keys: &Path, document: &Path) -> PathBuf {
    let place = Hash::of(document.as_os_str().as_encoded_bytes());
    keys.join(ACCEPTED).join(format!("{place}{OPERATOR}"))
}

/// The governing documents, with those that may not be used replaced by a text that no parser takes: the gate then
/// refuses each by name.
pub(crate) fn documents(state_dir: &Path, known: &TrustedKeys) -> Documents {
    let mut documents = read_accepted(state_dir, known);
    let refusals = look(state_dir, known).map(|trust| trust.refusals());
    let refusals = refusals.unwrap_or_else(|why| vec![(".ostk/policy.cedar".to_owned(), why)]);
    for (path, why) in refusals {
        let text = format!("signature: {why}");
        let name = path.strip_prefix(".ostk/").unwrap_or(&path);
        match name {
            "HUMANFILE" => documents.humanfile = Some(text),
            ".primefile" => documents.primefile = Some(text),
            "ENTITYFILE" => documents.entityfile = Some(text),
            _ => match name.strip_prefix("pins/").and_then(|rest| rest.strip_suffix("/pin.caps")) {
                Some(pin) => drop(documents.pins.insert(pin.to_owned(), text)),
                None => documents.custom = Some(text),
            },
        }
    }
    documents
}

/// Names of documents under the state folder, of those that are there and of those whose signature is.
fn names(state_dir: &Path) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = FIXED.map(str::to_owned).into();
    let list = |dir: &str, most: usize| {
        let entries = fs::read_dir(state_dir.join(dir)).into_iter().flatten().flatten().take(most);
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>()
    };
    names.extend(list("pins", MAX_PINS + 1).into_iter().map(|pin| format!("pins/{pin}/pin.caps")));
    for file in list("rules", MAX_RULES) {
        let signature = OPENPGP.iter().rev().chain([&OPERATOR]).find_map(|end| file.strip_suffix(end));
        names.insert(format!("rules/{}", signature.unwrap_or(&file)));
    }
    names
}

/// What documents are looked at with.
struct Look<'a> {
    state_dir: &'a Path,
    trusted: BTreeSet<KeyId>,
    /// Of those, the operator's own.
    own: BTreeSet<KeyId>,
    keys: PathBuf,
    keyring: Keyring,
    directories: Vec<GithubKeys>,
    now: Seconds,
}

impl<'a> Look<'a> {
    fn new(state_dir: &'a Path, known: &TrustedKeys) -> Result<Self, String> {
        let mut trusted: BTreeSet<KeyId> = known.keys().copied().filter(|key| !revoked(known, key)).collect();
        let (mut own, mut directories) = (BTreeSet::new(), Vec::new());
        let dir = KeyStore::default_dir(|name| std::env::var_os(name)).map_err(|error| error.to_string())?;
        // Looking creates nothing: without the directory there is no key.
        if dir.is_dir() {
            let store = KeyStore::open(&dir).map_err(|error| error.to_string())?;
            own.extend(store.own_operator_keys().map_err(|error| error.to_string())?);
            own.retain(|key| !revoked(known, key));
            trusted.extend(&own);
            directories = github(&dir)?;
        }
        // gpg is asked only where there is something for it.
        let uses_openpgp = names(state_dir)
            .iter()
            .any(|name| OPENPGP.iter().any(|end| state_dir.join(format!("{name}{end}")).is_file()));
        let keyring = if uses_openpgp { Keyring::of_gpg(None) } else { Ok(Keyring::default()) };
        let keyring = keyring.map_err(|error| error.to_string())?;
        Ok(Self { state_dir, trusted, own, keys: dir, keyring, directories, now: now() })
    }

    fn accepts(&self, name: &str) -> Result<bool, String> {
        let file = self.state_dir.join(name);
        let Some(bytes) = read(&file, MAX_TEXT_BYTES)? else { return Ok(false) };
        let place = fs::canonicalize(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        for signature in [with_end(&file, OPERATOR), acceptance_file(&self.keys, &place)] {
            let Some(signature) = read(&signature, MAX_SIGNATURE_BYTES)? else { continue };
            let said = DocumentStatement::verify(&signature, &format!(".ostk/{name}"), &bytes);
            if said.is_ok_and(|statement| self.own.contains(&statement.key)) {
                return Ok(true);
            }
        }
        let Some(signature) = read(&with_end(&file, ".asc"), MAX_SIGNATURE_BYTES)? else { return Ok(false) };
        Ok(match verify_detached(&bytes, &signature, &self.keyring, self.now) {
            Verified::Good(key) => matches!(self.tier_of(&key).tier, Tier::T0 | Tier::T1),
            _ => false,
        })
    }

    fn tier_of(&self, key: &str) -> Standing {
        let directories: Vec<&dyn KeyDirectory> =
            self.directories.iter().map(|keys| keys as &dyn KeyDirectory).collect();
        tier(key, &self.keyring, ANCHORS, &directories, self.now)
    }

    fn signature(&self, name: &str) -> Result<Signature, String> {
        let file = self.state_dir.join(name);
        let document = read(&file, MAX_TEXT_BYTES)?;
        let mut found = Vec::new();
        for end in [OPERATOR].into_iter().chain(OPENPGP) {
            let Some(signature) = read(&with_end(&file, end), MAX_SIGNATURE_BYTES)? else { continue };
            found.push(match &document {
                None => Signature::Broken(format!("it is gone, and {end}, its signature, is not")),
                Some(bytes) if end == OPERATOR => self.operators(&signature, name, bytes),
                Some(bytes) => self.openpgp(&signature, bytes),
            });
        }
        let worst = |signature: &Signature| match signature {
            Signature::None => 0,
            Signature::Known(_) => 1,
            Signature::Unproven(_) => 2,
            Signature::Broken(_) => 3,
        };
        Ok(found.into_iter().max_by_key(worst).unwrap_or(Signature::None))
    }

    fn operators(&self, signature: &[u8], name: &str, bytes: &[u8]) -> Signature {
        match DocumentStatement::verify(signature, &format!(".ostk/{name}"), bytes) {
            Err(error) => Signature::Broken(error.to_string()),
            Ok(statement) if self.trusted.contains(&statement.key) => {
                Signature::Known(statement.key.to_string())
            }
            Ok(statement) => {
                Signature::Unproven(format!("signed by {}, which is not known here", statement.key))
            }
        }
    }

    fn openpgp(&self, signature: &[u8], bytes: &[u8]) -> Signature {
        match verify_detached(bytes, signature, &self.keyring, self.now) {
            Verified::Good(fingerprint) => Signature::Known(fingerprint),
            Verified::Bad(fingerprint) => Signature::Broken(format!(
                "the document was changed after the OpenPGP key {fingerprint} signed it"
            )),
            Verified::Lapsed(fingerprint, state) => Signature::Unproven(format!(
                "signed by the OpenPGP key {fingerprint}, which is not valid ({state:?})"
            )),
            Verified::UnknownKey => {
                Signature::Unproven("signed by an OpenPGP key that gpg's keyring does not have".to_owned())
            }
            Verified::Unusable(why) => {
                Signature::Broken(format!("its OpenPGP signature cannot be used: {why}"))
            }
        }
    }

    /// The tier of whoever signed HUMANFILE with OpenPGP. SIGN alone proves nothing: anyone can write a fingerprint.
    fn standing(&self) -> Result<Standing, String> {
        let none = |reason: &str| Standing { tier: Tier::T3, reason: reason.to_owned(), path: Vec::new() };
        let file = self.state_dir.join(HUMANFILE_DOCUMENT);
        let Some(bytes) = read(&file, MAX_TEXT_BYTES)? else { return Ok(none("there is no HUMANFILE")) };
        let Some(signature) = read(&with_end(&file, ".asc"), MAX_SIGNATURE_BYTES)? else {
            return Ok(none("HUMANFILE has no OpenPGP signature: ostk sign --gpg .ostk/HUMANFILE"));
        };
        let Verified::Good(key) = verify_detached(&bytes, &signature, &self.keyring, self.now) else {
            return Ok(none("the OpenPGP signature of HUMANFILE is not by a valid key that is known here"));
        };
        let texts = crate::documents::load(self.state_dir);
        let layers = (texts.global_humanfile.as_deref(), texts.humanfile.as_deref());
        let named = Humanfile::layered(layers.0, layers.1).ok().and_then(|humanfile| humanfile.sign());
        if named.is_some_and(|named| named != key) {
            return Ok(none(&format!("HUMANFILE is signed by {key}, and its SIGN names another key")));
        }
        Ok(self.tier_of(&key))
    }
}

fn revoked(known: &TrustedKeys, key: &KeyId) -> bool {
    matches!(known.get(key), Some(KeyStanding::Revoked { .. }))
}

/// Saved answers of GitHub, from the private key directory: a project could forge one.
fn github(dir: &Path) -> Result<Vec<GithubKeys>, String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().take(1_000);
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let account = |name: &str| Some(name.strip_prefix(GITHUB.0)?.strip_suffix(GITHUB.1)?.to_owned());
    let accounts = names.filter_map(|name| Some((account(&name)?, dir.join(name)))).take(MAX_DIRECTORIES);
    accounts
        .map(|(account, file)| {
            let answer = read(&file, 4 << 20)?.unwrap_or_default();
            GithubKeys::parse(&account, &answer).map_err(|error| format!("{}: {error}", file.display()))
        })
        .collect()
}

fn require_signed(state_dir: &Path) -> Result<bool, String> {
    let file = state_dir.join("ostk.toml");
    let text = read(&file, MAX_TEXT_BYTES)?.unwrap_or_default();
    let settings: toml::Table = std::str::from_utf8(&text)
        .map_err(|error| error.to_string())
        .and_then(|text| text.parse().map_err(|error: toml::de::Error| error.to_string()))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    match settings.get("trust").and_then(|trust| trust.get("require_signed")) {
        None => Ok(false),
        Some(toml::Value::Boolean(required)) => Ok(*required),
        Some(_) => Err(format!("{}: trust.require_signed must be true or false", file.display())),
    }
}

/// The file's bytes; `None` when it is not there. One byte beyond the limit is read and thus fails every signature.
fn read(file: &Path, most: usize) -> Result<Option<Vec<u8>>, String> {
    let opened = match File::open(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|error| format!("{}: {error}", file.display()))?,
    };
    let mut bytes = Vec::new();
    let read = opened.take(most as u64 + 1).read_to_end(&mut bytes);
    read.map(|_| Some(bytes)).map_err(|error| format!("{}: {error}", file.display()))
}

fn with_end(file: &Path, end: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn now() -> Seconds {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Now, as a signature of the operator states it.
pub fn signing_time() -> Timestamp {
    Timestamp::from_micros(now().saturating_mul(1_000_000))
}
