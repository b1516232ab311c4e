//! A model server that speaks the vendors' wires from a script.
//!
//! Tests and demonstrations of agents run against it instead of a vendor: it answers Anthropic Messages, OpenAI Chat
//! Completions and OpenAI Responses, streamed and not, and can fail, stall, split and cut as networks do.
//!
//! # The script
//!
//! ```json
//! {
//!   "conversations": [{
//!     "name": "fix",
//!     "match": {"model": {"regex": "^claude-"}, "first_user": "fix the parser", "tool": "edit"},
//!     "turns": [
//!       {"reply": [{"thinking": "first look"}, {"text": "Reading."},
//!                  {"tool": {"name": "read", "input": {"path": "src/parser.rs"}}}]},
//!       {"expect": {"tool_result_contains": "gen=", "tool_result_is_error": false, "tools_include": ["edit"]},
//!        "reply": [{"tool": {"name": "edit", "input": {"base": {"$from_last_result": "gen=(\\d+)"}}}}],
//!        "fail": {"status": 529, "retry_after_ms": 10, "times": 2}},
//!       {"reply": [{"text": "Done."}], "usage": {"input": 900, "output": 7, "cache_read": 800},
//!        "split_at": "every-byte"}
//!     ]
//!   }],
//!   "default": [{"text": "ok"}]
//! }
//! ```
//!
//! * The first conversation whose `match` holds gets the request. `first_user` is the text before the first assistant
//!   turn. What nobody claims, such as the title a client asks a small model for, gets `default`.
//! * **The turn is the number of assistant turns in the request itself**, not a counter in the server: a client that
//!   repeats a call after a crash gets the same reply with the same identifiers. [`Handle::served`] counts, so a test
//!   can assert that no call was repeated.
//! * `expect` that does not hold, or a turn too many, is HTTP 400 with the reason, listed by [`Handle::unmet`].
//! * Patterns are substrings, or `{"regex": "…"}`.
//! * `fail` applies to the first `times` requests for the turn (default 1), `cut_after_bytes` to the first `cut_times`
//!   (default 1), `stall_ms` to the first `stall_times` (default all); `split_at` is a size in bytes or `"every-byte"`.
//! * `stop` is one of `end_turn`, `tool_use`, `max_tokens`, `refusal`.
//!
//! ```
//! let script = scripted_model::Script::parse(r#"{"conversations": [
//!     {"name": "hello", "turns": [{"reply": [{"text": "Hi."}]}]}
//! ]}"#)?;
//! let server = scripted_model::ScriptedModel::start(script)?;
//! assert!(server.base_url().starts_with("http://127.0.0.1:"));
//! assert!(server.unmet().is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod handle;
mod ledger;
mod play;
mod script;
mod server;
mod wires;

pub use handle::{Handle, Options, ScriptedModel, StartError};
pub use ledger::{MAX_REQUESTS, Request, Served};
pub use script::{
    Conversation, Expect, Fail, Match, Pattern, ReplyBlock, Script, ScriptError, Split, SplitName, Stop,
    Tokens, ToolCall, Turn,
};
