//! Invented file histories from a seed: a base and two edited versions. Random ones draw lines from a small alphabet, so
//! that nearly every alignment is ambiguous; source-like ones are functions with braces, blank lines and repeated calls.

/// xorshift64*: enough for tests, the same everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit.max(1)
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

pub(crate) struct History {
    pub(crate) base: Vec<u8>,
    pub(crate) current: Vec<u8>,
    pub(crate) proposed: Vec<u8>,
}

type File = Vec<String>;

/// Up to 60 lines out of 2 to 12 different ones; several edits on each side, anywhere.
pub(crate) fn random(seed: u64) -> History {
    let mut random = Random::new(seed);
    let alphabet = 2 + random.below(11);
    let line = |random: &mut Random| format!("{}\n", "abcdefghijkl".get(random.below(alphabet)..).unwrap());
    let base: File = (0..random.below(60)).map(|_| line(&mut random)).collect();
    let (current, proposed) = (edited(&base, &mut random, &line), edited(&base, &mut random, &line));
    history(&mut random, base, current, proposed)
}

/// 10 to 30 functions; one to four edits on each side, each within a function or of a whole function.
pub(crate) fn source_like(seed: u64) -> History {
    let mut random = Random::new(seed ^ 0xC0FFEE);
    let functions = 10 + random.below(21);
    let base: File = (0..functions).flat_map(|number| function(number, &mut random)).collect();
    let mut fresh = 1000;
    let mut current = base.clone();
    let mut proposed = base.clone();
    let both = random.chance(20);
    for _ in 0..1 + random.below(4) {
        source_edit(&mut current, &mut random, &mut fresh);
        if both && current.len() == base.len() {
            proposed = current.clone();
        }
    }
    for _ in 0..1 + random.below(4) {
        source_edit(&mut proposed, &mut random, &mut fresh);
    }
    history(&mut random, base, current, proposed)
}

/// Up to 3,000 lines of which one side shuffles a long stretch, so that the shortest edit script is too long to search
/// for; the other side makes a few small edits anywhere.
pub(crate) fn rewritten(seed: u64) -> History {
    let mut random = Random::new(seed ^ 0xBEEF);
    let (lines, distinct) = (1000 + random.below(2000), 20 + random.below(1500));
    let line = |random: &mut Random| format!("line {}\n", random.below(distinct));
    let base: File = (0..lines).map(|_| line(&mut random)).collect();
    let mut current = base.clone();
    let start = random.below(lines / 2);
    let end = start + lines / 4 + random.below(lines / 4);
    for at in start..end {
        let to = start + random.below(end - start);
        current.swap(at, to);
    }
    let proposed = edited(&base, &mut random, &line);
    if random.chance(50) {
        return history(&mut random, base, proposed, current);
    }
    history(&mut random, base, current, proposed)
}

fn history(random: &mut Random, base: File, current: File, proposed: File) -> History {
    let crlf = random.chance(10);
    let mut bytes = |file: File| {
        let mut text = file.concat();
        if random.chance(10) && text.ends_with('\n') {
            text.pop();
        }
        if crlf { text.replace('\n', "\r\n").into_bytes() } else { text.into_bytes() }
    };
    History { base: bytes(base), current: bytes(current), proposed: bytes(proposed) }
}

fn edited(base: &File, random: &mut Random, line: &impl Fn(&mut Random) -> String) -> File {
    let mut file = base.clone();
    for _ in 0..random.below(5) {
        let at = random.below(file.len() + 1);
        let end = (at + random.below(4)).min(file.len());
        let new: File = (0..random.below(4)).map(|_| line(random)).collect();
        match random.below(5) {
            0 => drop(file.drain(at..end)),
            1 => drop(file.splice(at..at, new)),
            2 => {
                let moved: File = file.drain(at..end).collect();
                let to = random.below(file.len() + 1);
                file.splice(to..to, moved);
            }
            _ => drop(file.splice(at..end, new)),
        }
    }
    file
}

const BODY: [&str; 6] = [
    "    let value = read(input)?;\n",
    "    if value.is_empty() {\n",
    "        return Ok(());\n",
    "    }\n",
    "    log(value);\n",
    "\n",
];

fn function(number: usize, random: &mut Random) -> File {
    let mut lines = vec![format!("fn step_{number}(input: &str) -> Result<()> {{\n")];
    for _ in 0..2 + random.below(8) {
        let own = random.chance(40);
        lines.push(if own {
            format!("    call_{}_{}();\n", number, random.below(50))
        } else {
            BODY[random.below(6)].to_owned()
        });
    }
    lines.extend(["    Ok(())\n".to_owned(), "}\n".to_owned(), "\n".to_owned()]);
    lines
}

fn source_edit(file: &mut File, random: &mut Random, fresh: &mut usize) {
    *fresh += 1;
    let at = random.below(file.len());
    match random.below(10) {
        0..4 => file[at] = format!("    changed_{fresh}();\n"),
        4..6 => file.insert(at, format!("    added_{fresh}();\n")),
        6 => file.insert(at, BODY[random.below(6)].to_owned()),
        7 => drop(file.remove(at)),
        8 => {
            let start = file
                .iter()
                .skip(at)
                .position(|line| line.starts_with("fn"))
                .map_or(file.len(), |skip| at + skip);
            let lines = function(*fresh, random);
            file.splice(start..start, lines);
        }
        _ => {
            let start =
                file.iter().skip(at).position(|line| line.starts_with("fn")).map_or(0, |skip| at + skip);
            let length = file.iter().skip(start).position(|line| line == "}\n").map_or(1, |skip| skip + 2);
            let end = (start + length).min(file.len());
            let moved: File = file.drain(start..end).collect();
            if random.chance(50) {
                let to = file.iter().position(|line| line.starts_with("fn")).unwrap_or(0);
                file.splice(to..to, moved);
            }
            if file.is_empty() {
                file.push("\n".to_owned());
            }
        }
    }
}
