//! Prints how long a scan takes in a tree of 10,000 files: the first one, one without changes, one with ten.
//!
//! `cargo run --release -p ostk-files --example scan_speed [DIRECTORY]`; without a directory, a temporary tree of
//! 10,000 files of 4 KiB in 500 directories is made.

use std::{error::Error, fs, path::Path, time::Instant};

use ostk_files::{Scanner, Workspace};

fn main() -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir()?;
    let given = std::env::args().nth(1);
    let root = match &given {
        Some(root) => root.as_str(),
        None => {
            make_tree(temporary.path())?;
            temporary.path().to_str().ok_or("the temporary directory is not UTF-8")?
        }
    };
    let mut scanner = Scanner::new(Workspace::open(root)?);
    report("baseline", || scanner.baseline())?;
    // What was written a moment ago is read again until its time stamp is old enough to be trusted.
    std::thread::sleep(std::time::Duration::from_millis(100));
    report("settling", || scanner.scan())?;
    for _ in 0..3 {
        report("unchanged", || scanner.scan())?;
    }
    if given.is_none() {
        for n in 0..10 {
            fs::write(temporary.path().join(format!("dir{n}/file0")), "edited")?;
        }
        report("10 edits", || scanner.scan())?;
    }
    Ok(())
}

fn make_tree(root: &Path) -> std::io::Result<()> {
    fs::write(root.join(".gitignore"), "target/\n*.o\n*.log\nnode_modules/\n")?;
    for directory in 0..500 {
        let path = root.join(format!("dir{directory}"));
        fs::create_dir(&path)?;
        for file in 0..20 {
            fs::write(path.join(format!("file{file}")), vec![b'x'; 4096])?;
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example that prints is what this is")]
fn report(
    what: &str,
    scan: impl FnOnce() -> Result<ostk_files::Scan, ostk_files::FilesError>,
) -> Result<(), ostk_files::FilesError> {
    let began = Instant::now();
    let found = scan()?;
    println!("{what:>10}: {:7.2?}, {} changes", began.elapsed(), found.changes.len());
    Ok(())
}
