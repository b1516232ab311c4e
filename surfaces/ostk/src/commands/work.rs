//! The work system: `hay`, `work`, `compile`, `compounds`, `decide`. Each is a system call, shown as a person reads it.

use std::{
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use libostk::CallOptions;
use serde_json::{Value, json};

use super::{
    Done,
    inspect::ask,
    members::{given, insert, millis, table, text},
};
use crate::{
    args::{Add, Close, Compile, Compounds, Decide, Edit, Filter, Hay, Lease, Next, Which, WorkAction},
    connect,
    failure::Failure,
    git::git,
    output::{Output, Paint},
};

/// How long closing a needle may take: sixteen commands of an hour each.
const CLOSING: Duration = Duration::from_secs(16 * 3_600);

pub(crate) fn hay(args: &Hay, output: &Output) -> Done {
    if args.list {
        let hay = ask("hay.list", &json!({}))?["hay"].take();
        output.show(&hay, |output| {
            let row =
                |straw: &Value| vec![straw["straw"].to_string(), text(straw, "by"), text(straw, "text")];
            table(output, &hay, &["STRAW", "BY", "THOUGHT"], row, "no thoughts; file one: ostk hay TEXT")
        });
        return Ok(ExitCode::SUCCESS);
    }
    let filed = ask("hay", &given(json!({ "text": args.text.join(" ") }), &[("source", &args.source)]))?;
    output.show(&filed, |_| format!("filed as straw {}", filed["straw"]));
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn work(action: &WorkAction, output: &Output) -> Done {
    match action {
        WorkAction::Add(args) => add(args, output),
        WorkAction::List(args) => list(args, output),
        WorkAction::Show { id } => show(id, output),
        WorkAction::Next(args) => next(args, output),
        WorkAction::Claim { id, lease } => {
            let mut call = json!({ "id": id });
            lend(&mut call, lease);
            changed("work.claim", &call, "claimed", output)
        }
        WorkAction::Release { id, reason } => {
            let call = given(json!({ "id": id }), &[("reason", reason)]);
            changed("work.release", &call, "released", output)
        }
        WorkAction::Close(args) => close(args, output),
        WorkAction::Edit(args) => edit(args, output),
        WorkAction::Link { id, kind, other, remove } => {
            let call = json!({ "id": id, "kind": kind, "other": other, "remove": remove });
            changed("work.link", &call, if *remove { "untied" } else { "tied" }, output)
        }
    }
}

/// A needle in full; also what `ostk show →7` does.
pub(crate) fn show(id: &str, output: &Output) -> Done {
    let needle = ask("work.show", &json!({ "id": id }))?["needle"].take();
    output.show(&needle, |output| whole(output, &needle));
    Ok(ExitCode::SUCCESS)
}

fn add(args: &Add, output: &Output) -> Done {
    let mut call = given(
        json!({}),
        &[
            ("title", &args.title),
            ("priority", &args.priority),
            ("description", &args.description),
            ("milestone", &args.milestone),
        ],
    );
    lists(
        &mut call,
        &[
            ("ac", &args.ac),
            ("tags", &args.tags),
            ("depends_on", &args.depends_on),
            ("blocks", &args.blocks),
            ("hay", &args.hay),
        ],
    );
    if args.no_ac {
        call["ac"] = json!([]);
    }
    changed("work.add", &call, "added", output)
}

fn edit(args: &Edit, output: &Output) -> Done {
    let mut call = given(
        json!({ "id": args.id }),
        &[
            ("title", &args.title),
            ("priority", &args.priority),
            ("status", &args.status),
            ("description", &args.description),
            ("milestone", &args.milestone),
        ],
    );
    lists(&mut call, &[("ac", &args.ac), ("tags", &args.tags)]);
    if args.no_ac {
        call["ac"] = json!([]);
    }
    if call.as_object().is_some_and(|members| members.len() == 1) {
        return Err(Failure::usage("nothing is to be changed").hint("ostk work edit ID --priority P0"));
    }
    changed("work.edit", &call, "changed", output)
}

/// A call that changes one needle, and the line that says so.
fn changed(verb: &str, call: &Value, how: &str, output: &Output) -> Done {
    let result = ask(verb, call)?;
    output.show(&result, |output| format!("{how} {}", line(output, &result["needle"])));
    Ok(ExitCode::SUCCESS)
}

fn asked_of(which: &Which) -> Value {
    let Which { priority, tag, milestone } = which;
    given(json!({}), &[("priority", priority), ("tag", tag), ("milestone", milestone)])
}

fn list(args: &Filter, output: &Output) -> Done {
    let mut call = asked_of(&args.which);
    insert(&mut call, "status", args.status.as_deref());
    call["all"] = json!(args.all);
    insert(&mut call, "limit", args.limit);
    let found = ask("work.list", &call)?;
    output.show(&found, |output| {
        let row = |needle: &Value| {
            let state = match (needle["status"].as_str(), needle["holder"].as_str()) {
                (_, Some(holder)) => format!("with {holder}"),
                (Some("open"), _) if needle["blocked_by"] != json!([]) => {
                    format!("waits for {}", words(needle, "blocked_by"))
                }
                (status, _) => status.unwrap_or("").to_owned(),
            };
            vec![text(needle, "id"), text(needle, "priority"), state, text(needle, "title")]
        };
        let head = ["ID", "PRIORITY", "STATUS", "TITLE"];
        let mut shown =
            table(output, &found["needles"], &head, row, "no needles; add one: ostk work add --help");
        if let Some(more) = found["more"].as_u64().filter(|more| *more > 0) {
            shown.push_str(&format!("\n{more} more: --limit {}", more + 200));
        }
        shown
    });
    Ok(ExitCode::SUCCESS)
}

fn next(args: &Next, output: &Output) -> Done {
    let mut call = asked_of(&args.which);
    call["peek"] = json!(args.peek);
    lend(&mut call, &args.lease);
    let found = ask("work.next", &call)?;
    output.show(&found, |output| match found["needle"].is_null() {
        true => "nothing can be begun now: what is open is claimed, shelved, or waits for other needles"
            .to_owned(),
        false => whole(output, &found["needle"]),
    });
    Ok(if found["needle"].is_null() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn close(args: &Close, output: &Output) -> Done {
    let project = connect::project()?;
    // A repository without a commit has no HEAD.
    let head =
        git(project.root(), &["rev-parse", "--verify", "-q", "HEAD"]).ok().map(|head| head.trim().to_owned());
    let mut call = given(json!({ "id": args.id }), &[("reason", &args.reason), ("commit", &head)]);
    call["force"] = json!(args.force);
    insert(&mut call, "timeout_ms", args.timeout.map(millis));
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let options = CallOptions {
        // Whoever interrupts this program ends the command with it.
        idempotency: Some(format!("close/{}/{since}", std::process::id())),
        timeout: Some(CLOSING),
        tied: true,
    };
    let closed = connect::operator(&project)?.call("work.close", &call, &options)?;
    output.show(&closed, |output| {
        let id = text(&closed, "id");
        match (closed["forced"] == true, closed["ac_result"].as_str()) {
            (false, _) => format!("{} {id}: its acceptance passed", output.paint(Paint::Green, "closed")),
            (true, Some(_)) => format!(
                "{} {id} by force: its acceptance did not pass",
                output.paint(Paint::Yellow, "closed")
            ),
            (true, None) => format!(
                "{} {id} by force: it has no acceptance command",
                output.paint(Paint::Yellow, "closed")
            ),
        }
    });
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn compile(args: &Compile, output: &Output) -> Done {
    let found = ask("work.compile", &json!({ "dry_run": args.dry_run }))?;
    output.show(&found, |output| compiled(output, &found, args.dry_run));
    Ok(ExitCode::SUCCESS)
}

fn compiled(output: &Output, found: &Value, dry_run: bool) -> String {
    let rows = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut lines = Vec::new();
    for cluster in rows(&found["clusters"]) {
        let sphere =
            cluster["sphere"].as_str().map(|point| format!(", as the sphere of {point}")).unwrap_or_default();
        lines.push(format!(
            "cluster {}: {} straws{sphere}",
            text(&cluster, "label"),
            rows(&cluster["straws"]).len()
        ));
    }
    let edges = &found["edges"];
    for (name, word) in [("depends_on", "depends on"), ("related", "is related to")] {
        for pair in rows(&edges[name]) {
            let end = |at: usize| pair[at].as_str().unwrap_or("").to_owned();
            lines.push(format!("edge {} {word} {}", end(0), end(1)));
        }
    }
    for pair in rows(&found["circles"]) {
        let what = format!(
            "{} depends on {} would close a circle",
            pair[0].as_str().unwrap_or(""),
            pair[1].as_str().unwrap_or("")
        );
        lines.push(output.paint(Paint::Yellow, &what));
    }
    for sphere in rows(&found["spheres"]) {
        let count = rows(&sphere["needles"]).len();
        lines.push(format!(
            "sphere of {}: {count} needles, degree {}, radius {}",
            text(&sphere, "point"),
            sphere["degree"],
            sphere["radius"]
        ));
    }
    for straw in rows(&found["candidates"]) {
        lines.push(format!("straw {} reads as tack: {}", straw["straw"], text(&straw, "text")));
    }
    let new = rows(&edges["depends_on"]).len() + rows(&edges["related"]).len();
    let made = if dry_run { "would be tied" } else { "tied" };
    lines.push(format!("{new} edges {made}, {} were there", found["existing"]));
    lines.join("\n")
}

pub(crate) fn compounds(args: &Compounds, output: &Output) -> Done {
    let mut call = json!({});
    insert(&mut call, "limit", args.limit);
    let ranked = ask("work.compounds", &call)?["compounds"].take();
    output.show(&ranked, |output| {
        let row = |found: &Value| {
            let count = |name: &str| found[name].to_string();
            vec![
                text(found, "id"),
                text(found, "priority"),
                count("score"),
                count("direct"),
                count("transitive"),
                text(found, "title"),
            ]
        };
        let head = ["ID", "PRIORITY", "SCORE", "DIRECT", "ALL", "TITLE"];
        table(output, &ranked, &head, row, "no needle waits for another")
    });
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn decide(args: &Decide, output: &Output) -> Done {
    if args.list {
        let made = ask("decision.list", &json!({}))?["decisions"].take();
        output.show(&made, |output| {
            let row = |made: &Value| ["key", "value", "by", "reason"].map(|name| text(made, name)).to_vec();
            table(output, &made, &["KEY", "DECISION", "BY", "WHY"], row, "nothing was decided yet")
        });
        return Ok(ExitCode::SUCCESS);
    }
    let call = given(json!({}), &[("key", &args.key), ("value", &args.value), ("reason", &args.reason)]);
    let made = ask("decide", &call)?;
    output.show(&made, |_| format!("decided {} as record {}", text(&made, "key"), made["seq"]));
    Ok(ExitCode::SUCCESS)
}

/// `→007 [P1] Retry uploads`.
fn line(output: &Output, needle: &Value) -> String {
    let id = output.paint(Paint::Yellow, &text(needle, "id"));
    format!("{id}: {} [{}]", text(needle, "title"), text(needle, "priority"))
}

/// Everything about a needle that is not empty.
fn whole(output: &Output, needle: &Value) -> String {
    let mut lines = vec![line(output, needle)];
    let names = [
        "status",
        "holder",
        "until",
        "blocked_by",
        "depends_on",
        "blocks",
        "related",
        "tags",
        "milestone",
        "ac",
        "ac_result",
        "created_by",
        "created_at",
        "closed_by",
        "closed_at",
        "close_reason",
        "commit_ref",
    ];
    for name in names {
        let words = if needle[name].is_array() { words(needle, name) } else { text(needle, name) };
        if !words.is_empty() {
            lines.push(format!("{name:<12} {words}"));
        }
    }
    let description = text(needle, "description");
    if !description.is_empty() {
        lines.push(format!("\n{description}"));
    }
    lines.join("\n")
}

fn words(row: &Value, name: &str) -> String {
    let items = row[name].as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

fn lists(call: &mut Value, members: &[(&str, &Vec<String>)]) {
    for (name, values) in members {
        insert(call, name, Some(values.to_vec()).filter(|values| !values.is_empty()));
    }
}

fn lend(call: &mut Value, lease: &Lease) {
    insert(call, "lease_ms", lease.lease.map(millis));
}
