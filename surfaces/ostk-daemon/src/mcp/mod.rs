//! The Model Context Protocol: agents reach the kernel through the tools of `ostk_kernel::TOOLS`.
//!
//! `ostk mcp` runs this in a process of its own, one for each client over standard input and output, or one for many
//! over loopback HTTP. It holds no state: each tool call becomes a system call on a connection to the daemon, and a
//! daemon that was restarted in between is taken up again once, under the same idempotency key. `server` answers the
//! protocol, `seat` holds the place of one client at the daemon, `tools` announces, `http` serves HTTP.

mod http;
mod seat;
mod server;
mod tools;

use std::{io, sync::Arc, time::Duration};

use libostk::Client;
use ostk_kernel::CallError;
use rmcp::{ServiceExt, transport::async_rw::AsyncRwTransport};
use tokio::signal::unix::{SignalKind, signal};

pub use self::http::{HttpError, HttpOptions, serve_http};
pub use self::seat::{Place, error_of, take_place};
use self::{seat::Seat, server::Server};

/// Longest message that a client may send; nothing that a model writes in one call comes near. Over HTTP a longer one
/// is answered with 413; on standard input the SDK steps over it without an answer.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;
/// How long tool calls that still run when the client leaves may hold the process.
const FAREWELL: Duration = Duration::from_millis(500);

/// Makes a connection to the daemon, starting one if none runs. Blocking.
pub type Connect = Arc<dyn Fn() -> Result<Client, CallError> + Send + Sync>;

/// Who a client of this server is.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The lineage, exactly; without it the client's own name with a number added.
    pub name: Option<String>,
    /// The pin that bounds it.
    pub pin: Option<String>,
}

/// Serves one client on standard input and output until it leaves.
///
/// # Errors
/// When the runtime cannot start. What goes wrong with a call is the answer of that call.
pub fn serve_stdio(connect: Connect, options: Options) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let seat = Arc::new(Seat::new(connect, options));
    let server = Server::new(Arc::clone(&seat));
    runtime.block_on(async {
        let (input, output) = rmcp::transport::stdio();
        let transport = AsyncRwTransport::new_server(input, output).with_max_line_length(MAX_MESSAGE);
        let served = async {
            // A client that leaves before it has said hello has asked for nothing.
            if let Ok(running) = server.serve(transport).await {
                let _ = running.waiting().await;
            }
        };
        // Clients close the input, or send a signal, or both.
        tokio::select! {
            () = served => {}
            () = signalled(SignalKind::terminate()) => {}
            () = signalled(SignalKind::interrupt()) => {}
        }
    });
    seat.leave();
    runtime.shutdown_timeout(FAREWELL);
    Ok(())
}

/// Waits for a signal; for ever where signals cannot be had.
async fn signalled(kind: SignalKind) {
    match signal(kind) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

/// So many random bytes as hexadecimal digits. Where the system has none, the process and the time: a name that is
/// unlikely to be met again, never a secret.
fn random_hex(bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    if getrandom::fill(&mut buffer).is_err() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        return format!("{}-{}", std::process::id(), now.as_nanos());
    }
    buffer.iter().map(|byte| format!("{byte:02x}")).collect()
}
