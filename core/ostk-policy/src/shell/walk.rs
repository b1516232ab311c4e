//! Walks the syntax of one text and hands each simple command to the `reader`.
//!
//! Every place that can hold a command is visited, also the bodies of functions and both branches of a condition:
//! which of them runs is not decided here. The words of a command are `expand`'s work.

use shuck_ast::{
    BinaryOp, BuiltinCommand, Command, CompoundCommand, DeclOperand, FunctionDef, Redirect, RedirectKind,
    SimpleCommand, Stmt, StmtSeq,
};

use super::{
    Danger, Simple,
    output::output,
    plain,
    reader::{Reader, downloads},
    word::{FETCHED, FILE, OUTPUT, Word, join},
};

/// Most programs that one command word may stand for.
const MAX_PROGRAMS: usize = 4;

/// A walk over one text.
pub(super) struct Walk<'r, 's> {
    pub(super) reader: &'r mut Reader,
    pub(super) source: &'s str,
}

impl<'r, 's> Walk<'r, 's> {
    pub(super) fn new(reader: &'r mut Reader, source: &'s str) -> Self {
        Self { reader, source }
    }

    /// The commands of a plain line.
    pub(super) fn line(&mut self, parts: Vec<plain::Part<'_>>) {
        let (mut before, mut given) = (0, None);
        for part in parts {
            given = part.piped.then(|| self.printed(before, given.as_ref()));
            before = self.reader.survey.commands.len();
            let words = part.words.into_iter().map(Word::new).collect();
            let files = part.writes.into_iter().map(|file| (true, Word::new(file))).collect();
            let simple = Simple { words, files, input: given.clone(), ..self.blank() };
            self.reader.run(simple);
        }
    }

    pub(super) fn statements(&mut self, list: &StmtSeq, input: Option<&Word>) {
        for statement in list.iter() {
            self.statement(statement, input);
        }
    }

    /// A list in a shell of its own: what it sets is forgotten. Answers what it prints.
    pub(super) fn subshell(&mut self, list: &StmtSeq, input: Option<&Word>) -> Word {
        let ground = self.reader.ground.clone();
        let before = self.reader.survey.commands.len();
        self.statements(list, input);
        self.reader.ground = ground;
        self.printed(before, input)
    }

    /// What the commands since `before` print, as far as it is known.
    fn printed(&self, before: usize, input: Option<&Word>) -> Word {
        let ran = self.reader.survey.commands.get(before..).unwrap_or_default();
        if ran.iter().any(downloads) || input.is_some_and(|input| input.has(FETCHED)) {
            return Word::of(FETCHED);
        }
        match ran {
            [only] => output(only),
            _ => Word::of(OUTPUT),
        }
    }

    /// The left side of `a | b && c` nests as deep as the chain is long, so it is taken apart first.
    pub(super) fn statement(&mut self, statement: &Stmt, input: Option<&Word>) {
        let mut chain = Vec::new();
        let mut first = statement;
        while let Command::Binary(binary) = &first.command {
            self.files(&first.redirects);
            chain.push((binary.op, binary.right.as_ref()));
            first = &binary.left;
        }
        let mut before = self.reader.survey.commands.len();
        let mut given = input.cloned();
        self.plain(first, given.as_ref());
        for (op, right) in chain.into_iter().rev() {
            given = match op {
                BinaryOp::Pipe | BinaryOp::PipeAll => Some(self.printed(before, given.as_ref())),
                BinaryOp::And | BinaryOp::Or => input.cloned(),
            };
            before = self.reader.survey.commands.len();
            match right.command {
                Command::Binary(_) => self.statement(right, given.as_ref()),
                _ => self.plain(right, given.as_ref()),
            }
        }
    }

    /// A statement that is no chain.
    fn plain(&mut self, statement: &Stmt, input: Option<&Word>) {
        match &statement.command {
            Command::Simple(simple) => self.simple(simple, &statement.redirects, input),
            Command::Compound(compound) => {
                let own = self.files(&statement.redirects);
                self.compound(compound, own.as_ref().or(input));
            }
            Command::Decl(declaration) => {
                self.files(&statement.redirects);
                let mut simple = self.blank();
                simple.words.push(Word::new(declaration.variant.as_str()));
                for operand in &declaration.operands {
                    match operand {
                        DeclOperand::Flag(word) | DeclOperand::Dynamic(word) => {
                            simple.words.extend(self.words(word));
                        }
                        DeclOperand::Name(reference) => self.subscript(reference),
                        DeclOperand::Assignment(assignment) => {
                            simple.assignments.extend(self.assignment(assignment, true));
                        }
                    }
                }
                self.reader.run(simple);
            }
            Command::Builtin(builtin) => {
                self.files(&statement.redirects);
                self.builtin(builtin);
            }
            Command::Function(function) => {
                self.files(&statement.redirects);
                self.function(function);
            }
            Command::AnonymousFunction(function) => {
                self.files(&statement.redirects);
                self.statement(&function.body, input);
            }
            Command::Binary(_) => self.statement(statement, input),
        }
    }

    pub(super) fn blank(&self) -> Simple {
        Simple { directory: self.reader.ground.directory.clone(), ..Simple::default() }
    }

    fn simple(&mut self, command: &SimpleCommand, redirects: &[Redirect], input: Option<&Word>) {
        let programs = self.expand(&command.name);
        let nothing = programs.iter().all(|words| words.iter().all(|word| word.as_str().is_empty()));
        let bare = nothing && command.args.is_empty();
        let mut simple = self.blank();
        for assignment in &command.assignments {
            simple.assignments.extend(self.assignment(assignment, bare));
        }
        let args: Vec<Word> = command.args.iter().flat_map(|word| self.words(word)).collect();
        let (files, own) = self.redirections(redirects);
        simple.files = files;
        simple.input = own.or_else(|| input.cloned());
        if bare {
            if !simple.files.is_empty() || !simple.assignments.is_empty() {
                self.reader.run(simple);
            }
            return;
        }
        let vanishes = self.may_vanish(&command.name);
        for program in programs.into_iter().take(MAX_PROGRAMS) {
            let words: Vec<Word> = program.into_iter().chain(args.iter().cloned()).collect();
            self.reader.run(Simple { words, ..simple.clone() });
        }
        // `$SUDO rm -rf /` runs rm when the variable is empty.
        let known = args.first().is_some_and(|word| word.is_known() && !word.as_str().starts_with('-'));
        if vanishes && known {
            self.reader.run(Simple { words: args, ..simple });
        }
    }

    fn compound(&mut self, compound: &CompoundCommand, input: Option<&Word>) {
        match compound {
            CompoundCommand::If(branch) => {
                self.statements(&branch.condition, input);
                self.statements(&branch.then_branch, input);
                for (condition, body) in &branch.elif_branches {
                    self.statements(condition, input);
                    self.statements(body, input);
                }
                branch.else_branch.iter().for_each(|body| self.statements(body, input));
            }
            CompoundCommand::For(each) => {
                let words = each.words.as_deref();
                let names: Vec<&str> =
                    each.targets.iter().filter_map(|target| Some(target.name.as_ref()?.as_str())).collect();
                self.each(&names, words, &each.body, input);
            }
            CompoundCommand::Foreach(each) => {
                self.each(&[each.variable.as_str()], Some(&each.words), &each.body, input)
            }
            CompoundCommand::Select(each) => {
                self.each(&[each.variable.as_str()], Some(&each.words), &each.body, input)
            }
            CompoundCommand::Repeat(repeat) => {
                self.expand(&repeat.count);
                self.statements(&repeat.body, input);
            }
            CompoundCommand::ArithmeticFor(each) => {
                let parts = [&each.init_ast, &each.condition_ast, &each.step_ast];
                parts.into_iter().flatten().for_each(|part| self.arithmetic(part));
                self.statements(&each.body, input);
            }
            CompoundCommand::While(each) => {
                self.statements(&each.condition, input);
                self.statements(&each.body, input);
            }
            CompoundCommand::Until(each) => {
                self.statements(&each.condition, input);
                self.statements(&each.body, input);
            }
            CompoundCommand::Case(case) => {
                self.expand(&case.word);
                for item in &case.cases {
                    item.patterns.iter().for_each(|pattern| self.pattern(pattern));
                    self.statements(&item.body, input);
                }
            }
            CompoundCommand::Subshell(list) => drop(self.subshell(list, input)),
            CompoundCommand::BraceGroup(list) => self.statements(list, input),
            CompoundCommand::Arithmetic(arithmetic) => {
                arithmetic.expr_ast.iter().for_each(|expression| self.arithmetic(expression));
            }
            CompoundCommand::Time(time) => {
                time.command.iter().for_each(|inner| self.statement(inner, input));
            }
            CompoundCommand::Conditional(test) => self.condition(&test.expression),
            CompoundCommand::Coproc(coprocess) => self.statement(&coprocess.body, input),
            CompoundCommand::Always(always) => {
                self.statements(&always.body, input);
                self.statements(&always.always_body, input);
            }
        }
    }

    /// A loop over words: the body sees all of them as possible values.
    fn each(
        &mut self,
        names: &[&str],
        words: Option<&[shuck_ast::Word]>,
        body: &StmtSeq,
        input: Option<&Word>,
    ) {
        if let Some(words) = words {
            let values: Vec<String> =
                words.iter().flat_map(|word| self.words(word)).map(|word| word.as_str().to_owned()).collect();
            names.iter().for_each(|name| self.reader.ground.set(name, &values));
        }
        self.statements(body, input);
    }

    fn builtin(&mut self, builtin: &BuiltinCommand) {
        let (word, more) = match builtin {
            BuiltinCommand::Break(each) => (&each.depth, &each.extra_args),
            BuiltinCommand::Continue(each) => (&each.depth, &each.extra_args),
            BuiltinCommand::Return(each) => (&each.code, &each.extra_args),
            BuiltinCommand::Exit(each) => (&each.code, &each.extra_args),
        };
        word.iter().chain(more).for_each(|word| drop(self.expand(word)));
    }

    fn function(&mut self, function: &FunctionDef) {
        let before = self.reader.survey.commands.len();
        let ground = self.reader.ground.clone();
        self.statement(&function.body, None);
        self.reader.ground = ground;
        let ran = self.reader.survey.commands.get(before..).unwrap_or_default();
        let own = |simple: &&Simple| function.static_names().any(|name| name.as_str() == simple.program());
        if ran.iter().filter(own).count() > 1 {
            let name = function.static_names().next().map(|name| name.to_string()).unwrap_or_default();
            let why = "it starts itself again and again until the machine stops";
            self.reader.note(Danger::System, name, why);
        }
    }

    /// Redirections of something that is no simple command. Answers what they give as input.
    fn files(&mut self, redirects: &[Redirect]) -> Option<Word> {
        if redirects.is_empty() {
            return None;
        }
        let (files, input) = self.redirections(redirects);
        if !files.is_empty() {
            let simple = Simple { files, ..self.blank() };
            self.reader.run(simple);
        }
        input
    }

    /// The files that are opened, and what is given as input.
    fn redirections(&mut self, redirects: &[Redirect]) -> (Vec<(bool, Word)>, Option<Word>) {
        let (mut files, mut input) = (Vec::new(), None);
        for redirect in redirects {
            if let Some(document) = redirect.heredoc() {
                input = Some(self.document(&document.body));
            }
            let Some(target) = redirect.word_target() else { continue };
            let word = join(&self.words(target));
            match redirect.kind {
                RedirectKind::HereString => input = Some(word),
                RedirectKind::Input => {
                    input = Some(Word::of(if word.has(FETCHED) { FETCHED } else { FILE }));
                    files.push((false, word));
                }
                RedirectKind::DupInput => {}
                RedirectKind::DupOutput if word.as_str().chars().all(|c| c.is_ascii_digit() || c == '-') => {}
                _ => files.push((true, word)),
            }
        }
        (files, input)
    }
}
