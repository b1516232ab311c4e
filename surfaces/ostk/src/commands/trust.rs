//! `ostk trust`: the operator's keys. Statements are signed here, with the operator's key; the kernel checks and
//! records them.

use std::process::ExitCode;

use libostk::CallOptions;
use ostk_kernel::{rotation_statement, vouching_statement};
use ostk_keys::{KeyStore, SigningKey};
use ostk_log::{KeyId, Signer as _, encode_hex};
use serde_json::{Value, json};

use super::Done;
use crate::{
    args::TrustAction,
    connect,
    failure::Failure,
    output::{Output, Paint},
    person,
};

pub(crate) fn trust(action: &TrustAction, output: &Output) -> Done {
    match action {
        TrustAction::List => list(output),
        TrustAction::Sign { key } => sign(key, output),
        TrustAction::Rotate => rotate(output),
        TrustAction::Revoke { key, reason } => revoke(key, reason.as_deref(), output),
    }
}

fn store() -> Result<KeyStore, Failure> {
    let dir = KeyStore::default_dir(|name| std::env::var_os(name)).map_err(Failure::hinted)?;
    KeyStore::open(dir).map_err(Failure::hinted)
}

fn call(verb: &str, args: &Value) -> Result<Value, Failure> {
    let mut client = connect::operator(&connect::project()?)?;
    Ok(client.call(verb, args, &CallOptions::default())?)
}

fn signature(key: &SigningKey, statement: &str) -> String {
    encode_hex(&key.sign(statement.as_bytes()))
}

fn parsed(key: &str) -> Result<KeyId, Failure> {
    key.parse().map_err(|error: ostk_log::KeyIdError| Failure::usage(error).hint("ostk trust list"))
}

fn list(output: &Output) -> Done {
    let own = store()?.existing_operator_key().map_err(Failure::hinted)?.map(|key| key.key_id().to_string());
    let mut value = call("trust.list", &json!({}))?;
    value["own"] = json!(own);
    output.show(&value, |output| {
        let row = |row: &Value| {
            let key = row["key"].as_str().unwrap_or_default().to_owned();
            let mine = if Some(&key) == own.as_ref() { "yours" } else { "" };
            let record = row["since"].as_u64().or(row["seq"].as_u64()).unwrap_or_default();
            vec![
                key,
                row["state"].as_str().unwrap_or_default().replace('_', " "),
                record.to_string(),
                mine.to_owned(),
            ]
        };
        let rows: Vec<_> = value["keys"].as_array().into_iter().flatten().map(row).collect();
        let own = own.as_deref().unwrap_or("none yet; ostk sign makes one");
        format!("your key: {own}\n{}", output.table(&["KEY", "STATE", "RECORD", ""], &rows))
    });
    Ok(ExitCode::SUCCESS)
}

fn sign(key: &str, output: &Output) -> Done {
    person::not_contained("trust sign")?;
    let (key, own) = (parsed(key)?, store()?.operator_key().map_err(Failure::hinted)?);
    let by = *own.key_id();
    let statement = vouching_statement(&by, &key);
    let args = json!({ "key": key, "by": by, "signature": signature(&own, &statement) });
    let seq = call("trust.sign", &args)?["seq"].clone();
    done(output, &json!({ "key": key, "by": by, "seq": seq }), &format!("{key} is in force, by {by}"))
}

fn rotate(output: &Output) -> Done {
    person::not_contained("trust rotate")?;
    let store = store()?;
    let old = store.operator_key().map_err(Failure::hinted)?;
    // Kept until it is in place, so that a rotation that was cut off goes on with the same key.
    let next = store.next_operator_key().map_err(Failure::hinted)?;
    let (from, to) = (*old.key_id(), *next.key_id());
    let statement = rotation_statement(&from, &to);
    let seq = call(
        "trust.rotate",
        &json!({ "old": from, "new": to, "signature": signature(&old, &statement) }),
    )?["seq"]
        .clone();
    store.rotate_operator_key().map_err(Failure::hinted)?;
    let text = format!("{to} takes the place of {from}; what that one signed stays valid");
    done(output, &json!({ "old": from, "new": to, "seq": seq }), &text)
}

fn revoke(key: &str, reason: Option<&str>, output: &Output) -> Done {
    person::not_contained("trust revoke")?;
    let (key, store) = (parsed(key)?, store()?);
    if store.instance_key().map_err(Failure::hinted)?.key_id() == &key {
        let file = store.dir().join(ostk_keys::SIGNING_KEY_FILE);
        let what = format!("{key} is the key by which this machine signs its records");
        return Err(Failure::check(what).hint(format!(
            "ostk shutdown; move {} away; the next start makes another key: then revoke this one",
            file.display()
        )));
    }
    let seq =
        call("trust.revoke", &json!({ "key": key, "reason": reason.unwrap_or_default() }))?["seq"].clone();
    done(output, &json!({ "key": key, "seq": seq }), &format!("{key} is revoked"))
}

fn done(output: &Output, value: &Value, text: &str) -> Done {
    output.show(value, |output| format!("{} {text}", output.paint(Paint::Green, "✓")));
    Ok(ExitCode::SUCCESS)
}
