//! Somebody with an editor: changes files behind the daemon's back, by writing a draft beside the file and renaming it.
//!
//! On files of its own it does as it likes. On the reserved shared files it takes the same turn as the clients, so that
//! it never replaces bytes that it has not read: an editor that does is not something a kernel can mend.

use std::{
    fs, io,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use crate::{
    ledger::{Answer, Deed, Line, marker},
    rng::Rng,
    turns::Turns,
};

/// Files of its own.
const OWN_FILES: usize = 4;

/// Edits until `over` is set; returns what it did.
pub(crate) fn edit(root: &Path, turns: &Turns, over: &AtomicBool, mut rng: Rng) -> io::Result<Vec<Deed>> {
    let mut deeds = Vec::new();
    let mut number = 0;
    while !over.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(5 + rng.next() % 40));
        number += 1;
        let reserved = turns.reserved();
        let path = match rng.pick(reserved).filter(|_| number % 2 == 0) {
            Some(path) => path.clone(),
            None => format!("outside/o{}.txt", rng.below(OWN_FILES)),
        };
        let line = Line { path: path.clone(), text: marker("outside", number) };
        {
            let _turn = turns.take(&path)?;
            insert(&root.join(&path), &line.text, &mut rng)?;
        }
        deeds.push(Deed {
            key: format!("outside-{number}"),
            who: "outside".to_owned(),
            verb: "outside".to_owned(),
            adds: vec![line],
            removes: Vec::new(),
            answer: Answer::Done(None),
        });
    }
    Ok(deeds)
}

fn insert(file: &Path, line: &str, rng: &mut Rng) -> io::Result<()> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        other => other?,
    };
    let mut lines: Vec<&str> = text.lines().collect();
    lines.insert(rng.below(lines.len() + 1), line);
    let draft = file.with_extension("draft");
    fs::write(&draft, format!("{}\n", lines.join("\n")))?;
    fs::rename(draft, file)
}
