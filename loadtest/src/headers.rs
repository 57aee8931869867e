//! The response headers of the vendors: many, and none of them a tenant's
//! business. A gateway has to drop most; so they are all here.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::dialect::Dialect;
use crate::ids::Ids;

const OPENAI: &[(&str, &str)] = &[
    ("openai-organization", "org-fake-provider"),
    ("openai-project", "proj_fakeProviderProject"),
    ("openai-processing-ms", "42"),
    ("openai-version", "2020-10-01"),
    ("x-envoy-upstream-service-time", "44"),
    ("x-ratelimit-limit-requests", "10000"),
    ("x-ratelimit-limit-tokens", "2000000"),
    ("x-ratelimit-remaining-requests", "9999"),
    ("x-ratelimit-remaining-tokens", "1999979"),
    ("x-ratelimit-reset-requests", "6ms"),
    ("x-ratelimit-reset-tokens", "0s"),
    ("cf-cache-status", "DYNAMIC"),
    ("cf-ray", "8f1a2b3c4d5e6f70-FRA"),
    (
        "set-cookie",
        "__cf_bm=fake.provider.cookie; path=/; HttpOnly; Secure; SameSite=None",
    ),
    (
        "set-cookie",
        "_cfuvid=fake.provider.visitor; path=/; HttpOnly; Secure; SameSite=None",
    ),
    (
        "strict-transport-security",
        "max-age=31536000; includeSubDomains; preload",
    ),
    ("x-content-type-options", "nosniff"),
    ("alt-svc", "h3=\":443\"; ma=86400"),
    ("server", "cloudflare"),
];

const ANTHROPIC: &[(&str, &str)] = &[
    (
        "anthropic-organization-id",
        "a1b2c3d4-0000-4000-8000-fa4e0000cafe",
    ),
    ("anthropic-ratelimit-requests-limit", "4000"),
    ("anthropic-ratelimit-requests-remaining", "3999"),
    ("anthropic-ratelimit-requests-reset", "2026-01-01T00:00:00Z"),
    ("anthropic-ratelimit-tokens-limit", "480000"),
    ("anthropic-ratelimit-tokens-remaining", "479000"),
    ("anthropic-ratelimit-tokens-reset", "2026-01-01T00:00:00Z"),
    ("anthropic-ratelimit-input-tokens-limit", "400000"),
    ("anthropic-ratelimit-input-tokens-remaining", "400000"),
    (
        "anthropic-ratelimit-input-tokens-reset",
        "2026-01-01T00:00:00Z",
    ),
    ("anthropic-ratelimit-output-tokens-limit", "80000"),
    ("anthropic-ratelimit-output-tokens-remaining", "79000"),
    (
        "anthropic-ratelimit-output-tokens-reset",
        "2026-01-01T00:00:00Z",
    ),
    ("x-envoy-upstream-service-time", "44"),
    ("via", "1.1 google"),
    ("cf-cache-status", "DYNAMIC"),
    ("cf-ray", "8f1a2b3c4d5e6f70-FRA"),
    (
        "set-cookie",
        "_cfuvid=fake.provider.visitor; path=/; HttpOnly; Secure; SameSite=None",
    ),
    (
        "strict-transport-security",
        "max-age=31536000; includeSubDomains; preload",
    ),
    ("x-robots-tag", "none"),
    ("server", "cloudflare"),
];

const GEMINI: &[(&str, &str)] = &[
    ("vary", "Origin"),
    ("vary", "X-Origin"),
    ("vary", "Referer"),
    ("server", "scaffolding on HTTPServer2"),
    ("server-timing", "gfet4t7; dur=44"),
    ("x-xss-protection", "0"),
    ("x-frame-options", "SAMEORIGIN"),
    ("x-content-type-options", "nosniff"),
    ("set-cookie", "NID=fake.provider.cookie; path=/; HttpOnly"),
    (
        "alt-svc",
        "h3=\":443\"; ma=2592000,h3-29=\":443\"; ma=2592000",
    ),
];

static MAPS: LazyLock<[HeaderMap; 3]> = LazyLock::new(|| [OPENAI, ANTHROPIC, GEMINI].map(map));

fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        })
}

/// The vendor's headers with this call's request id.
pub(crate) fn vendor(dialect: Dialect, ids: Ids) -> HeaderMap {
    let mut headers = MAPS[dialect as usize].clone();
    let (name, id) = match dialect {
        Dialect::OpenAi => ("x-request-id", request_id(dialect, ids)),
        Dialect::Anthropic => ("request-id", request_id(dialect, ids)),
        Dialect::Gemini => return headers,
    };
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.insert(name, id);
    }
    headers
}

/// The id that this call's headers and error bodies carry.
pub(crate) fn request_id(dialect: Dialect, ids: Ids) -> String {
    match dialect {
        Dialect::OpenAi | Dialect::Gemini => ids.hex("req_", 32),
        Dialect::Anthropic => ids.id("req_011C", 20),
    }
}

/// About 11 KiB in 36 headers: more than most buffers, less than the 16 KiB
/// that an h2 client takes unless told otherwise.
pub(crate) fn big(headers: &mut HeaderMap) {
    for n in 0..36 {
        let value = HeaderValue::try_from("0123456789".repeat(30));
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(format!("x-fake-big-{n}")), value) {
            headers.insert(name, value);
        }
    }
}
