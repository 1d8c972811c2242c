//! One HTTP/1.1 connection to Carnet that stays open and carries one request at a time.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use url::form_urlencoded::Serializer;

/// The longest answer read.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
}

/// An answer that was no refusal, and how long it took.
pub(crate) struct Answer {
    pub(crate) json: Value,
    pub(crate) took_us: f64,
}

impl Connection {
    pub(crate) async fn open(issuer: &http::Uri) -> anyhow::Result<Self> {
        let authority = issuer.authority().context("the issuer has no host")?.to_string();
        let stream = TcpStream::connect(&authority).await.context("nobody listens there")?;
        stream.set_nodelay(true)?;
        let (sender, io) = http1::handshake(TokioIo::new(stream)).await?;
        // A broken connection is told by the request that meets it.
        tokio::spawn(async move { drop(io.await) });
        Ok(Self { sender, authority })
    }

    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<Value> {
        let request = self.request(Method::GET, path, None, Bytes::new())?;
        Ok(self.answer(request).await?.json)
    }

    /// Sends a form; an answer other than a success is an error.
    pub(crate) async fn post(
        &mut self,
        path: &str,
        proof: Option<&str>,
        form: &[(&str, &str)],
    ) -> anyhow::Result<Answer> {
        let body = Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.request(Method::POST, path, proof, body.into())?;
        self.answer(request).await
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        proof: Option<&str>,
        body: Bytes,
    ) -> anyhow::Result<Request<Full<Bytes>>> {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header(header::HOST, &self.authority);
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        if let Some(proof) = proof {
            request = request.header("dpop", proof);
        }
        Ok(request.body(Full::new(body))?)
    }

    async fn answer(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
        let path = request.uri().path().to_owned();
        self.sender.ready().await?;
        let began = Instant::now();
        let whole = async {
            let response = self.sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("an unreadable answer: {error}"))?;
            anyhow::Ok((status, body.to_bytes()))
        };
        let (status, body) = tokio::time::timeout(ANSWER_WITHIN, whole).await??;
        let took_us = began.elapsed().as_secs_f64() * 1e6;
        let is_good = matches!(status, StatusCode::OK | StatusCode::CREATED);
        ensure!(is_good, "{path}: {status}: {}", String::from_utf8_lossy(&body));
        Ok(Answer { json: serde_json::from_slice(&body)?, took_us })
    }
}
