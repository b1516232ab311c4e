//! The system call table: every capability of the system, as data.
//!
//! The command line, the MCP schemas and `ostk abi` derive from it; the kernel checks arguments against it before it
//! looks at a call. A capability added here is reachable from every surface.

use ostk_log::Hash;
use ostk_policy::Class;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::call::{CallError, Code};

/// What a call does to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It changes nothing; its receipt is not waited for.
    Read,
    /// It changes something; its intent is durable before it starts.
    Write,
}

/// The type of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ArgKind {
    /// Text.
    Text,
    /// A path, relative to the caller's directory or absolute inside the workspace.
    Path,
    /// A whole number, 0 or more.
    Number,
    /// True or false.
    Flag,
    /// A list of objects.
    Objects,
    /// A list of texts.
    Texts,
}

/// One argument.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Arg {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: ArgKind,
    /// Whether a call without it is an error.
    pub required: bool,
    /// What it means.
    pub doc: &'static str,
}

/// One system call.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Syscall {
    /// Dotted name.
    pub name: &'static str,
    /// Capability class, the gate's coarse input.
    #[serde(serialize_with = "class_name")]
    pub class: Class,
    /// What it does to the world.
    pub effect: Effect,
    /// What it is for, one line.
    pub doc: &'static str,
    /// Its arguments.
    pub args: &'static [Arg],
    /// The members of its result and what they mean.
    pub result: &'static [(&'static str, &'static str)],
}

fn class_name<S: serde::Serializer>(class: &Class, serializer: S) -> Result<S::Ok, S::Error> {
    class.serialize(serializer)
}

const fn need(name: &'static str, kind: ArgKind, doc: &'static str) -> Arg {
    Arg { name, kind, required: true, doc }
}

const fn may(name: &'static str, kind: ArgKind, doc: &'static str) -> Arg {
    Arg { name, kind, required: false, doc }
}

use ArgKind::{Flag, Number, Objects, Path, Text, Texts};

const PATH: Arg = need("path", Path, "the file");
const CWD: Arg = may("cwd", Path, "directory that relative paths start from; the workspace root by default");
const REASON: Arg = may("reason", Text, "why, for the log and for blame");
const QUESTION: Arg = need("id", Number, "the question");
const ANSWERED: &[(&str, &str)] = &[
    ("id", "the question"),
    ("granted", "the answer"),
    ("scope", "how far it reaches"),
    ("seq", "its record"),
];
const LABELLED: &[(&str, &str)] = &[
    ("label", "the label"),
    ("taken", "taken, or taken off"),
    ("lineage", "whose"),
    ("path", "or which file's"),
];
const SAGA_ROW: &[(&str, &str)] = &[
    ("saga", "its first record, by which it is named"),
    ("name", "what it is called"),
    ("owner", "whose it is"),
    ("state", "running, compensating, completed, failed or escalated"),
    ("since", "when it began"),
    ("done", "steps that are done"),
    ("of", "steps"),
    ("reason", "why it does not run any more"),
    ("steps", "id, call, undo, state, attempts, undos, unknown, problem"),
];
const NEEDLE: Arg = need("id", Text, "the needle: 7, →7 or ->7");
const NEEDLE_ROW: &[(&str, &str)] = &[("id", "the needle"), ("needle", "everything about it")];
const LEASE: Arg = may(
    "lease_ms",
    Number,
    "how long the claim holds without a word; half an hour by default, a day at most",
);
const PRIORITY: Arg = may("priority", Text, "P0 (now) to P3 (some day)");
const TIMEOUT: Arg = may("timeout_ms", Number, "deadline in milliseconds");

/// Every system call, by name.
pub const TABLE: &[Syscall] = &[
    Syscall {
        name: "agent.signal",
        class: Class::KernelSpawn,
        effect: Effect::Write,
        doc: "Send a signal to a process.",
        args: &[
            need("lineage", Text, "the process"),
            need("signal", Text, "the signal's name"),
            may("text", Text, "words that go with it"),
        ],
        result: &[
            ("lineage", "the process"),
            ("signal", "what was sent"),
            ("fate", "done, queued, ignored or told"),
            ("state", "where the process stands now"),
            ("seq", "its record"),
            ("open", "with SIGUSR1: what is open"),
            ("state_hash", "with SIGUSR2: digest of the state at this record"),
        ],
    },
    Syscall {
        name: "agent.spawn",
        class: Class::KernelSpawn,
        effect: Effect::Write,
        doc: "Start an agent from the text of an Agentfile: a native one, or a command that is one.",
        args: &[
            need("name", Text, "its lineage"),
            need("agentfile", Text, "text of the Agentfile"),
            may("task", Text, "replaces the Agentfile's TASK"),
            may(
                "context_window",
                Number,
                "tokens of the model's context window; the Agentfile's LIMIT or the catalog's by default",
            ),
            may(
                "command",
                Text,
                "a command line for sh -c: it runs in the sandbox as the agent, and no model is called",
            ),
            may(
                "resume",
                Text,
                "the command line of a restart, with {session} for the session of the command's own client",
            ),
            may("revival", Text, "what becomes of it when its daemon is gone: revive (default), reap or ask"),
            may(
                "priority",
                Text,
                "P0 (first) to P3: whom it goes before while it waits for a place; P2 by default",
            ),
        ],
        result: &[
            ("lineage", "the agent"),
            ("generation", "its session"),
            ("pin", "the pin that bounds it"),
            ("context_window", "tokens of its context window; null of a command"),
            ("queued", "its place in line, if it waits for one to run"),
        ],
    },
    Syscall {
        name: "agent.wait",
        class: Class::KernelRead,
        effect: Effect::Read,
        doc: "Wait until an agent ends.",
        args: &[need("lineage", Text, "the agent"), TIMEOUT],
        result: &[("lineage", "the agent"), ("state", "how it ended")],
    },
    Syscall {
        name: "approval.deny",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Refuse a call that waits for a person's consent.",
        args: &[QUESTION, REASON],
        result: ANSWERED,
    },
    Syscall {
        name: "approval.grant",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Let a call go on that waits for a person's consent.",
        args: &[
            QUESTION,
            may(
                "scope",
                Text,
                "once (by default), or session: also such calls on the same resource until it ends",
            ),
            REASON,
        ],
        result: ANSWERED,
    },
    Syscall {
        name: "approval.list",
        class: Class::KernelRead,
        effect: Effect::Read,
        doc: "Calls that wait for a person's consent.",
        args: &[may("all", Flag, "also those that were answered")],
        result: &[("approvals", "id, lineage, call, resource, reason, digest, since, until, answer")],
    },
    Syscall {
        name: "decide",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Record a decision; the latest under a key counts.",
        args: &[
            need("key", Text, "about what"),
            need("value", Text, "what was decided"),
            may("reason", Text, "why"),
        ],
        result: &[("key", "about what"), ("seq", "its record")],
    },
    Syscall {
        name: "decision.list",
        class: Class::KernelRead,
        effect: Effect::Read,
        doc: "The decisions in force.",
        args: &[],
        result: &[("decisions", "key, value, reason, at, by, seq")],
    },
    Syscall {
        name: "dir.list",
        class: Class::FileRead,
        effect: Effect::Read,
        doc: "List a directory.",
        args: &[may("path", Path, "the directory; the root by default"), CWD],
        result: &[
            ("entries", "names, directories with a trailing slash"),
            ("withheld", "names left out because the caller may not read them"),
        ],
    },
    Syscall {
        name: "file.accept",
        class: Class::FileWrite,
        effect: Effect::Write,
        doc: "Accept the merged candidate of a conflict.",
        args: &[need("token", Text, "the token that came with the conflict"), REASON],
        result: &[("files", "path, generation and digest of what was written")],
    },
    Syscall {
        name: "file.batch",
        class: Class::FileWrite,
        effect: Effect::Write,
        doc: "Several edits, writes and deletions that succeed or fail as one.",
        args: &[
            need("ops", Objects, "each {op: edit|write|delete, path, old, new, all, content, executable}"),
            CWD,
            REASON,
        ],
        result: &[("files", "path, generation and digest of what was written")],
    },
    Syscall {
        name: "file.blame",
        class: Class::FileRead,
        effect: Effect::Read,
        doc: "Who wrote each line of a file, and in which record.",
        args: &[PATH, CWD],
        result: &[("lines", "for each line: writer, generation, seq, ts, text")],
    },
    Syscall {
        name: "file.delete",
        class: Class::FileWrite,
        effect: Effect::Write,
        doc: "Delete a file; refused if it changed since the caller saw it.",
        args: &[PATH, CWD, REASON],
        result: &[("files", "path and generation")],
    },
    Syscall {
        name: "file.edit",
        class: Class::FileEdit,
        effect: Effect::Write,
        doc: "Replace a text that occurs exactly once. Applies to the current version, whatever changed elsewhere in it.",
        args: &[
            PATH,
            need("old", Text, "the text to replace, as it stands in the file"),
            need("new", Text, "what replaces it"),
            may("all", Flag, "replace every occurrence"),
            CWD,
            REASON,
        ],
        result: &[("files", "path, generation and digest of what was written")],
    },
    Syscall {
        name: "file.log",
        class: Class::FileRead,
        effect: Effect::Read,
        doc: "The versions of a file, newest last.",
        args: &[PATH, CWD],
        result: &[("versions", "generation, seq, ts, writer, blob")],
    },
    Syscall {
        name: "file.read",
        class: Class::FileRead,
        effect: Effect::Read,
        doc: "Read a file and remember which version the caller has seen.",
        args: &[
            PATH,
            may("offset", Number, "first line, from 1"),
            may("limit", Number, "how many lines"),
            may("fresh", Flag, "send the content even if the caller has seen it"),
            CWD,
        ],
        result: &[
            ("content", "the text; absent when elided"),
            ("generation", "the version"),
            ("blob", "its digest"),
            ("elided", "the caller has seen these bytes"),
        ],
    },
    Syscall {
        name: "file.rename",
        class: Class::FileWrite,
        effect: Effect::Write,
        doc: "Rename a file; the new name must be free.",
        args: &[need("from", Path, "the old name"), need("to", Path, "the new name"), CWD, REASON],
        result: &[("files", "both paths")],
    },
    Syscall {
        name: "file.undo",
        class: Class::FileWrite,
        effect: Effect::Write,
        doc: "Take back a write, or all writes of a lineage or a range, by three-way merge.",
        args: &[
            may("seq", Number, "the record of the write's intent"),
            may("lineage", Text, "every write of this lineage, newest first"),
            may("from", Number, "first record of a range"),
            may("to", Number, "last record of a range"),
            may("path", Path, "only this file"),
            CWD,
            REASON,
        ],
        result: &[("files", "path, generation and digest of what was written")],
    },
    Syscall {
        name: "file.write",
        class: Class::FileWrite,
        effect: Effect::Write,
        doc: "Write a whole file, based on the version the caller last saw. A stale base is merged or handed back.",
        args: &[
            PATH,
            need("content", Text, "the whole file"),
            may("base_blob", Text, "digest of the version that `content` was made from"),
            may("executable", Flag, "whether its owner may execute it; kept if absent"),
            CWD,
            REASON,
        ],
        result: &[("files", "path, generation and digest of what was written")],
    },
    Syscall {
        name: "hay",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "File a thought, to be compiled or made a needle later.",
        args: &[need("text", Text, "the thought"), may("source", Text, "where it came from")],
        result: &[("straw", "its record")],
    },
    Syscall {
        name: "hay.list",
        class: Class::KernelRead,
        effect: Effect::Read,
        doc: "Thoughts that became no needle yet.",
        args: &[],
        result: &[("hay", "straw, text, source, at, by")],
    },
    Syscall {
        name: "hook.after",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "A client's own tool has run: look at its files and ascribe the changes to it.",
        args: &[
            need("tool", Text, "the client's tool"),
            may("paths", Texts, "files it names"),
            may("scan", Flag, "look at the whole workspace"),
            may("labels", Texts, "where what it showed came from"),
            may("silent", Flag, "no model hears the answer, so it tells nothing"),
            CWD,
        ],
        result: &[("changed", "paths ascribed to the caller")],
    },
    Syscall {
        name: "hook.before",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "A client's own tool is about to run: may it, and has it seen what it is about to change?",
        args: &[
            need("tool", Text, "the client's tool"),
            need(
                "access",
                Text,
                "read, edit, patch (an edit that finds its own lines), write, shell, fetch (a host) or tool (anything else)",
            ),
            may("path", Path, "the file it names"),
            may("target", Text, "the host and port that it fetches from"),
            may("input", Objects, "its arguments, for rules to look at: one object"),
            may("command", Text, "the command it names"),
            CWD,
        ],
        result: &[("ok", "true")],
    },
    Syscall {
        name: "kernel.panic",
        class: Class::KernelSpawn,
        effect: Effect::Write,
        doc: "Hold every agent, its commands and its model calls, until a person resumes.",
        args: &[may("reason", Text, "why")],
        result: &[("panic", "its record, who said so and why")],
    },
    Syscall {
        name: "kernel.resume",
        class: Class::KernelSpawn,
        effect: Effect::Write,
        doc: "Let everything go on after kernel.panic.",
        args: &[],
        result: &[("panic", "null")],
    },
    Syscall {
        name: "kernel.state_hash",
        class: Class::KernelRead,
        effect: Effect::Read,
        doc: "The digest of the fold's state.",
        args: &[],
        result: &[("state_hash", "SHA-256"), ("next_seq", "records folded")],
    },
    Syscall {
        name: "label.clear",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Take a label off a lineage or a file: a person vouches for its data.",
        args: &[
            need("label", Text, "the label"),
            may("lineage", Text, "off this lineage"),
            may("path", Text, "off this file"),
        ],
        result: LABELLED,
    },
    Syscall {
        name: "label.take",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Carry a label from now on.",
        args: &[need("label", Text, "the label")],
        result: LABELLED,
    },
    Syscall {
        name: "lineage.resolve",
        class: Class::KernelSpawn,
        effect: Effect::Write,
        doc: "Say what becomes of a process that a restart orphaned.",
        args: &[need("lineage", Text, "the process"), need("resolution", Text, "revive or reap")],
        result: &[("lineage", "the process"), ("state", "where it stands now")],
    },
    Syscall {
        name: "lock",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "An advisory lock: create, release, status.",
        args: &[
            need("action", Text, "create, release or status"),
            need("name", Text, "the lock"),
            may("timeout_ms", Number, "how long it holds; ten minutes by default"),
        ],
        result: &[("name", "the lock"), ("holder", "who holds it"), ("until", "when it lapses")],
    },
    Syscall {
        name: "model.relay",
        class: Class::ModelCall,
        effect: Effect::Write,
        doc: "The daemon's own: a foreign agent's request to a model is about to be sent.",
        args: &[
            need("vendor", Text, "who it is for"),
            need("model", Text, "the model that it names"),
            need("method", Text, "method of the request"),
            need("path", Text, "path and query"),
            need("body", Text, "its body in base64"),
            may("reserve_tokens", Number, "tokens that it is expected to take"),
            may("reserve_micro_usd", Number, "millionths of a dollar that it is expected to take"),
            may("unpriced", Flag, "whether it costs what nobody here knows"),
        ],
        result: &[("intent", "its record")],
    },
    Syscall {
        name: "model.relayed",
        class: Class::ModelCall,
        effect: Effect::Write,
        doc: "The daemon's own: a foreign agent's request to a model is over.",
        args: &[
            need("intent", Number, "its record"),
            may("status", Number, "the vendor's status"),
            may("reply", Text, "the body as the agent got it, in base64"),
            may("size_bytes", Number, "bytes that the agent got"),
            may("complete", Flag, "whether it got all of the reply"),
            may("input_tokens", Number, "tokens of the request"),
            may("output_tokens", Number, "tokens of the reply"),
            may(
                "cached_tokens",
                Number,
                "tokens of the request that came from the vendor's cache or went to it",
            ),
            may("cost_micro_usd", Number, "its price in millionths of a dollar"),
            may("unsent", Flag, "whether it did not reach the vendor"),
            may("duration_ms", Number, "wall clock"),
            may("problem", Text, "why it is not complete"),
        ],
        result: &[("intent", "its record")],
    },
    Syscall {
        name: "net.closed",
        class: Class::NetConnect,
        effect: Effect::Write,
        doc: "The daemon's own: a connection is over, or was never made.",
        args: &[
            need("intent", Number, "its record"),
            may("sent_bytes", Number, "bytes that went to the host"),
            may("received_bytes", Number, "bytes that came from it"),
            may("problem", Text, "why it was not made or did not end by itself"),
        ],
        result: &[("intent", "its record")],
    },
    Syscall {
        name: "net.connect",
        class: Class::NetConnect,
        effect: Effect::Write,
        doc: "The daemon's own: a process is about to reach a host.",
        args: &[
            need("target", Text, "host and port"),
            may("address", Text, "the address about to be dialled"),
        ],
        result: &[("intent", "its record")],
    },
    Syscall {
        name: "net.resolve",
        class: Class::NetConnect,
        effect: Effect::Read,
        doc: "The daemon's own: a process wants a host's name looked up.",
        args: &[need("target", Text, "host and port")],
        result: &[("ok", "true")],
    },
    Syscall {
        name: "note",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Add a remark to the log.",
        args: &[need("text", Text, "the remark")],
        result: &[("seq", "its record")],
    },
    Syscall {
        name: "nudge",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Send a message to an agent; it sees it with its next tool result.",
        args: &[need("lineage", Text, "the agent"), need("text", Text, "the message")],
        result: &[("seq", "its record")],
    },
    Syscall {
        name: "pipe.close",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Let the ends of a pipe go that the caller holds, or close the whole pipe.",
        args: &[
            need("pipe", Text, "the pipe"),
            may("end", Text, "read, write, or all for the whole pipe; by default both ends of the caller"),
        ],
        result: &[("pipe", "its name"), ("dropped", "messages that were in it")],
    },
    Syscall {
        name: "pipe.list",
        class: Class::KernelRead,
        effect: Effect::Read,
        doc: "Every pipe: what waits in it and who holds its ends.",
        args: &[],
        result: &[(
            "pipes",
            "pipe, state, waiting, waiting_bytes, messages, bytes, writers, readers, written, delivered, made_by",
        )],
    },
    Syscall {
        name: "pipe.make",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Make a pipe: a bounded queue of messages between processes.",
        args: &[
            need("pipe", Text, "its name"),
            may("messages", Number, "messages that it holds at most; 100 by default"),
            may("bytes", Number, "bytes that it holds at most; 10 MiB by default"),
        ],
        result: &[("pipe", "its name"), ("messages", "its bound"), ("bytes", "its bound")],
    },
    Syscall {
        name: "pipe.read",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Take the next message out of a pipe, or wait for one.",
        args: &[need("pipe", Text, "the pipe"), TIMEOUT],
        result: &[
            ("pipe", "its name"),
            ("message", "the record by which it went in"),
            ("from", "who wrote it"),
            ("text", "the message"),
            ("end", "there is none and will be none: everybody who wrote is gone"),
        ],
    },
    Syscall {
        name: "pipe.write",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Put a message into a pipe, or wait for room.",
        args: &[need("pipe", Text, "the pipe"), need("text", Text, "the message, of 1 MiB at most"), TIMEOUT],
        result: &[("pipe", "its name"), ("message", "its record")],
    },
    Syscall {
        name: "policy.reload",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Load the policy documents from disk again.",
        args: &[],
        result: &[("fingerprint", "of the active policy")],
    },
    Syscall {
        name: "process.interact",
        class: Class::ShellExec,
        effect: Effect::Write,
        doc: "Talk to a background process of the caller: read_tail, write, wait_for, kill.",
        args: &[
            need("alias", Text, "the process"),
            need("action", Text, "read_tail, write, wait_for or kill"),
            may("input", Text, "text for write and wait_for"),
            may("lines", Number, "lines of output to return"),
            TIMEOUT,
        ],
        result: &[("output", "the last lines"), ("alive", "whether it runs")],
    },
    Syscall {
        name: "process.learn",
        class: Class::ShellExec,
        effect: Effect::Write,
        doc: "Run a command as shell.run does, and say which files, programs and addresses it asked for.",
        args: &[need("command", Text, "a command line for sh -c"), CWD, TIMEOUT, REASON],
        result: &[
            ("exit", "exit code, 128 + signal"),
            ("stdout", "standard output, bounded"),
            ("stderr", "standard error, bounded"),
            ("timed_out", "the deadline passed"),
            ("changed", "files it changed"),
            ("duration_ms", "wall clock"),
            (
                "observed",
                "paths in the workspace: read, written, files_made, directories_made, names_gone; programs outside it, connected, truncated",
            ),
        ],
    },
    Syscall {
        name: "process.start",
        class: Class::ShellExec,
        effect: Effect::Write,
        doc: "Start a background process in the sandbox.",
        args: &[
            need("alias", Text, "its name"),
            need("command", Text, "a command line for sh -c"),
            may("wait_for", Text, "return when this text appears in its output"),
            TIMEOUT,
        ],
        result: &[("alias", "its name"), ("pid", "its process"), ("output", "what it said so far")],
    },
    Syscall {
        name: "ps",
        class: Class::KernelRead,
        effect: Effect::Read,
        doc: "Every lineage and where it stands.",
        args: &[],
        result: &[
            ("processes", "lineage, generation, kind, state, model, turns, tokens, usd, doing"),
            ("budget", "how the limits of the day stand"),
        ],
    },
    Syscall {
        name: "quarantine.list",
        class: Class::KernelRead,
        effect: Effect::Read,
        doc: "What contained commands made and other programs would have obeyed.",
        args: &[],
        result: &[("items", "item, path, what it is, and whether its harmless part stayed")],
    },
    Syscall {
        name: "quarantine.restore",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Put something back from quarantine, where it was.",
        args: &[need("item", Text, "its name there, as quarantine.list says")],
        result: &[("item", "its name"), ("path", "where it is again")],
    },
    Syscall {
        name: "quarantine.took",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "The daemon's own: something that a process made is in quarantine.",
        args: &[
            need("item", Text, "its name there"),
            need("path", Path, "where it was"),
            need("what", Text, "program, hook, settings, lead or steps"),
            may("kept", Flag, "its harmless part stayed"),
            may("problem", Text, "why it is not in quarantine"),
            may("message", Text, "for the process's lineage, which does not see it otherwise"),
        ],
        result: &[("seq", "its record")],
    },
    Syscall {
        name: "saga.compensate",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Undo what a saga has done, last things first; of one that could not be undone, try it again.",
        args: &[need("id", Number, "the saga, by its first record"), TIMEOUT],
        result: SAGA_ROW,
    },
    Syscall {
        name: "saga.list",
        class: Class::KernelRead,
        effect: Effect::Read,
        doc: "Every saga that is kept, and where it stands.",
        args: &[],
        result: &[("sagas", "saga, name, owner, state, since, done, of, reason")],
    },
    Syscall {
        name: "saga.run",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Do several steps of which all or none shall stay, and wait for the end.",
        args: &[
            need("steps", Objects, "each {id, do, undo, timeout_s, retries, idempotent}"),
            may("name", Text, "what it is called"),
            TIMEOUT,
        ],
        result: SAGA_ROW,
    },
    Syscall {
        name: "saga.show",
        class: Class::KernelRead,
        effect: Effect::Read,
        doc: "A saga and where each of its steps stands.",
        args: &[need("id", Number, "the saga, by its first record")],
        result: SAGA_ROW,
    },
    Syscall {
        name: "search",
        class: Class::FileRead,
        effect: Effect::Read,
        doc: "Search the workspace's files.",
        args: &[
            need("pattern", Text, "what to look for"),
            may("mode", Text, "literal, regex or glob (file names); literal by default"),
            may("globs", Texts, "only files that match one of these"),
            may("ignore_case", Flag, "upper and lower case are the same"),
            may("context", Number, "lines around a match"),
            may("limit", Number, "most matches returned"),
            TIMEOUT,
        ],
        result: &[
            ("matches", "path, line, column, text"),
            ("truncated", "there are more"),
            ("files_withheld", "files not searched because the caller may not read them"),
        ],
    },
    Syscall {
        name: "secret.refused",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "The daemon's own: a call carried secrets and is refused; the call itself stays outside.",
        args: &[need("call", Text, "its name"), need("secrets", Texts, "the names of the secrets")],
        result: &[],
    },
    Syscall {
        name: "session.end",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "End the caller's session.",
        args: &[],
        result: &[("lineage", "whose")],
    },
    Syscall {
        name: "session.resumable",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Say by which name the caller's own client takes this session up again.",
        args: &[need("session", Text, "the client's name for the session")],
        result: &[("lineage", "whose"), ("kept", "a restart by its supervision uses it")],
    },
    Syscall {
        name: "session.start",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Give the caller a lineage.",
        args: &[
            may("name", Text, "the lineage, or the stem that a number is added to"),
            may("exact", Flag, "take the name as it is, also again"),
            may("client", Text, "what the client calls itself"),
            may("pin", Text, "the pin that bounds it; by default the last of this lineage, or of its name"),
            may("mode", Text, "what it may do without asking: plan, governed, auto or autonomous"),
            may("task", Text, "the task that it works on, as rules name it"),
        ],
        result: &[("lineage", "its name"), ("generation", "its session"), ("pin", "the pin that bounds it")],
    },
    Syscall {
        name: "shell.run",
        class: Class::ShellExec,
        effect: Effect::Write,
        doc: "Run a command in the sandbox; files it changes are ascribed to the caller.",
        args: &[
            need("command", Text, "a command line for sh -c"),
            may(
                "agent",
                Flag,
                "it is an agent: it gets ways to models and to this system, and may take a day",
            ),
            may("stream", Text, "a name under which its caller follows its output and writes its input"),
            may("rows", Number, "lines of a terminal of its own; with columns"),
            may("columns", Number, "columns of a terminal of its own; with rows"),
            CWD,
            TIMEOUT,
            REASON,
        ],
        result: &[
            ("exit", "exit code, 128 + signal"),
            ("stdout", "standard output, bounded"),
            ("stderr", "standard error, bounded"),
            ("timed_out", "the deadline passed"),
            ("changed", "files it changed"),
            ("duration_ms", "wall clock"),
        ],
    },
    Syscall {
        name: "signal.mask",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Say what the caller does with signals to it.",
        args: &[
            may("block", Texts, "signals that wait until they are unblocked"),
            may("ignore", Texts, "signals that do nothing"),
            may("handle", Texts, "signals that it is told of and that do nothing else"),
            may("default", Texts, "signals that do what they do again"),
        ],
        result: &[("lineage", "whose"), ("dispositions", "by signal: block, ignore or handle")],
    },
    Syscall {
        name: "signal.wait",
        class: Class::KernelRead,
        effect: Effect::Read,
        doc: "Wait for signals that the caller handles, and take them.",
        args: &[TIMEOUT],
        result: &[("signals", "each with its name, sender, record and text")],
    },
    Syscall {
        name: "stack.list",
        class: Class::KernelRead,
        effect: Effect::Read,
        doc: "Every sub-stack and where it stands.",
        args: &[],
        result: &[(
            "stacks",
            "name, scope, state, by, pin, mode, budget, since, starts, attestation, reason",
        )],
    },
    Syscall {
        name: "stack.seal",
        class: Class::KernelSpawn,
        effect: Effect::Write,
        doc: "End a sub-stack: its agents have a last word, and this log vouches for the head of its own.",
        args: &[need("name", Text, "the stack"), may("kill", Flag, "end its agents at once"), REASON],
        result: &[
            ("name", "the stack"),
            ("reason", "why it was sealed"),
            ("attestation", "origin, size and root of its log, state_hash"),
            ("changed", "files that it changed"),
            ("changed_more", "files that did not fit into the list"),
            ("spent", "what its model calls took"),
        ],
    },
    Syscall {
        name: "stack.spawn",
        class: Class::KernelSpawn,
        effect: Effect::Write,
        doc: "Delegate a directory to a sub-stack: a daemon of its own, with its own log, agents and budget.",
        args: &[
            need("name", Text, "its name"),
            need("scope", Text, "the directory, from the workspace's root"),
            may("agentfile", Text, "text of the Agentfile of its first agent"),
            may("agent", Text, "lineage of that agent; the stack's name by default"),
            may("task", Text, "replaces the Agentfile's TASK"),
            may("budget_micro_usd", Number, "millionths of a dollar that it may spend in all"),
            may("tokens", Number, "tokens that it may take in all"),
            may("turns", Number, "model calls that it may make in all"),
        ],
        result: &[
            ("name", "its name"),
            ("scope", "its directory"),
            ("socket", "where its daemon listens"),
            ("found", "whether its daemon ran already"),
            ("agent", "its first agent"),
        ],
    },
    Syscall {
        name: "status",
        class: Class::KernelRead,
        effect: Effect::Read,
        doc: "Counts, epoch and policy of the running system.",
        args: &[],
        result: &[
            ("counts", "totals"),
            ("next_seq", "records"),
            ("epoch", "of the anchor"),
            ("policy", "fingerprint"),
            ("budget", "how the limits of the day stand"),
        ],
    },
    Syscall {
        name: "timer.list",
        class: Class::KernelRead,
        effect: Effect::Read,
        doc: "What is done at a time.",
        args: &[],
        result: &[(
            "timers",
            "name, lineage, call, by, due, every_ms, left, fired, and the problem of the last call",
        )],
    },
    Syscall {
        name: "timer.remove",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Remove a timer. For people.",
        args: &[need("name", Text, "the timer")],
        result: &[("name", "the timer")],
    },
    Syscall {
        name: "timer.set",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Spawn an agent or send a message at a time, or again and again. For people.",
        args: &[
            need("name", Text, "the timer"),
            need("lineage", Text, "whom it spawns, or sends a message to"),
            may("agentfile", Text, "text of the Agentfile to spawn from"),
            may("task", Text, "replaces the Agentfile's TASK"),
            may("text", Text, "the message"),
            may("at", Text, "when it fires first: RFC 3339 in UTC"),
            may("after_ms", Number, "or in so many milliseconds"),
            may(
                "every_ms",
                Number,
                "milliseconds between two firings, 10,000 or more; it fires once without",
            ),
            may("times", Number, "how often it fires; without a bound by default"),
        ],
        result: &[("name", "the timer"), ("due", "when it fires first")],
    },
    Syscall {
        name: "trust.list",
        class: Class::KernelRead,
        effect: Effect::Read,
        doc: "The operator's keys that the log speaks of, and what became of each.",
        args: &[],
        result: &[("keys", "key, state (in_force, rotated or revoked), and the record that says so")],
    },
    Syscall {
        name: "trust.revoke",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Revoke a key: nothing that it signs from then on is valid.",
        args: &[need("key", Text, "the key, ed25519:..."), may("reason", Text, "why")],
        result: &[("seq", "its record; null if it was revoked before")],
    },
    Syscall {
        name: "trust.rotate",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Record that a key hands over to its successor.",
        args: &[
            need("old", Text, "the key that goes"),
            need("new", Text, "the key that comes"),
            need("signature", Text, "the old key's over the statement of rotation, 128 hexadecimal digits"),
        ],
        result: &[("seq", "its record; null if it was recorded before")],
    },
    Syscall {
        name: "trust.sign",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Record that a key in force vouches for another.",
        args: &[
            need("key", Text, "the key that comes into force"),
            need("by", Text, "the key in force"),
            need("signature", Text, "its signature over the statement, 128 hexadecimal digits"),
        ],
        result: &[("seq", "its record")],
    },
    Syscall {
        name: "why",
        class: Class::KernelRead,
        effect: Effect::Read,
        doc: "Explain the verdict on a call that a lineage could make, without making it.",
        args: &[
            need("lineage", Text, "who would call"),
            need("verb", Text, "the system call"),
            may("resource", Text, "path, command, model or process"),
            may("pin", Text, "a pin in place of the lineage's own"),
        ],
        result: &[
            ("effect", "allow, deny or ask"),
            ("rules", "what decided"),
            ("reason", "why"),
            ("remedy", "what to do"),
        ],
    },
    Syscall {
        name: "work.add",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Add a needle: title, priority, description and ac are needed.",
        args: &[
            may("title", Text, "what is to be done, one line"),
            PRIORITY,
            may("description", Text, "what whoever takes it must know"),
            may("ac", Texts, "commands that pass when it is done; an empty list if none can tell"),
            may("tags", Texts, "words to find it by"),
            may("milestone", Text, "the milestone that it belongs to"),
            may("depends_on", Texts, "needles that must be closed first"),
            may("blocks", Texts, "needles that wait for it"),
            may("hay", Texts, "straws that it comes from, by record"),
        ],
        result: NEEDLE_ROW,
    },
    Syscall {
        name: "work.claim",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Take a needle on, or keep it for another lease.",
        args: &[NEEDLE, LEASE],
        result: &[
            ("id", "the needle"),
            ("needle", "everything about it"),
            ("until", "when the lease ends"),
            ("also_held", "other needles of the caller"),
        ],
    },
    Syscall {
        name: "work.close",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Run a needle's acceptance commands, and close it if all pass.",
        args: &[
            NEEDLE,
            REASON,
            may("force", Flag, "close it although they do not pass; with a reason"),
            may("commit", Text, "the commit that the work ended in"),
            may("timeout_ms", Number, "deadline of each command in milliseconds"),
        ],
        result: &[
            ("id", "the needle"),
            ("status", "closed"),
            ("ac_result", "pass or fail; null if it has no acceptance command"),
            ("forced", "closed although they did not pass"),
            ("runs", "the commands that ran, by the records of their intents"),
            ("seq", "its record"),
            ("commit_ref", "the commit"),
        ],
    },
    Syscall {
        name: "work.compile",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Group the hay, and tie needles by their titles and what they refer to.",
        args: &[may("dry_run", Flag, "tell what would be tied, and tie nothing")],
        result: &[
            ("clusters", "groups of straws: label, straws, terms, sphere"),
            ("edges", "new: depends_on and related, pairs of needles"),
            ("existing", "edges that were there"),
            ("circles", "dependencies that were left out because they would close a circle"),
            ("spheres", "what hangs together: point, degree, radius, needles"),
            ("candidates", "straws that read as tack"),
        ],
    },
    Syscall {
        name: "work.compounds",
        class: Class::KernelRead,
        effect: Effect::Read,
        doc: "The needles that free most others.",
        args: &[may("limit", Number, "how many; 10 by default")],
        result: &[("compounds", "id, title, priority, direct, transitive, score")],
    },
    Syscall {
        name: "work.edit",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Change members of a needle; what is not given stays.",
        args: &[
            NEEDLE,
            may("title", Text, "what is to be done, one line"),
            PRIORITY,
            may("status", Text, "open or shelved"),
            may("description", Text, "what whoever takes it must know"),
            may("ac", Texts, "commands that pass when it is done"),
            may("tags", Texts, "words to find it by"),
            may("milestone", Text, "the milestone that it belongs to"),
        ],
        result: NEEDLE_ROW,
    },
    Syscall {
        name: "work.link",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Tie two needles, on both ends.",
        args: &[
            NEEDLE,
            need("kind", Text, "depends_on, blocks or related"),
            need("other", Text, "the other needle"),
            may("remove", Flag, "take the link off"),
        ],
        result: NEEDLE_ROW,
    },
    Syscall {
        name: "work.list",
        class: Class::KernelRead,
        effect: Effect::Read,
        doc: "Needles by priority.",
        args: &[
            may("status", Text, "only open, in_progress, shelved or closed"),
            PRIORITY,
            may("tag", Text, "only with this tag"),
            may("milestone", Text, "only of this milestone"),
            may("all", Flag, "closed ones too"),
            may("limit", Number, "how many; 200 by default"),
        ],
        result: &[
            ("needles", "id, title, status, priority, tags, links, blocked_by, holder, until"),
            ("more", "how many were left out"),
            ("counts", "needles by status"),
        ],
    },
    Syscall {
        name: "work.next",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Claim the best needle that can be begun now.",
        args: &[
            may("tag", Text, "only with this tag"),
            PRIORITY,
            may("milestone", Text, "only of this milestone"),
            LEASE,
            may("peek", Flag, "only look at it"),
        ],
        result: &[
            ("id", "the needle"),
            ("needle", "everything about it; null if none can be begun"),
            ("until", "when the lease ends"),
            ("also_held", "other needles of the caller"),
        ],
    },
    Syscall {
        name: "work.release",
        class: Class::KernelWrite,
        effect: Effect::Write,
        doc: "Give a needle back.",
        args: &[NEEDLE, REASON],
        result: NEEDLE_ROW,
    },
    Syscall {
        name: "work.show",
        class: Class::KernelRead,
        effect: Effect::Read,
        doc: "Everything about a needle.",
        args: &[NEEDLE],
        result: &[("needle", "everything about it")],
    },
];

/// Calls that only the daemon itself makes, for the processes that it contains.
const INTERNAL: [&str; 7] = [
    "model.relay",
    "model.relayed",
    "net.closed",
    "net.connect",
    "net.resolve",
    "quarantine.took",
    "secret.refused",
];

/// The call of that name.
pub fn lookup(name: &str) -> Option<&'static Syscall> {
    TABLE.binary_search_by(|syscall| syscall.name.cmp(name)).ok().and_then(|at| TABLE.get(at))
}

/// The whole table as JSON, the form in which `ostk abi` shows and compares it.
pub fn abi() -> Value {
    json!({ "version": 1, "calls": TABLE })
}

/// SHA-256 of the compact form of [`abi`].
pub fn abi_hash() -> Hash {
    Hash::of(abi().to_string().as_bytes())
}

impl Syscall {
    /// Whether only the daemon itself makes this call: no client may.
    pub fn is_internal(&self) -> bool {
        INTERNAL.contains(&self.name)
    }

    /// JSON Schema (2020-12) of the arguments.
    pub fn schema(&self) -> Value {
        let properties: Map<String, Value> =
            self.args.iter().map(|arg| (arg.name.to_owned(), arg.schema())).collect();
        let required: Vec<&str> = self.args.iter().filter(|arg| arg.required).map(|arg| arg.name).collect();
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
    }

    /// Checks arguments against the types.
    ///
    /// # Errors
    /// [`Code::Usage`] naming the first argument that is missing, unknown or of another type.
    pub fn check(&self, args: &Value) -> Result<(), CallError> {
        let usage = |what: String| {
            Err(CallError::new(Code::Usage, format!("{}: {what}", self.name))
                .hint(format!("ostk abi show {}", self.name)))
        };
        let Some(given) = args.as_object() else {
            return usage("the arguments must be an object".to_owned());
        };
        for (name, value) in given {
            match self.args.iter().find(|arg| arg.name == name) {
                None => return usage(format!("unknown argument `{name}`")),
                Some(arg) if !arg.kind.fits(value) => {
                    return usage(format!("`{name}` must be {}", arg.kind.describe()));
                }
                Some(_) => {}
            }
        }
        match self.args.iter().find(|arg| arg.required && !given.contains_key(arg.name)) {
            Some(arg) => usage(format!("`{}` is missing: {}", arg.name, arg.doc)),
            None => Ok(()),
        }
    }
}

impl Arg {
    fn schema(&self) -> Value {
        let mut schema = match self.kind {
            Text | Path => json!({ "type": "string" }),
            Number => json!({ "type": "integer", "minimum": 0 }),
            Flag => json!({ "type": "boolean" }),
            Objects => json!({ "type": "array", "items": { "type": "object" } }),
            Texts => json!({ "type": "array", "items": { "type": "string" } }),
        };
        if let Some(object) = schema.as_object_mut() {
            object.insert("description".to_owned(), Value::String(self.doc.to_owned()));
        }
        schema
    }
}

impl ArgKind {
    fn fits(self, value: &Value) -> bool {
        match self {
            Text | Path => value.is_string(),
            Number => value.is_u64(),
            Flag => value.is_boolean(),
            Objects => value.as_array().is_some_and(|items| items.iter().all(Value::is_object)),
            Texts => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
        }
    }

    const fn describe(self) -> &'static str {
        match self {
            Text => "a text",
            Path => "a path",
            Number => "a whole number of 0 or more",
            Flag => "true or false",
            Objects => "a list of objects",
            Texts => "a list of texts",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_that_lookup_finds_every_call() {
        for syscall in TABLE {
            assert_eq!(lookup(syscall.name).map(|found| found.name), Some(syscall.name));
        }
        assert!(lookup("file.nonsense").is_none());
    }

    #[test]
    fn arguments_are_checked_before_anything_else() {
        let read = lookup("file.read").unwrap();
        assert!(read.check(&json!({ "path": "a" })).is_ok());
        for (args, word) in [
            (json!({}), "`path` is missing"),
            (json!({ "path": 3 }), "must be a path"),
            (json!({ "path": "a", "nope": 1 }), "unknown argument `nope`"),
            (json!({ "path": "a", "limit": -1 }), "whole number"),
            (json!([]), "must be an object"),
        ] {
            let error = read.check(&args).unwrap_err();
            assert!(error.message.contains(word), "{error:?}");
        }
    }
}
