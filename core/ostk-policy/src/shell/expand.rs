//! Gives the words of a text their values, and visits the commands that stand inside words.
//!
//! A substitution may stand in a parameter's default, in arithmetic, in a pattern, in a subscript: all are visited.
//! The other half of `walk`.

use shuck_ast::{
    ArithmeticExpr, ArithmeticExprNode, ArithmeticLvalue, ArrayElem, Assignment, AssignmentValue,
    BourneParameterExpansion, CommandSubstitutionSyntax, ConditionalExpr, HeredocBody, HeredocBodyPart,
    ParameterExpansion, ParameterExpansionSyntax, ParameterOp, Pattern, PatternPart, StmtSeq, VarRef,
    Word as Syntax, WordPart, WordPartNode,
};

use super::{
    walk::Walk,
    word::{Builder, FETCHED, OUTPUT, VARIABLE, Word, join},
};

impl Walk<'_, '_> {
    /// The words that one word becomes, over all of its possible values.
    pub(super) fn words(&mut self, word: &Syntax) -> Vec<Word> {
        self.expand(word).into_iter().flatten().collect()
    }

    /// The words that one word becomes, for each of its possible values.
    pub(super) fn expand(&mut self, word: &Syntax) -> Vec<Vec<Word>> {
        let mut builder = Builder::new();
        self.parts(&word.parts, false, &mut builder);
        builder.finish(word.has_active_brace_expansion())
    }

    /// Whether the word may be nothing at all: one unquoted variable that the line does not set.
    pub(super) fn may_vanish(&self, word: &Syntax) -> bool {
        let [part] = word.parts.as_slice() else { return false };
        match &part.kind {
            WordPart::Variable(name) => !self.reader.ground.knows(name.as_str()),
            WordPart::Parameter(parameter) => {
                matches!(parameter.bourne(), Some(BourneParameterExpansion::Access { .. }))
            }
            _ => false,
        }
    }

    fn parts(&mut self, parts: &[WordPartNode], quoted: bool, builder: &mut Builder) {
        for part in parts {
            match &part.kind {
                WordPart::Literal(text) => {
                    let raw = text.syntax_str(self.source, part.span);
                    if quoted { builder.in_quotes(raw) } else { builder.bare(raw) }
                }
                WordPart::SingleQuoted { value, .. } => builder.verbatim(value.slice(self.source)),
                WordPart::DoubleQuoted { parts, .. } => {
                    builder.verbatim("");
                    self.parts(parts, true, builder);
                }
                WordPart::Variable(name) => self.variable(name.as_str(), quoted, builder),
                WordPart::CommandSubstitution { body, syntax } => {
                    self.substitution(body, *syntax, quoted, builder)
                }
                WordPart::ProcessSubstitution { body, .. } => {
                    let printed = self.subshell(body, None);
                    builder.verbatim("/dev/fd/");
                    builder.mark(if printed.has(FETCHED) { FETCHED } else { VARIABLE });
                }
                WordPart::Parameter(parameter) => self.parameter(parameter, quoted, builder),
                other => {
                    self.other(other);
                    builder.mark(VARIABLE);
                }
            }
        }
    }

    fn variable(&mut self, name: &str, quoted: bool, builder: &mut Builder) {
        match name {
            "HOME" if !self.reader.ground.knows(name) => builder.bare("~"),
            "PWD" if !self.reader.ground.knows(name) => {
                let here = self.reader.ground.directory.clone();
                builder.any_of(&[if here.is_empty() { ".".to_owned() } else { here }], true);
            }
            _ => builder.any_of(&self.reader.ground.values(name), quoted),
        }
    }

    fn substitution(
        &mut self,
        body: &StmtSeq,
        syntax: CommandSubstitutionSyntax,
        quoted: bool,
        builder: &mut Builder,
    ) {
        let before = self.reader.survey.commands.len();
        let printed = self.subshell(body, None);
        let ran = self.reader.survey.commands.get(before..).unwrap_or_default();
        let escaped = ran.iter().flat_map(|simple| &simple.words).any(|word| word.as_str().contains('`'));
        if syntax == CommandSubstitutionSyntax::Backtick && escaped {
            self.reader.unreadable("backquotes stand within backquotes");
        }
        builder.any_of(&[printed.as_str().trim_end_matches('\n').to_owned()], quoted);
    }

    fn parameter(&mut self, parameter: &ParameterExpansion, quoted: bool, builder: &mut Builder) {
        let ParameterExpansionSyntax::Bourne(syntax) = &parameter.syntax else {
            return builder.mark(VARIABLE);
        };
        match syntax {
            BourneParameterExpansion::Access { reference } if reference.subscript.is_none() => {
                return self.variable(reference.name.as_str(), quoted, builder);
            }
            BourneParameterExpansion::Operation { reference, operator, operand_word_ast, .. } => {
                let operand = operand_word_ast.as_deref().map(|word| join(&self.words(word)));
                self.subscript(reference);
                self.operator(operator);
                let mut values = self.reader.ground.values(reference.name.as_str());
                return match (operator.as_ref(), operand) {
                    (
                        ParameterOp::UseDefault | ParameterOp::AssignDefault | ParameterOp::UseReplacement,
                        Some(word),
                    ) => {
                        values.push(word.as_str().to_owned());
                        builder.any_of(&values, quoted);
                    }
                    _ => builder.mark(VARIABLE),
                };
            }
            BourneParameterExpansion::Indirect { reference, operator, operand_word_ast, .. } => {
                self.subscript(reference);
                operator.iter().for_each(|operator| self.operator(operator));
                operand_word_ast.iter().for_each(|word| drop(self.expand(word)));
            }
            BourneParameterExpansion::Slice { reference, offset_word_ast, length_word_ast, .. } => {
                self.subscript(reference);
                self.expand(offset_word_ast);
                length_word_ast.iter().for_each(|word| drop(self.expand(word)));
            }
            BourneParameterExpansion::Access { reference }
            | BourneParameterExpansion::Length { reference }
            | BourneParameterExpansion::Indices { reference }
            | BourneParameterExpansion::Transformation { reference, .. } => self.subscript(reference),
            BourneParameterExpansion::PrefixMatch { .. } => {}
        }
        builder.mark(VARIABLE);
    }

    /// Parts whose value is never known: what stands inside them is visited.
    fn other(&mut self, part: &WordPart) {
        match part {
            WordPart::ArithmeticExpansion { expression_ast, expression_word_ast, .. } => match expression_ast
            {
                Some(expression) => self.arithmetic(expression),
                None => drop(self.expand(expression_word_ast)),
            },
            WordPart::ParameterExpansion { reference, operator, operand_word_ast, .. } => {
                self.subscript(reference);
                self.operator(operator);
                operand_word_ast.iter().for_each(|word| drop(self.expand(word)));
            }
            WordPart::IndirectExpansion { reference, operator, operand_word_ast, .. } => {
                self.subscript(reference);
                operator.iter().for_each(|operator| self.operator(operator));
                operand_word_ast.iter().for_each(|word| drop(self.expand(word)));
            }
            WordPart::Substring { reference, offset_word_ast, length_word_ast, .. }
            | WordPart::ArraySlice { reference, offset_word_ast, length_word_ast, .. } => {
                self.subscript(reference);
                self.expand(offset_word_ast);
                length_word_ast.iter().for_each(|word| drop(self.expand(word)));
            }
            WordPart::Length(reference)
            | WordPart::ArrayAccess(reference)
            | WordPart::ArrayLength(reference)
            | WordPart::ArrayIndices(reference)
            | WordPart::Transformation { reference, .. } => self.subscript(reference),
            WordPart::ZshQualifiedGlob(_) => self.reader.unreadable("it holds a pattern of zsh"),
            _ => {}
        }
    }

    fn operator(&mut self, operator: &ParameterOp) {
        match operator {
            ParameterOp::RemovePrefixShort { pattern }
            | ParameterOp::RemovePrefixLong { pattern }
            | ParameterOp::RemoveSuffixShort { pattern }
            | ParameterOp::RemoveSuffixLong { pattern } => self.pattern(pattern),
            ParameterOp::ReplaceFirst { pattern, replacement_word_ast, .. }
            | ParameterOp::ReplaceAll { pattern, replacement_word_ast, .. } => {
                self.pattern(pattern);
                self.expand(replacement_word_ast);
            }
            _ => {}
        }
    }

    pub(super) fn pattern(&mut self, pattern: &Pattern) {
        for part in &pattern.parts {
            match &part.kind {
                PatternPart::Word(word) => drop(self.expand(word)),
                PatternPart::Group { patterns, .. } => patterns.iter().for_each(|inner| self.pattern(inner)),
                _ => {}
            }
        }
    }

    pub(super) fn subscript(&mut self, reference: &VarRef) {
        let Some(subscript) = &reference.subscript else { return };
        match (&subscript.arithmetic_ast, &subscript.word_ast) {
            (Some(expression), _) => self.arithmetic(expression),
            (None, Some(word)) => drop(self.expand(word)),
            (None, None) => {}
        }
    }

    /// The variable and its possible values. `stays`: it is set for the commands after it as well.
    pub(super) fn assignment(&mut self, assignment: &Assignment, stays: bool) -> Option<(String, Word)> {
        self.subscript(&assignment.target);
        let name = assignment.target.name.as_str().to_owned();
        match &assignment.value {
            AssignmentValue::Scalar(word) => {
                let mut builder = Builder::new();
                self.parts(&word.parts, true, &mut builder);
                let mut values: Vec<String> =
                    builder.finish(false).iter().map(|words| join(words).as_str().to_owned()).collect();
                let first = Word::new(values.first().cloned().unwrap_or_default());
                if assignment.append || assignment.target.subscript.is_some() {
                    values = vec![VARIABLE.to_string()];
                }
                if stays {
                    self.reader.ground.set(&name, &values);
                }
                Some((name, first))
            }
            AssignmentValue::Compound(array) => {
                for element in &array.elements {
                    if let ArrayElem::Keyed { key, .. } | ArrayElem::KeyedAppend { key, .. } = element {
                        key.word_ast.iter().for_each(|word| drop(self.expand(word)));
                    }
                    self.expand(&element.value().word);
                }
                None
            }
        }
    }

    pub(super) fn arithmetic(&mut self, node: &ArithmeticExprNode) {
        match &node.kind {
            ArithmeticExpr::Number(_) | ArithmeticExpr::Variable(_) => {}
            ArithmeticExpr::Indexed { index, .. } => self.arithmetic(index),
            ArithmeticExpr::ShellWord(word) => drop(self.expand(word)),
            ArithmeticExpr::Parenthesized { expression: inner }
            | ArithmeticExpr::Unary { expr: inner, .. }
            | ArithmeticExpr::Postfix { expr: inner, .. } => self.arithmetic(inner),
            ArithmeticExpr::Binary { right, .. } => {
                let mut left = node;
                let mut rights = vec![right];
                while let ArithmeticExpr::Binary { left: next, right, .. } = &left.kind {
                    rights.push(right);
                    left = next;
                }
                self.arithmetic(left);
                rights.into_iter().skip(1).for_each(|right| self.arithmetic(right));
            }
            ArithmeticExpr::Conditional { condition, then_expr, else_expr } => {
                [condition, then_expr, else_expr].into_iter().for_each(|part| self.arithmetic(part));
            }
            ArithmeticExpr::Assignment { target, value, .. } => {
                if let ArithmeticLvalue::Indexed { index, .. } = target {
                    self.arithmetic(index);
                }
                self.arithmetic(value);
            }
        }
    }

    /// `[[ … ]]`; a chain nests on the left.
    pub(super) fn condition(&mut self, expression: &ConditionalExpr) {
        let mut left = expression;
        while let ConditionalExpr::Binary(binary) = left {
            match binary.right.as_ref() {
                right @ ConditionalExpr::Binary(_) => self.condition(right),
                right => self.operand(right),
            }
            left = &binary.left;
        }
        self.operand(left);
    }

    fn operand(&mut self, expression: &ConditionalExpr) {
        match expression {
            ConditionalExpr::Binary(_) => self.condition(expression),
            ConditionalExpr::Unary(unary) => self.condition(&unary.expr),
            ConditionalExpr::Parenthesized(inner) => self.condition(&inner.expr),
            ConditionalExpr::Word(word) | ConditionalExpr::Regex(word) => drop(self.expand(word)),
            ConditionalExpr::Pattern(pattern) => self.pattern(pattern),
            ConditionalExpr::VarRef(reference) => self.subscript(reference),
        }
    }

    /// The text of a here-document.
    pub(super) fn document(&mut self, body: &HeredocBody) -> Word {
        let mut builder = Builder::new();
        for part in &body.parts {
            match &part.kind {
                HeredocBodyPart::Literal(text) if body.mode.expands() => {
                    builder.in_quotes(text.syntax_str(self.source, part.span));
                }
                HeredocBodyPart::Literal(text) => builder.verbatim(text.as_str(self.source, part.span)),
                HeredocBodyPart::Variable(name) => self.variable(name.as_str(), true, &mut builder),
                HeredocBodyPart::CommandSubstitution { body, syntax } => {
                    self.substitution(body, *syntax, true, &mut builder);
                }
                HeredocBodyPart::ArithmeticExpansion { expression_ast, expression_word_ast, .. } => {
                    match expression_ast {
                        Some(expression) => self.arithmetic(expression),
                        None => drop(self.expand(expression_word_ast)),
                    }
                    builder.mark(VARIABLE);
                }
                HeredocBodyPart::Parameter(parameter) => self.parameter(parameter, true, &mut builder),
            }
        }
        builder.finish(false).into_iter().flatten().next().unwrap_or_else(|| Word::of(OUTPUT))
    }
}
