//! Streamable HTTP on loopback: one server process, many clients of this machine.
//!
//! Whoever may read the project's token may connect, and nobody else: every request carries it as a bearer token, the
//! address is a loopback address, and a page in a browser is turned away by its `Origin` and `Host`.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    net::SocketAddr,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use tokio::{net::TcpListener, sync::Semaphore};

use super::{
    Connect, MAX_MESSAGE, Options, random_hex,
    seat::Seat,
    server::{Lobby, Server},
};

/// HTTP connections at once; each client holds one or two.
const MAX_CONNECTIONS: usize = 256;
/// How long a client may take to send the head of a request.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);
/// Names of clients without a session that are told apart; more share one seat.
const MAX_LOBBY: usize = 64;
/// Bytes of the token; as many as a key has.
const TOKEN_BYTES: usize = 32;
/// Pages that may speak to this server, if they also have the token: those of this machine.
const ORIGINS: [&str; 3] = ["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"];

type Service = StreamableHttpService<Server, LocalSessionManager>;
type Body = http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>;

/// Where to serve HTTP.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Address and port, such as `127.0.0.1:7000`; port 0 takes a free one.
    pub address: String,
    /// The file that holds the token; made if it is not there.
    pub token: PathBuf,
}

/// Why HTTP is not served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Not `IP:PORT`.
    #[error("{0:?} is not an address and a port, such as 127.0.0.1:7000")]
    Address(String),
    /// An address that other machines can reach.
    #[error("{0} is not a loopback address: this server is for clients of this machine only")]
    NotLoopback(SocketAddr),
    /// The token's file can be read by others.
    #[error("{} can be read by others", .0.display())]
    Exposed(PathBuf),
    /// The system has no random bytes.
    #[error("no random bytes for a token")]
    NoEntropy,
    /// The system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        source: io::Error,
    },
}

impl HttpError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotLoopback(_) => {
                Some("ostk mcp --http 127.0.0.1:7000; use an SSH tunnel from another machine")
            }
            Self::Exposed(_) => Some("remove it; the next start makes a new one"),
            Self::Address(_) | Self::NoEntropy | Self::Io { .. } => None,
        }
    }

    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// Serves HTTP until the process ends. `ready` is told the address once it listens.
///
/// # Errors
/// See [`HttpError`]; what goes wrong with one connection ends only that.
pub fn serve_http(
    connect: Connect,
    options: Options,
    http: &HttpOptions,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), HttpError> {
    let address: SocketAddr = http.address.parse().map_err(|_| HttpError::Address(http.address.clone()))?;
    if !address.ip().is_loopback() {
        return Err(HttpError::NotLoopback(address));
    }
    let token: Arc<str> = token(&http.token)?.into();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(HttpError::io("cannot start the runtime"))?;
    runtime.block_on(async {
        let listening = TcpListener::bind(address).await;
        let listener = listening.map_err(HttpError::io(format!("cannot listen on {address}")))?;
        ready(listener.local_addr().unwrap_or(address));
        accept(listener, service(connect, options), token).await;
        Ok(())
    })
}

fn service(connect: Connect, options: Options) -> Service {
    let config = StreamableHttpServerConfig::default()
        .with_allowed_origins(ORIGINS)
        .with_max_request_body_bytes(MAX_MESSAGE);
    let lobby = lobby(Arc::clone(&connect), options.clone());
    let server = move || {
        let seat = Arc::new(Seat::new(Arc::clone(&connect), options.clone()));
        Ok(Server::with_lobby(seat, Arc::clone(&lobby)))
    };
    StreamableHttpService::new(server, Arc::default(), config)
}

/// Clients without a session keep their lineage by name for as long as this process runs.
fn lobby(connect: Connect, options: Options) -> Lobby {
    let seats: Mutex<BTreeMap<String, Arc<Seat>>> = Mutex::default();
    Arc::new(move |client| {
        let mut seats = seats.lock().unwrap_or_else(PoisonError::into_inner);
        let name = if seats.len() < MAX_LOBBY || seats.contains_key(client) { client } else { "mcp" };
        let make = || {
            let seat = Seat::new(Arc::clone(&connect), options.clone());
            seat.introduce(name);
            Arc::new(seat)
        };
        Arc::clone(seats.entry(name.to_owned()).or_insert_with(make))
    })
}

async fn accept(listener: TcpListener, service: Service, token: Arc<str>) {
    let open = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&open).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: the next connection that ends frees one.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (service, token) = (service.clone(), Arc::clone(&token));
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let (service, token) = (service.clone(), Arc::clone(&token));
                async move { Ok::<_, std::convert::Infallible>(answer(&service, &token, request).await) }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE);
            // A client that breaks off has nobody left to tell.
            let _ = http.serve_connection(TokioIo::new(stream), answer).await;
            drop(permit);
        });
    }
}

async fn answer(service: &Service, token: &str, request: Request<Incoming>) -> Response<Body> {
    if bears(&request, token) {
        return service.handle(request).await;
    }
    let text = "the request carries no valid token; it is in .ostk/run/mcp.token\n";
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())).boxed());
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response.headers_mut().insert(WWW_AUTHENTICATE, hyper::header::HeaderValue::from_static("Bearer"));
    response
}

fn bears(request: &Request<Incoming>, token: &str) -> bool {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some((scheme, given)) = header.and_then(|header| header.split_once(' ')) else { return false };
    scheme.eq_ignore_ascii_case("bearer") && same(given.trim().as_bytes(), token.as_bytes())
}

/// Compares in a time that does not tell how many bytes were right.
fn same(given: &[u8], wanted: &[u8]) -> bool {
    given.len() == wanted.len() && given.iter().zip(wanted).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

/// The token in the file, or a new one. It stays from start to start, so that clients can be configured with it.
fn token(path: &Path) -> Result<String, HttpError> {
    let failed = |source| HttpError::Io { what: path.display().to_string(), source };
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(failed)?;
    }
    if let Some(found) = found_token(path)? {
        return Ok(found);
    }
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|_| HttpError::NoEntropy)?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // Whole or not at all: another server may start at the same moment, and the first of the two counts.
    let draft = path.with_extension(random_hex(8));
    let mut file =
        OpenOptions::new().create_new(true).write(true).mode(0o600).open(&draft).map_err(failed)?;
    let linked = file.write_all(format!("{token}\n").as_bytes()).and_then(|()| fs::hard_link(&draft, path));
    let _ = fs::remove_file(&draft);
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            found_token(path)?.ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))
        }
        other => other.map(|()| token).map_err(failed),
    }
}

fn found_token(path: &Path) -> Result<Option<String>, HttpError> {
    let failed = |source| HttpError::Io { what: path.display().to_string(), source };
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed)?,
    };
    if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
        return Err(HttpError::Exposed(path.to_owned()));
    }
    let mut text = String::new();
    file.take(1_024).read_to_string(&mut text).map_err(failed)?;
    let text = text.trim();
    if text.len() != 2 * TOKEN_BYTES || !text.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidData, "not a token; remove the file")));
    }
    Ok(Some(text.to_owned()))
}
