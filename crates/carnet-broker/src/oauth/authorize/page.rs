//! The pages a person sees: plain HTML, no script, nothing of anybody else's unescaped.

use std::fmt::Write as _;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use carnet_core::{Allowance, Approve};

use super::consent::Proposal;
use super::flows::{Flow, secret, shown};
use super::request::Asked;
use crate::oauth::refusal::Refusal;

/// How often a page looks whether its person has said who they are, in seconds.
const POLL_S: u32 = 3;
/// The most allowances that are written out; with more, nothing can be agreed to.
const ALLOWANCES_MAX: usize = 64;
const STYLE: &str = "body{font:16px/1.5 sans-serif;max-width:42em;margin:3em auto;padding:0 1em}\
    code,.theirs{font-family:monospace;overflow-wrap:anywhere;background:#eee;padding:0 .2em}\
    .code{font-size:2em;letter-spacing:.1em}.warn{border-left:.3em solid #b00;padding-left:.7em}\
    button{font:inherit;padding:.4em 1.2em;margin-right:1em}";

/// A page in the making.
struct Page {
    status: StatusCode,
    title: &'static str,
    /// Whether it looks again by itself.
    polls: bool,
    /// Where its form may lead, besides here.
    form_action: Option<String>,
    body: String,
}

impl Page {
    fn new(title: &'static str, body: String) -> Self {
        Self { status: StatusCode::OK, title, polls: false, form_action: None, body }
    }

    fn respond(self) -> Response {
        // Without randomness there is no style, and nothing else is different.
        let nonce = secret().unwrap_or_default();
        let refresh = match self.polls {
            true => format!("<meta http-equiv=\"refresh\" content=\"{POLL_S}\">"),
            false => String::new(),
        };
        let (title, body) = (self.title, self.body);
        let html = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">{refresh}\
             <title>{title}</title><style nonce=\"{nonce}\">{STYLE}</style></head>\
             <body><h1>{title}</h1>{body}</body></html>"
        );
        let mut response = (self.status, html).into_response();
        let headers = response.headers_mut();
        protect(headers);
        let action = self.form_action.unwrap_or_default();
        let policy = format!(
            "default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self' {action}; \
             base-uri 'none'; frame-ancestors 'none'"
        );
        // A policy that cannot be written is the strictest.
        let policy = HeaderValue::from_str(&policy).unwrap_or_else(|_| {
            HeaderValue::from_static(
                "default-src 'none'; form-action 'none'; frame-ancestors 'none'",
            )
        });
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, html);
        response
    }
}

/// What every answer to a browser carries: it is kept nowhere, shown in no frame, and its address is
/// told to nobody else.
pub(crate) fn protect(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// An authorization that is not this browser's, or not there any more: told alike.
pub(crate) fn gone() -> Response {
    let body =
        "<p>This authorization is not here, or not any more. Begin again in your client.</p>";
    let page = Page::new("Nothing to agree to", body.to_owned());
    Page { status: StatusCode::NOT_FOUND, ..page }.respond()
}

/// A request that leads nowhere.
pub(crate) fn refused(refusal: &Refusal) -> Response {
    let body = format!(
        "<p>Your client's request was refused, and it is not told: where its answers go is not known \
         to be its own.</p><p><code>{}</code></p>",
        escaped(&refusal.description())
    );
    Page { status: refusal.status(), ..Page::new("Refused", body) }.respond()
}

/// A login by way of the identity provider that came to nothing.
pub(crate) fn not_logged_in(refusal: &Refusal) -> Response {
    let body = format!(
        "<p>Who you are could not be told. Your client is not answered; begin again there.</p>\
         <p><code>{}</code></p>",
        escaped(&refusal.description())
    );
    Page { status: refusal.status(), ..Page::new("Not logged in", body) }.respond()
}

/// Asks who is at the browser.
pub(crate) fn login(id: &str, code: &str, asked: &Asked, provider: Option<&str>) -> Response {
    let code = shown(code);
    // A link and no form: what a form leads to would have to be told to the browser beforehand.
    let by_provider = provider.map(|host| {
        format!(
            "<p><a href=\"/oauth/login/{}/provider\">Log in with {}</a>, or:</p>",
            escaped(id),
            escaped(host)
        )
    });
    let body = format!(
        "{}{}<p>On the machine Carnet runs on, as yourself, type:</p>\
         <p class=\"code\"><code>carnet login {code}</code></p>\
         <p>Type it only if you began this yourself, just now, in this browser. The code is good for \
         five minutes. This page goes on by itself.</p>",
        client(asked),
        by_provider.unwrap_or_default()
    );
    Page { polls: true, ..Page::new("Who are you?", body) }.respond()
}

/// Asks whether they agree.
pub(crate) fn consent(id: &str, flow: &Flow, proposal: &Proposal) -> Response {
    let mut body = client(&flow.asked);
    let Proposal { person, resource, path, purpose, lasts_s, .. } = proposal;
    let task = match &proposal.task {
        Some(task) => format!("your task <code>{task}</code>"),
        None => "a new task of yours".to_owned(),
    };
    let purpose = escaped(purpose);
    let minutes = lasts_s.div_euclid(60).max(1);
    // Writing to a text cannot fail.
    let _ = write!(
        body,
        "<p>You are <strong>{person}</strong>. If you agree, the agent <strong>{agent}</strong> acts for \
         you within {task}, and gets a token for the <strong>{path}</strong> path of \
         <strong>{resource}</strong>.</p><p>Purpose: {purpose}</p><p>It lasts at most {minutes} minutes. \
         It would allow:</p><ul>",
        agent = escaped(&proposal.agent),
    );
    for allowance in proposal.allow.iter().take(ALLOWANCES_MAX) {
        let _ = write!(body, "<li>{}</li>", line(allowance));
    }
    body.push_str("</ul>");
    if proposal.allow.len() > ALLOWANCES_MAX {
        body.push_str("<p class=\"warn\">There is more, and it is not shown: you cannot agree to it here.</p>");
        return Page::new("Do you agree?", body).respond();
    }
    let _ = write!(
        body,
        "<form method=\"post\" action=\"/oauth/consent/{id}\">\
         <input type=\"hidden\" name=\"csrf\" value=\"{}\">\
         <input type=\"hidden\" name=\"shown\" value=\"{}\">\
         <button name=\"answer\" value=\"no\">No</button>\
         <button name=\"answer\" value=\"yes\">Yes, I agree</button></form>",
        escaped(&flow.csrf),
        escaped(&proposal.digest()),
    );
    let form_action = Some(flow.asked.back.redirect.form_action());
    Page { form_action, ..Page::new("Do you agree?", body) }.respond()
}

/// Who asks. What the client says of itself is marked as its own words.
fn client(asked: &Asked) -> String {
    let mut text = format!(
        "<p>The client <code>{}</code> of the agent <strong>{}</strong> asks.",
        escaped(&asked.client.id),
        escaped(asked.client.agent.as_str())
    );
    if let Some(name) = &asked.client.name {
        let _ = write!(
            text,
            " It calls itself <q class=\"theirs\">{}</q>; nobody vouches for that name.",
            escaped(name)
        );
    }
    let redirect = &asked.back.redirect;
    let _ = write!(text, " The answer goes to <code>{}</code>.</p>", escaped(redirect.shown()));
    if redirect.is_local() {
        text.push_str(
            "<p class=\"warn\">That is a program on the machine of this browser, and which one is not \
             known: agree only if you started it yourself.</p>",
        );
    }
    text
}

fn line(allowance: &Allowance) -> String {
    let mut text = format!(
        "<code>{}</code> on the {} path",
        escaped(&allowance.action.to_string()),
        allowance.path
    );
    if !allowance.where_.is_empty() {
        let bound = serde_json::to_string(&allowance.where_).unwrap_or_default();
        let _ = write!(text, ", where <code>{}</code>", escaped(&bound));
    }
    if !allowance.total.is_empty() {
        let total = serde_json::to_string(&allowance.total).unwrap_or_default();
        let _ = write!(text, ", in all <code>{}</code>", escaped(&total));
    }
    let times = match allowance.uses {
        Some(uses) => format!(", {uses} times"),
        None => ", as often as it likes".to_owned(),
    };
    text.push_str(&times);
    match allowance.approve {
        Approve::None => {}
        Approve::UpFront => text.push_str("; somebody is asked first"),
        Approve::OnUse => text.push_str("; somebody is asked each time"),
    }
    text
}

/// `text` as text of a page: markup, quotes, and whatever would not be seen or would turn the line
/// around are written out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' | '>' | '&' | '"' | '\'' => out.push_str(&format!("&#{};", u32::from(c))),
            ' ' => out.push(c),
            _ if is_hidden(c) => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            _ => out.push(c),
        }
    }
    out
}

fn is_hidden(c: char) -> bool {
    c.is_control()
        || c.is_whitespace()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_calls_itself_is_neither_markup_nor_hidden() {
        let name = "<script>alert(1)</script> \"Carnet\" & \u{202e}evil\u{200b}\n'";
        let shown = escaped(name);
        for bad in ["<", ">", "\"", "'", "\u{202e}", "\u{200b}", "\n"] {
            assert!(!shown.contains(bad), "{shown}");
        }
        assert!(shown.contains("\\u{202e}evil") && shown.contains("&#60;script"), "{shown}");
        assert_eq!(escaped("Büro 7: app.example"), "Büro 7: app.example");
    }
}
