//! The protocol's side of a client: initialize, `tools/list`, `tools/call`.
//!
//! What the kernel refuses is a tool error with its message and hint, which the model reads; protocol errors are left
//! to the SDK, for frames that are not requests at all.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use ostk_kernel::{CallError, Code, render_tool, tool_call};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
        InitializeRequestParams, InitializeResult, ListToolsResult, NumberOrString, PaginatedRequestParams,
        ProgressNotificationParam, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{
    random_hex,
    seat::{MAX_OPEN, Seat},
    tools,
};

/// How often a client that asked for it is told that its call still runs; it is often enough for every client's patience.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);
/// How often a call that its client has cancelled is withdrawn: it may not have reached the daemon the first time.
const WITHDRAW_EVERY: Duration = Duration::from_millis(500);
const WITHDRAWALS: usize = 10;

const INSTRUCTIONS: &str = "Files and commands of this repository, shared safely with other agents. Read a file before \
     you change it. A refused change explains what to do; lines that start with [files] tell what others changed. \
     Call help for the tools.";

/// Finds the seat of a client without a session by the name it gives with each request (2026-07-28 over HTTP).
pub(super) type Lobby = Arc<dyn Fn(&str) -> Arc<Seat> + Send + Sync>;

/// One client of the server.
pub(super) struct Server {
    seat: Arc<Seat>,
    lobby: Option<Lobby>,
    open: Arc<Semaphore>,
    /// Part of every idempotency key: other servers of one lineage have clients that count requests from 1 too, and
    /// so do clients without a session, for whose every request the SDK makes a server of its own.
    nonce: String,
}

impl Server {
    pub(super) fn new(seat: Arc<Seat>) -> Self {
        Self { seat, lobby: None, open: Arc::new(Semaphore::new(MAX_OPEN)), nonce: random_hex(8) }
    }

    /// The same for a transport where requests may come without a session.
    pub(super) fn with_lobby(seat: Arc<Seat>, lobby: Lobby) -> Self {
        Self { lobby: Some(lobby), ..Self::new(seat) }
    }

    fn seat_of(&self, context: &RequestContext<RoleServer>) -> Arc<Seat> {
        let client = context.client_info().map_or_else(|| "mcp".to_owned(), |info| info.name);
        let sessionless = context.protocol_version().is_some_and(|version| !version.has_initialize());
        match &self.lobby {
            Some(lobby) if sessionless => lobby(&client),
            _ => {
                self.seat.introduce(&client);
                Arc::clone(&self.seat)
            }
        }
    }

    async fn run(
        &self,
        seat: Arc<Seat>,
        (name, input, key): (String, Value, String),
        is_cancelled: impl Fn() -> bool,
    ) -> CallToolResult {
        if name == "help" {
            return help(&input);
        }
        let (verb, args) = match tool_call(&name, &input) {
            Ok(call) => call,
            Err(error) => return answer((&name, ""), &Err(error)),
        };
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&self.open).acquire_owned().await else {
            return answer((&name, verb), &Err(CallError::new(Code::Stopped, "the server is closing")));
        };
        if is_cancelled() {
            return answer((&name, verb), &Err(CallError::new(Code::Stopped, "cancelled")));
        }
        let called = tokio::task::spawn_blocking(move || {
            let result = seat.call(verb, &args, key);
            drop(permit);
            result
        });
        let result = called.await.unwrap_or_else(|error| {
            Err(CallError::new(Code::Failed, format!("bug: the call's thread ended: {error}")))
        });
        answer((&name, verb), &result)
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("ostk", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        context.peer.set_peer_info(request.clone());
        self.seat.introduce(&request.client_info.name);
        let seat = Arc::clone(&self.seat);
        // Not waited for: a daemon that replays a long log must not hold up the handshake.
        tokio::task::spawn_blocking(move || seat.warm());
        self.negotiate_initialize(&request)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::all()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let seat = self.seat_of(&context);
        let input = Value::Object(request.arguments.unwrap_or_default());
        let id = match &context.id {
            NumberOrString::Number(number) => format!("n{number}"),
            NumberOrString::String(text) => format!("s{}", text.chars().take(200).collect::<String>()),
        };
        let key = format!("mcp/{}/{id}", self.nonce);
        let name = request.name.into_owned();
        let run = (name.clone(), input, key.clone());
        let mut call = pin!(self.run(Arc::clone(&seat), run, || context.ct.is_cancelled()));
        let told = report_progress(&context, &name);
        tokio::select! {
            result = &mut call => return Ok(result.into()),
            () = told => {}
            () = context.ct.cancelled() => {}
        }
        for _ in 0..WITHDRAWALS {
            let (seat, key) = (Arc::clone(&seat), key.clone());
            tokio::task::spawn_blocking(move || seat.cancel(&key));
            tokio::select! {
                result = &mut call => return Ok(result.into()),
                () = tokio::time::sleep(WITHDRAW_EVERY) => {}
            }
        }
        Ok(CallToolResult::error(vec![ContentBlock::text("cancelled")]).into())
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::all().into_iter().find(|tool| tool.name == name)
    }
}

/// Tells a client that asked for it, again and again, that its call still runs. Never ends.
async fn report_progress(context: &RequestContext<RoleServer>, name: &str) {
    let Some(token) = context.meta.get_progress_token() else { return std::future::pending().await };
    let started = Instant::now();
    loop {
        tokio::time::sleep(PROGRESS_EVERY).await;
        let seconds = started.elapsed().as_secs_f64();
        let progress = ProgressNotificationParam::new(token.clone(), seconds)
            .with_message(format!("{name} has been running for {seconds:.0} s"));
        // A client that is gone is noticed by its transport.
        let _ = context.peer.notify_progress(progress).await;
    }
}

/// An error in the words of the tool that was called: the kernel speaks of system calls and of commands for people.
fn in_tools(tool: &str, verb: &str, mut error: CallError) -> CallError {
    if let Some(token) = error.data.get("token").and_then(Value::as_str) {
        error.hint = Some(format!(
            "accept the merge of both with fs_ops {{\"accept\": \"{token}\"}}, or read it again"
        ));
    }
    if let Some(rest) = error.message.strip_prefix(verb).filter(|rest| rest.starts_with(':')) {
        error.message = format!("{tool}{rest}");
        let args = ostk_kernel::Tool::lookup(tool).map_or(&[][..], |tool| tool.args);
        for (given, target, _) in args {
            error.message = error.message.replace(&format!("`{target}`"), &format!("`{given}`"));
        }
    }
    error.hint = error.hint.map(|hint| match hint.strip_prefix("ostk abi show ") {
        Some(_) => format!("help {{\"tool\": \"{tool}\"}} has the arguments"),
        // The commands of a person have the words of the tool's actions.
        None if tool == "work" => hint.replace("ostk work ", "action "),
        None => hint.replace("process.start", "spawn"),
    });
    error
}

fn help(input: &Value) -> CallToolResult {
    let only = input.get("tool").and_then(Value::as_str);
    match tools::help(only) {
        Some(text) => CallToolResult::success(vec![ContentBlock::text(text)]),
        None => CallToolResult::error(vec![ContentBlock::text(format!(
            "no tool is called {:?}",
            only.unwrap_or_default()
        ))]),
    }
}

/// A result as the protocol carries it: text for the model with the digest last, data where there is some.
fn answer((tool, verb): (&str, &str), result: &Result<Value, CallError>) -> CallToolResult {
    let data = result.as_ref().ok().filter(|_| tools::is_structured(verb)).cloned();
    let mut result = result.clone().map_err(|error| in_tools(tool, verb, error));
    let digest =
        result.as_mut().ok().and_then(Value::as_object_mut).and_then(|fields| fields.remove("digest"));
    let (mut text, failed) = render_tool(verb, &result);
    if let Some(digest) = digest.as_ref().and_then(Value::as_str) {
        text.push('\n');
        text.push_str(digest);
    }
    let content = vec![ContentBlock::text(text)];
    if failed {
        return CallToolResult::error(content);
    }
    let mut answer = CallToolResult::success(content);
    answer.structured_content = data;
    answer
}
