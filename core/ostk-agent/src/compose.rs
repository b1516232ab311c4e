//! From the fold back to text: the request of the next model call, and the text of a handoff.
//!
//! The same history gives the same bytes, and a longer history begins with the content of the shorter one, so a vendor's
//! prompt cache keeps working. Every tool that a reply asks for gets a result right after it, called or not.

use std::collections::BTreeMap;

use ostk_log::Hash;

use crate::{
    model::{Block, Message, ModelReply, ModelRequest, Role, ToolSpec},
    state::{AgentState, Entry, Note, ToolResult},
};

/// Files that a handoff names; a successor can list the others itself.
const MAX_FILES: usize = 40;
/// The result of a tool that was not called because the reply that asked for it was cut.
const NOT_CALLED: &str = "[kernel] This tool was not called: the reply was cut before it was complete.";

/// A request that cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// A blob of the conversation is gone.
    #[error("blob {0} of the conversation is not stored")]
    Missing(Hash),
    /// A blob of the conversation is not what it should be.
    #[error("blob {0} of the conversation cannot be read")]
    Malformed(Hash),
}

impl AgentState {
    /// The request of the next model call. `load` returns the bytes of a blob.
    ///
    /// # Errors
    /// When a blob is missing or malformed.
    pub fn compose(
        &self,
        load: &dyn Fn(&Hash) -> Option<Vec<u8>>,
        tools: &[ToolSpec],
    ) -> Result<ModelRequest, ComposeError> {
        let blobs = Blobs(load);
        let mut talk = Talk::default();
        for entry in &self.entries {
            match entry {
                Entry::User { text_blob } => talk.user(blobs.text(text_blob)?),
                Entry::Predecessor { reply_blob } => talk.user(last_words(&blobs.reply(reply_blob)?)),
                Entry::Assistant { reply_blob } => talk.assistant(blobs.reply(reply_blob)?),
                Entry::Results { results } => talk.answer(blobs.results(results)?),
                Entry::Note { note } => talk.user(note.text().to_owned()),
            }
        }
        talk.answer(BTreeMap::new());
        Ok(ModelRequest {
            model: self.called().to_owned(),
            system: blobs.text(&self.config.system_blob)?,
            messages: talk.messages,
            tools: tools.to_vec(),
            max_tokens: self.config.max_tokens,
        })
    }

    /// What a successor is told beside the task and the last words of the session that ends. No model takes part, so it
    /// costs nothing and cannot be wrong about what was done. `files` are those that it read or changed.
    pub fn handoff_text(&self, files: &[String]) -> String {
        let mut text = format!(
            "[kernel] You take over from a session of {} whose context was full, after {} turns in all. Its work is in the \
             repository.",
            self.config.lineage, self.spent.turns
        );
        if !files.is_empty() {
            text.push_str("\nFiles it read or changed:");
        }
        for file in files.iter().take(MAX_FILES) {
            text.push_str("\n- ");
            text.push_str(file);
        }
        if let Some(more) = files.len().checked_sub(MAX_FILES).filter(|more| *more > 0) {
            text.push_str(&format!("\nand {more} more."));
        }
        text.push_str("\nLook at the files, and go on with what is open.");
        text
    }
}

/// What a tool said, and whether it failed.
type Said = (String, bool);

/// The store, as the conversation reads it.
struct Blobs<'a>(&'a dyn Fn(&Hash) -> Option<Vec<u8>>);

impl Blobs<'_> {
    fn bytes(&self, hash: &Hash) -> Result<Vec<u8>, ComposeError> {
        (self.0)(hash).ok_or(ComposeError::Missing(*hash))
    }

    fn text(&self, hash: &Hash) -> Result<String, ComposeError> {
        String::from_utf8(self.bytes(hash)?).map_err(|_| ComposeError::Malformed(*hash))
    }

    fn reply(&self, hash: &Hash) -> Result<ModelReply, ComposeError> {
        serde_json::from_slice(&self.bytes(hash)?).map_err(|_| ComposeError::Malformed(*hash))
    }

    fn results(
        &self,
        results: &BTreeMap<String, ToolResult>,
    ) -> Result<BTreeMap<String, Said>, ComposeError> {
        let said = |(id, result): (&String, &ToolResult)| {
            Ok((id.clone(), (self.text(&result.blob)?, result.is_error)))
        };
        results.iter().map(said).collect()
    }
}

/// The conversation as it grows.
#[derive(Default)]
struct Talk {
    messages: Vec<Message>,
    /// Tools that the last reply asks for and that have no result yet.
    open: Vec<String>,
}

impl Talk {
    fn user(&mut self, text: String) {
        self.answer(BTreeMap::new());
        self.say(Role::User, vec![Block::Text { text }]);
    }

    fn assistant(&mut self, reply: ModelReply) {
        self.answer(BTreeMap::new());
        for block in &reply.content {
            if let Block::ToolUse { id, .. } = block
                && !self.open.contains(id)
            {
                self.open.push(id.clone());
            }
        }
        self.say(Role::Assistant, reply.content);
    }

    /// Answers the tools of the last reply, in its order.
    fn answer(&mut self, mut results: BTreeMap<String, Said>) {
        let said = |id| {
            let (text, is_error) = results.remove(&id).unwrap_or_else(|| (NOT_CALLED.to_owned(), true));
            Block::ToolResult { id, text, is_error }
        };
        let content = std::mem::take(&mut self.open).into_iter().map(said).collect();
        self.say(Role::User, content);
    }

    /// Vendors want speakers to alternate and no text to be empty: what one says in a row is one message.
    fn say(&mut self, role: Role, mut content: Vec<Block>) {
        content.retain(|block| !matches!(block, Block::Text { text } if text.is_empty()));
        match self.messages.last_mut() {
            _ if content.is_empty() => {}
            Some(last) if last.role == role => last.content.extend(content),
            _ => self.messages.push(Message { role, content }),
        }
    }
}

fn last_words(reply: &ModelReply) -> String {
    let texts = reply.content.iter().filter_map(|block| match block {
        Block::Text { text } if !text.trim().is_empty() => Some(text.trim()),
        _ => None,
    });
    let words: Vec<&str> = texts.collect();
    if words.is_empty() { String::new() } else { format!("Its last words:\n{}", words.join("\n")) }
}

impl Note {
    const fn text(self) -> &'static str {
        match self {
            Self::Continue => "Your reply was cut by its length limit. Go on where you stopped.",
            Self::PrepareHandoff => {
                "[kernel] Your context is 70 % full. Prepare for a successor: keep in mind what is done, what is open and \
                 what to avoid, and write it down when you are told that a turn is your last."
            }
            Self::LastTurn => {
                "[kernel] Your context is 90 % full. This is your last turn. A successor reads the text of your reply: \
                 say what is done, what is open and what to avoid."
            }
            Self::WrapUp => "[kernel] 85 % of a budget is spent. Wrap up.",
            Self::LastCall => {
                "[kernel] Your budget ends with this turn. No tool is called any more. Say what is done, what is open and \
                 what to avoid, for whoever goes on."
            }
        }
    }
}
