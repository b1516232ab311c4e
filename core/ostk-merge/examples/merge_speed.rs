//! Prints how long merges take on this machine: `cargo run --release -p ostk-merge --example merge_speed`.
//! The files are invented source of 1,000 lines (and one of 20,000); each figure is the median of many runs.

#![allow(clippy::print_stdout, reason = "it is what this program is for")]

use std::hint::black_box;
use std::time::Instant;

use ostk_merge::{Outcome, merge};

fn main() {
    let base = source(1000);
    let one = |line| replaced(&base, &[line]);
    let every = |from: usize, step: usize| replaced(&base, &(from..1000).step_by(step).collect::<Vec<_>>());
    report("1,000 lines, one edit each, far apart", &base, &one(100), &one(900));
    report("1,000 lines, one edit each, at both ends", &base, &one(0), &one(999));
    report("1,000 lines, edits 3 lines apart", &base, &one(500), &one(503));
    report("1,000 lines, the same line", &base, &one(500), &replaced_with(&base, &[500], "other"));
    report("1,000 lines, 15 and 16 edits, interleaved", &base, &every(10, 66), &every(43, 63));
    report("1,000 lines, 50 edits each, interleaved", &base, &every(0, 20), &every(10, 20));
    // 31 writers edit the same file from the same base, one after the other.
    let mut current = one(0);
    let mut total = 0.0;
    for writer in 1..31 {
        let proposed = one(writer * 32);
        total += median_us(&base, &current, &proposed);
        if let Outcome::Clean { bytes, .. } = merge(&base.concat().into_bytes(), &current, &proposed) {
            current = bytes;
        }
    }
    println!("{:>9.1} µs  1,000 lines, 31 writers of one base: all 30 merges together", total);
    let large = source(20_000);
    report(
        "20,000 lines, one edit each, far apart",
        &large,
        &replaced(&large, &[100]),
        &replaced(&large, &[19_000]),
    );
}

fn source(lines: usize) -> Vec<String> {
    let line = |number: usize| match number % 10 {
        0 => format!("fn step_{number}(input: &str) -> Result<Value> {{\n"),
        8 => "}\n".to_owned(),
        9 => "\n".to_owned(),
        _ => format!("    let value_{number} = transform(input, {number})?;\n"),
    };
    (0..lines).map(line).collect()
}

fn replaced(base: &[String], lines: &[usize]) -> Vec<u8> {
    replaced_with(base, lines, "changed")
}

fn replaced_with(base: &[String], lines: &[usize], word: &str) -> Vec<u8> {
    let line = |(number, line): (usize, &String)| match lines.contains(&number) {
        true => format!("    {word}({number});\n"),
        false => line.clone(),
    };
    base.iter().enumerate().map(line).collect::<String>().into_bytes()
}

fn report(name: &str, base: &[String], current: &[u8], proposed: &[u8]) {
    let base = base.concat().into_bytes();
    let kind = match merge(&base, current, proposed) {
        Outcome::Unchanged => "unchanged",
        Outcome::Clean { .. } => "clean",
        Outcome::Assisted { .. } => "assisted",
        Outcome::Manual { .. } => "manual",
    };
    println!("{:>9.1} µs  {name}: {kind}", timed(&base, current, proposed));
}

fn median_us(base: &[String], current: &[u8], proposed: &[u8]) -> f64 {
    timed(&base.concat().into_bytes(), current, proposed)
}

fn timed(base: &[u8], current: &[u8], proposed: &[u8]) -> f64 {
    let mut times: Vec<f64> = (0..301)
        .map(|_| {
            let start = Instant::now();
            black_box(merge(black_box(base), black_box(current), black_box(proposed)));
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times.get(150).copied().unwrap_or_default()
}
