//! Reaching the daemon: find the project, start a daemon if none runs, attach.

use std::{
    env,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use libostk::{CallOptions, Client, ClientError, Identity, Project};

use crate::failure::Failure;

/// How long a started daemon may take until it answers; it replays the log first.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// A daemon that was started for a command leaves after half an hour without a client.
const IDLE_EXIT_S: &str = "1800";

/// The project that holds the current directory.
pub(crate) fn project() -> Result<Project, Failure> {
    let start = match env::var_os("OSTK_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => env::current_dir()?,
    };
    let project = Project::find(&start)?;
    Ok(STACK.get().map_or_else(|| project.clone(), |name| project.stack(name)))
}

/// The stack that this command speaks to, if not the project itself.
static STACK: OnceLock<String> = OnceLock::new();

/// Says which stack this command speaks to.
pub(crate) fn choose(stack: Option<String>) {
    if let Some(name) = stack.filter(|name| !name.is_empty()) {
        let _ = STACK.set(name);
    }
}

/// A connection as the operator; starts a daemon if none runs.
pub(crate) fn operator(project: &Project) -> Result<Client, Failure> {
    Ok(attach(project, &Identity::Operator(user()), None)?.0)
}

/// A connection as an agent that this command starts, and its lineage. Who names a pin at a terminal is the operator.
pub(crate) fn start(project: &Project, name: String, pin: Option<&str>) -> Result<(Client, String), Failure> {
    let identity = if pin.is_some() { Identity::Started { name, by: user() } } else { Identity::Agent(name) };
    attach(project, &identity, pin)
}

/// A connection as `identity`, and the lineage that it has; starts a daemon if none runs.
pub(crate) fn attach(
    project: &Project,
    identity: &Identity,
    pin: Option<&str>,
) -> Result<(Client, String), Failure> {
    let mut client = ensure(project)?;
    match client.attach(identity, "ostk", pin) {
        Ok(lineage) => return Ok((client, lineage)),
        // The daemon was dying when it took the connection; there is another, or there will be.
        Err(ClientError::Io(_)) => client = ensure(project)?,
        Err(error) => return Err(error.into()),
    }
    let lineage = client.attach(identity, "ostk", pin)?;
    Ok((client, lineage))
}

/// A connection to a running daemon, or none.
pub(crate) fn running(project: &Project) -> Option<Client> {
    Client::connect(&socket(project)).ok()
}

/// A connection; starts a daemon if none runs.
pub(crate) fn ensure(project: &Project) -> Result<Client, Failure> {
    if let Some(client) = running(project) {
        return Ok(client);
    }
    if let Some(name) = project.stack_name() {
        return of_stack(project, name);
    }
    let log = project.state_dir().join("run/daemon.log");
    std::fs::create_dir_all(project.state_dir().join("run"))?;
    let errors = std::fs::OpenOptions::new().create(true).append(true).open(&log)?;
    let mut child = Command::new(env::current_exe()?)
        .args(["listen", "--idle-exit", IDLE_EXIT_S])
        .current_dir(project.root())
        .env_remove("OSTK_DIR")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors)
        // A group of its own: Ctrl-C at the terminal ends the command, not the daemon.
        .process_group(0)
        .spawn()?;
    let deadline = Instant::now() + START_DEADLINE;
    loop {
        match Client::connect(&socket(project)) {
            Ok(client) => {
                call_off(project, child);
                return Ok(client);
            }
            Err(error) if Instant::now() > deadline => return Err(no_start(&error, &log)),
            Err(error) => {
                // Another command may have won the race to start one: then this child leaves and that one answers.
                if child.try_wait()?.is_some_and(|status| !status.success()) && !anchored(project) {
                    return Err(no_start(&error, &log));
                }
                thread::sleep(Duration::from_millis(3));
            }
        }
    }
}

/// Ends the daemon that this command started if another command's answers: on a busy machine it may not have come so far
/// as to see that, and would take over when the other stops.
fn call_off(project: &Project, mut child: Child) {
    let holder = std::fs::read_to_string(project.state_dir().join("run/anchor.pid"));
    let holder = holder.ok().and_then(|text| text.trim().parse::<u32>().ok());
    if holder.is_some_and(|holder| holder != child.id()) {
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// A connection to the daemon of a stack. The project's daemon starts it, so that one is started first.
fn of_stack(project: &Project, name: &str) -> Result<Client, Failure> {
    let mut parent = operator(&project.parent())?;
    let deadline = Instant::now() + START_DEADLINE;
    loop {
        if let Some(client) = running(project) {
            return Ok(client);
        }
        let stacks = parent.call("stack.list", &serde_json::json!({}), &CallOptions::default())?;
        let all = stacks["stacks"].as_array().map(Vec::as_slice).unwrap_or_default();
        let state = all.iter().find(|stack| stack["name"] == name).and_then(|stack| stack["state"].as_str());
        match state {
            Some("active" | "spawning") if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(50));
            }
            Some(state) => {
                return Err(Failure::check(format!("the stack {name} is {state}; nobody answers there"))
                    .hint(format!("ostk stack show {name}")));
            }
            None => {
                return Err(Failure::usage(format!("no stack is called {name:?}")).hint("ostk stack list"));
            }
        }
    }
}

fn anchored(project: &Project) -> bool {
    ostk_daemon::anchored(&project.state_dir())
}

fn no_start(error: &ClientError, log: &std::path::Path) -> Failure {
    let said = std::fs::read_to_string(log).unwrap_or_default();
    let last: Vec<&str> = said.lines().rev().take(6).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    let detail = if last.is_empty() { error.to_string() } else { last.join("\n") };
    Failure::check(format!("the daemon did not start:\n{detail}"))
        .hint("ostk listen runs it in the foreground; ostk doctor looks for what is wrong")
}

/// The daemon's socket: where the environment says, else in the project.
pub(crate) fn socket(project: &Project) -> PathBuf {
    let named = env::var_os("OSTK_SOCKET").or_else(|| env::var_os("OSTK_KERNEL_SOCKET"));
    named.map_or_else(|| project.socket(), PathBuf::from)
}

/// The operator's name in the log.
pub(crate) fn user() -> String {
    let known = env::var("OSTK_USER").or_else(|_| env::var("USER")).or_else(|_| env::var("LOGNAME"));
    known.ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "operator".to_owned())
}
