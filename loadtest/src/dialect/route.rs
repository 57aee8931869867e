//! Which call of which vendor a path is.

use http::request::Parts;
use http::{HeaderMap, Method};

use super::Dialect;

pub(crate) struct Route {
    pub(crate) dialect: Dialect,
    pub(crate) method: Method,
    pub(crate) kind: Kind,
    pub(super) never_streams: bool,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Kind {
    Root,
    Unknown,
    Chat,
    Completions,
    Responses,
    Embeddings,
    Moderations,
    Images,
    Speech,
    Transcriptions,
    Upload,
    Files,
    File(String),
    FileContent,
    /// The model is in the path on Vertex.
    Messages {
        model: Option<String>,
    },
    CountTokens,
    Models,
    Model(String),
    Generate(Generate),
    EmbedContent,
    BatchEmbedContents,
}

/// Gemini's generateContent and streamGenerateContent.
#[derive(Debug, PartialEq)]
pub(crate) struct Generate {
    pub(super) model: String,
    pub(super) stream: bool,
    /// SSE; otherwise a stream is a JSON array.
    pub(super) sse: bool,
}

impl Route {
    pub(crate) fn of(head: &Parts) -> Self {
        let path = head.uri.path();
        let (dialect, kind) = kind(&head.method, path, head.uri.query(), &head.headers);
        Self {
            dialect,
            method: head.method.clone(),
            kind,
            never_streams: false,
        }
    }

    pub(crate) fn never_stream(&mut self) {
        self.never_streams = true;
    }
}

fn kind(method: &Method, path: &str, query: Option<&str>, headers: &HeaderMap) -> (Dialect, Kind) {
    use Dialect::{Anthropic, OpenAi};
    if path.trim_matches('/').is_empty() {
        return (OpenAi, Kind::Root);
    }
    let segments: Vec<&str> = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .collect();
    if let Some((model, verb)) = model_and_verb(&segments) {
        return verb_kind(model, verb, query);
    }
    let asker = asker(path, query, headers);
    let post = *method == Method::POST;
    match (call(&segments), post) {
        (["chat", "completions"], true) => (OpenAi, Kind::Chat),
        (["completions"], true) => (OpenAi, Kind::Completions),
        (["responses"] | ["responses", "compact"], true) => (OpenAi, Kind::Responses),
        (["embeddings"], true) => (OpenAi, Kind::Embeddings),
        (["moderations"], true) => (OpenAi, Kind::Moderations),
        (["images", "generations" | "edits"], true) => (OpenAi, Kind::Images),
        (["audio", "speech"], true) => (OpenAi, Kind::Speech),
        (["audio", "transcriptions" | "translations"], true) => (OpenAi, Kind::Transcriptions),
        (["files"], true) => (OpenAi, Kind::Upload),
        (["files"], false) => (OpenAi, Kind::Files),
        (["files", id], false) => (OpenAi, Kind::File((*id).to_owned())),
        (["files", _, "content"], false) => (OpenAi, Kind::FileContent),
        (["messages"], true) => (Anthropic, Kind::Messages { model: None }),
        (["messages", "count_tokens"], true) => (Anthropic, Kind::CountTokens),
        (["models"], false) => (asker, Kind::Models),
        (["models", id], false) => (asker, Kind::Model((*id).to_owned())),
        _ => (asker, Kind::Unknown),
    }
}

/// The segments behind the version, or behind an Azure deployment.
fn call<'a>(segments: &'a [&'a str]) -> &'a [&'a str] {
    if let Some(at) = segments
        .iter()
        .position(|segment| *segment == "deployments")
    {
        return segments.get(at + 2..).unwrap_or_default();
    }
    let version = |segment: &&str| matches!(*segment, "v1" | "v1beta" | "v1alpha" | "codex");
    let at = segments.iter().position(version).map_or(0, |at| at + 1);
    match &segments[at..] {
        // Gemini's OpenAI-compatible paths.
        ["openai", rest @ ..] => rest,
        // Vertex: publishers/google/models and projects/…/publishers/google/models.
        rest if rest.contains(&"publishers") => {
            let models = rest.iter().position(|segment| *segment == "models");
            &rest[models.unwrap_or(0)..]
        }
        rest => rest,
    }
}

fn model_and_verb<'a>(segments: &[&'a str]) -> Option<(&'a str, &'a str)> {
    let [.., "models", last] = segments else {
        return None;
    };
    last.split_once(':').or_else(|| last.split_once("%3A"))
}

fn verb_kind(model: &str, verb: &str, query: Option<&str>) -> (Dialect, Kind) {
    let generate = |stream| {
        let sse = query.is_some_and(|query| query.split('&').any(|pair| pair == "alt=sse"));
        Kind::Generate(Generate {
            model: model.to_owned(),
            stream,
            sse,
        })
    };
    let kind = match verb {
        "generateContent" => generate(false),
        "streamGenerateContent" => generate(true),
        "countTokens" => Kind::CountTokens,
        "embedContent" => Kind::EmbedContent,
        "batchEmbedContents" => Kind::BatchEmbedContents,
        "rawPredict" | "streamRawPredict" => {
            let kind = Kind::Messages {
                model: Some(model.to_owned()),
            };
            return (Dialect::Anthropic, kind);
        }
        _ => Kind::Unknown,
    };
    (Dialect::Gemini, kind)
}

/// Whose list of models is meant: the path is the same for two vendors.
fn asker(path: &str, query: Option<&str>, headers: &HeaderMap) -> Dialect {
    let google = path.contains("/v1beta")
        || path.contains("/publishers/")
        || headers.contains_key("x-goog-api-key")
        || query.is_some_and(|query| query.split('&').any(|pair| pair.starts_with("key=")));
    if google {
        return Dialect::Gemini;
    }
    if headers.contains_key("anthropic-version") {
        return Dialect::Anthropic;
    }
    Dialect::OpenAi
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: Method, path: &str) -> (Dialect, Kind) {
        let (path, query) = path
            .split_once('?')
            .map_or((path, None), |(p, q)| (p, Some(q)));
        kind(&method, path, query, &HeaderMap::new())
    }

    #[test]
    fn kin_of_a_path_is_the_same_call() {
        for path in [
            "/v1/chat/completions",
            "/chat/completions",
            "/openai/v1/chat/completions?api-version=preview",
            "/openai/deployments/gpt/chat/completions?api-version=2024-10-21",
            "/v1beta/openai/chat/completions",
        ] {
            assert_eq!(
                of(Method::POST, path),
                (Dialect::OpenAi, Kind::Chat),
                "{path}"
            );
        }
        for path in [
            "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
            "/v1/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
            "/v1/publishers/google/models/gemini-2.5-pro:streamGenerateContent?alt=sse&key=k",
        ] {
            let model = "gemini-2.5-pro".to_owned();
            let generate = Kind::Generate(Generate {
                model,
                stream: true,
                sse: true,
            });
            assert_eq!(
                of(Method::POST, path),
                (Dialect::Gemini, generate),
                "{path}"
            );
        }
    }

    #[test]
    fn a_list_of_models_is_the_askers() {
        assert_eq!(
            of(Method::GET, "/v1/models"),
            (Dialect::OpenAi, Kind::Models)
        );
        assert_eq!(
            of(Method::GET, "/v1beta/models"),
            (Dialect::Gemini, Kind::Models)
        );
        let pager = of(Method::GET, "/v1/publishers/google/models");
        assert_eq!(pager, (Dialect::Gemini, Kind::Models));
        let mut headers = HeaderMap::new();
        headers.insert(
            "anthropic-version",
            http::HeaderValue::from_static("2023-06-01"),
        );
        let anthropic = kind(&Method::GET, "/v1/models", None, &headers);
        assert_eq!(anthropic, (Dialect::Anthropic, Kind::Models));
    }
}
