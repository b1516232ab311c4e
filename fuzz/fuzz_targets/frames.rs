//! What a daemon that is not ours, or broken, sends to a client.
//!
//! The bytes arrive on a real socket, in answer to a request, and the socket then ends. The client gives an answer or
//! an error and takes what notifications came; it may not panic, wait for its deadline, or grow without bound.

#![no_main]

use std::{
    io::Write,
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    sync::OnceLock,
    time::{Duration, Instant},
};

use libfuzzer_sys::fuzz_target;
use libostk::Client;
use serde_json::json;

/// Fits a socket's buffer whole, so that one thread can play both ends.
const MAX_SENT: usize = 32 * 1024;
/// Far beyond what reading so little takes, even on a busy machine.
const SOON: Duration = Duration::from_secs(5);

fuzz_target!(|sent: &[u8]| {
    let sent = &sent[..sent.len().min(MAX_SENT)];
    let (path, listener) = listener();
    let mut client = Client::connect(path).expect("the listener is ours");
    let mut daemon: UnixStream = listener.accept().expect("a client connects").0;
    daemon.write_all(sent).expect("it fits the buffer");
    daemon.shutdown(Shutdown::Write).expect("the socket is open");
    let begun = Instant::now();
    let answered = client.request("call", &json!({ "verb": "ps" }), SOON).is_ok();
    assert!(!answered || sent.contains(&b'{'), "an answer out of nothing");
    while let Ok(Some(_)) = client.next_event(SOON) {}
    assert!(begun.elapsed() < SOON, "an ended socket was waited for");
});

fn listener() -> &'static (PathBuf, UnixListener) {
    static LISTENER: OnceLock<(PathBuf, UnixListener)> = OnceLock::new();
    LISTENER.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("ostk-fuzz-{}.sock", std::process::id()));
        // One of an earlier process with this id may have been left behind.
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("the temporary directory takes a socket");
        (path, listener)
    })
}
