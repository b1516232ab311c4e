//! What an attempt may aim at: servers on every kind of socket, a terminal, and a process outside.
//!
//! One thread serves all of it and notes who came. The process outside is this program again (`escape outsider`).

use std::{
    fs,
    io::{BufRead as _, BufReader, IoSlice, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsFd as _, OwnedFd},
        linux::net::SocketAddrExt as _,
        unix::{
            net::{SocketAddr, UnixDatagram, UnixListener, UnixStream},
            process::CommandExt as _,
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::yard::Yard;

/// How often the servers look.
const LOOK: Duration = Duration::from_millis(5);
/// How long a server reads from somebody who came.
const READ: Duration = Duration::from_millis(100);

/// Everything that an attempt may aim at.
#[derive(Debug)]
pub(crate) struct Targets {
    pub(crate) outsider: Outsider,
    heard: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    facts: Vec<(String, String)>,
    shared: PathBuf,
    /// Open for every child that does not close it.
    _leaked: fs::File,
    _slave: OwnedFd,
}

impl Targets {
    pub(crate) fn new(yard: &Yard, program: &Path) -> Result<Self> {
        let leaked = fs::File::open(yard.outside.join("key"))?;
        rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty())?;
        let (servers, mut facts) = Servers::open(yard)?;
        let (terminal, slave) = terminal()?;
        facts.push(("TERMINAL".to_owned(), terminal.1));
        let shared = Path::new("/dev/shm").join(format!("escape-{}", yard.nonce));
        // Where there is none, the rows that need it do not apply.
        let _ = fs::write(&shared, &yard.secret);
        facts.push(("SHARED".to_owned(), shared.display().to_string()));
        let outsider = Outsider::start(yard, program)?;
        facts.extend(outsider.facts());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let over = Arc::new(AtomicBool::new(false));
        let thread = {
            let (heard, over) = (Arc::clone(&heard), Arc::clone(&over));
            let yard = Whereabouts {
                ready: yard.workspace.join("ready"),
                runtime: yard.runtime.clone(),
                nonce: yard.nonce.clone(),
            };
            thread::spawn(move || servers.serve(&yard, &terminal.0, &heard, &over))
        };
        Ok(Self {
            outsider,
            heard,
            over,
            thread: Some(thread),
            facts,
            shared,
            _leaked: leaked,
            _slave: slave,
        })
    }

    pub(crate) fn facts(&self) -> &[(String, String)] {
        &self.facts
    }

    /// The shared memory that must stay as it is.
    pub(crate) fn shared(&self) -> PathBuf {
        self.shared.clone()
    }

    /// Who came, and over what.
    pub(crate) fn heard(&self, patient: bool) -> Vec<String> {
        thread::sleep(LOOK * 4 + if patient { READ } else { Duration::ZERO });
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
        heard.sort();
        heard.dedup();
        heard
    }
}

impl Drop for Targets {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = fs::remove_file(&self.shared);
    }
}

struct Whereabouts {
    ready: PathBuf,
    runtime: PathBuf,
    nonce: String,
}

/// The servers.
struct Servers {
    tcp: Vec<(&'static str, TcpListener)>,
    udp: Vec<(&'static str, UdpSocket)>,
    local: Vec<(String, UnixListener)>,
    datagrams: Vec<(String, UnixDatagram)>,
    pass: UnixListener,
    key: fs::File,
    door: Door,
    granted: Granted,
}

impl Servers {
    fn open(yard: &Yard) -> Result<(Self, Vec<(String, String)>)> {
        let mut facts = Vec::new();
        let mut tcp = Vec::new();
        for (name, address) in
            [("TCP", "127.0.0.1:0"), ("TCP6", "[::1]:0"), ("METADATA", "127.169.254.169:0")]
        {
            // Without IPv6 the rows that need it do not apply.
            let port = TcpListener::bind(address).and_then(|listener| {
                listener.set_nonblocking(true)?;
                let port = listener.local_addr()?.port();
                tcp.push((name, listener));
                Ok(port)
            });
            facts.push((name.to_owned(), port.unwrap_or(1).to_string()));
        }
        let granted = Granted::open(yard.granted())?;
        facts.push(("GRANTED".to_owned(), yard.granted().ip().to_string()));
        facts.push(("GRANTED_PORT".to_owned(), yard.granted().port().to_string()));
        let other = TcpListener::bind((*yard.granted().ip(), 0))?;
        other.set_nonblocking(true)?;
        facts.push(("OTHER_PORT".to_owned(), other.local_addr()?.port().to_string()));
        tcp.push(("another port of the granted address", other));
        let mut udp = Vec::new();
        for (name, address) in [("UDP", "127.0.0.1:0"), ("UDP6", "[::1]:0")] {
            let port = UdpSocket::bind(address).and_then(|socket| {
                socket.set_nonblocking(true)?;
                let port = socket.local_addr()?.port();
                udp.push((name, socket));
                Ok(port)
            });
            facts.push((name.to_owned(), port.unwrap_or(1).to_string()));
        }
        let door = Door::open()?;
        facts.push(("DOOR".to_owned(), door.address.port().to_string()));
        let abstract_name = format!("escape-{}", yard.nonce);
        facts.push(("ABSTRACT".to_owned(), abstract_name.clone()));
        let mut local = Vec::new();
        for path in [
            yard.outside.join("engine.sock"),
            yard.runtime.join("ssh-agent"),
            yard.runtime.join("bus"),
            yard.home.join(".gnupg/S.gpg-agent"),
        ] {
            if path.parent().is_some_and(Path::is_dir) {
                local.push((path.display().to_string(), UnixListener::bind(&path)?));
            }
        }
        for name in [abstract_name.clone(), format!("/tmp/.X11-unix/{abstract_name}")] {
            local.push((
                format!("@{name}"),
                UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?,
            ));
        }
        for (_, listener) in &local {
            listener.set_nonblocking(true)?;
        }
        let datagrams = datagram(&yard.outside, "datagram.sock").into_iter().collect();
        let pass = UnixListener::bind(yard.outside.join("pass.sock"))?;
        pass.set_nonblocking(true)?;
        let key = fs::File::open(yard.outside.join("key"))?;
        Ok((Self { tcp, udp, local, datagrams, pass, key, door, granted }, facts))
    }

    fn serve(
        mut self,
        yard: &Whereabouts,
        terminal: &fs::File,
        heard: &Mutex<Vec<String>>,
        over: &AtomicBool,
    ) {
        let note = |what: String| heard.lock().unwrap_or_else(PoisonError::into_inner).push(what);
        let mut made_late = false;
        let mut screen = String::new();
        while !over.load(Ordering::Relaxed) {
            for (name, listener) in &self.tcp {
                if let Ok((stream, _)) = listener.accept() {
                    note(format!("{name}: {}", first_bytes_tcp(stream)));
                }
            }
            if let Some(odd) = self.granted.serve() {
                note(odd);
            }
            for (name, socket) in &self.udp {
                let mut buffer = [0; 512];
                if let Ok(length) = socket.recv(&mut buffer) {
                    note(format!("{name}: {}", shown(buffer.get(..length).unwrap_or_default())));
                }
            }
            for (name, listener) in &self.local {
                if let Ok((stream, _)) = listener.accept() {
                    note(format!("{name}: {}", first_bytes(stream)));
                }
            }
            for (name, socket) in &self.datagrams {
                let mut buffer = [0; 512];
                if let Ok(length) = socket.recv(&mut buffer) {
                    note(format!("{name}: {}", shown(buffer.get(..length).unwrap_or_default())));
                }
            }
            if let Ok((stream, _)) = self.pass.accept() {
                let _ = pass(&stream, &self.key);
                note("pass.sock: gave a descriptor".to_owned());
            }
            if let Some(said) = self.door.knock().filter(|said| said.contains(&yard.nonce)) {
                note(format!("answered at a port of its own: {said}"));
            }
            // What is typed comes letter by letter.
            screen.extend(read_terminal(terminal));
            if screen.contains(&yard.nonce) {
                note(format!("terminal: {}", shown(std::mem::take(&mut screen).as_bytes())));
            }
            if !made_late && yard.ready.exists() {
                made_late = true;
                self.datagrams.extend(datagram(&yard.runtime, "late.datagram"));
                self.local.extend(late(&yard.runtime));
            }
            thread::sleep(LOOK);
        }
    }
}

/// The server that a person has granted: an answer to whoever asks, and a way elsewhere for whoever asks for that.
struct Granted {
    listener: TcpListener,
    address: SocketAddrV4,
}

impl Granted {
    fn open(address: SocketAddrV4) -> Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, address })
    }

    /// Answers one request; what is odd about it.
    fn serve(&self) -> Option<String> {
        let (mut stream, _) = self.listener.accept().ok()?;
        let mut buffer = [0; 2048];
        let ready = stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(READ * 5)));
        let length = ready.and_then(|()| stream.read(&mut buffer)).unwrap_or(0);
        let request = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
        let head = request.split("\r\n\r\n").next().unwrap_or_default();
        let away = head.split_once(" /away/").and_then(|(_, rest)| rest.split(' ').next());
        let answer = match away {
            Some(port) => format!(
                "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{port}/\r\nContent-Length: 0\r\n\r\n"
            ),
            None => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nworks".to_owned(),
        };
        // Whoever went away before the answer got none.
        let _ = stream.write_all(answer.as_bytes());
        let own = format!("host: {}", self.address);
        let mut hosts = head.lines().skip(1).filter(|line| line.to_ascii_lowercase().starts_with("host:"));
        let odd = hosts.find(|line| line.to_ascii_lowercase().trim() != own);
        odd.map(|line| format!("the granted server, as another host: {}", shown(line.as_bytes())))
    }
}

fn datagram(place: &Path, name: &str) -> Option<(String, UnixDatagram)> {
    let socket = UnixDatagram::bind(place.join(name)).ok()?;
    socket.set_nonblocking(true).ok()?;
    Some((name.to_owned(), socket))
}

fn late(runtime: &Path) -> Vec<(String, UnixListener)> {
    let _ = fs::create_dir(runtime.join("late"));
    let bind = |name: &str| {
        let listener = UnixListener::bind(runtime.join(name)).ok()?;
        listener.set_nonblocking(true).ok()?;
        Some((name.to_owned(), listener))
    };
    ["late.sock", "late/late.sock"].into_iter().filter_map(bind).collect()
}

fn first_bytes_tcp(mut stream: TcpStream) -> String {
    let mut buffer = [0; 512];
    let ready = stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(READ)));
    let length = ready.and_then(|()| stream.read(&mut buffer)).unwrap_or(0);
    shown(buffer.get(..length).unwrap_or_default())
}

fn first_bytes(mut stream: UnixStream) -> String {
    let mut buffer = [0; 512];
    let ready = stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(READ)));
    let length = ready.and_then(|()| stream.read(&mut buffer)).unwrap_or(0);
    shown(buffer.get(..length).unwrap_or_default())
}

fn shown(bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).collect();
    text.chars().take(80).collect()
}

/// A port where an attempt may listen.
///
/// It is bound here too, so that the system gives it to nobody else whom the knocking would disturb; whoever asks for
/// just this port with `SO_REUSEADDR` gets it all the same, because nobody listens (socket(7)).
struct Door {
    address: SocketAddrV4,
    _held: OwnedFd,
}

impl Door {
    fn open() -> Result<Self> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt};
        let held = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        sockopt::set_socket_reuseaddr(&held, true)?;
        bind(&held, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
        Ok(Self { address: getsockname(&held)?.try_into()?, _held: held })
    }

    fn knock(&self) -> Option<String> {
        let stream = TcpStream::connect_timeout(&self.address.into(), Duration::from_millis(50)).ok()?;
        Some(first_bytes_tcp(stream))
    }
}

fn pass(stream: &UnixStream, file: &fs::File) -> Result<()> {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
    let fds = [file.as_fd()];
    let mut space = vec![std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    rustix::net::sendmsg(stream, &[IoSlice::new(b"x")], &mut control, SendFlags::empty())?;
    Ok(())
}

/// A terminal of the person: the side of the screen, and the path of the other.
fn terminal() -> Result<((fs::File, String), OwnedFd)> {
    use rustix::{
        fs::{Mode, OFlags},
        pty::OpenptFlags,
    };
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::pty::grantpt(&master)?;
    rustix::pty::unlockpt(&master)?;
    let path = rustix::pty::ptsname(&master, Vec::new())?.into_string()?;
    let slave =
        rustix::fs::open(path.as_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::ioctl_fionbio(&master, true)?;
    Ok(((fs::File::from(master), path), slave))
}

fn read_terminal(mut terminal: &fs::File) -> Option<String> {
    let mut buffer = [0; 512];
    let length = terminal.read(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned())
}

/// The process outside.
#[derive(Debug)]
pub(crate) struct Outsider {
    child: Child,
    addresses: (String, String),
    written: Arc<AtomicBool>,
    before: Vec<String>,
}

impl Outsider {
    fn start(yard: &Yard, program: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg("outsider").arg(yard.outside.join("key")).args(["--token", &yard.secret]);
        command.current_dir(&yard.outside).env_clear().env("OUTSIDER_TOKEN", &yard.secret).process_group(0);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        writeln!(child.stdin.as_mut().context("stdin")?, "{}", yard.secret)?;
        let mut said = BufReader::new(child.stdout.take().context("stdout")?);
        let mut first = String::new();
        said.read_line(&mut first)?;
        let (target, secret) = first.trim().split_once(' ').context("the outsider said nothing")?;
        let addresses = (target.to_owned(), secret.to_owned());
        let written = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&written);
        thread::spawn(move || {
            let mut line = String::new();
            if said.read_line(&mut line).is_ok_and(|length| length > 0) {
                seen.store(true, Ordering::Relaxed);
            }
        });
        let before = properties(child.id());
        Ok(Self { child, addresses, written, before })
    }

    fn facts(&self) -> [(String, String); 3] {
        [
            ("OUTSIDER".to_owned(), self.child.id().to_string()),
            ("ADDRESS".to_owned(), self.addresses.0.clone()),
            ("SECRET_AT".to_owned(), self.addresses.1.clone()),
        ]
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What was done to it.
    pub(crate) fn touched(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        if self.written.load(Ordering::Relaxed) {
            found.push("its memory was written".to_owned());
        }
        match self.child.try_wait() {
            Ok(None) => {}
            ended => found.push(format!("it ended: {ended:?}")),
        }
        let now = properties(self.pid());
        if found.is_empty() && now != self.before {
            found.push("its limits or priority changed".to_owned());
        }
        found
    }
}

/// Limits, priority, and how early it is ended when memory is short.
fn properties(pid: u32) -> Vec<String> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let stat = read("stat");
    let nice = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(16)).unwrap_or_default();
    vec![read("limits"), nice.to_owned(), read("oom_score_adj")]
}

impl Drop for Outsider {
    fn drop(&mut self) {
        // It may be stopped, or gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
