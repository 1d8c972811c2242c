//! The URL binding: one scheme, host and port, and what the path is under.

use serde::Serialize;

use crate::value::{ValueError, WebUrl};

use super::mismatch::BindingMismatch;

/// Where a URL may point. The parts are kept in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UrlBinding {
    scheme: String,
    host: String,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_under: Option<String>,
}

/// Why parts do not make a URL binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlBindingError {
    /// The host holds something besides a host.
    #[error(
        "`host` is not one host name or address; give the scheme, port and path in keys of their own, and no `*`"
    )]
    Host,
    /// The port is zero.
    #[error("`port` is 0; write a port from 1 to 65535 or leave it out")]
    Port,
    /// The path does not begin at the root, or programs resolve it differently.
    #[error(
        "`path_under` is not a plain absolute path; begin with `/`, and leave out `..`, `//`, encoded dots and slashes, a query and a fragment"
    )]
    Path,
    /// The parts make no URL.
    #[error("scheme and host make a URL that {0}")]
    Value(#[from] ValueError),
}

impl UrlBinding {
    /// The binding to `scheme` and `host`, on `port` or the scheme's own, with the path under
    /// `path_under` where given.
    pub fn new(
        scheme: &str,
        host: &str,
        port: Option<u16>,
        path_under: Option<&str>,
    ) -> Result<Self, UrlBindingError> {
        let is_address = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() || host.contains(['/', '?', '#', '@', '*']) {
            return Err(UrlBindingError::Host);
        }
        if host.contains(':') && !is_address {
            return Err(UrlBindingError::Host);
        }
        if port == Some(0) {
            return Err(UrlBindingError::Port);
        }
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let base = format!("{scheme}://{host}{port}");
        let url = WebUrl::parse(&format!("{base}/"))?;
        let path_under = path_under.map(|path| plain_path(&base, path)).transpose()?;
        Ok(Self {
            scheme: url.scheme().to_owned(),
            host: url.host().to_owned(),
            port: url.port(),
            path_under,
        })
    }

    /// Whether every URL this lets through, `above` lets through too.
    pub(super) fn is_within(&self, above: &Self) -> bool {
        let place = |url: &Self| (url.scheme.clone(), url.host.clone(), url.port);
        let is_under = match (&self.path_under, &above.path_under) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(own), Some(above)) => is_path_under(own, above),
        };
        place(self) == place(above) && is_under
    }

    /// Whether `text` is a URL that points there.
    pub(super) fn check(&self, text: &str) -> Result<(), BindingMismatch> {
        let url = WebUrl::parse(text)?;
        if url.scheme() != self.scheme {
            return Err(BindingMismatch::OtherScheme);
        }
        if url.host() != self.host {
            return Err(BindingMismatch::OtherHost);
        }
        if url.port() != self.port {
            return Err(BindingMismatch::OtherPort);
        }
        match &self.path_under {
            Some(directory) if !url.is_under(directory) => Err(BindingMismatch::OutsidePath),
            _ => Ok(()),
        }
    }
}

/// Whether `path` is `directory` or below it, by segment.
fn is_path_under(path: &str, directory: &str) -> bool {
    let directory = directory.trim_end_matches('/');
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn plain_path(base: &str, path: &str) -> Result<String, UrlBindingError> {
    let has_dots = path.split('/').any(|segment| matches!(segment, "." | ".."));
    if !path.starts_with('/') || has_dots {
        return Err(UrlBindingError::Path);
    }
    let url = WebUrl::parse(&format!("{base}{path}")).map_err(|_| UrlBindingError::Path)?;
    if !url.has_plain_path() || !url.is_without_query() {
        return Err(UrlBindingError::Path);
    }
    Ok(url.path().to_owned())
}
