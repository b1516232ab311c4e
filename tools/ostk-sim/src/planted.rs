//! The bugs that can be planted. Most are planted around the code that ships: in the disk below it, or in what stands for
//! the daemon above it (`daemon.rs`). Those that are decisions of the code itself are marked in it.

/// Each bug's name, as `planted!` has it, and what is wrong with it.
pub const BUGS: &[(&str, &str)] = &[
    ("skipped sync", "the journal is told that it is durable, and nothing was synced"),
    ("skipped sync of a pack", "the same for the packs"),
    ("failed sync ignored", "a sync that failed is taken for one that worked"),
    ("short write", "a write takes less than it says"),
    ("early acknowledgement", "answers do not wait for the records that they promise"),
    ("written for durable", "what is written counts as durable"),
    ("effect before intent", "operations begin before their intent is durable"),
    ("dropped record", "a record that nobody waits for is not written"),
    ("stale generation", "a write from an older version takes the place of a newer one"),
    ("replaced without a look", "a file is replaced whatever has become of it"),
    ("memories of the dead", "whoever comes back under a name is taken to have seen what was shown under it"),
    ("eyes of the dead", "what a call of a client that died sees, its successor is taken to see"),
    ("double delivery", "a message is handed over before its delivery is durable"),
    ("forgotten message", "whoever asks again for a message whose answer was lost gets the next one"),
    ("one message too many", "a pipe takes one message more than it may hold"),
    ("work for anybody", "a worker is given needles that its filter does not take"),
    ("no way back", "an agent whose model is up again goes on with the other one"),
    ("restart not counted", "whoever ends is started again without end"),
    ("timer made again", "the call of a timer is made without the key of its firing"),
    ("last in, first out", "who came last to the line begins first"),
    ("first things first", "the steps of a saga are undone in the order in which they were done"),
    ("stale snapshot", "a snapshot of another log is taken for one of this"),
    ("answered twice", "an answer is sent a second time"),
    ("forgotten key", "a call that is repeated comes without its key"),
    ("repeated tool", "a tool call of an agent is made again after a restart"),
    ("no deadlines", "the kernel never hears what time it is"),
    ("clock set back", "the kernel's clock runs back with the wall clock"),
];
