//! The credential broker: an agent in the sandbox reaches its model, and the key is nowhere near it.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::fs::FileExt,
    path::Path,
    process::Stdio,
    thread,
};

use crate::{
    claude,
    fixture::{Fixture, Ran},
    real::model,
};

/// The operator's key. Nothing but the vendor may ever see it.
const PLANTED: &str = "sk-planted-0123456789abcdef-operators-own";
const HUMANFILE: &str = "IDENTITY ada\nMODEL claude-sonnet-4-6\nSECRET ANTHROPIC_API_KEY\n";
/// Asks the model once, says so, and waits for the end of its input.
const AGENT: &str = r#"
import json, os, sys, urllib.request
body = json.dumps({"model": "claude-sonnet-4-6", "max_tokens": 9, "messages": []}).encode()
request = urllib.request.Request(os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages", body)
request.add_header("Authorization", "Bearer " + os.environ["ANTHROPIC_AUTH_TOKEN"])
request.add_header("Content-Type", "application/json")
answer = urllib.request.urlopen(request).read()
print("answered", answer.decode(), flush=True)
sys.stdin.read()
"#;

/// A vendor that answers one request and returns its head.
fn vendor() -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let served = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(number) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = number.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
            head.push_str(&line);
        }
        reader.read_exact(&mut vec![0; length]).unwrap();
        let body = r#"{"type":"message","usage":{"input_tokens":3,"output_tokens":2}}"#;
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        head
    });
    (address, served)
}

/// Processes that hold this lineage's environment.
fn processes_of(lineage: &str) -> Vec<String> {
    let named = format!("OSTK_LINEAGE={lineage}\0");
    let numbers =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let holds = |pid: &String| {
        fs::read(format!("/proc/{pid}/environ")).is_ok_and(|bytes| contains(&bytes, named.as_bytes()))
    };
    numbers.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).filter(holds).collect()
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// Bytes of memory that were looked at, and whether the key is among them.
fn scan(pid: &str) -> (usize, bool) {
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let (mut seen, mut found) = (0, false);
    for line in maps.lines().filter(|line| line.contains(" r") && !line.contains("[v")) {
        let (from, to) = line.split_whitespace().next().unwrap().split_once('-').unwrap();
        let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        // A region may be reserved and not there.
        let read = memory.read_at(&mut bytes, from).unwrap_or(0);
        bytes.truncate(read);
        seen += read;
        found |= contains(&bytes, PLANTED.as_bytes());
    }
    (seen, found)
}

/// Files below `dir` that hold the key.
fn files_with_the_key(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files_with_the_key(&entry.path()));
        } else if kind.is_file()
            && fs::read(entry.path()).is_ok_and(|bytes| contains(&bytes, PLANTED.as_bytes()))
        {
            found.push(entry.path().display().to_string());
        }
    }
    found
}

#[test]
fn an_agent_reaches_its_model_and_the_key_is_in_no_memory_environment_file_or_record_of_it() {
    let fixture = Fixture::new();
    fixture.govern(".ostk/HUMANFILE", HUMANFILE);
    fixture.write("agent.py", AGENT);
    let (address, served) = vendor();
    let mut command = fixture.command(&["run", "--name", "keyless", "--", "python3", "agent.py"]);
    command.env("ANTHROPIC_BASE_URL", address).env("ANTHROPIC_API_KEY", PLANTED);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let pids = if line.starts_with("answered") { processes_of("keyless-1") } else { Vec::new() };
    for pid in &pids {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
        assert!(!contains(&environment, PLANTED.as_bytes()), "{pid}");
        let (seen, found) = scan(pid);
        assert!(seen > 100_000 && !found, "{pid}: {seen} bytes");
    }
    drop(child.stdin.take());
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert!(line.starts_with("answered") && !pids.is_empty() && ran.code == 0, "{line} {pids:?} {ran:?}");
    let head = served.join().unwrap().to_ascii_lowercase();
    assert!(head.contains(&format!("x-api-key: {PLANTED}")), "the vendor was shown the key: {head}");
    assert!(!head.contains("ostk-"), "and not the agent's token: {head}");
    let log = fixture.log();
    let receipt = log.iter().find(|(_, event, _)| event == "relay.receipt").unwrap();
    assert_eq!((receipt.0.as_str(), &receipt.2["output_tokens"]), ("agent:keyless-1", &serde_json::json!(2)));
    assert_eq!(files_with_the_key(&fixture.root()), Vec::<String>::new());
}

#[test]
fn a_request_for_which_the_day_has_no_room_is_refused_before_it_leaves() {
    let fixture = Fixture::new();
    fixture.govern(".ostk/HUMANFILE", HUMANFILE);
    fixture.govern(".ostk/ostk.toml", "[budget]\nusd_per_day = 0.01\n");
    let catching = AGENT.replace("import json", "import urllib.error, json").replace(
        "answer = urllib.request.urlopen(request).read()",
        "try: answer = urllib.request.urlopen(request).read()\n\
         except urllib.error.HTTPError as error: print(error.code, error.read().decode()); sys.exit(0)",
    );
    fixture.write("agent.py", &catching);
    let mut command = fixture.command(&["run", "--", "python3", "agent.py"]);
    command.env("ANTHROPIC_BASE_URL", "http://127.0.0.1:9").env("ANTHROPIC_API_KEY", PLANTED);
    let ran: Ran = command.stdin(Stdio::null()).output().unwrap().into();
    for part in ["403 ", "usd_per_day $0.01", "opens again at", "policy.reload"] {
        assert!(ran.out.contains(part), "{part}: {ran:?}");
    }
    let said = fixture.good(&["ps"]);
    assert!(!said.out.contains("usd_per_day"), "nothing is spent yet: {said:?}");
    let doctor = fixture.run(&["doctor"]);
    assert!(doctor.out.contains("usd_per_day") || doctor.out.contains("what the day allows"), "{doctor:?}");
    let events: Vec<String> = fixture.log().into_iter().map(|(_, event, _)| event).collect();
    assert!(events.iter().any(|event| event == "budget.set"), "{events:?}");
    assert!(!events.iter().any(|event| event == "relay.intent"), "{events:?}");
}

#[test]
fn a_key_that_humanfile_does_not_list_is_used_for_nobody() {
    let fixture = Fixture::new();
    fixture.govern(".ostk/HUMANFILE", "IDENTITY ada\nMODEL claude-sonnet-4-6\n");
    fixture.write("agent.py", AGENT);
    let (address, served) = vendor();
    let mut command = fixture.command(&["run", "--", "python3", "agent.py"]);
    command.env("ANTHROPIC_BASE_URL", address).env("ANTHROPIC_API_KEY", PLANTED);
    let ran: Ran = command.stdin(Stdio::null()).output().unwrap().into();
    assert!(
        ran.code == 0 && ran.out.starts_with("answered"),
        "a server of this machine needs no key: {ran:?}"
    );
    let head = served.join().unwrap().to_ascii_lowercase();
    assert!(!head.contains(PLANTED) && !head.contains("x-api-key"), "and is shown none: {head}");
    assert_eq!(files_with_the_key(&fixture.root()), Vec::<String>::new());
}

#[test]
fn the_real_claude_code_works_inside_the_sandbox_without_a_key() {
    let Some(client) = claude::claude() else { return };
    let fixture = Fixture::new();
    fixture.govern(".ostk/HUMANFILE", HUMANFILE);
    let turns = [(
        "Bash",
        serde_json::json!({ "command": "echo from-inside > made.txt", "description": "make a file" }),
        serde_json::json!({ "tool_result_is_error": false }),
    )];
    let prompt = "Make a file.";
    let model = model(prompt, &turns);
    let client = client.to_str().unwrap();
    let arguments = ["run", "--", client, "-p", prompt, "--output-format", "json", "--allowedTools", "Bash"];
    let mut command = fixture.command(&arguments);
    command.env("ANTHROPIC_BASE_URL", model.base_url()).env("ANTHROPIC_API_KEY", PLANTED);
    let ran: Ran = command.output().unwrap().into();
    assert_eq!(model.unmet(), Vec::<String>::new(), "{ran:?}");
    assert!(ran.code == 0 && ran.out.contains("Finished."), "{ran:?}");
    assert_eq!(fixture.read("made.txt"), "from-inside\n");
    assert_eq!(files_with_the_key(&fixture.root()), Vec::<String>::new());
    // The client keeps its conversation to itself; the log has it all the same.
    let actor = fixture.log().into_iter().find(|(_, event, _)| event == "relay.intent").unwrap().0;
    let lineage = actor.strip_prefix("agent:").unwrap();
    let told = fixture.good(&["lineage", "show", lineage, "--conversation"]).out;
    for part in [prompt, "Bash {\"command\":\"echo from-inside > made.txt\"", "Finished.", ", record"] {
        assert!(told.contains(part), "{part}: {told}");
    }
}
