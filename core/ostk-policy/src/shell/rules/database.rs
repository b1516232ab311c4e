//! Databases that are dropped or emptied: by SQL in an argument or on standard input, or by a tool made for it.

use super::{
    super::{Danger, wrappers::value_of},
    Judge,
};

pub(super) fn judge(judge: &mut Judge<'_>) {
    if tool(judge) {
        return judge.add(Danger::Database, "it drops or empties a database");
    }
    let texts = statements(judge);
    if texts.iter().any(|text| drops(text)) {
        judge.add(Danger::Database, "it drops or empties tables of a database");
    }
}

/// Tools that do it without SQL.
fn tool(judge: &Judge<'_>) -> bool {
    match judge.program() {
        "dropdb" | "dropuser" => true,
        "mysqladmin" => judge.any(&["drop"]),
        "redis-cli" | "valkey-cli" => judge.texts().any(|text| {
            let upper = text.to_ascii_uppercase();
            upper.starts_with("FLUSHALL") || upper.starts_with("FLUSHDB")
        }),
        "mongorestore" => judge.any(&["--drop"]),
        "pg_restore" => judge.has('c', "clean"),
        "etcdctl" => judge.sub(&["del"]),
        "rails" | "rake" | "bin/rails" => {
            judge.any_start(&["db:drop", "db:reset", "db:purge", "db:truncate", "db:schema:load"])
        }
        "artisan" | "php" => judge.any(&["migrate:fresh", "migrate:reset", "db:wipe"]),
        "prisma" => {
            judge.sub(&["migrate", "reset"]) || judge.sub(&["db", "push"]) && judge.any(&["--force-reset"])
        }
        "sequelize" | "sequelize-cli" => judge.any(&["db:drop", "db:migrate:undo:all"]),
        "typeorm" => judge.any(&["schema:drop"]),
        "supabase" => judge.sub(&["db", "reset"]),
        "manage.py" | "django-admin" => judge.any(&["flush", "reset_db", "sqlflush"]),
        "python" | "python3" => judge.any_start(&["manage.py"]) && judge.any(&["flush", "reset_db"]),
        "alembic" => judge.sub(&["downgrade", "base"]),
        "influx" => judge.any(&["delete"]),
        _ => false,
    }
}

/// The texts that a database client is told to run.
fn statements(judge: &Judge<'_>) -> Vec<String> {
    let options: &[&str] = match judge.program() {
        "psql" | "cockroach" | "pgcli" | "duckdb" => &["-c", "--command", "-e", "--execute"],
        "mysql" | "mariadb" | "mycli" | "tidb" | "cqlsh" => &["-e", "--execute"],
        "sqlite3" | "sqlite" => &["-cmd"],
        "clickhouse" | "clickhouse-client" => &["-q", "--query"],
        "sqlcmd" => &["-Q", "-q"],
        "mongosh" | "mongo" => &["--eval"],
        "bq" | "snowsql" | "sqlplus" | "trino" | "presto" => &["-q", "--execute"],
        _ => return Vec::new(),
    };
    let mut texts: Vec<String> =
        value_of(judge.simple.args(), options).map(|word| word.as_str().to_owned()).into_iter().collect();
    if matches!(judge.program(), "sqlite3" | "sqlite" | "duckdb" | "bq" | "trino") {
        texts.extend(judge.names().skip(1).map(str::to_owned));
    }
    texts.extend(judge.simple.input.as_ref().map(|word| word.as_str().to_owned()));
    texts
}

/// Whether SQL, or the mongo shell's language, drops or empties something.
fn drops(text: &str) -> bool {
    const THINGS: [&str; 11] = [
        "table",
        "database",
        "schema",
        "view",
        "index",
        "keyspace",
        "collection",
        "materialized",
        "owned",
        "user",
        "role",
    ];
    let lower = bare(text);
    let mongo = [".dropdatabase(", ".drop(", ".deletemany({}", ".remove({}"];
    if mongo.iter().any(|call| lower.replace(' ', "").contains(call)) {
        return true;
    }
    lower.split(';').any(|statement| {
        let words: Vec<&str> =
            statement.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()).collect();
        let pair = |first: &str, second: &dyn Fn(&str) -> bool| {
            words.windows(2).any(|two| matches!(two, [a, b] if *a == first && second(b)))
        };
        let begins = |word: &str| words.first() == Some(&word);
        pair("drop", &|next| THINGS.contains(&next))
            || begins("truncate")
            || pair("drop", &|next| next == "column") && begins("alter")
            || pair("delete", &|next| next == "from") && !words.contains(&"where")
            || begins("update") && words.contains(&"set") && !words.contains(&"where")
    })
}

/// Lower case, without comments and without what stands in single quotes.
fn bare(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (skip_to, from) = match first {
            '\'' => ("'", 1),
            '-' if rest.starts_with("--") => ("\n", 2),
            '/' if rest.starts_with("/*") => ("*/", 2),
            plain => {
                out.extend(plain.to_lowercase());
                rest = rest.get(plain.len_utf8()..).unwrap_or_default();
                continue;
            }
        };
        out.push(' ');
        let after = rest.get(from..).unwrap_or_default();
        let end = after.find(skip_to).map_or(after.len(), |at| at + skip_to.len());
        rest = after.get(end..).unwrap_or_default();
    }
    out
}
