//! A desk that answers from a list and writes down what it was asked; a resolver that answers from a script; a proxy
//! between the two.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ostk_proxy::{ConnectionEnd, Desk, Egress, Host, Limits, Refusal, Resolve, Resolving, Target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};

/// What the desk was asked and told, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Resolve(String),
    Thinks,
    Connect(SocketAddr),
    Refused(SocketAddr),
    Closed(u64, ConnectionEnd),
}

/// Allows names that end in `.granted`, and loopback addresses but 127.0.0.66.
#[derive(Default)]
pub(crate) struct Book {
    entries: Mutex<Vec<Entry>>,
    /// Whether `connect` waits for `go` before it answers.
    thinks: bool,
    pub(crate) go: Notify,
}

pub(crate) fn forbidden() -> std::net::IpAddr {
    Ipv4Addr::new(127, 0, 0, 66).into()
}

impl Book {
    /// One that does not say whether an address may be dialled until it is told to go on.
    pub(crate) fn that_thinks() -> Self {
        Self { thinks: true, ..Self::default() }
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap().clone()
    }

    fn write(&self, entry: Entry) -> u64 {
        let mut entries = self.entries.lock().unwrap();
        entries.push(entry);
        entries.len() as u64 - 1
    }

    /// The end of the only connection, as soon as it is told.
    pub(crate) async fn end(&self) -> ConnectionEnd {
        let told = |entry: &Entry| if let Entry::Closed(_, end) = entry { Some(end.clone()) } else { None };
        eventually(|| self.entries().iter().find_map(told)).await
    }
}

impl Desk for Book {
    async fn resolve(&self, target: &Target) -> Result<(), Refusal> {
        self.write(Entry::Resolve(target.to_string()));
        let granted = match &target.host {
            Host::Name(name) => name.ends_with(".granted"),
            Host::Address(address) => *address == Ipv4Addr::LOCALHOST,
        };
        if granted { Ok(()) } else { Err(refusal(&target.host.to_string())) }
    }

    async fn connect(&self, _target: &Target, address: SocketAddr) -> Result<u64, Refusal> {
        if self.thinks {
            self.write(Entry::Thinks);
            self.go.notified().await;
        }
        if address.ip() == forbidden() {
            self.write(Entry::Refused(address));
            return Err(refusal(&address.to_string()));
        }
        Ok(self.write(Entry::Connect(address)))
    }

    async fn closed(&self, intent: u64, end: ConnectionEnd) {
        self.write(Entry::Closed(intent, end));
    }
}

fn refusal(what: &str) -> Refusal {
    Refusal {
        reason: format!("no rule grants {what}"),
        hint: Some(format!("ostk why agent network.connect {what}")),
    }
}

/// What `found` finds, within five seconds.
pub(crate) async fn eventually<T>(found: impl Fn() -> Option<T>) -> T {
    let look = async {
        loop {
            if let Some(found) = found() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), look).await.expect("it never came")
}

/// Answers each lookup with the next answer; the last one stays. No answer is silence.
#[derive(Default)]
pub(crate) struct Names {
    answers: Mutex<VecDeque<Vec<SocketAddr>>>,
    pub(crate) asked: Mutex<Vec<String>>,
}

impl Names {
    pub(crate) fn new(answers: impl IntoIterator<Item = Vec<SocketAddr>>) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers.into_iter().collect()), asked: Mutex::default() })
    }

    fn next(&self) -> Option<Vec<SocketAddr>> {
        let mut answers = self.answers.lock().unwrap();
        if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }
    }
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, name: &'a str, _port: u16) -> Resolving<'a> {
        self.asked.lock().unwrap().push(name.to_owned());
        let answer = self.next();
        Box::pin(async move {
            match answer {
                Some(addresses) if addresses.is_empty() => Err(io::Error::other("no such name")),
                Some(addresses) => Ok(addresses),
                None => std::future::pending().await,
            }
        })
    }
}

/// A proxy that serves until it is dropped or stopped.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    pub(crate) book: Arc<Book>,
    pub(crate) names: Arc<Names>,
    stop: oneshot::Sender<()>,
    serving: tokio::task::JoinHandle<io::Result<()>>,
}

impl Proxy {
    pub(crate) fn to(server: SocketAddr) -> Self {
        Self::with(Book::default(), Names::new([vec![server]]), Limits::default())
    }

    pub(crate) fn with(book: Book, names: Arc<Names>, limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let book = Arc::new(book);
        let egress = Egress::with(Arc::clone(&book), Arc::clone(&names) as Arc<dyn Resolve>, limits);
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            egress.serve(listener, stopped).await
        });
        Self { address, book, names, stop, serving }
    }

    pub(crate) async fn stop(self) -> Arc<Book> {
        self.stop.send(()).unwrap();
        self.serving.await.unwrap().unwrap();
        self.book
    }

    pub(crate) async fn client(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends `request` and reads until the proxy closes.
    pub(crate) async fn ask(&self, request: &str) -> String {
        let mut client = self.client().await;
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// Reads one head, up to and with the empty line.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("the head breaks off"));
    }
    String::from_utf8(head).unwrap()
}
