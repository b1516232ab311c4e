//! What a command prints, when its arguments alone decide it: so `$(echo rm)` and `echo 'rm -rf /' | sh` hide nothing.

use super::{
    Simple,
    word::{FILE, OUTPUT, VARIABLE, Word, join},
};

/// The output of a command, or a mark.
pub(super) fn output(simple: &Simple) -> Word {
    let args = simple.args();
    let named = || args.iter().rfind(|word| !word.as_str().starts_with('-')).cloned();
    match simple.program() {
        "echo" => echo(args),
        "printf" => printf(args),
        "cat" => match (args.iter().any(|word| word.as_str() != "-"), &simple.input) {
            (true, _) => Word::of(FILE),
            (false, Some(input)) => input.clone(),
            (false, None) => Word::of(OUTPUT),
        },
        "which" => named().unwrap_or_else(|| Word::of(OUTPUT)),
        "command" | "type"
            if args.first().is_some_and(|flag| matches!(flag.as_str(), "-v" | "-p" | "-P")) =>
        {
            named().unwrap_or_else(|| Word::of(OUTPUT))
        }
        "mktemp" => Word::new(format!("/tmp/{VARIABLE}")),
        "pwd" => Word::new(if simple.directory.is_empty() { "." } else { &simple.directory }),
        "git" if args.iter().any(|word| word.as_str() == "--show-toplevel") => Word::new("."),
        _ => Word::of(OUTPUT),
    }
}

fn echo(args: &[Word]) -> Word {
    let flag = |word: &&Word| {
        let letters = word.as_str().strip_prefix('-').unwrap_or_default();
        !letters.is_empty() && letters.chars().all(|c| "neE".contains(c))
    };
    let flags = args.iter().take_while(flag).count();
    let escapes = args.iter().take(flags).any(|word| word.as_str().contains('e'));
    let text = join(args.get(flags..).unwrap_or_default());
    // dash's echo reads escapes without a flag.
    if escapes || text.as_str().contains('\\') { Word::new(unescape(text.as_str())) } else { text }
}

/// `%s`, `%b` and `%%` are understood; a format with another directive is not known.
fn printf(args: &[Word]) -> Word {
    let Some((format, values)) = args.split_first() else { return Word::of(OUTPUT) };
    let format = unescape(format.as_str());
    let mut values = values.iter();
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        match (c, (c == '%').then(|| chars.next()).flatten()) {
            ('%', Some('%')) => out.push('%'),
            ('%', Some('s')) => out.push_str(values.next().map_or("", Word::as_str)),
            ('%', Some('b')) => out.push_str(&unescape(values.next().map_or("", Word::as_str))),
            ('%', _) => return Word::of(OUTPUT),
            (plain, _) => out.push(plain),
        }
    }
    if values.next().is_some() { Word::of(OUTPUT) } else { Word::new(out) }
}

/// The escapes of `echo -e`: `\n`, `\t`, `\xHH`, `\NNN`.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    let digits = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>, radix: u32, most: usize| {
        let mut value = 0_u32;
        for _ in 0..most {
            let Some(digit) = chars.peek().and_then(|c| c.to_digit(radix)) else { break };
            value = value * radix + digit;
            chars.next();
        }
        char::from_u32(value).unwrap_or(VARIABLE)
    };
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.peek().copied() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('x') => {
                chars.next();
                out.push(digits(&mut chars, 16, 2));
                continue;
            }
            Some('0'..='7') => {
                out.push(digits(&mut chars, 8, 4));
                continue;
            }
            Some(other) => out.push(other),
            None => out.push('\\'),
        }
        chars.next();
    }
    out
}
