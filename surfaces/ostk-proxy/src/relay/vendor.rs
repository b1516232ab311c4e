//! The vendors: which one a request is for, what it asks for, and how an error looks to that vendor's clients.
//!
//! Clients are given base URLs with a prefix (`/anthropic`, `/openai/v1`, `/gemini`), so most requests say whom they mean;
//! others are told by headers and path. Paths that two servers may read differently are refused. Pure functions.

use std::borrow::Cow;
use std::fmt;

use hyper::{HeaderMap, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

/// A vendor of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Vendor {
    /// Anthropic.
    Anthropic,
    /// OpenAI, and servers that speak its wires.
    OpenAi,
    /// Google's Gemini API.
    Gemini,
}

/// What a request asks of a vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wire {
    /// Anthropic Messages: `/v1/messages`.
    Messages,
    /// Anthropic's token count: `/v1/messages/count_tokens`.
    CountTokens,
    /// OpenAI Chat Completions: `/v1/chat/completions`.
    Chat,
    /// OpenAI Responses: `/v1/responses`.
    Responses,
    /// Gemini: `…/models/MODEL:VERB`.
    Gemini,
    /// Anything else: lists of models, files, batches.
    Other,
}

impl Vendor {
    /// Every vendor.
    pub const ALL: [Self; 3] = [Self::Anthropic, Self::OpenAi, Self::Gemini];

    /// The name, as in the prefix of paths.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
            Self::Gemini => "gemini",
        }
    }

    /// An error that this vendor's clients understand.
    pub(crate) fn error(self, status: StatusCode, message: &str) -> Value {
        match self {
            Self::Anthropic => {
                json!({"type": "error", "error": {"type": anthropic_type(status), "message": message}})
            }
            Self::OpenAi => {
                let code = (status == StatusCode::UNAUTHORIZED).then_some("invalid_api_key");
                let kind = if status.is_client_error() { "invalid_request_error" } else { "server_error" };
                json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
            }
            Self::Gemini => {
                json!({"error": {"code": status.as_u16(), "message": message, "status": google_status(status)}})
            }
        }
    }
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Types of errors in Anthropic's API reference.
const fn anthropic_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        504 => "timeout_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

/// Names of `google.rpc.Code` for statuses of HTTP.
const fn google_status(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        504 => "DEADLINE_EXCEEDED",
        502 | 503 => "UNAVAILABLE",
        400..=499 => "INVALID_ARGUMENT",
        _ => "INTERNAL",
    }
}

impl Wire {
    /// The name in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Messages => "anthropic",
            Self::CountTokens => "anthropic-count-tokens",
            Self::Chat => "openai-chat",
            Self::Responses => "openai-responses",
            Self::Gemini => "gemini",
            Self::Other => "other",
        }
    }

    /// Whether a request must name its model in the body.
    pub(crate) const fn has_model_in_body(self) -> bool {
        matches!(self, Self::Messages | Self::CountTokens | Self::Chat | Self::Responses)
    }
}

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Route<'a> {
    pub(crate) vendor: Vendor,
    /// Below the vendor's address, with a slash at its beginning.
    pub(crate) path: &'a str,
}

/// The vendor of a path: the prefix says so, else headers, else the path's own shape. `None`: nothing says so.
pub(crate) fn route<'a>(path: &'a str, headers: &HeaderMap) -> Option<Route<'a>> {
    for vendor in Vendor::ALL {
        let rest = path.strip_prefix('/').and_then(|path| path.strip_prefix(vendor.name()));
        match rest {
            Some("") => return Some(Route { vendor, path: "/" }),
            Some(path) if path.starts_with('/') => return Some(Route { vendor, path }),
            _ => {}
        }
    }
    shape(path, headers).map(|vendor| Route { vendor, path })
}

fn shape(path: &str, headers: &HeaderMap) -> Option<Vendor> {
    let begins =
        |start: &str| path.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if headers.contains_key("anthropic-version") || begins("/v1/messages") {
        Some(Vendor::Anthropic)
    } else if headers.contains_key("x-goog-api-key") || begins("/v1beta") {
        Some(Vendor::Gemini)
    } else if headers.contains_key(hyper::header::AUTHORIZATION) && begins("/v1") {
        Some(Vendor::OpenAi)
    } else {
        ["/v1/chat", "/v1/responses"].iter().any(|start| begins(start)).then_some(Vendor::OpenAi)
    }
}

/// Whether every server reads the path the same way: no empty parts, no `.` or `..`, no hidden slashes.
pub(crate) fn is_plain_path(path: &str) -> bool {
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    let parts = trimmed.strip_prefix('/').map(|path| path.split('/')).into_iter().flatten();
    trimmed.is_empty()
        || trimmed.starts_with('/')
            && parts
                .map(decoded)
                .all(|part| !matches!(&*part, "" | "." | "..") && !part.contains(['/', '\\', '\0']))
}

/// The wire of a path, and the model if the path names it.
pub(crate) fn wire(vendor: Vendor, path: &str) -> (Wire, Option<String>) {
    let path = path.strip_suffix('/').unwrap_or(path);
    let (wire, model) = match (vendor, path) {
        (Vendor::Anthropic, "/v1/messages") => (Wire::Messages, None),
        (Vendor::Anthropic, "/v1/messages/count_tokens") => (Wire::CountTokens, None),
        (Vendor::OpenAi, "/v1/chat/completions" | "/chat/completions") => (Wire::Chat, None),
        (Vendor::OpenAi, "/v1/responses" | "/responses") => (Wire::Responses, None),
        (Vendor::Gemini, _) => match gemini_model(path) {
            Some(model) => (Wire::Gemini, Some(model)),
            None => (Wire::Other, None),
        },
        _ => (Wire::Other, None),
    };
    (wire, model)
}

/// `…/models/MODEL:VERB`, also `…/tunedModels/MODEL:VERB`.
fn gemini_model(path: &str) -> Option<String> {
    let (folder, last) = path.rsplit_once('/')?;
    let last = decoded(last);
    let (model, _verb) = last.split_once(':')?;
    folder.to_ascii_lowercase().ends_with("models").then(|| model.to_owned())
}

/// With percent signs taken out, as the server will read it.
pub(crate) fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routed(path: &str, header: Option<&'static str>) -> Option<(Vendor, String)> {
        let mut headers = HeaderMap::new();
        if let Some(name) = header {
            headers.insert(name, "x".parse().unwrap());
        }
        route(path, &headers).map(|route| (route.vendor, route.path.to_owned()))
    }

    #[test]
    fn the_prefix_says_whom_a_request_is_for_and_is_taken_off() {
        let to = |vendor, path: &str| Some((vendor, path.to_owned()));
        assert_eq!(routed("/anthropic/v1/messages", None), to(Vendor::Anthropic, "/v1/messages"));
        assert_eq!(
            routed("/openai/v1/responses", Some("anthropic-version")),
            to(Vendor::OpenAi, "/v1/responses")
        );
        assert_eq!(routed("/gemini", None), to(Vendor::Gemini, "/"));
        assert_eq!(routed("/geminis/v1", None), None);
    }

    #[test]
    fn without_a_prefix_headers_and_the_path_say_it() {
        let vendor = |path, header| routed(path, header).map(|(vendor, _)| vendor);
        assert_eq!(vendor("/v1/messages/count_tokens", None), Some(Vendor::Anthropic));
        assert_eq!(vendor("/v1/models", Some("anthropic-version")), Some(Vendor::Anthropic));
        assert_eq!(vendor("/v1beta/models/gemini-pro:generateContent", None), Some(Vendor::Gemini));
        assert_eq!(vendor("/v1/models", Some("x-goog-api-key")), Some(Vendor::Gemini));
        assert_eq!(vendor("/v1/models", Some("authorization")), Some(Vendor::OpenAi));
        assert_eq!(vendor("/v1/chat/completions", None), Some(Vendor::OpenAi));
        assert_eq!(vendor("/v1/models", None), None);
    }

    #[test]
    fn the_wire_and_a_model_in_the_path_are_recognised() {
        assert_eq!(wire(Vendor::Anthropic, "/v1/messages"), (Wire::Messages, None));
        assert_eq!(wire(Vendor::Anthropic, "/v1/messages/"), (Wire::Messages, None));
        assert_eq!(wire(Vendor::OpenAi, "/chat/completions"), (Wire::Chat, None));
        assert_eq!(wire(Vendor::OpenAi, "/v1/files"), (Wire::Other, None));
        let model = |path| wire(Vendor::Gemini, path);
        assert_eq!(
            model("/v1beta/models/gemini-2.5-pro:generateContent"),
            (Wire::Gemini, Some("gemini-2.5-pro".into()))
        );
        assert_eq!(
            model("/v1/models/gemini%2Dx%3AstreamGenerateContent"),
            (Wire::Gemini, Some("gemini-x".into()))
        );
        assert_eq!(model("/v1beta/models/gemini-2.5-pro"), (Wire::Other, None));
    }

    #[test]
    fn paths_that_servers_read_differently_are_told() {
        for path in ["/", "/v1/messages", "/v1/messages/", "/v1beta/models/a:b", "/v1/files/a%20b"] {
            assert!(is_plain_path(path), "{path}");
        }
        for path in [
            "v1",
            "//v1",
            "/v1//messages",
            "/v1/../admin",
            "/v1/%2e%2E/admin",
            "/v1/a%2fb",
            "/v1/./x",
            "/a%5cb",
            "/v1/..",
        ] {
            assert!(!is_plain_path(path), "{path}");
        }
    }

    #[test]
    fn each_vendors_clients_find_the_message_where_they_look() {
        let unauthorized = |vendor: Vendor| vendor.error(StatusCode::UNAUTHORIZED, "why");
        assert_eq!(unauthorized(Vendor::Anthropic)["error"]["type"], "authentication_error");
        assert_eq!(unauthorized(Vendor::OpenAi)["error"]["code"], "invalid_api_key");
        assert_eq!(unauthorized(Vendor::Gemini)["error"]["status"], "UNAUTHENTICATED");
        for vendor in Vendor::ALL {
            assert_eq!(vendor.error(StatusCode::FORBIDDEN, "why")["error"]["message"], "why");
        }
    }
}
