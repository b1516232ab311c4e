//! The concepts of software work: which words of a text say the same thing.
//!
//! A fixed list (the specification, section 7, has one of about 80 terms), so that clusters are the same on every
//! machine and need no model. A concept is named by its first word.

use std::collections::BTreeSet;

/// Each row is one concept.
const TERMS: &[&[&str]] = &[
    &["agent", "agents", "worker", "workers"],
    &["alert", "alerts", "alarm", "pager"],
    &["api", "apis", "endpoint", "endpoints"],
    &["approval", "approvals", "consent", "approve"],
    &["audit", "audits", "auditing"],
    &["auth", "authentication", "authenticate", "login", "logins", "oauth", "sso"],
    &["authorization", "permission", "permissions", "rbac", "acl"],
    &["backup", "backups", "restore", "restores"],
    &["benchmark", "benchmarks", "bench"],
    &["billing", "invoice", "invoices", "payment", "payments"],
    &["branch", "branches", "rebase", "cherry-pick"],
    &["browser", "browsers", "chrome", "firefox", "safari"],
    &["budget", "budgets", "spend", "cost", "costs"],
    &["build", "builds", "compile", "compiler", "compilation"],
    &["cache", "caches", "cached", "caching"],
    &["ci", "pipeline", "pipelines", "workflow", "workflows"],
    &["cli", "terminal", "shell", "command", "commands"],
    &["client", "clients"],
    &["cluster", "clusters", "kubernetes", "k8s"],
    &["concurrency", "concurrent", "parallel", "race", "races", "deadlock", "deadlocks"],
    &["config", "configuration", "setting", "settings"],
    &["conflict", "conflicts", "merge", "merges", "merging"],
    &["container", "containers", "docker", "image", "images"],
    &["crash", "crashes", "panic", "panics", "segfault"],
    &["css", "layout", "style", "styles", "styling"],
    &["dashboard", "dashboards", "chart", "charts"],
    &["database", "databases", "db", "sql", "postgres", "sqlite", "mysql"],
    &["dependency", "dependencies", "upgrade", "upgrades", "bump"],
    &["deploy", "deploys", "deployment", "deployments", "rollout"],
    &["disk", "disks", "storage", "filesystem"],
    &["docs", "doc", "documentation", "readme", "guide", "guides", "manual"],
    &["download", "downloads"],
    &["email", "emails", "mail", "smtp"],
    &["encoding", "unicode", "utf8", "utf-8"],
    &["encryption", "encrypt", "encrypted", "decrypt", "cipher", "tls"],
    &["error", "errors", "exception", "exceptions", "failure", "failures"],
    &["export", "exports"],
    &["feature", "features", "flag", "flags"],
    &["file", "files"],
    &["format", "formats", "formatter", "formatting"],
    &["git", "commit", "commits"],
    &["graph", "graphs"],
    &["import", "imports"],
    &["index", "indexes", "indexing"],
    &["install", "installs", "installer", "installation", "packaging"],
    &["journal", "wal"],
    &["key", "keys", "signing", "signature", "signatures"],
    &["latency", "slow", "slowness"],
    &["license", "licenses", "licence", "licences"],
    &["limit", "limits", "quota", "quotas", "throttle", "throttling"],
    &["lint", "lints", "linter", "clippy", "eslint"],
    &["locale", "locales", "translation", "translations", "i18n", "l10n"],
    &["lock", "locks", "locking", "lease", "leases"],
    &["log", "logs", "logging"],
    &["memory", "leak", "leaks", "oom"],
    &["metric", "metrics", "telemetry", "tracing", "trace", "traces"],
    &["migration", "migrations", "migrate", "schema", "schemas"],
    &["mobile", "android", "ios"],
    &["model", "models", "llm"],
    &["network", "networking", "socket", "sockets", "tcp", "dns"],
    &["notification", "notifications", "notify"],
    &["parser", "parsers", "parse", "parsing", "grammar"],
    &["performance", "perf", "fast", "speed", "optimize", "optimise"],
    &["plugin", "plugins", "extension", "extensions"],
    &["policy", "policies", "rule", "rules"],
    &["privacy", "gdpr"],
    &["process", "processes", "daemon", "daemons"],
    &["protocol", "protocols", "rpc", "grpc"],
    &["proxy", "proxies"],
    &["queue", "queues", "backlog"],
    &["refactor", "refactors", "refactoring", "cleanup"],
    &["release", "releases", "version", "versions", "changelog"],
    &["report", "reports", "reporting"],
    &["retry", "retries", "retrying", "backoff"],
    &["sandbox", "sandboxes", "isolation"],
    &["scheduler", "schedulers", "schedule", "schedules", "cron"],
    &["search", "searches", "searching"],
    &["secret", "secrets", "credential", "credentials", "password", "passwords"],
    &["security", "vulnerability", "vulnerabilities", "cve", "exploit"],
    &["server", "servers"],
    &["session", "sessions", "cookie", "cookies"],
    &["setup", "onboarding"],
    &["snapshot", "snapshots"],
    &["stream", "streams", "streaming"],
    &["sync", "syncs", "synchronization", "replication"],
    &["test", "tests", "testing", "flaky", "coverage"],
    &["timeout", "timeouts", "deadline", "deadlines"],
    &["token", "tokens"],
    &["type", "types", "typing"],
    &["ui", "ux", "frontend", "button", "buttons", "dialog"],
    &["undo", "revert", "reverts"],
    &["upload", "uploads"],
    &["user", "users", "account", "accounts"],
    &["validation", "validate", "validates"],
    &["windows", "macos", "linux"],
];

/// The concepts that a text speaks of, by name.
pub(crate) fn terms(text: &str) -> BTreeSet<&'static str> {
    let text = text.to_lowercase();
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '-')).map(|word| word.trim_matches('-'));
    words.filter_map(concept).collect()
}

fn concept(word: &str) -> Option<&'static str> {
    let row = TERMS.iter().find(|row| row.contains(&word))?;
    row.first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_says_two_things_and_the_list_is_in_order() {
        let mut words: Vec<&str> = TERMS.iter().flat_map(|row| row.iter().copied()).collect();
        let count = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), count);
        assert!(TERMS.is_sorted_by_key(|row| row[0]));
    }

    #[test]
    fn words_are_concepts_in_any_form_they_come_in() {
        let found = terms("Flaky UPLOADS: retry with back-off, then a timeout in CI!");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["ci", "retry", "test", "timeout", "upload"]);
        assert!(terms("nothing to see here").is_empty());
    }
}
