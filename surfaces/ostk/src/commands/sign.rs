//! `ostk sign`: sign governing documents with the operator's key or with gpg, and check the signatures that are there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use ostk_daemon::{Signature, SignedDocument, Trust};
use ostk_keys::{KeyStore, openpgp::sign_with_gpg};
use ostk_log::DocumentStatement;
use serde_json::{Value, json};

use super::Done;
use crate::{
    args::Sign,
    connect,
    failure::Failure,
    output::{Output, Paint},
    person,
};

/// A document is shorter.
const MAX_DOCUMENT_BYTES: u64 = 1 << 20;

pub(crate) fn sign(args: &Sign, output: &Output) -> Done {
    let project = connect::project()?;
    if args.verify {
        return verify(&project.state_dir(), &args.files, output);
    }
    person::not_contained("sign")?;
    let mut signed = Vec::new();
    for file in &args.files {
        let (file, name) = within(project.root(), file)?;
        signed.push(match (args.gpg, args.here) {
            (true, _) => with_gpg(&file)?,
            (_, true) => on_this_machine(&file, &name)?,
            _ => with_key(&file, &name)?,
        });
    }
    output.show(&json!({ "signed": signed }), |output| {
        let line = |made: &Value| {
            format!("{} {} by {}", output.paint(Paint::Green, "✓"), text(made, "signature"), text(made, "by"))
        };
        signed.iter().map(line).collect::<Vec<_>>().join("\n")
    });
    Ok(ExitCode::SUCCESS)
}

/// The file with its links resolved, and its name from the repository's root.
fn within(root: &Path, file: &Path) -> Result<(PathBuf, String), Failure> {
    let named = |error| Failure::check(format!("{}: {error}", file.display()));
    let whole = fs::canonicalize(file).map_err(named)?;
    let size = fs::metadata(&whole).map_err(named)?;
    if !size.is_file() || size.len() > MAX_DOCUMENT_BYTES {
        return Err(Failure::usage(format!("{} is no file of at most 1 MiB", file.display())));
    }
    let root = fs::canonicalize(root).map_err(named)?;
    let name = whole.strip_prefix(&root).ok().and_then(Path::to_str).map(str::to_owned);
    let name =
        name.ok_or_else(|| Failure::usage(format!("{} is not in {}", file.display(), root.display())))?;
    Ok((whole, name))
}

/// Signs the document `name` (from the repository's root), which is in `file`, with the operator's key.
pub(crate) fn with_key(file: &Path, name: &str) -> Result<Value, Failure> {
    let (note, by, _) = note(file, name)?;
    let made = written(file, "sig", note.as_bytes())?;
    Ok(json!({ "document": name, "signature": made, "by": by }))
}

/// Accepts the document without touching the signature of whoever else signed it.
fn on_this_machine(file: &Path, name: &str) -> Result<Value, Failure> {
    let (note, by, keys) = note(file, name)?;
    let made = ostk_daemon::acceptance_file(keys.dir(), file);
    if let Some(dir) = made.parent() {
        fs::create_dir_all(dir)?;
    }
    let draft = made.with_extension(format!("new-{}", std::process::id()));
    fs::write(&draft, note)?;
    fs::rename(&draft, &made)?;
    Ok(json!({ "document": name, "signature": made, "by": by }))
}

/// The signature of a document by the operator's key, that key, and the place of keys.
fn note(file: &Path, name: &str) -> Result<(String, String, KeyStore), Failure> {
    let dir = KeyStore::default_dir(|name| std::env::var_os(name)).map_err(Failure::check)?;
    let store = KeyStore::open(dir).map_err(Failure::check)?;
    let key = store.operator_key().map_err(Failure::check)?;
    let note = DocumentStatement::sign(name, &fs::read(file)?, ostk_daemon::signing_time(), &key);
    Ok((note.map_err(Failure::check)?, ostk_log::Signer::key_id(&key).to_string(), store))
}

fn with_gpg(file: &Path) -> Result<Value, Failure> {
    let documents = ostk_daemon::read_documents(&connect::project()?.state_dir());
    let layers = (documents.global_humanfile.as_deref(), documents.humanfile.as_deref());
    let key = ostk_policy::Humanfile::layered(layers.0, layers.1).ok().and_then(|humanfile| humanfile.sign());
    let signature = sign_with_gpg(file, key.as_deref(), None).map_err(Failure::hinted)?;
    let made = written(file, "asc", &signature)?;
    let by = key.unwrap_or_else(|| "gpg's default key".to_owned());
    Ok(json!({ "document": file, "signature": made, "by": by }))
}

/// Writes the signature beside the file, whole or not at all.
fn written(file: &Path, end: &str, bytes: &[u8]) -> Result<PathBuf, Failure> {
    let beside = |end: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(format!(".{end}"));
        PathBuf::from(name)
    };
    let (made, draft) = (beside(end), beside(&format!("{end}.new-{}", std::process::id())));
    fs::write(&draft, bytes)?;
    fs::rename(&draft, &made)?;
    Ok(made)
}

fn verify(state_dir: &Path, files: &[PathBuf], output: &Output) -> Done {
    let trust = look(state_dir)?;
    let wanted = |document: &&SignedDocument| {
        files.is_empty()
            || files
                .iter()
                .any(|file| Path::new(&document.path).ends_with(file) || file.ends_with(&document.path))
    };
    let documents: Vec<&SignedDocument> = trust.documents.iter().filter(wanted).collect();
    if documents.len() < files.len() {
        return Err(
            Failure::usage("some of these are no governing documents").hint("ostk sign --verify lists them")
        );
    }
    let refused: Vec<String> = trust.refusals().into_iter().map(|(path, _)| path).collect();
    let good = documents.iter().all(|document| !refused.contains(&document.path));
    let rows: Vec<Value> = documents.iter().map(|document| to_json(document)).collect();
    output.show(&json!({ "ok": good, "documents": rows }), |output| {
        let accepted =
            |document: &SignedDocument| if document.accepted { "accepted" } else { "only narrows" };
        let row = |document: &&SignedDocument| {
            vec![document.path.clone(), accepted(document).to_owned(), words(&document.signature)]
        };
        let table =
            output.table(&["DOCUMENT", "HERE", "SIGNATURE"], &documents.iter().map(row).collect::<Vec<_>>());
        trust.problem().filter(|_| !good).map_or(table.clone(), |problem| format!("{table}\n{problem}"))
    });
    // 5 is the exit code of what is not to be trusted.
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(5) })
}

/// What is known of the project's trust.
pub(crate) fn look(state_dir: &Path) -> Result<Trust, Failure> {
    let known = super::health::keys_of_log(state_dir);
    ostk_daemon::look_at_trust(state_dir, &known).map_err(Failure::hinted)
}

/// A document as JSON.
pub(crate) fn to_json(document: &SignedDocument) -> Value {
    let (state, detail) = match &document.signature {
        Signature::None => ("unsigned", None),
        Signature::Known(key) => ("signed", Some(key)),
        Signature::Unproven(why) => ("unproven", Some(why)),
        Signature::Broken(why) => ("broken", Some(why)),
    };
    json!({ "path": document.path, "state": state, "detail": detail, "accepted": document.accepted })
}

/// A signature in words.
pub(crate) fn words(signature: &Signature) -> String {
    match signature {
        Signature::None => "not signed".to_owned(),
        Signature::Known(key) => format!("signed by {key}"),
        Signature::Unproven(why) => why.clone(),
        Signature::Broken(why) => format!("BROKEN: {why}"),
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}
