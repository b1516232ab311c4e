//! From the fold back to text: the request of the next model call, and the text of a handoff.
//!
//! The same history gives the same bytes, and a longer history begins with the bytes of the shorter one, so a vendor's
//! prompt cache keeps working.

use ostk_log::Hash;

use crate::{
    model::{Block, Message, ModelReply, ModelRequest, Role, ToolSpec},
    state::{AgentState, Entry, Note, ToolResult},
};

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
        let text = |blob: &Hash| {
            let bytes = load(blob).ok_or(ComposeError::Missing(*blob))?;
            String::from_utf8(bytes).map_err(|_| ComposeError::Malformed(*blob))
        };
        let mut messages: Vec<Message> = Vec::new();
        for entry in &self.entries {
            let (role, content) = match entry {
                Entry::User { text_blob } => (Role::User, vec![Block::Text { text: text(text_blob)? }]),
                Entry::Note { note } => (Role::User, vec![Block::Text { text: note.text().to_owned() }]),
                Entry::Assistant { reply_blob } => {
                    let bytes = load(reply_blob).ok_or(ComposeError::Missing(*reply_blob))?;
                    let reply: ModelReply =
                        serde_json::from_slice(&bytes).map_err(|_| ComposeError::Malformed(*reply_blob))?;
                    (Role::Assistant, reply.content)
                }
                Entry::Results { results, order, notes } => {
                    let mut content = Vec::new();
                    for (id, result) in order.iter().filter_map(|id| Some((id, results.get(id)?))) {
                        content.push(tool_result(id, result, &text)?);
                    }
                    content.extend(notes.iter().map(|note| Block::Text { text: note.text().to_owned() }));
                    (Role::User, content)
                }
            };
            // Vendors want speakers to alternate: what one says in a row is one message.
            match messages.last_mut() {
                Some(last) if last.role == role => last.content.extend(content),
                _ => messages.push(Message { role, content }),
            }
        }
        Ok(ModelRequest {
            model: self.config.model.clone(),
            system: text(&self.config.system_blob)?,
            messages,
            tools: tools.to_vec(),
            max_tokens: self.config.max_tokens,
        })
    }

    /// What a successor is told: no model takes part, so it costs nothing and cannot be wrong about what was done.
    pub fn handoff_text(&self, files: &[String]) -> String {
        let mut text = format!(
            "You take over from session {} of {}, whose context was full after {} turns. Its work is in the repository.",
            self.config.session, self.config.lineage, self.spent.turns
        );
        if !files.is_empty() {
            text.push_str("\nFiles it read or changed:");
            for file in files.iter().rev().take(40) {
                text.push_str("\n- ");
                text.push_str(file);
            }
        }
        text.push_str("\nRead its notes in the log, look at the files, and go on with the task.");
        text
    }
}

fn tool_result(
    id: &str,
    result: &ToolResult,
    text: &dyn Fn(&Hash) -> Result<String, ComposeError>,
) -> Result<Block, ComposeError> {
    Ok(Block::ToolResult { id: id.to_owned(), text: text(&result.blob)?, is_error: result.is_error })
}

impl Note {
    const fn text(self) -> &'static str {
        match self {
            Self::Continue => "Your reply was cut by its length limit. Go on where you stopped.",
            Self::PrepareHandoff => {
                "[kernel] Your context is 70 % full. Leave notes for a successor: what is done, what is open, what to avoid."
            }
            Self::LastTurn => {
                "[kernel] Your context is 90 % full. This is your last turn; a successor goes on from your notes."
            }
            Self::WrapUp => "[kernel] Four fifths of your budget are spent. Wrap up.",
        }
    }
}
