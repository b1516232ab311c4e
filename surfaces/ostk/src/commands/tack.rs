//! `ostk tack`: what a line of the operator's language means as commands, and carrying them out.
//!
//! Verbs come from `.ostk/.language`, the operator's VERB and TACK lines in HUMANFILE, and the table of `ostk-work`. A
//! line can do nothing that the command line cannot: it is turned into command lines, and those are run.

use std::process::ExitCode;

use clap::Parser;
use ostk_policy::{Humanfile, HumanfileKey};
use ostk_work::{Language, Lexicon, Step, Tack as Line};
use serde_json::{Value, json};

use super::Done;
use crate::{
    args::{Args, Tack},
    connect,
    failure::Failure,
    output::{Output, Paint},
};

/// How often a verb may stand for others that stand for others.
const MAX_DEPTH: usize = 8;

/// A part of a line: what it means, and the command line that does it.
struct Meaning {
    shown: Value,
    command: Option<Vec<String>>,
}

pub(crate) fn tack(args: &Tack, output: &Output) -> Done {
    let line = Line::parse(&args.line.join(" "));
    let meanings = meanings(&line)?;
    if args.run {
        return carry_out(&meanings, output);
    }
    let shown: Vec<&Value> = meanings.iter().map(|meaning| &meaning.shown).collect();
    output.show(&json!({ "tack": line, "meaning": shown }), |output| {
        let lines = meanings.iter().map(|meaning| match &meaning.command {
            Some(command) => format!(
                "{}  ({})",
                command_line(command),
                meaning.shown["source"].as_str().unwrap_or("grammar")
            ),
            None => output.paint(Paint::Dim, &format!("{}: no command does this yet", line.form())),
        });
        lines.collect::<Vec<_>>().join("\n")
    });
    Ok(ExitCode::SUCCESS)
}

fn meanings(line: &Line) -> Result<Vec<Meaning>, Failure> {
    let simple = |words: &[&str]| {
        let command: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        vec![Meaning { shown: json!({ "command": command }), command: Some(command) }]
    };
    Ok(match line {
        Line::Needle { id } => simple(&["work", "show", &id.number().to_string()]),
        Line::Hay { text } => simple(&["hay", "--", text]),
        Line::Query { .. } | Line::Escalate { .. } => {
            vec![Meaning { shown: json!({ "command": null }), command: None }]
        }
        Line::Chain { steps } => chain(&lexicon()?, steps, MAX_DEPTH)?,
    })
}

fn chain(lexicon: &Lexicon, steps: &[Step], depth: usize) -> Result<Vec<Meaning>, Failure> {
    let parts: Vec<Vec<Meaning>> =
        steps.iter().map(|step| meaning(lexicon, step, depth)).collect::<Result<_, _>>()?;
    Ok(parts.into_iter().flatten().collect())
}

/// A verb's command with its arguments; one that stands for other verbs means what they mean.
fn meaning(lexicon: &Lexicon, step: &Step, depth: usize) -> Result<Vec<Meaning>, Failure> {
    let found = lexicon.resolve(&step.verb).map_err(|near| {
        let hint = if near.is_empty() { "ostk help".to_owned() } else { format!(":{}", near.join(", :")) };
        Failure::usage(format!("no verb is called :{}", step.verb)).hint(hint)
    })?;
    let line = found.command.as_ref().map(|words| words.join(" ")).filter(|line| line.starts_with(':'));
    if let Some(Line::Chain { mut steps }) = line.as_deref().map(Line::parse) {
        if depth == 0 {
            return Err(Failure::usage(format!(":{} means itself", step.verb))
                .hint("mend the VERB lines of HUMANFILE or .ostk/.language"));
        }
        if let Some(last) = steps.last_mut() {
            last.args.extend(step.args.iter().cloned());
        }
        return chain(lexicon, &steps, depth - 1);
    }
    let command = found.command.as_ref().map(|words| [words, &step.args[..], &found.after[..]].concat());
    let mut shown = json!(found);
    shown["args"] = json!(step.args);
    shown["command"] = json!(command);
    Ok(vec![Meaning { shown, command }])
}

/// The verbs of this project and its operator.
fn lexicon() -> Result<Lexicon, Failure> {
    let state_dir = connect::project()?.state_dir();
    let language = match std::fs::read_to_string(state_dir.join(".language")) {
        Ok(text) => Language::parse(&text).map_err(Failure::usage)?,
        Err(_) => Language::default(),
    };
    let documents = ostk_daemon::read_documents(&state_dir);
    // One that does not parse names no verb; `ostk lint` says what is wrong with it.
    let humanfile = Humanfile::of(&documents).unwrap_or_default();
    let own = [HumanfileKey::Verb, HumanfileKey::Tack].into_iter().flat_map(|key| humanfile.entries(key));
    let own = own.filter_map(|words| {
        let (name, expansion) = (words.first()?, words.get(1)?);
        Some((name.trim_start_matches(':').to_owned(), expansion.clone()))
    });
    Ok(Lexicon::new(language, own.collect()))
}

/// Runs the commands in order; the first that fails is the last.
fn carry_out(meanings: &[Meaning], output: &Output) -> Done {
    for meaning in meanings {
        let Some(command) = &meaning.command else {
            return Err(
                Failure::usage("no command does this yet").hint("ostk tack without --run says what it means")
            );
        };
        let words = std::iter::once("ostk".to_owned()).chain(command.iter().cloned());
        let parsed = Args::try_parse_from(words).map_err(|error| {
            Failure::usage(error.to_string().trim_end()).hint(format!("{} --help", command_line(command)))
        })?;
        let code = super::run(parsed.command, output)?;
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn command_line(command: &[String]) -> String {
    format!("ostk {}", super::run::command_line(command))
}
