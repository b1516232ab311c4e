//! Clients that want more than they were granted, or everything at once.

use std::time::Duration;

use ostk_proxy::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::desk::{Book, Entry, Names, Proxy, eventually, read_head};

#[tokio::test]
async fn a_second_request_behind_the_first_reaches_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        // Everything that still comes, until the proxy ends the connection.
        stream.read_to_string(&mut seen).await.unwrap();
        seen
    });
    let proxy = Proxy::to(address);
    let host = format!("a.granted:{}", address.port());
    let answer = proxy
        .ask(&format!(
            "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\nGET http://inner.example/ HTTP/1.1\r\nHost: inner.example\r\n\r\n"
        ))
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
    let seen = serving.await.unwrap();
    assert!(!seen.contains("inner.example"), "{seen}");
    assert_eq!(proxy.book.entries()[0], Entry::Resolve(host));
    assert_eq!(proxy.book.entries().iter().filter(|entry| matches!(entry, Entry::Resolve(_))).count(), 1);
}

#[tokio::test]
async fn an_ambiguous_request_is_refused_before_the_desk_is_asked() {
    let proxy = Proxy::to("127.0.0.1:1".parse().unwrap());
    for lines in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Content-Length: 4\r\nContent-Length: 5",
        "X: y\r\n folded",
        "Host: b.granted",
    ] {
        let answer = proxy.ask(&format!("POST http://a.granted/ HTTP/1.1\r\n{lines}\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{lines}: {answer}");
    }
    assert!(proxy.ask("GET / HTTP/1.1\r\nHost: a.granted\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    assert!(proxy.book.entries().is_empty());
}

#[tokio::test]
async fn a_huge_head_and_a_slow_head_are_given_up() {
    let limits = Limits { head: Duration::from_millis(100), ..Limits::default() };
    let proxy = Proxy::with(Book::default(), Names::new([]), limits);
    let huge = format!("GET http://a.granted/{} HTTP/1.1\r\n\r\n", "a".repeat(40_000));
    assert!(proxy.ask(&huge).await.starts_with("HTTP/1.1 431 "));
    assert!(proxy.ask("GET http://a.granted/ HTTP/1.1\r\nX: ").await.starts_with("HTTP/1.1 408 "));
    // Half a greeting of SOCKS5, and nothing at all: closed without an answer.
    assert_eq!(proxy.ask("\u{5}\u{2}").await, "");
    assert_eq!(proxy.ask("").await, "");
}

#[tokio::test]
async fn one_connection_too_many_is_turned_away_and_there_is_room_again_afterwards() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let proxy = Proxy::with(Book::default(), Names::new([]), limits);
    let (first, _second) = (proxy.client().await, proxy.client().await);
    let answer = proxy.ask("CONNECT a.granted:443 HTTP/1.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("2 connections"), "{answer}");
    drop(first);
    let refused = loop {
        let answer = proxy.ask("CONNECT evil.example:443 HTTP/1.1\r\n\r\n").await;
        if !answer.starts_with("HTTP/1.1 503 ") {
            break answer;
        }
    };
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
}

#[tokio::test]
async fn a_connection_given_up_while_the_desk_thinks_is_closed_all_the_same() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = Proxy::with(Book::that_thinks(), Names::new([vec![address]]), Limits::default());
    let mut client = proxy.client().await;
    let request = format!("CONNECT a.granted:{} HTTP/1.1\r\n\r\n", address.port());
    client.write_all(request.as_bytes()).await.unwrap();
    eventually(|| proxy.book.entries().contains(&Entry::Thinks).then_some(())).await;
    let book = std::sync::Arc::clone(&proxy.book);
    let stopping = tokio::spawn(proxy.stop());
    drop(client);
    book.go.notify_one();
    stopping.await.unwrap();
    eventually(|| matches!(book.entries().last(), Some(Entry::Closed(2, _))).then_some(())).await;
}
