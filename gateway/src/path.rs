//! The path router: what a request's path and method ask for. Authorization, routing and the
//! provider all read what is parsed here, never the raw path again.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;
use turnpike_api::{Dialect, Operation};

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Resource<'p> {
    /// A call of a provider. `model` is named by the path in Gemini's dialect only.
    Call {
        operation: Operation,
        model: Option<Cow<'p, str>>,
    },
    /// The models the caller can use. OpenAI's path is Anthropic's too; the caller's headers tell.
    Models { dialect: Dialect },
    /// One of them.
    Model { dialect: Dialect, id: Cow<'p, str> },
    /// `GET /` and `HEAD /`, which agents probe without a credential.
    Root,
    /// Health and metrics.
    Page,
    /// The management API and the operator's pages, where one listener serves callers and
    /// operators.
    Management,
    /// What people log in by, below `/auth`, and devices, below `/oauth`.
    Login,
    /// The path is known, the method is not.
    WrongMethod {
        dialect: Dialect,
        allow: &'static str,
    },
    /// Nothing is here.
    Unknown { dialect: Dialect },
}

impl Resource<'_> {
    /// The dialect in which to answer.
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Call { operation, .. } => operation.dialect(),
            Self::Models { dialect }
            | Self::Model { dialect, .. }
            | Self::WrongMethod { dialect, .. }
            | Self::Unknown { dialect } => *dialect,
            Self::Root | Self::Page | Self::Management | Self::Login => Dialect::OpenAi,
        }
    }

    /// Models are called or listed: what callers do, and what is told of it.
    pub fn is_of_models(&self) -> bool {
        match self {
            Self::Call { .. }
            | Self::Models { .. }
            | Self::Model { .. }
            | Self::WrongMethod { .. } => true,
            Self::Root | Self::Page | Self::Management | Self::Login | Self::Unknown { .. } => {
                false
            }
        }
    }

    /// It is looked at by people and their machines, never called by a page of another origin.
    pub fn is_for_people(&self) -> bool {
        match self {
            Self::Root | Self::Page | Self::Management | Self::Login => true,
            Self::Call { .. }
            | Self::Models { .. }
            | Self::Model { .. }
            | Self::WrongMethod { .. }
            | Self::Unknown { .. } => false,
        }
    }

    /// It begins something that is put on record.
    pub fn is_put_on_record(&self) -> bool {
        match self {
            Self::Call { .. } | Self::Login => true,
            Self::Models { .. }
            | Self::Model { .. }
            | Self::Root
            | Self::Page
            | Self::Management
            | Self::WrongMethod { .. }
            | Self::Unknown { .. } => false,
        }
    }
}

/// A path in its canonical form: single slashes, no slash at the end, a version in front.
///
/// `//v1//chat/completions/` and `/chat/completions` are both `/v1/chat/completions`. The usual
/// path is already canonical and is borrowed.
pub fn canonical(path: &str) -> Cow<'_, str> {
    let path = match path {
        "" => "/",
        path => path,
    };
    let tidy = !path.contains("//") && (path.len() == 1 || !path.ends_with('/'));
    let path: Cow<'_, str> = if tidy {
        path.into()
    } else {
        let joined = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .collect::<Vec<_>>()
            .join("/");
        format!("/{joined}").into()
    };
    let first = path[1..].split('/').next().unwrap_or_default();
    if UNVERSIONED.contains(&first) {
        format!("/v1{path}").into()
    } else {
        path
    }
}

/// First segments of API paths that are forgiven for lacking their `/v1`.
const UNVERSIONED: &[&str] = &[
    "chat",
    "completions",
    "responses",
    "embeddings",
    "messages",
    "models",
    "images",
    "audio",
    "files",
    "moderations",
];

const GET: &str = "GET, HEAD";
const POST: &str = "POST";

/// What `method` of the canonical `path` asks for.
pub fn parse<'p>(method: &Method, path: &'p str) -> Resource<'p> {
    let only = |allowed: &Method, resource: Resource<'p>| {
        if method == allowed || (allowed == Method::GET && method == Method::HEAD) {
            resource
        } else {
            let allow = if allowed == Method::GET { GET } else { POST };
            Resource::WrongMethod {
                dialect: resource.dialect(),
                allow,
            }
        }
    };
    let call = |operation| {
        only(
            &Method::POST,
            Resource::Call {
                operation,
                model: None,
            },
        )
    };
    match path {
        "/v1/chat/completions" => call(Operation::ChatCompletions),
        "/v1/messages" => call(Operation::Messages),
        "/v1/responses" => call(Operation::Responses),
        "/v1/embeddings" => call(Operation::Embeddings),
        "/v1/completions" => call(Operation::Completions),
        "/v1/messages/count_tokens" => call(Operation::CountMessageTokens),
        "/v1/models" => only(
            &Method::GET,
            Resource::Models {
                dialect: Dialect::OpenAi,
            },
        ),
        "/v1beta/models" => only(
            &Method::GET,
            Resource::Models {
                dialect: Dialect::Gemini,
            },
        ),
        "/" => only(&Method::GET, Resource::Root),
        "/health" | "/healthz" | "/ready" | "/metrics" => only(&Method::GET, Resource::Page),
        // Which methods a page takes is its own to say.
        "/v0/management" => Resource::Management,
        path if path.starts_with("/v0/management/") => Resource::Management,
        "/admin" => Resource::Management,
        path if path.starts_with("/admin/") => Resource::Management,
        "/auth" => Resource::Login,
        path if path.starts_with("/auth/") => Resource::Login,
        "/oauth/device_authorization" | "/oauth/token" => Resource::Login,
        "/.well-known/oauth-authorization-server" => Resource::Login,
        _ => parse_rest(method, path, only),
    }
}

fn parse_rest<'p>(
    method: &Method,
    path: &'p str,
    only: impl Fn(&Method, Resource<'p>) -> Resource<'p>,
) -> Resource<'p> {
    if let Some(rest) = path.strip_prefix("/v1beta/models/") {
        return model_path(rest, Dialect::Gemini, only);
    }
    if let Some(rest) = path.strip_prefix("/v1/models/") {
        return model_path(rest, Dialect::OpenAi, only);
    }
    if let Some(rest) = path.strip_prefix("/v1/") {
        return match pass_through(method, rest) {
            Some(allowed) => allowed,
            None if rest.starts_with("messages/") => Resource::Unknown {
                dialect: Dialect::Anthropic,
            },
            None => Resource::Unknown {
                dialect: Dialect::OpenAi,
            },
        };
    }
    let dialect = if path.starts_with("/v1beta/") {
        Dialect::Gemini
    } else {
        Dialect::OpenAi
    };
    Resource::Unknown { dialect }
}

/// `{model}` or `{model}:{verb}`, after `/v1/models/` or `/v1beta/models/`.
fn model_path<'p>(
    rest: &'p str,
    dialect: Dialect,
    only: impl Fn(&Method, Resource<'p>) -> Resource<'p>,
) -> Resource<'p> {
    let decode = |name: &'p str| {
        let name = percent_decode_str(name).decode_utf8().ok()?;
        is_plain_name(&name).then_some(name)
    };
    let verb = rest
        .rsplit_once(':')
        .and_then(|(model, verb)| Some((model, gemini_operation(verb)?)));
    if let Some((model, operation)) = verb {
        return match decode(model) {
            Some(model) => only(
                &Method::POST,
                Resource::Call {
                    operation,
                    model: Some(model),
                },
            ),
            None => Resource::Unknown {
                dialect: Dialect::Gemini,
            },
        };
    }
    match decode(rest) {
        Some(id) => only(&Method::GET, Resource::Model { dialect, id }),
        None => Resource::Unknown { dialect },
    }
}

/// Whether a model's name means the same to a provider that decodes or tidies its path once more.
///
/// `gemini-a/../gemini-b` would be authorized as the one and served as the other. An empty name is
/// told to be missing where the model is read.
fn is_plain_name(name: &str) -> bool {
    let mut segments = name.split('/');
    name.is_empty()
        || segments.all(|segment| {
            !segment.is_empty()
                && segment.bytes().any(|b| b != b'.')
                && segment
                    .chars()
                    .all(|c| !c.is_control() && !"\\%?#;".contains(c))
        })
}

fn gemini_operation(verb: &str) -> Option<Operation> {
    match verb {
        "generateContent" => Some(Operation::GenerateContent),
        "streamGenerateContent" => Some(Operation::StreamGenerateContent),
        "countTokens" => Some(Operation::CountTokens),
        "embedContent" | "batchEmbedContents" => Some(Operation::EmbedContent),
        _ => None,
    }
}

/// OpenAI's paths that are forwarded as they are. Segments are plain names and ids: an encoded
/// or dotted one could mean another path to the provider than it means here.
fn pass_through<'p>(method: &Method, rest: &str) -> Option<Resource<'p>> {
    let plain = |segment: &str| {
        !segment.is_empty()
            && segment
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            && segment.bytes().any(|b| b != b'.')
    };
    let segments: Vec<&str> = rest.split('/').collect();
    if !segments.iter().all(|segment| plain(segment)) {
        return None;
    }
    let (methods, allow): (&[Method], &'static str) = match segments.as_slice() {
        ["images", "generations" | "edits" | "variations"]
        | ["audio", "speech" | "transcriptions" | "translations"]
        | ["moderations"] => (&[Method::POST], POST),
        ["files"] => (&[Method::GET, Method::POST], "GET, POST"),
        ["files", _] => (&[Method::GET, Method::DELETE], "GET, DELETE"),
        ["files", _, "content"] => (&[Method::GET], "GET"),
        _ => return None,
    };
    Some(if methods.contains(method) {
        Resource::Call {
            operation: Operation::PassThrough,
            model: None,
        }
    } else {
        Resource::WrongMethod {
            dialect: Dialect::OpenAi,
            allow,
        }
    })
}

/// The query without the credentials that may stand in it (`key`, `auth_token`).
pub fn without_credentials(query: &str) -> Cow<'_, str> {
    let is_credential = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        CREDENTIAL_PARAMETERS.contains(&&*percent_decode_str(name).decode_utf8_lossy())
    };
    if !query.is_empty() && query.split('&').any(|pair| is_credential(&pair)) {
        query
            .split('&')
            .filter(|pair| !is_credential(pair))
            .collect::<Vec<_>>()
            .join("&")
            .into()
    } else {
        query.into()
    }
}

/// Query parameters that carry a caller's credential, in the order in which they are looked at.
pub const CREDENTIAL_PARAMETERS: &[&str] = &["key", "auth_token"];

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(method: Method, path: &str) -> String {
        format!("{:?}", parse(&method, &canonical(path)))
    }

    #[test]
    fn what_is_operators_is_no_callers() {
        for path in [
            "/admin",
            "/admin/",
            "//admin/tokens",
            "/v0/management/auths",
        ] {
            assert_eq!(resource(Method::POST, path), "Management", "{path}");
        }
        assert!(resource(Method::GET, "/administrator").starts_with("Unknown"));
    }

    #[test]
    fn forgiving_spellings_are_one_path() {
        for path in [
            "/v1/chat/completions",
            "//v1/chat/completions",
            "/v1//chat/completions/",
            "/chat/completions",
            "//chat//completions//",
        ] {
            assert_eq!(canonical(path), "/v1/chat/completions", "{path}");
        }
        assert!(matches!(canonical("/v1/messages"), Cow::Borrowed(_)));
        assert_eq!(canonical("/"), "/");
        assert_eq!(canonical("//"), "/");
        assert_eq!(canonical(""), "/");
    }

    #[test]
    fn gemini_paths_name_the_model() {
        for path in [
            "/v1beta/models/gemini-2.5-pro:generateContent",
            "/v1/models/gemini-2.5-pro:generateContent",
            "/models/gemini-2.5-pro:generateContent",
        ] {
            assert_eq!(
                resource(Method::POST, path),
                "Call { operation: GenerateContent, model: Some(\"gemini-2.5-pro\") }"
            );
        }
        assert!(
            resource(
                Method::POST,
                "/v1beta/models/work%2Fg:streamGenerateContent"
            )
            .contains("work/g")
        );
        assert!(resource(Method::POST, "/v1beta/models/a/b:countTokens").contains("\"a/b\""));
        assert!(resource(Method::POST, "/v1beta/models/%ff:countTokens").starts_with("Unknown"));
    }

    #[test]
    fn a_model_in_the_path_does_not_climb() {
        for model in [
            "gemini-a/../gemini-b",
            "gemini-a%2F..%2Fgemini-b",
            "gemini-a/./b",
            "gemini-a%2f%2fb",
            "..",
            "%2e%2e",
            "gemini-a%252F..%252Fgemini-b",
            "gemini-a%5C..%5Cb",
            "gemini-a%3Fkey=x",
            "gemini-a%23",
            "gemini-a;b",
            "gemini-a%00",
        ] {
            for path in [
                format!("/v1beta/models/{model}:generateContent"),
                format!("/v1/models/{model}:streamGenerateContent"),
            ] {
                assert!(
                    resource(Method::POST, &path).starts_with("Unknown"),
                    "{path}"
                );
            }
        }
    }

    #[test]
    fn models_with_a_colon_in_their_id_can_be_shown() {
        assert_eq!(
            resource(Method::GET, "/v1/models/ft:gpt-4o:acme::1"),
            "Model { dialect: OpenAi, id: \"ft:gpt-4o:acme::1\" }"
        );
    }

    #[test]
    fn methods_and_unknown_paths() {
        assert!(resource(Method::GET, "/v1/messages").contains("WrongMethod { dialect: Anthropic"));
        assert!(resource(Method::DELETE, "/v1/files/f-1").starts_with("Call"));
        assert!(resource(Method::HEAD, "/").starts_with("Root"));
        assert_eq!(
            resource(Method::POST, "/v1/messages/batches"),
            "Unknown { dialect: Anthropic }"
        );
        assert_eq!(
            resource(Method::POST, "/v1beta/x"),
            "Unknown { dialect: Gemini }"
        );
        assert_eq!(
            resource(Method::POST, "/v2/x"),
            "Unknown { dialect: OpenAi }"
        );
    }

    #[test]
    fn pass_through_does_not_climb() {
        for path in [
            "/v1/files/..",
            "/v1/files/../chat",
            "/v1/files/%2e%2e",
            "/v1/files/a%2Fb",
            "/v1/files/a;b",
        ] {
            assert!(resource(Method::GET, path).starts_with("Unknown"), "{path}");
        }
        assert!(resource(Method::GET, "/v1/files/file-1.jsonl/content").starts_with("Call"));
    }

    #[test]
    fn credentials_leave_the_query() {
        assert_eq!(without_credentials("beta=true"), "beta=true");
        assert_eq!(without_credentials("alt=sse&key=secret"), "alt=sse");
        assert_eq!(without_credentials("key=secret"), "");
        assert_eq!(without_credentials("k%65y=secret&auth_token=t&x=1"), "x=1");
        assert_eq!(without_credentials("monkey=1"), "monkey=1");
    }
}
