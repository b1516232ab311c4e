//! MCP frames by hand, so that the server is held to the protocol and not to what its own SDK makes of it.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use serde_json::{Value, json};

use crate::fixture::Fixture;

/// A client on the standard input and output of `ostk mcp`.
pub(crate) struct Wire {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    next: u64,
}

impl Wire {
    pub(crate) fn open(fixture: &Fixture, args: &[&str]) -> Self {
        let mut command = fixture.command(&["mcp"]);
        let mut child = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output, next: 0 }
    }

    /// A client that has said hello.
    pub(crate) fn hello(fixture: &Fixture, client: &str, args: &[&str]) -> Self {
        let mut wire = Self::open(fixture, args);
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": client, "version": "1" } });
        wire.ask("initialize", &params);
        wire.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        wire
    }

    pub(crate) fn send(&mut self, frame: &Value) {
        writeln!(self.input.as_mut().unwrap(), "{frame}").unwrap();
    }

    pub(crate) fn receive(&mut self) -> Value {
        let mut line = String::new();
        assert!(self.output.read_line(&mut line).unwrap() > 0, "the server left");
        serde_json::from_str(&line).unwrap()
    }

    /// The answer to a request: its frame.
    pub(crate) fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.next += 1;
        let id = self.next;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        loop {
            let frame = self.receive();
            if frame["id"] == json!(id) {
                return frame;
            }
        }
    }

    /// The result of a tool call.
    pub(crate) fn tool(&mut self, name: &str, arguments: &Value) -> Value {
        let frame = self.ask("tools/call", &json!({ "name": name, "arguments": arguments }));
        assert!(frame["error"].is_null(), "a tool's failure is no protocol error: {frame}");
        frame["result"].clone()
    }

    /// The text of a tool call that must succeed.
    #[track_caller]
    pub(crate) fn good(&mut self, name: &str, arguments: &Value) -> String {
        let result = self.tool(name, arguments);
        assert_eq!(result["isError"], json!(false), "{result}");
        text(&result)
    }

    /// The text of a tool call that must fail.
    #[track_caller]
    pub(crate) fn bad(&mut self, name: &str, arguments: &Value) -> String {
        let result = self.tool(name, arguments);
        assert_eq!(result["isError"], json!(true), "{result}");
        text(&result)
    }

    /// Leaves and waits until the server has too.
    pub(crate) fn leave(mut self) {
        drop(self.input.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

pub(crate) fn text(result: &Value) -> String {
    result["content"][0]["text"].as_str().unwrap_or_default().to_owned()
}
