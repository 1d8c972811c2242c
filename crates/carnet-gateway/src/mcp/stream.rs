//! The endpoint of one resource on one path: GET and DELETE, which only sessions have.

use std::sync::Arc;

use carnet_core::{Caller, check_caller};
use http::request::Parts;
use http::{Response, StatusCode};

use super::endpoint::{SESSION, no_session};
use super::exchange::Exchange;
use super::session::Session;
use crate::body::{self, Body};
use crate::gateway::{Gateway, carried_through, not_allowed};

impl Gateway {
    /// GET: what the server says by itself.
    pub(crate) async fn listen(self: &Arc<Self>, parts: &Parts, caller: Caller) -> Response<Body> {
        let view = self.control.view();
        if check_caller(&view.snapshot, &caller, self.control.now()).is_err() {
            return self.challenge(caller.path, &caller.resource, "invalid_token");
        }
        let Some(id) = session_id(parts) else { return not_allowed() };
        let Some(session) = self.sessions.find(id, &caller) else {
            return no_session();
        };
        let gateway = Arc::clone(self);
        carried_through(|_| async move { gateway.open_stream(session, caller).await }).await
    }

    async fn open_stream(self: Arc<Self>, session: Arc<Session>, caller: Caller) -> Response<Body> {
        if self.note(&caller, "listen").await.is_err() {
            let message = "the record could not be written; try again later";
            return body::problem(StatusCode::SERVICE_UNAVAILABLE, message);
        }
        let Ok(guard) = self.register(&caller) else {
            return self.challenge(caller.path, &caller.resource, "invalid_token");
        };
        match guard.run(session.channel.link.listen(session.revision())).await {
            Some(Ok(messages)) => {
                Exchange::unsolicited(&session.channel, caller).stream(self, messages, guard)
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "the server offers no stream of its own");
                not_allowed()
            }
            None => self.challenge(caller.path, &caller.resource, "invalid_token"),
        }
    }

    /// DELETE: the end of a session.
    pub(crate) async fn end_session(&self, parts: &Parts, caller: Caller) -> Response<Body> {
        let Some(id) = session_id(parts) else { return not_allowed() };
        if self.sessions.find(id, &caller).is_none() {
            return no_session();
        }
        let Some(session) = self.sessions.remove(id) else {
            return no_session();
        };
        carried_through(|_| async move {
            session.channel.link.close(session.revision()).await;
            body::empty(StatusCode::NO_CONTENT)
        })
        .await
    }
}

fn session_id(parts: &Parts) -> Option<&str> {
    parts.headers.get(SESSION).and_then(|id| id.to_str().ok())
}
