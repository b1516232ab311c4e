//! The ways out of a contained process: to granted hosts, to models, and to this system under its own name.
//!
//! Each is a listener that only the process can reach: two in its own network namespace, served by `ostk-proxy`, and a
//! socket in its scratch directory, on which it is its lineage and nobody else. What comes in on them becomes system calls
//! of that lineage. Keys stay here: the process holds a token that is worth nothing elsewhere. Called by `processes.rs`.

use std::{
    ffi::OsString,
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
};

use ostk_agent::model::Usage;
use ostk_kernel::{CallError, Caller};
use ostk_keys::secrets::{Masker, Secret};
use ostk_policy::Bounds;
use ostk_proxy::{
    Addresses, ConnectionEnd, Desk, Egress, Keys, ModelDesk, ModelReply, ModelRequest, Refusal, Relay,
    Target, Token, TokenCounts, Upstreams, Vendor, Wire, environment,
};
use ostk_sandbox::{Network, Process, Spec};
use serde_json::{Value, json};
use tokio::{net::UnixListener, runtime::Handle, sync::watch};

use crate::{
    allowance,
    broker::Broker,
    host::{HostHandle, NewCall},
    rpc::{self, Shared},
};

/// Where a process finds its proxy, in its own network.
const EGRESS_PORT: u16 = 3128;
/// Where an agent finds its relay to models.
const RELAY_PORT: u16 = 3129;
/// How long the kernel may take to answer; a person may have to be asked.
const ANSWER_MS: u64 = 300_000;
/// Bytes of randomness in an agent's token.
const TOKEN_BYTES: usize = 24;

/// What serves the ways out of every process.
pub(crate) struct Ways {
    host: HostHandle,
    runtime: Handle,
    root: PathBuf,
    state_dir: PathBuf,
    /// Shared by all relays; why there is none, otherwise.
    upstreams: Result<Arc<Upstreams>, String>,
}

/// The ways of one process before it starts.
#[derive(Default)]
pub(crate) struct Prepared {
    lineage: String,
    egress: bool,
    relay: Option<(Token, AgentKeys)>,
    /// The relay's listener, where the process shares the machine's network.
    beside: Option<TcpListener>,
    seat: Option<std::os::unix::net::UnixListener>,
}

/// The ways of a running process: they close when this is dropped.
pub(crate) struct Open {
    _stop: watch::Sender<()>,
}

impl Ways {
    pub(crate) fn new(host: HostHandle, runtime: Handle, root: &Path, state_dir: &Path) -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let usual = Addresses::default();
        let addresses = Addresses {
            anthropic: variable("ANTHROPIC_BASE_URL").unwrap_or(usual.anthropic),
            openai: variable("OPENAI_BASE_URL").unwrap_or(usual.openai),
            gemini: variable("GOOGLE_GEMINI_BASE_URL").unwrap_or(usual.gemini),
            https_proxy: variable("HTTPS_PROXY").or_else(|| variable("https_proxy")),
            no_proxy: variable("NO_PROXY").or_else(|| variable("no_proxy")),
        };
        let upstreams = Upstreams::new(&addresses).map(Arc::new).map_err(|error| error.to_string());
        Self { host, runtime, root: root.to_owned(), state_dir: state_dir.to_owned(), upstreams }
    }

    /// The way to the kernel.
    pub(crate) const fn host(&self) -> &HostHandle {
        &self.host
    }

    /// Puts into the spec what a process of `lineage` needs for its ways.
    pub(crate) fn prepare(
        &self,
        spec: &mut Spec,
        lineage: &str,
        bounds: &Bounds,
        home: Option<&str>,
    ) -> Result<Prepared, String> {
        let mut ports = Vec::new();
        let relayed = spec.network != Network::Host;
        let egress = relayed && bounds.hosts;
        if egress {
            ports.push(EGRESS_PORT);
            set(spec, environment::egress(EGRESS_PORT));
        }
        let mut prepared = Prepared { lineage: lineage.to_owned(), egress, ..Prepared::default() };
        if let Some(home) = home {
            let port = if relayed {
                ports.push(RELAY_PORT);
                RELAY_PORT
            } else {
                let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
                let port = listener.local_addr().map_err(|error| error.to_string())?.port();
                prepared.beside = Some(listener);
                port
            };
            let token = token()?;
            set(spec, environment::relay(port, &token));
            prepared.relay = Some((Token::new(&token), self.keys(bounds)));
            prepared.seat = Some(self.seat(spec, lineage, home)?);
        }
        if !ports.is_empty() {
            spec.network = Network::Relayed { ports };
        }
        Ok(prepared)
    }

    /// The keys that HUMANFILE authorises and this machine has, one for each vendor.
    fn keys(&self, bounds: &Bounds) -> AgentKeys {
        let authorised = bounds.secrets.iter().cloned().collect();
        let broker = self.host.broker();
        let of = |names: &[&str]| names.iter().find_map(|name| broker.resolve(name, &authorised).ok());
        AgentKeys {
            anthropic: of(&["ANTHROPIC_API_KEY"]),
            openai: of(&["OPENAI_API_KEY"]),
            gemini: of(&["GEMINI_API_KEY", "GOOGLE_API_KEY"]),
            broker: Arc::clone(broker),
        }
    }

    /// A socket on which the process is its lineage, and a home that it keeps from one run to the next.
    fn seat(
        &self,
        spec: &mut Spec,
        lineage: &str,
        home: &str,
    ) -> Result<std::os::unix::net::UnixListener, String> {
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |error: std::io::Error| format!("{path}: {error}")
        };
        fs::create_dir_all(&spec.scratch).map_err(failed(&spec.scratch))?;
        let socket = spec.scratch.join("ostk.sock");
        let listener = std::os::unix::net::UnixListener::bind(&socket).map_err(failed(&socket))?;
        listener.set_nonblocking(true).map_err(failed(&socket))?;
        let home = self.state_dir.join("homes").join(home);
        fs::create_dir_all(&home).map_err(failed(&home))?;
        for (name, value) in [
            ("OSTK_SOCKET", socket.into_os_string()),
            ("OSTK_DIR", self.root.clone().into_os_string()),
            ("OSTK_LINEAGE", OsString::from(lineage)),
            ("HOME", home.clone().into_os_string()),
        ] {
            spec.env.insert(name.into(), value);
        }
        spec.writable.push(home);
        Ok(listener)
    }

    /// Serves the ways of a process that has started, until the returned handle is dropped.
    pub(crate) fn open(&self, process: &Process, prepared: Prepared) -> Open {
        let (stop, stopped) = watch::channel(());
        let mut relays = process.take_relays().into_iter();
        let desk =
            Arc::new(HostDesk { host: self.host.clone(), caller: Caller::Agent(prepared.lineage.clone()) });
        if prepared.egress
            && let Some(listener) = relays.next()
        {
            let (egress, stopped) = (Egress::new(Arc::clone(&desk)), stopped.clone());
            self.runtime.spawn(async move { egress.serve(listener, until(stopped)).await });
        }
        if let (Some((token, keys)), Ok(upstreams)) = (prepared.relay, &self.upstreams)
            && let Some(listener) = prepared.beside.or_else(|| relays.next())
        {
            let relay = Arc::new(Relay::new(desk, Arc::new(keys), Arc::clone(upstreams), token));
            let stopped = stopped.clone();
            self.runtime.spawn(async move { relay.serve(listener, until(stopped)).await });
        }
        if let Some(seat) = prepared.seat {
            let shared = Shared::seat(self.host.clone(), self.state_dir.clone(), prepared.lineage);
            self.runtime.spawn(sit(seat, Arc::new(shared), stopped));
        }
        Open { _stop: stop }
    }
}

/// Done when the process's ways are closed.
async fn until(mut stopped: watch::Receiver<()>) {
    // The sender sends nothing; it is dropped.
    let _ = stopped.changed().await;
}

/// Serves the socket of one process.
async fn sit(listener: std::os::unix::net::UnixListener, shared: Arc<Shared>, stopped: watch::Receiver<()>) {
    let Ok(listener) = UnixListener::from_std(listener) else { return };
    let mut end = std::pin::pin!(until(stopped));
    let places = Arc::new(tokio::sync::Semaphore::new(MAX_SEATED));
    loop {
        tokio::select! {
            () = &mut end => return,
            accepted = listener.accept() => {
                let (Ok((stream, _)), Ok(place)) = (accepted, Arc::clone(&places).try_acquire_owned()) else { continue };
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    rpc::serve(shared, stream).await;
                    drop(place);
                });
            }
        }
    }
}

/// Connections of one process at once: a client's server and hooks.
const MAX_SEATED: usize = 32;

fn set(spec: &mut Spec, variables: Vec<(&'static str, String)>) {
    spec.env.extend(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
}

fn token() -> Result<String, String> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| format!("no random bytes for a token: {error}"))?;
    Ok(bytes.iter().fold("ostk-".to_owned(), |text, byte| format!("{text}{byte:02x}")))
}

/// The keys that the relay of one agent may use. They stay in this process.
struct AgentKeys {
    anthropic: Option<Secret>,
    openai: Option<Secret>,
    gemini: Option<Secret>,
    /// Knows every secret that may be in no request and in no reply.
    broker: Arc<Broker>,
}

impl Keys for AgentKeys {
    fn key(&self, vendor: Vendor) -> Option<Secret> {
        match vendor {
            Vendor::Anthropic => self.anthropic.clone(),
            Vendor::OpenAi => self.openai.clone(),
            Vendor::Gemini => self.gemini.clone(),
        }
    }

    fn masker(&self) -> Masker {
        self.broker.masker()
    }
}

/// The kernel, as the proxies of one process ask it.
struct HostDesk {
    host: HostHandle,
    caller: Caller,
}

impl HostDesk {
    async fn call(&self, verb: &str, args: Value) -> Result<Value, CallError> {
        let call = NewCall {
            caller: self.caller.clone(),
            verb: verb.to_owned(),
            args,
            idempotency: None,
            timeout_ms: ANSWER_MS,
        };
        self.host.call(call).await
    }

    async fn intent(&self, verb: &str, args: Value) -> Result<u64, Refusal> {
        let answer = self.call(verb, args).await.map_err(refusal)?;
        let unnumbered = || Refusal { reason: "bug: an intent without a number".to_owned(), hint: None };
        answer.get("intent").and_then(Value::as_u64).ok_or_else(unnumbered)
    }
}

fn refusal(error: CallError) -> Refusal {
    Refusal { reason: error.message, hint: error.hint }
}

impl Desk for HostDesk {
    async fn resolve(&self, target: &Target) -> Result<(), Refusal> {
        let args = json!({ "target": target.to_string() });
        self.call("net.resolve", args).await.map(drop).map_err(refusal)
    }

    async fn connect(&self, target: &Target, address: SocketAddr) -> Result<u64, Refusal> {
        let args = json!({ "target": target.to_string(), "address": address.ip().to_string() });
        self.intent("net.connect", args).await
    }

    async fn closed(&self, intent: u64, end: ConnectionEnd) {
        let mut args =
            json!({ "intent": intent, "sent_bytes": end.sent_bytes, "received_bytes": end.received_bytes });
        add(&mut args, "problem", end.problem);
        // The record is lost only with the daemon, which then says that it does not know the end.
        let _ = self.call("net.closed", args).await;
    }
}

impl ModelDesk for HostDesk {
    async fn model(&self, request: &ModelRequest) -> Result<u64, Refusal> {
        let mut args = json!({ "vendor": request.vendor.to_string(), "model": request.model.as_deref().unwrap_or("-"),
            "method": request.method, "path": request.path, "body": encode(&request.body) });
        expect(&mut args, request);
        self.intent("model.relay", args).await
    }

    async fn model_ended(&self, intent: u64, reply: ModelReply) {
        let duration_ms = u64::try_from(reply.duration.as_millis()).unwrap_or(u64::MAX);
        let usage = usage(&reply.tokens);
        let mut args = json!({ "intent": intent, "reply": encode(&reply.body), "size_bytes": reply.size_bytes,
            "complete": reply.complete, "duration_ms": duration_ms, "unsent": reply.unsent,
            "input_tokens": usage.input, "output_tokens": usage.output,
            "cached_tokens": usage.cache_read.saturating_add(usage.cache_write) });
        let price = reply.model.and_then(|model| ostk_models::price(&model, &usage));
        add(&mut args, "cost_micro_usd", price.map(|price| price.0));
        add(&mut args, "status", reply.status);
        add(&mut args, "problem", reply.problem);
        let _ = self.call("model.relayed", args).await;
    }
}

/// Adds what a request is expected to take, if it makes its model work.
fn expect(args: &mut Value, request: &ModelRequest) {
    let is_free = request.wire == Wire::CountTokens || request.method != "POST";
    let Some(model) = request.model.as_deref().filter(|_| !is_free) else { return };
    let (tokens, price) = allowance::expected(model, request.body.len());
    add(args, "reserve_tokens", Some(tokens));
    add(args, "reserve_micro_usd", price);
    add(args, "unpriced", price.is_none().then_some(true));
}

fn usage(tokens: &TokenCounts) -> Usage {
    let of = |count: Option<u64>| count.unwrap_or_default();
    Usage {
        input: of(tokens.input),
        output: of(tokens.output),
        cache_read: of(tokens.cache_read),
        cache_write: of(tokens.cache_write),
    }
}

/// Adds a member that is there.
fn add(args: &mut Value, name: &str, value: Option<impl Into<Value>>) {
    if let (Some(value), Some(members)) = (value, args.as_object_mut()) {
        members.insert(name.to_owned(), value.into());
    }
}

fn encode(bytes: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(bytes)
}
