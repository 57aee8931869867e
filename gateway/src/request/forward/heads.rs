//! Which headers go to the provider, and which come back.

use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_LENGTH, RETRY_AFTER, TRANSFER_ENCODING};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use turnpike_api::{Call, Dialect};

use super::Outgoing;
use crate::answer_head::answer_head;
use crate::context::Context;
use crate::refusal::is_bodiless;
use crate::request::select::Lease;
use crate::upstream::credential::Access;
use crate::upstream::{Credential, Member};

/// A hint longer than this makes agents hang without a word to their user.
const LONGEST_RETRY_AFTER: u32 = 60;

/// Path and query at the provider, below the base URL's path.
fn target(call: &Outgoing<'_>, member: &Member<'_>) -> String {
    let target = member.credential.vendor.plugin.target(&Call {
        operation: call.operation,
        method: call.line.method,
        path: call.line.path,
        query: &call.query,
        model: member.model,
    });
    target.path_and_query
}

/// The head as HTTP/1 writes it, down to the empty line.
pub(super) fn http1(
    call: &Outgoing<'_>,
    lease: &Lease<'_, '_>,
    access: &Access,
    client: &HeaderMap,
    context: &Context<'_>,
    body_len: usize,
) -> BytesMut {
    let credential = &**lease.member.credential;
    let claimed = &context.snapshot.claimed_headers;
    let mut head = BytesMut::with_capacity(1024);
    let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| head.extend_from_slice(part));
    put(&[
        call.line.method.as_str().as_bytes(),
        b" ",
        credential.endpoint.base_path().as_bytes(),
        target(call, &lease.member).as_bytes(),
        b" HTTP/1.1\r\n",
    ]);
    put(&[&access.lines]);
    passed_on(client, credential, claimed, |name, value| {
        put(&[name.as_bytes(), b": ", value.as_bytes(), b"\r\n"])
    });
    for &(name, value) in missing_defaults(client, credential) {
        put(&[name.as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
    }
    put(&[
        b"x-request-id: ",
        context.record.id.header().as_bytes(),
        b"\r\n",
    ]);
    put(&[
        b"traceparent: ",
        &context.outgoing_trace().traceparent(),
        b"\r\n",
    ]);
    if has_body(call.line.method, body_len) {
        let mut digits = itoa::Buffer::new();
        let length = digits.format(body_len).as_bytes();
        put(&[b"content-length: ", length, b"\r\n"]);
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// The head as HTTP/2 takes it. `None` when something of it cannot stand in a header.
pub(super) fn http2(
    call: &Outgoing<'_>,
    lease: &Lease<'_, '_>,
    access: &Access,
    client: &HeaderMap,
    context: &Context<'_>,
    body_len: usize,
) -> Option<Box<RequestHeader>> {
    let credential = &**lease.member.credential;
    let claimed = &context.snapshot.claimed_headers;
    let path = format!(
        "{}{}",
        credential.endpoint.base_path(),
        target(call, &lease.member)
    );
    let mut head = Box::new(
        RequestHeader::build_no_case(call.line.method.clone(), path.as_bytes(), Some(24)).ok()?,
    );
    let mut put =
        |name: &str, value: HeaderValue| head.append_header(name.to_owned(), value).is_ok();
    put(
        "host",
        HeaderValue::from_str(credential.endpoint.host()).ok()?,
    );
    for (name, value) in access.headers.iter().chain(&credential.headers) {
        put(name.as_str(), value.clone());
    }
    put("accept-encoding", HeaderValue::from_static("identity"));
    passed_on(client, credential, claimed, |name, value| {
        put(name, value.clone());
    });
    for &(name, value) in missing_defaults(client, credential) {
        put(name, HeaderValue::from_static(value));
    }
    put("x-request-id", context.record.id.header().clone());
    put(
        "traceparent",
        HeaderValue::from_bytes(&context.outgoing_trace().traceparent()).ok()?,
    );
    if has_body(call.line.method, body_len) {
        put("content-length", body_len.into());
    }
    Some(head)
}

fn has_body(method: &Method, body_len: usize) -> bool {
    body_len > 0 || matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// The provider's own headers that the caller did not send.
fn missing_defaults<'c>(
    client: &'c HeaderMap,
    credential: &'c Credential,
) -> impl Iterator<Item = &'c (&'static str, &'static str)> {
    let defaults = credential.vendor.plugin.default_headers();
    defaults.iter().filter(|(name, _)| {
        !client.contains_key(*name) && !credential.headers.iter().any(|(own, _)| own == name)
    })
}

/// The caller's headers that go on.
fn passed_on<'c>(
    client: &'c HeaderMap,
    credential: &Credential,
    claimed: &[HeaderName],
    mut put: impl FnMut(&'c str, &'c HeaderValue),
) {
    let nominated = nominated(client);
    for (header, value) in client {
        let name = header.as_str();
        let stays = stays_here(name)
            || claimed.contains(header)
            || nominated
                .iter()
                .any(|token| token.eq_ignore_ascii_case(name))
            || credential.headers.iter().any(|(own, _)| own == name);
        if !stays {
            put(name, value);
        }
    }
}

/// The caller's headers that are for this hop, for this gateway, or nobody's business.
fn stays_here(name: &str) -> bool {
    matches!(
        name,
        // This hop's (RFC 9110, section 7.6.1), and its framing.
        "connection" | "keep-alive" | "proxy-connection" | "proxy-authenticate" | "proxy-authorization"
            | "te" | "trailer" | "transfer-encoding" | "upgrade" | "http2-settings" | "content-length"
            | "expect" | "host"
            // The caller's credentials, and what a browser keeps for this host.
            | "authorization" | "x-api-key" | "x-goog-api-key" | "api-key" | "cookie"
            // Written anew.
            | "accept-encoding" | "x-request-id" | "traceparent"
            // What others note of a trace, and what goes along with it, is told to nobody outside.
            | "tracestate" | "baggage"
            // Who and where the caller is, also where other headers are claimed.
            | "forwarded" | "via" | "x-real-ip" | "x-user-id" | "x-department" | "origin" | "referer"
    ) || name.starts_with("x-forwarded-")
        || name.starts_with("x-turnpike-")
        || name.starts_with("cf-")
}

/// What a `Connection` header declares to be of its hop only.
fn nominated(headers: &HeaderMap) -> Vec<&str> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| {
            !token.is_empty()
                && !token.eq_ignore_ascii_case("keep-alive")
                && !token.eq_ignore_ascii_case("close")
        })
        .collect()
}

/// What of the caller's request decides how its answer's head looks.
#[derive(Clone, Copy)]
pub(super) struct Client {
    pub(super) is_h1: bool,
    pub(super) version: Version,
    pub(super) dialect: Dialect,
}

/// The provider's head as the caller gets it. Its framing is the caller's hop's: a length where
/// the provider gave one, chunks for HTTP/1.1 where it did not.
pub(super) fn for_client(provider: &ResponseHeader, client: Client, id: &HeaderValue) -> Parts {
    let size = provider.headers.len();
    let mut head = answer_head(provider.status, id, client.dialect, size);
    let headers = &mut head.headers;
    let nominated = nominated(&provider.headers);
    for (name, value) in &provider.headers {
        let stays = stays_with_us(name.as_str())
            || nominated
                .iter()
                .any(|token| token.eq_ignore_ascii_case(name.as_str()));
        if !stays {
            headers.append(name, value.clone());
        }
    }
    if let Some(hint) = provider.headers.get(RETRY_AFTER) {
        headers.insert(RETRY_AFTER, capped(hint));
    }
    let unframed = !headers.contains_key(CONTENT_LENGTH) && !is_bodiless(head.status.as_u16());
    if client.is_h1 && unframed && client.version == Version::HTTP_11 {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    head
}

/// Headers of a provider's that are of its hop, or tell of the account behind the pool: its
/// limits are not the caller's, and its name is not the caller's to know.
fn stays_with_us(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "date"
            | "retry-after"
            | "retry-after-ms"
            | "x-request-id"
            | "request-id"
            | "set-cookie"
            | "alt-svc"
            | "strict-transport-security"
            | "openai-organization"
            | "openai-project"
            | "anthropic-organization-id"
            | "cf-ray"
            // About our credential, or of another place than the caller asked.
            | "www-authenticate"
            | "location"
    ) || name.starts_with("x-ratelimit-")
        // Which pages may read an answer is not the provider's to say.
        || name.starts_with("access-control-")
        || name.starts_with("anthropic-ratelimit-")
        || name.starts_with("x-turnpike-")
}

fn capped(hint: &HeaderValue) -> HeaderValue {
    let seconds = hint
        .to_str()
        .ok()
        .and_then(|text| text.trim().parse::<u32>().ok());
    // A date is not worth understanding to cap it: it is the longest hint there may be.
    seconds
        .unwrap_or(LONGEST_RETRY_AFTER)
        .min(LONGEST_RETRY_AFTER)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_nominates() {
        let mut headers = HeaderMap::new();
        headers.append(
            CONNECTION,
            HeaderValue::from_static("close, X-Internal ,,te"),
        );
        headers.append(
            CONNECTION,
            HeaderValue::from_static("keep-alive, Authorization"),
        );
        assert_eq!(nominated(&headers), ["X-Internal", "te", "Authorization"]);
    }

    #[test]
    fn the_account_behind_the_pool_stays_unknown() {
        let mut provider = ResponseHeader::build_no_case(429, None).unwrap();
        for (name, value) in [
            ("content-type", "application/json"),
            ("x-ratelimit-remaining-requests", "9"),
            ("anthropic-ratelimit-unified-reset", "1"),
            ("openai-organization", "acme"),
            ("set-cookie", "a=b"),
            ("x-request-id", "theirs"),
            ("retry-after", "3600"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("openai-version", "2020-10-01"),
        ] {
            provider.append_header(name, value).unwrap();
        }
        let ours = HeaderValue::from_static("ours");
        let client = Client {
            is_h1: true,
            version: Version::HTTP_11,
            dialect: Dialect::OpenAi,
        };
        let head = for_client(&provider, client, &ours);
        let mut names: Vec<String> = head
            .headers
            .iter()
            .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
            .collect();
        names.sort();
        assert_eq!(
            names,
            [
                "content-type=application/json",
                "openai-version=2020-10-01",
                "retry-after=60",
                "transfer-encoding=chunked",
                "x-request-id=ours",
            ]
        );
    }
}
