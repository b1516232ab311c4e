//! One module for each family of commands; this one only says which command lives where.

mod act;
mod approvals;
mod attach;
mod audit;
mod bench;
mod blame;
mod consent;
mod conversation;
mod demo;
mod health;
mod hook;
mod init;
mod inspect;
mod learn;
mod life;
mod lint;
mod mcp;
mod members;
mod pin;
mod pipe;
mod policy;
mod project;
mod quarantine;
mod run;
mod saga;
mod secret;
mod show;
mod sign;
mod stack;
mod tack;
mod timer;
mod trust;
mod work;

use std::process::ExitCode;

use crate::{args::Command, failure::Failure, output::Output};

/// How a command ends.
pub(crate) type Done = Result<ExitCode, Failure>;

/// Carries out a command.
pub(crate) fn run(command: Command, output: &Output) -> Done {
    match command {
        Command::Init(args) => init::init(&args, output),
        Command::Listen(args) => project::listen(&args),
        Command::Boot(args) => health::boot(&args, output),
        Command::Doctor => health::doctor(output),
        Command::Audit(args) => audit::audit(&args.action, output),
        Command::Lint(args) => lint::lint(&args, output),
        Command::Policy(args) => policy::policy(&args.action, output),
        Command::Learn(args) => learn::learn(&args, output),
        Command::Approvals(args) => approvals::approvals(&args, output),
        Command::Pin(args) => pin::pin(&args.action, output),
        Command::Secret(args) => secret::secret(&args.action, output),
        Command::Sign(args) => sign::sign(&args, output),
        Command::Trust(args) => trust::trust(&args.action, output),
        Command::Quarantine(args) => quarantine::quarantine(&args.action, output),
        Command::Show(args) => show::show(&args, output),
        Command::Attach(args) => attach::attach(&args, output),
        Command::Shutdown => project::shutdown(output),
        Command::Ps => inspect::ps(output),
        Command::Pstree => inspect::pstree(output),
        Command::Blame(args) => blame::blame(&args, output),
        Command::Log(args) => inspect::log(&args, output),
        Command::Why(args) => inspect::why(&args, output),
        Command::Abi(args) => inspect::abi(&args.action, output),
        Command::StateHash => inspect::state_hash(output),
        Command::Completions(args) => inspect::completions(&args),
        Command::Undo(args) => act::undo(&args, output),
        Command::Saga { action } => saga::saga(&action, output),
        Command::Stack { action } => stack::stack(&action, output),
        Command::Kill(args) => life::kill(&args, output),
        Command::Nudge(args) => life::nudge(&args, output),
        Command::Timer { action } => timer::timer(&action, output),
        Command::Pipe { action } => pipe::pipe(&action, output),
        Command::Note(args) => life::note(&args, output),
        Command::Hay(args) => work::hay(&args, output),
        Command::Work { action } => work::work(&action, output),
        Command::Compile(args) => work::compile(&args, output),
        Command::Compounds(args) => work::compounds(&args, output),
        Command::Decide(args) => work::decide(&args, output),
        Command::Tack(args) => tack::tack(&args, output),
        Command::Panic(args) => life::panic(&args, output),
        Command::Resume => life::resume(output),
        Command::Lineage { action } => life::lineage(&action, output),
        Command::Call(args) => act::call(&args, output),
        Command::Run(args) => run::run(&args, output),
        Command::Demo(args) => demo::demo(&args, output),
        Command::Mcp(args) => mcp::mcp(&args, output),
        Command::Hook(args) => hook::hook(&args),
        Command::Bench(args) => bench::bench(&args, output),
    }
}
