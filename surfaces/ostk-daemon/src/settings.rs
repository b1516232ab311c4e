//! What the operator says about commands: the section `[sandbox]` of `ostk.toml`.
//!
//! Read once, when the daemon starts; `processes.rs` obeys it. What gives commands more than the defaults do holds only in
//! a file that the operator accepted on this machine (`signed.rs`).

use std::{collections::BTreeSet, fs, path::Path};

use ostk_kernel::TrustedKeys;
use ostk_sandbox::{Guarantee, Limits, LocalSockets};

use crate::signed;

/// The names in the section `[sandbox]`. One that is mistyped must not be taken for one that is not given.
const SETTINGS: [&str; 7] =
    ["network", "local_sockets", "credentials", "memory_mib", "processes", "cpu_percent", "accept_missing"];

/// What `ostk init` once wrote for `accept_missing`: `"waived"` accepts that `files` are not held, `"required"` nothing.
const LANDLOCK: &str = "landlock";

/// What the operator says about commands, in the section `[sandbox]` of `ostk.toml`.
pub(crate) struct Settings {
    pub(crate) network: Reach,
    pub(crate) local_sockets: LocalSockets,
    pub(crate) credentials: Credentials,
    pub(crate) limits: Limits,
    /// Guarantees that a machine need not give.
    pub(crate) accepted: BTreeSet<Guarantee>,
    /// What the file says in vain, because it is not accepted.
    pub(crate) vain: Vec<&'static str>,
}

/// What `parse` makes of the text of `ostk.toml`, which is empty where there is no file. Errors name the file.
pub(crate) fn read<T>(state_dir: &Path, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, String> {
    let file = state_dir.join("ostk.toml");
    let text = match fs::read_to_string(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(|error| error.to_string()),
    };
    text.and_then(|text| parse(&text)).map_err(|error| format!("{}: {error}", file.display()))
}

impl Settings {
    /// Reads them. `known` are the keys that the log speaks of.
    pub(crate) fn load(state_dir: &Path, known: &TrustedKeys) -> Result<Self, String> {
        let mut settings = read(state_dir, Self::parse)?;
        let widening = settings.widening();
        if !widening.is_empty() && !signed::accepts(state_dir, signed::SETTINGS, known)? {
            settings.narrow(widening);
        }
        Ok(settings)
    }

    /// The names of the settings that give commands more than the defaults do.
    fn widening(&self) -> Vec<&'static str> {
        let given = [
            ("network", self.network == Reach::Host),
            ("local_sockets", self.local_sockets == LocalSockets::All),
            ("credentials", self.credentials == Credentials::Visible),
            ("accept_missing", !self.accepted.is_empty()),
        ];
        given.into_iter().filter_map(|(name, is_given)| is_given.then_some(name)).collect()
    }

    /// Puts the defaults in the place of what widens.
    fn narrow(&mut self, vain: Vec<&'static str>) {
        if self.network == Reach::Host {
            self.network = Reach::Granted;
        }
        self.local_sockets = LocalSockets::Own;
        self.credentials = Credentials::Hidden;
        self.accepted.clear();
        self.vain = vain;
    }

    /// What the file says in vain, and what to do about it.
    pub(crate) fn problem(&self) -> Option<String> {
        (!self.vain.is_empty()).then(|| {
            format!(
                "[sandbox] {} of .ostk/ostk.toml has no effect: you have not accepted that file on this machine\n\
                 Hint: read it, then: ostk sign .ostk/ostk.toml",
                self.vain.join(", ")
            )
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let settings: toml::Table = text.parse().map_err(|error| format!("{error}"))?;
        let sandbox = settings.get("sandbox");
        let given = sandbox.and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::keys);
        if let Some(unknown) =
            given.into_iter().find(|name| *name != LANDLOCK && !SETTINGS.contains(&name.as_str()))
        {
            let known = SETTINGS.join(", ");
            return Err(format!("sandbox.{unknown} is no setting; there are: {known}"));
        }
        let word = |name, first: &'static str, second: &'static str| match sandbox
            .and_then(|sandbox| sandbox.get(name))
            .map(toml::Value::as_str)
        {
            None => Ok(true),
            Some(Some(word)) if word == first => Ok(true),
            Some(Some(word)) if word == second => Ok(false),
            Some(_) => Err(format!("sandbox.{name} must be {first:?} or {second:?}")),
        };
        let network = match sandbox.and_then(|sandbox| sandbox.get("network")).map(toml::Value::as_str) {
            None | Some(Some("granted")) => Reach::Granted,
            Some(Some("host")) => Reach::Host,
            Some(Some("none")) => Reach::Nothing,
            Some(_) => return Err("sandbox.network must be \"granted\", \"host\" or \"none\"".to_owned()),
        };
        let own = word("local_sockets", "own", "all")?;
        let hidden = word("credentials", "hidden", "visible")?;
        let number = |name| match sandbox.and_then(|sandbox| sandbox.get(name)) {
            None => Ok(None),
            Some(value) => match value.as_integer().and_then(|number| u32::try_from(number).ok()) {
                Some(number) if number > 0 => Ok(Some(number)),
                _ => Err(format!("sandbox.{name} must be a number above zero")),
            },
        };
        let limits = Limits {
            total_memory_bytes: number("memory_mib")?.map(|mib| u64::from(mib) << 20),
            total_processes: number("processes")?.map(u64::from),
            cpu_percent: number("cpu_percent")?,
            ..Limits::default()
        };
        let listed = sandbox.and_then(|sandbox| sandbox.get("accept_missing"));
        let names = match listed {
            None => &Vec::new(),
            Some(listed) => listed.as_array().ok_or("sandbox.accept_missing must be a list of names")?,
        };
        let held = word(LANDLOCK, "required", "waived")?;
        let waived = (!held).then_some(Ok(Guarantee::Files));
        let accepted = names.iter().map(|name| name.as_str().unwrap_or_default().parse()).chain(waived);
        Ok(Self {
            network,
            local_sockets: if own { LocalSockets::Own } else { LocalSockets::All },
            credentials: if hidden { Credentials::Hidden } else { Credentials::Visible },
            limits,
            accepted: accepted.collect::<Result<_, String>>()?,
            vain: Vec::new(),
        })
    }
}

/// The guarantees of the sandbox that the operator of the project in `state_dir` goes without.
///
/// # Errors
/// When `ostk.toml` cannot be read or says something else than settings.
pub fn accepted_missing(state_dir: &Path, known: &TrustedKeys) -> Result<BTreeSet<Guarantee>, String> {
    Ok(Settings::load(state_dir, known)?.accepted)
}

/// What commands reach over the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The hosts that HUMANFILE grants, through the proxy.
    Granted,
    /// What the daemon reaches, unasked and unrecorded: the operator wants it so.
    Host,
    /// Nothing, whatever HUMANFILE grants.
    Nothing,
}

/// Whether commands see what lets them act in the person's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credentials {
    Hidden,
    Visible,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_accepts_missing_guarantees_by_name_and_no_others() {
        let settings =
            Settings::parse("[sandbox]\nnetwork = \"none\"\naccept_missing = [\"files\"]").unwrap();
        assert_eq!(
            (settings.network, settings.accepted),
            (Reach::Nothing, BTreeSet::from([Guarantee::Files]))
        );
        let nothing = Settings::parse("").unwrap();
        assert_eq!((nothing.network, nothing.accepted), (Reach::Granted, BTreeSet::new()));
        assert_eq!((nothing.credentials, nothing.limits), (Credentials::Hidden, Limits::default()));
        let limited = Settings::parse("[sandbox]\nmemory_mib = 2048\nprocesses = 500").unwrap().limits;
        assert_eq!((limited.total_memory_bytes, limited.total_processes), (Some(2 << 30), Some(500)));
        assert!(Settings::parse("[sandbox]\nmemory_mib = 0").is_err());
        let wrong = Settings::parse("[sandbox]\naccept_missing = [\"everything\"]").err().unwrap();
        assert!(wrong.contains("everything") && wrong.contains("files"), "{wrong}");
        assert!(Settings::parse("[sandbox]\nnetwork = true").is_err());
        let earlier = |word| Settings::parse(&format!("[sandbox]\nlandlock = \"{word}\"")).unwrap().accepted;
        assert_eq!(earlier("required"), BTreeSet::new());
        assert_eq!(earlier("waived"), BTreeSet::from([Guarantee::Files]));
        let unknown = Settings::parse("[sandbox]\nnetwrk = \"none\"").err().unwrap();
        assert!(unknown.contains("netwrk") && unknown.contains("network"), "{unknown}");
    }
}
