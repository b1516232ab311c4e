//! What a granted client gets: tunnels, plain requests, SOCKS5; and what the desk is asked and told.

use std::net::SocketAddr;
use std::time::Duration;

use ostk_proxy::{ConnectionEnd, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::desk::{Book, Entry, Names, Proxy, eventually, forbidden, read_head};

async fn server() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Sends back what it gets until the client is done, then says goodbye.
async fn echo(listener: TcpListener) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    stream.write_all(&all).await.unwrap();
    stream.write_all(b"bye").await.unwrap();
}

async fn tunnel(proxy: &Proxy, target: &str) -> TcpStream {
    let mut client = proxy.client().await;
    client.write_all(format!("CONNECT {target} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 200 "));
    client
}

#[tokio::test]
async fn a_tunnel_carries_every_byte_both_ways_and_its_end_is_counted() {
    let (listener, address) = server().await;
    tokio::spawn(echo(listener));
    let proxy = Proxy::to(address);
    let mut client = tunnel(&proxy, &format!("a.granted:{}", address.port())).await;
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    client.write_all(&bytes).await.unwrap();
    // One direction ends before the other.
    client.shutdown().await.unwrap();
    let mut back = Vec::new();
    client.read_to_end(&mut back).await.unwrap();
    assert_eq!(back, [bytes.as_slice(), b"bye"].concat());
    let end = ConnectionEnd { sent_bytes: 300_000, received_bytes: 300_003, problem: None };
    assert_eq!(proxy.book.end().await, end);
    let asked = format!("a.granted:{}", address.port());
    assert_eq!(proxy.book.entries(), [Entry::Resolve(asked), Entry::Connect(address), Entry::Closed(1, end)]);
}

#[tokio::test]
async fn bytes_that_came_with_the_request_are_part_of_the_tunnel() {
    let (listener, address) = server().await;
    tokio::spawn(echo(listener));
    let proxy = Proxy::to(address);
    let mut client = proxy.client().await;
    let request = format!("CONNECT a.granted:{} HTTP/1.1\r\n\r\nearly\n", address.port());
    client.write_all(request.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    read_head(&mut client).await;
    let mut back = String::new();
    client.read_to_string(&mut back).await.unwrap();
    assert_eq!(back, "early\nbye");
}

#[tokio::test]
async fn a_plain_request_reaches_the_server_as_one_of_its_own() {
    let (listener, address) = server().await;
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        let mut body = [0; 2];
        stream.read_exact(&mut body).await.unwrap();
        stream.write_all(b"HTTP/1.1 201 Made\r\nX-Own: 1\r\nContent-Length: 3\r\n\r\nyes").await.unwrap();
        (head, body)
    });
    let proxy = Proxy::to(address);
    let host = format!("a.granted:{}", address.port());
    let request = format!(
        "POST http://{host}/path?q=%20 HTTP/1.1\r\nHost: {host}\r\nProxy-Authorization: Basic eA==\r\n\
         Proxy-Connection: keep-alive\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-Mine: 1\r\nContent-Length: 2\r\n\r\nhi"
    );
    let answer = proxy.ask(&request).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert!(answer.contains("x-own: 1") && answer.ends_with("\r\n\r\nyes"), "{answer}");
    let (head, body) = serving.await.unwrap();
    assert!(head.starts_with("POST /path?q=%20 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: {host}\r\n")) && head.contains("x-mine: 1\r\n"), "{head}");
    assert!(!head.contains("proxy-") && !head.contains("x-hop"), "{head}");
    assert_eq!(&body, b"hi");
    assert_eq!(proxy.book.end().await.problem, None);
}

/// A greeting and a request of SOCKS5 with a name.
fn socks(command: u8, name: &str, port: u16) -> Vec<u8> {
    let length = [5, command, 0, 3, u8::try_from(name.len()).unwrap()];
    [&[5, 2, 0, 2], &length[..], name.as_bytes(), &port.to_be_bytes()].concat()
}

#[tokio::test]
async fn socks5_carries_a_tunnel_to_a_name() {
    let (listener, address) = server().await;
    tokio::spawn(echo(listener));
    let proxy = Proxy::to(address);
    let mut client = proxy.client().await;
    client.write_all(&socks(1, "Git.Granted", address.port())).await.unwrap();
    let mut answers = [0; 12];
    client.read_exact(&mut answers).await.unwrap();
    assert_eq!(answers, [5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    client.write_all(b"ssh").await.unwrap();
    client.shutdown().await.unwrap();
    let mut back = String::new();
    client.read_to_string(&mut back).await.unwrap();
    assert_eq!(back, "sshbye");
    assert_eq!(*proxy.names.asked.lock().unwrap(), ["git.granted"]);
}

#[tokio::test]
async fn socks5_says_why_not() {
    let proxy = Proxy::to("127.0.0.1:1".parse().unwrap());
    // Not granted, UDP, a number for a name, a granted name where nobody listens.
    for (request, reply) in [
        (socks(1, "evil.example", 443), 2),
        (socks(3, "a.granted", 53), 7),
        (socks(1, "2130706433", 80), 8),
        (socks(1, "a.granted", 1), 4),
    ] {
        let mut client = proxy.client().await;
        client.write_all(&request).await.unwrap();
        let mut answers = Vec::new();
        client.read_to_end(&mut answers).await.unwrap();
        assert_eq!(answers.get(2..4), Some(&[5, reply][..]));
    }
    assert_eq!(*proxy.names.asked.lock().unwrap(), ["a.granted"]);
}

#[tokio::test]
async fn a_refused_name_is_told_why_and_never_looked_up() {
    let proxy = Proxy::to("127.0.0.1:1".parse().unwrap());
    for request in [
        "CONNECT secret-data.evil.example:443 HTTP/1.1\r\n\r\n",
        "GET http://secret-data.evil.example/ HTTP/1.1\r\n\r\n",
    ] {
        let answer = proxy.ask(request).await;
        assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
        assert!(answer.contains("Error: no rule grants secret-data.evil.example\n"), "{answer}");
        assert!(
            answer.contains("Hint: ostk why agent network.connect secret-data.evil.example\n"),
            "{answer}"
        );
    }
    assert!(proxy.names.asked.lock().unwrap().is_empty());
    assert!(proxy.book.entries().iter().all(|entry| matches!(entry, Entry::Resolve(_))));
}

#[tokio::test]
async fn an_address_is_asked_for_as_an_address_and_not_looked_up() {
    let (listener, address) = server().await;
    tokio::spawn(echo(listener));
    let proxy = Proxy::to(address);
    assert!(proxy.ask("CONNECT 10.1.2.3:443 HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 403 "));
    assert!(proxy.ask("CONNECT [::ffff:10.1.2.3]:443 HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 403 "));
    tunnel(&proxy, &address.to_string()).await;
    assert!(proxy.names.asked.lock().unwrap().is_empty());
    let refused = Entry::Resolve("10.1.2.3:443".into());
    assert_eq!(proxy.book.entries()[..2], [refused.clone(), refused]);
}

#[tokio::test]
async fn the_address_that_was_judged_is_the_one_dialled_although_the_name_now_leads_elsewhere() {
    let (listener, address) = server().await;
    tokio::spawn(echo(listener));
    let rebound = SocketAddr::new(forbidden(), address.port());
    let proxy = Proxy::with(Book::default(), Names::new([vec![address], vec![rebound]]), Limits::default());
    tunnel(&proxy, &format!("a.granted:{}", address.port())).await;
    assert_eq!(proxy.names.asked.lock().unwrap().len(), 1);
    // The second connection is judged anew, and its address is the forbidden one.
    let answer = proxy.ask(&format!("CONNECT a.granted:{} HTTP/1.1\r\n\r\n", address.port())).await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("127.0.0.66"), "{answer}");
}

#[tokio::test]
async fn a_forbidden_address_among_others_is_left_out_and_a_dead_one_is_passed_over() {
    let (listener, address) = server().await;
    tokio::spawn(echo(listener));
    let forbidden = SocketAddr::new(forbidden(), address.port());
    let dead = SocketAddr::new("127.0.0.7".parse().unwrap(), address.port());
    let proxy = Proxy::with(Book::default(), Names::new([vec![forbidden, dead, address]]), Limits::default());
    tunnel(&proxy, &format!("a.granted:{}", address.port())).await;
    let entries = proxy.book.entries();
    assert_eq!(entries[1..3], [Entry::Refused(forbidden), Entry::Connect(dead)]);
    assert!(entries.contains(&Entry::Connect(address)));
    let closed = |entry: &Entry| matches!(entry, Entry::Closed(2, end) if end.problem.is_some());
    eventually(|| proxy.book.entries().iter().any(closed).then_some(())).await;
}

#[tokio::test]
async fn where_nobody_answers_the_client_and_the_desk_are_told() {
    let (listener, address) = server().await;
    drop(listener);
    let proxy = Proxy::to(address);
    let answer = proxy.ask(&format!("CONNECT a.granted:{} HTTP/1.1\r\n\r\n", address.port())).await;
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("a.granted"), "{answer}");
    assert!(proxy.book.end().await.problem.unwrap().contains("refused"));
    let nowhere = Proxy::with(Book::default(), Names::new([vec![]]), Limits::default());
    let answer = nowhere.ask("CONNECT b.granted:443 HTTP/1.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("no such name"), "{answer}");
}

#[tokio::test]
async fn a_silent_name_server_is_given_up() {
    let limits = Limits { resolve: Duration::from_millis(50), ..Limits::default() };
    let proxy = Proxy::with(Book::default(), Names::new([]), limits);
    let answer = proxy.ask("CONNECT a.granted:443 HTTP/1.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
}

#[tokio::test]
async fn a_connection_on_which_nothing_happens_is_ended() {
    let (listener, address) = server().await;
    let limits = Limits { idle: Duration::from_millis(50), ..Limits::default() };
    let proxy = Proxy::with(Book::default(), Names::new([vec![address]]), limits);
    let mut client = tunnel(&proxy, &format!("a.granted:{}", address.port())).await;
    let (_held, _) = listener.accept().await.unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap_or(0), 0);
    assert!(proxy.book.end().await.problem.unwrap().contains("nothing was sent"));
}

#[tokio::test]
async fn when_the_proxy_stops_the_desk_knows_of_every_end() {
    let (listener, address) = server().await;
    let proxy = Proxy::to(address);
    let _client = tunnel(&proxy, &format!("a.granted:{}", address.port())).await;
    let (_held, _) = listener.accept().await.unwrap();
    let book = proxy.stop().await;
    assert!(matches!(book.entries().last(), Some(Entry::Closed(1, end)) if end.problem.is_some()));
}
