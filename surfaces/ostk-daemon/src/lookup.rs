//! Small translations between the kernel's words and the drivers': the tools a model is shown, a search, an Agentfile.

use ostk_agent::{AgentState, Agentfile, model::ToolSpec};

/// The tools that an agent's model is shown: the project's own names, in the order of the table. The list is the same
/// for every call of an agent, so a vendor's prompt cache keeps working.
pub(crate) fn tool_specs(_agent: &AgentState) -> Vec<ToolSpec> {
    let own =
        ostk_kernel::TOOLS.iter().filter(|tool| tool.name.starts_with(|c: char| c.is_ascii_lowercase()));
    own.map(|tool| ToolSpec {
        name: tool.name.to_owned(),
        description: tool.doc.to_owned(),
        input_schema: tool.schema(),
    })
    .collect()
}

/// Checks the text of an Agentfile.
///
/// # Errors
/// Every mistake, one a line.
pub fn check_agentfile(text: &str) -> Result<(), String> {
    let lookup = |name: &str| std::env::var(name).ok();
    let parsed = Agentfile::parse(text, &lookup).map(|_| ());
    parsed.map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}
