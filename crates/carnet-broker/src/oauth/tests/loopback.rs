//! Once over a real socket, as it will be served.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Ask, encode, fresh};
use crate::oauth::fixture::{House, agent};
use crate::oauth::{OAuthOptions, router};
use carnet_identity::DpopKey;
use secrecy::ExposeSecret;

async fn talk(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_token_is_fetched_over_loopback_by_following_the_metadata() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let issuer = format!("http://{address}");
    let house = House::at(&issuer).await;
    let routes = router(Arc::clone(&house.broker), OAuthOptions::default()).unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, routes).await });

    let get =
        |path: &str| format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let metadata = talk(&address, &get("/.well-known/oauth-authorization-server")).await;
    let endpoint = format!("{issuer}/oauth/token");
    assert!(metadata.contains(&format!("\"token_endpoint\":\"{endpoint}\"")), "{metadata}");

    let svid = house.broker.mint_svid(&agent("desk-agent"), &issuer).unwrap();
    let now = house.broker.now().wall;
    let key = DpopKey::generate().unwrap();
    let proof = key.prove("POST", &endpoint, None, &fresh(), now, None).unwrap();
    let ask = Ask::new(svid.expose_secret()).set("resource", &format!("{issuer}/read/mcp/desk"));
    let body = encode(&ask.form);
    let post = |host: &str| {
        format!(
            "POST /oauth/token HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nDPoP: {proof}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let rebound = talk(&address, &post("rebound.example")).await;
    assert!(rebound.starts_with("HTTP/1.1 421 "), "{rebound}");
    let granted = talk(&address, &post(&address)).await;
    assert!(granted.starts_with("HTTP/1.1 200 OK\r\n"), "{granted}");
    assert!(granted.contains("\"token_type\":\"DPoP\""), "{granted}");
    serving.abort();
}
