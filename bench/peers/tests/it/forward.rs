//! What the forwarder adds, and what it leaves alone.

use axum::{Router, http::HeaderMap, routing::post};
use bench_peers::forward::Forwarder;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A forwarder in front of a server that says which host, origin and token it was shown.
async fn forwarder(token: &std::path::Path) -> (String, String) {
    async fn say(headers: HeaderMap, body: String) -> String {
        let shown = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-");
        format!("{} {} {} {body}", shown("host"), shown("origin"), shown("authorization"))
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let router = Router::new().route("/read/mcp/x", post(say));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let uri = format!("http://{target}/read/mcp/x").parse().unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    let forwarder = Forwarder::bind(listen, uri, token).await.unwrap();
    let own = forwarder.url().replace("http://", "").replace("/mcp", "");
    tokio::spawn(forwarder.serve());
    (own, target)
}

async fn send(own: &str, host: &str, origin: &str) -> String {
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nConnection: close\r\n\
         Content-Length: 4\r\n\r\nbody"
    );
    let mut stream = TcpStream::connect(own).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.rsplit("\r\n").next().unwrap().to_owned()
}

#[tokio::test]
async fn its_own_name_becomes_the_targets_and_anothers_stays() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "t1\n").unwrap();
    let (own, target) = forwarder(&token).await;
    let said = send(&own, &own, &format!("http://{own}")).await;
    assert_eq!(said, format!("{target} http://{target} Bearer t1 body"));
    std::fs::write(&token, "t2").unwrap();
    let said = send(&own, "evil.example", "http://evil.example").await;
    assert_eq!(said, "evil.example http://evil.example Bearer t2 body");
}

#[tokio::test]
async fn without_a_token_nothing_is_forwarded() {
    let folder = tempfile::tempdir().unwrap();
    let (own, _) = forwarder(&folder.path().join("token")).await;
    let said = send(&own, &own, "http://x").await;
    assert!(said.starts_with("the forwarder: "), "{said}");
}
