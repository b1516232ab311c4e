//! What a row of the table is: one way out, where the idea is from, the attempt, and what it leaves when it succeeds.
//!
//! The rows themselves are in `rows/`. An attempt is a short shell or Python program, because that is what an agent
//! would write, and because it needs no `unsafe` code here for calls that Rust has no safe name for. `attempt.rs` runs
//! it inside; `judge.rs` decides from outside.

/// The part of the world that a row attacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Files outside the workspace, by every kind of path.
    Files,
    /// What git obeys.
    Git,
    /// Settings by which other programs start commands.
    Settings,
    /// Other processes, and what they hold.
    Processes,
    /// Sockets of other programs on this machine.
    Sockets,
    /// The network.
    Network,
    /// Interfaces of the kernel.
    Kernel,
    /// More than its share.
    Limits,
    /// The kernel of ostk itself: rules, log, keys, socket.
    Ostk,
    /// Not an escape: ordinary work, which has to succeed.
    Work,
}

impl Class {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Git => "git",
            Self::Settings => "settings",
            Self::Processes => "processes",
            Self::Sockets => "sockets",
            Self::Network => "network",
            Self::Kernel => "kernel",
            Self::Limits => "limits",
            Self::Ostk => "ostk",
            Self::Work => "work",
        }
    }
}

/// The attempt.
#[derive(Clone, Copy, Debug)]
pub enum Program {
    /// For `sh`; the facts are variables.
    Shell(&'static str),
    /// For `python3`, after `prelude.py`, where the facts are variables as well.
    Python(&'static str),
    /// For `sh`, but by a client outside: it asks the daemon to do something that a command may not.
    Client(&'static str),
}

/// What an attempt leaves behind when it succeeds. Everything is looked for after every row; this says what has to be
/// found when the row is tried without a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// A file outside, or one that is guarded, is changed; or a person's next command did what the attempt wanted.
    World,
    /// A planted secret is in its output.
    Secret,
    /// A server outside heard from it, or reached it.
    Heard,
    /// The process outside was touched.
    Outsider,
    /// It held something that only the kernel gives: seen in `/proc` from outside.
    Held(&'static str),
    /// A process of it is there after its end.
    Leftover,
    /// It had more processes at once than the limit.
    Processes,
    /// It had more memory than the limit.
    Memory,
    /// `proof` in the workspace says `works`. For [`Class::Work`].
    Works,
}

/// What a row needs on this machine to mean anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A program in `/usr/bin`, `/bin` or `/sbin`.
    Program(&'static str),
    /// To be root: the attempt takes root's rights.
    Root,
    /// A file or device.
    Path(&'static str),
    /// Control groups that the daemon may make.
    Totals,
    /// A kernel that lets programs type into terminals (`dev.tty.legacy_tiocsti`).
    Typing,
    /// Namespaces for the sandbox.
    Namespaces,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name, unique.
    pub id: &'static str,
    /// What it attacks.
    pub class: Class,
    /// What it attempts, as the end of "it tries to …".
    pub tries: &'static str,
    /// Where the idea is from.
    pub source: &'static str,
    /// The attempt.
    pub program: Program,
    /// The evidence that it leaves.
    pub shows: Shows,
    /// What a person does afterwards, outside, as a shell command in the workspace.
    pub afterwards: &'static str,
    /// What it takes.
    pub needs: &'static [Need],
    /// Why it cannot succeed, or must not be tried, without a sandbox.
    pub unshown: Option<&'static str>,
    /// The workspace is the person's home.
    pub at_home: bool,
    /// The pin under which ostk runs it.
    pub pin: &'static str,
}

/// A row with a shell program that changes the world; the methods change what differs.
pub(crate) const fn row(
    id: &'static str,
    class: Class,
    tries: &'static str,
    source: &'static str,
    program: Program,
) -> Row {
    Row {
        id,
        class,
        tries,
        source,
        program,
        shows: Shows::World,
        afterwards: "",
        needs: &[],
        unshown: None,
        at_home: false,
        pin: "escape",
    }
}

impl Row {
    pub(crate) const fn shows(mut self, shows: Shows) -> Self {
        self.shows = shows;
        self
    }

    pub(crate) const fn then(mut self, afterwards: &'static str) -> Self {
        self.afterwards = afterwards;
        self
    }

    pub(crate) const fn needs(mut self, needs: &'static [Need]) -> Self {
        self.needs = needs;
        self
    }

    pub(crate) const fn unshown(mut self, why: &'static str) -> Self {
        self.unshown = Some(why);
        self
    }

    pub(crate) const fn pin(mut self, pin: &'static str) -> Self {
        self.pin = pin;
        self
    }

    pub(crate) const fn at_home(mut self) -> Self {
        self.at_home = true;
        self
    }

    /// Whether it is about ostk alone, so that it says nothing about others.
    pub fn is_about_ostk(&self) -> bool {
        self.class == Class::Ostk || matches!(self.program, Program::Client(_))
    }
}
