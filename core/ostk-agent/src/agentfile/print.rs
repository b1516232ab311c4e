//! An Agentfile back to text, in one canonical order. Parsing the text gives the same file.

use super::{Agentfile, Limits, ToolGrant, WorkTerm, lines};

impl Agentfile {
    /// The file as text. Variables are gone: their values stand in their places.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for (directive, argument) in self.directives() {
            out.push_str(directive);
            for (n, line) in argument.lines().enumerate() {
                out.push_str(match (n, line.is_empty()) {
                    (0, _) => " ",
                    (_, true) => "\n",
                    (_, false) => "\n  ",
                });
                out.push_str(&lines::escape(line));
            }
            out.push('\n');
        }
        out
    }

    /// Every directive with its argument, in the order of the reference's table.
    pub(super) fn directives(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![("FROM", self.from.clone())];
        let mut push = |name, values: Vec<String>| all.extend(values.into_iter().map(|value| (name, value)));
        push("FROM-PROFILE", self.profile.iter().cloned().collect());
        push("PROMPT", self.prompts.clone());
        push("TASK", self.task.iter().cloned().collect());
        push("TOOL", self.tools.iter().map(ToolGrant::to_string).collect());
        push("SKILL", self.skills.clone());
        push("LIMIT", self.limits.lines());
        let work: Vec<String> = self.work.iter().map(WorkTerm::to_string).collect();
        push("WORK", (!work.is_empty()).then(|| work.join(" ")).into_iter().collect());
        push("INTERRUPT", self.interrupts.clone());
        push("PIN", self.pin.iter().cloned().collect());
        push("BETA", self.betas.clone());
        push("ISOLATION", self.isolation.iter().map(|word| word.as_str().to_owned()).collect());
        push("BOOT", self.boot.clone());
        push("ATTEST", self.attest.iter().map(|word| word.as_str().to_owned()).collect());
        push("RESTART", self.restart.iter().map(ToString::to_string).collect());
        push("LIFETIME", self.lifetime.iter().map(|word| word.as_str().to_owned()).collect());
        push("HEALTHCHECK", self.health.iter().map(ToString::to_string).collect());
        all
    }
}

impl Limits {
    fn lines(&self) -> Vec<String> {
        let numbers = [
            ("turns", self.turns),
            ("tokens", self.tokens),
            ("wall_clock", self.wall_clock_s),
            ("tool_calls", self.tool_calls),
            ("bytes_written", self.bytes_written),
            ("context_pct", self.context_pct),
            ("context_window", self.context_window),
        ];
        let mut lines: Vec<String> = numbers
            .into_iter()
            .filter_map(|(key, value)| value.map(|value| format!("{key} {value}")))
            .collect();
        lines.extend(self.budget_micro_usd.map(|micros| {
            let (dollars, fraction) = (micros / 1_000_000, micros % 1_000_000);
            format!("budget_usd {dollars}.{fraction:06}")
        }));
        lines.extend(self.other.iter().map(|(key, value)| format!("{key} {value}")));
        lines
    }
}

impl std::fmt::Display for ToolGrant {
    /// As the Agentfile writes it: `file:edit(src/parser)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.pattern {
            None => f.write_str(&self.class),
            Some(pattern) => write!(f, "{}({pattern})", self.class),
        }
    }
}

impl std::fmt::Display for WorkTerm {
    /// As the Agentfile writes it: `tags=parser,lexer`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}{}", self.field, self.op.as_str(), self.values.join(","))
    }
}
