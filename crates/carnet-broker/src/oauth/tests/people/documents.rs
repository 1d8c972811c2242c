//! Clients that say themselves what they are, and once everything over a real socket.

use std::sync::Arc;

use axum::http::StatusCode;
use carnet_core::Identity;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::super::{Bench, encode};
use super::{Parameters, VERIFIER, ask, between, confirm, people, register, request, set};
use crate::oauth::fixture::{House, ana};
use crate::oauth::{LoginOptions, OAuthOptions, router};

#[tokio::test]
async fn a_clients_document_is_fetched_from_nowhere_within_our_own_walls() {
    let bench = people(None).await;
    for (n, id) in [
        "https://127.0.0.1/client.json",
        "https://localhost/client.json",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/client.json",
        "http://app.example/client.json",
        "https://10.0.0.1:8443/client.json",
    ]
    .into_iter()
    .enumerate()
    {
        let identity =
            Identity::Client { id: id.to_owned(), keys: None, redirect_uris: Vec::new() };
        register(&bench, &format!("documented-{n}"), identity).await;
        let answer = ask(&bench, &set(request(), "client_id", id)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{id}");
        assert!(answer.text.contains("client_document_unreachable"), "{id}: {}", answer.text);
        assert_eq!(answer.header("location"), None);
    }
}

/// Answers every request with what `answer` says of its path.
async fn publishing(answer: fn(&str, &str) -> String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let own = host.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default();
            let _ = stream.write_all(answer(&own, path).as_bytes()).await;
        }
    });
    host
}

async fn talk(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn documents(host: &str, path: &str) -> String {
    let client_id = match path {
        "/another" => format!("http://{host}/client"),
        _ => format!("http://{host}{path}"),
    };
    let name = if path == "/long" { "x".repeat(6 * 1024) } else { "A <b>client</b>".to_owned() };
    let body = json!({ "client_id": client_id, "client_name": name,
        "redirect_uris": ["http://127.0.0.1/cb"] })
    .to_string();
    match path {
        "/moved" => {
            "HTTP/1.1 302 Found\r\nlocation: /client\r\ncontent-length: 0\r\n\r\n".to_owned()
        }
        _ => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()),
    }
}

#[tokio::test]
async fn a_whole_authorization_over_loopback_with_a_clients_own_document() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let issuer = format!("http://{address}");
    let documents = publishing(documents).await;
    let bench = Bench { house: House::at(&issuer).await, ..Bench::new().await };
    for name in ["client", "another", "long", "moved"] {
        let id = format!("http://{documents}/{name}");
        register(&bench, name, Identity::Client { id, keys: None, redirect_uris: Vec::new() })
            .await;
    }
    let login = LoginOptions { client_hosts: vec!["127.0.0.1".to_owned()], provider: None };
    let options = OAuthOptions { login, ..OAuthOptions::default() };
    let routes = router(Arc::clone(&bench.house.broker), options).unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, routes).await });

    let (resource, redirect) = (format!("{issuer}/read/mcp/desk"), "http://127.0.0.1:5123/cb");
    let asked = |name: &str| {
        let asked = set(request(), "client_id", &format!("http://{documents}/{name}"));
        encode(&set(set(asked, "redirect_uri", redirect), "resource", &resource))
    };
    let get = |path: &str, cookie: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
        )
    };
    for (name, code) in [
        ("another", "client_document_of_another"),
        ("long", "client_document_unreachable"),
        ("moved", "client_document_unreachable"),
    ] {
        let answer = talk(&address, &get(&format!("/oauth/authorize?{}", asked(name)), "")).await;
        assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains(code), "{name}: {answer}");
    }
    let answer = talk(&address, &get(&format!("/oauth/authorize?{}", asked("client")), "")).await;
    let place = between(&answer, "location: ", "\r\n");
    let cookie = between(&answer, "set-cookie: ", ";");
    let page = talk(&address, &get(&place, &cookie)).await;
    assert!(page.contains("A &#60;b&#62;client&#60;/b&#62;"), "{page}");
    confirm(&bench, &between(&page, "carnet login ", "</code>"), &ana()).unwrap();
    let page = talk(&address, &get(&place, &cookie)).await;

    let form = |fields: &[(&str, &str)]| {
        let fields: Parameters =
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        encode(&fields)
    };
    let post = |path: &str, headers: &str, body: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let (csrf, shown) = (
        between(&page, "name=\"csrf\" value=\"", "\""),
        between(&page, "name=\"shown\" value=\"", "\""),
    );
    let yes = form(&[("csrf", &csrf), ("shown", &shown), ("answer", "yes")]);
    let consent = between(&page, "action=\"", "\"");
    let headers = format!("Origin: {issuer}\r\nCookie: {cookie}");
    let answer = talk(&address, &post(&consent, &headers, &yes)).await;
    let code = between(&answer, &format!("location: {redirect}?code="), "&");

    let client_id = format!("http://{documents}/client");
    let ask = form(&[
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("code_verifier", VERIFIER),
        ("redirect_uri", redirect),
        ("client_id", &client_id),
        ("resource", &resource),
    ]);
    let proof = bench.proof_with(&bench.key, &format!("{issuer}/oauth/token"), None);
    let answer = talk(&address, &post("/oauth/token", &format!("DPoP: {proof}"), &ask)).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\"token_type\":\"DPoP\""), "{answer}");
    serving.abort();
}
