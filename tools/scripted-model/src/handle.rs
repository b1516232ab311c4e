//! Starting a server from a test and asking it afterwards what happened.
//!
//! The handle owns the server's thread: dropping it closes the port and ends the thread.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::ledger::{Ledger, Request, Served};
use crate::script::{Script, ScriptError};
use crate::server::{Server, any_loopback_port};

/// Starts servers.
#[derive(Debug)]
pub struct ScriptedModel;

/// Where to listen and what to write.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// A file that gets each request as one line of JSON, without credentials. It is appended to.
    pub log: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { listen: any_loopback_port(), log: None }
    }
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The script cannot be played.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// The address is taken, the log cannot be opened, or no thread could be started.
    #[error("cannot start: {0}")]
    Io(#[from] std::io::Error),
}

impl ScriptedModel {
    /// Serves `script` on a free port of the loopback interface.
    pub fn start(script: Script) -> Result<Handle, StartError> {
        Self::start_with(script, &Options::default())
    }

    /// The same with an address and a log.
    pub fn start_with(script: Script, options: &Options) -> Result<Handle, StartError> {
        script.check()?;
        let log =
            options.log.as_ref().map(|path| std::fs::OpenOptions::new().create(true).append(true).open(path));
        let listener = std::net::TcpListener::bind(options.listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let server = Server::new(script, Ledger::new(log.transpose()?));
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = Arc::clone(&server);
        let thread = std::thread::Builder::new().name("scripted-model".into()).spawn(move || {
            runtime.block_on(async {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                tokio::select! {
                    () = serving.serve(listener) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Handle { address, server, stop: Some(stop), thread: Some(thread) })
    }
}

/// A running server.
#[derive(Debug)]
pub struct Handle {
    address: SocketAddr,
    server: Arc<Server>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    /// For `ANTHROPIC_BASE_URL`: `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// For `OPENAI_BASE_URL` and `OLLAMA_HOST`: the base with `/v1`.
    pub fn openai_base_url(&self) -> String {
        format!("{}/v1", self.base_url())
    }

    /// Every request so far, oldest first (the newest [`crate::MAX_REQUESTS`]).
    pub fn requests(&self) -> Vec<Request> {
        self.server.ledger().requests()
    }

    /// How often each turn, by conversation and index, was asked for and served.
    pub fn served(&self) -> BTreeMap<(String, usize), Served> {
        self.server.ledger().served()
    }

    /// Turns that were replied to in full more than once: calls that a client repeated.
    pub fn repeated(&self) -> Vec<(String, usize)> {
        let served = self.served().into_iter();
        served.filter(|(_, count)| count.replied > 1).map(|(turn, _)| turn).collect()
    }

    /// Turns of the script, by conversation and index, that no client has got in full.
    pub fn unserved(&self) -> Vec<(String, usize)> {
        let served = self.served();
        let replied = |turn: &(String, usize)| served.get(turn).is_some_and(|count| count.replied > 0);
        self.server.script().turns().filter(|turn| !replied(turn)).collect()
    }

    /// Requests that did not fit the script, in words.
    pub fn unmet(&self) -> Vec<String> {
        self.server.ledger().complaints()
    }

    /// Waits until the server ends, which it does only with the process.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed by then.
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
