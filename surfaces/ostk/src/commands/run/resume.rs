//! How coding agents take up a session of their own, so that one that is started again goes on where it was.
//!
//! Only command lines are known here; which session it is, the client's hooks tell the kernel. Checked with Claude Code
//! 2.1.197 (`claude --resume ID …`) and Codex 0.169.0 (`codex exec … resume ID PROMPT`).

use std::path::Path;

use ostk_kernel::SESSION;

/// Options of Claude Code that choose a session themselves.
const CHOSEN: [&str; 6] = ["-c", "--continue", "-r", "--resume", "--session-id", "--from-pr"];

/// The words of a command that takes up a session where `command` would begin one, if its program is known to.
pub(super) fn resume(command: &[String]) -> Option<Vec<String>> {
    let (program, rest) = command.split_first()?;
    let inserted = |at: usize, words: &[&str]| {
        let mut all = command.to_vec();
        all.splice(at..at, words.iter().map(|word| (*word).to_owned()));
        all
    };
    match Path::new(program).file_name()?.to_str()? {
        "claude" if !rest.iter().any(|word| CHOSEN.contains(&word.as_str())) => {
            Some(inserted(1, &["--resume", SESSION]))
        }
        // The prompt is the last word; without one it would be asked for.
        "codex" if rest.first()? == "exec" && !rest.iter().any(|word| word == "resume") => {
            let has_prompt = rest.len() > 1 && !rest.last()?.starts_with('-');
            has_prompt.then(|| inserted(command.len() - 1, &["resume", SESSION]))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Option<String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        resume(&words).map(|words| words.join(" "))
    }

    #[test]
    fn a_known_client_takes_up_its_session_and_any_other_begins_again() {
        let resumed = |line: &str| of(line).unwrap_or_default();
        assert_eq!(resumed("claude -p work"), "claude --resume {session} -p work");
        assert_eq!(resumed("/opt/bin/claude -p work"), "/opt/bin/claude --resume {session} -p work");
        assert_eq!(resumed("codex exec -m gpt work"), "codex exec -m gpt resume {session} work");
        for line in [
            "claude --continue -p work",
            "codex",
            "codex exec",
            "codex exec --json",
            "bash claude",
            "env claude",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
    }
}
