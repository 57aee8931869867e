//! What somebody asked a model is told to nobody but the model: not in what the gateway itself
//! answers, and not to operators. (Log, metrics and store are searched beside every test.)

use http::HeaderMap;
use turnpike_loadtest::{FakeProvider, Options};

use super::PROMPT;
use crate::calls::{STREAMS, get_with, post_with};
use crate::harness::{Answer, Client, House, Http, KEY};
use crate::operator::sign_in;
use crate::sso::browser::Browser;

const MANAGER: &str = "key-of-the-manager-of-prompts";

/// A gateway that has people log in, and a limit that is reached at once.
async fn place(rest: &str) -> (FakeProvider, House) {
    let provider = FakeProvider::start(Options::default()).await;
    let url = provider.base_url();
    let yaml = format!(
        "server: {{port: 0}}\nadmin: {{port: 0, keys: [{{name: m, key: {MANAGER}}}]}}\n\
         api_keys: [{{key: {KEY}, name: tests}}]\n\
         sso: {{enabled: true, providers: {{github: {{client_id: id, client_secret: secret-of-the-tests}}}}}}\n\
         limits: [{{name: few, scope: token, measure: requests, window: total, limit: 1}}]\n\
         {rest}\n\
         providers:\n\
         \x20 openai: {{base_url: \"{url}/v1\", credentials: [{{api_key: sk-openai-1, label: one}}]}}\n\
         \x20 claude: {{base_url: \"{url}\", credentials: [{{api_key: sk-claude-1}}]}}\n\
         \x20 gemini: {{base_url: \"{url}\", credentials: [{{api_key: AIza-gemini-1}}]}}\n"
    );
    (provider, House::serve(&yaml).await)
}

fn assert_untold(headers: &HeaderMap, text: &str, what: &str) {
    assert!(!text.contains(PROMPT), "{what}: {text}");
    let headers = format!("{headers:?}");
    assert!(!headers.contains(PROMPT), "{what}: {headers}");
}

/// Posts every dialect's call with the marked prompt in it, and more that are refused for
/// themselves.
async fn ask(house: &House, headers: &[(&str, &str)]) -> Vec<(&'static str, Answer)> {
    let mut answers = Vec::new();
    for call in &STREAMS {
        let body = call.body.replace("hello", PROMPT);
        assert!(body.contains(PROMPT));
        let unserved = body.replace("\"model\":\"", "\"model\":\"unknown-");
        let broken = body[..body.len() - 3].to_owned();
        for body in [body, unserved, broken] {
            let mut client = Client::connect(house, Http::One).await;
            let answer = post_with(&mut client, call.path, headers, body).await;
            answers.push((call.path, answer));
        }
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_of_the_gateways_own_quotes_a_prompt() {
    let bearer = format!("Bearer {KEY}");
    let known = [("authorization", &*bearer)];
    for mode in ["", "unauthenticated_response: unauthorized"] {
        let (provider, house) = place(mode).await;
        for headers in [&[][..], &[("x-api-key", "put-your-key-here")]] {
            let answers = ask(&house, headers).await;
            let is_said = |(_, answer): &&(_, Answer)| answer.status == 200;
            // Whole bodies of both models; Gemini's is in its path, so that two are the same.
            let said = answers.iter().filter(is_said).count();
            assert_eq!(said, if mode.is_empty() { 8 } else { 0 });
            for (path, answer) in answers {
                assert_untold(&answer.headers, answer.text(), path);
            }
        }
        assert_eq!(provider.count(), 0);
        // The limit's one call, and then refusals by the limit.
        let mut client = Client::connect(&house, Http::One).await;
        let first = post_with(&mut client, STREAMS[0].path, &known, STREAMS[0].body).await;
        assert_eq!(first.status, 200, "{}", first.text());
        let answers = ask(&house, &known).await;
        let spent = answers.iter().filter(|(_, answer)| answer.status == 403);
        assert!(spent.count() >= STREAMS.len());
        for (path, answer) in answers {
            assert!(answer.status >= 400, "{path}: {}", answer.text());
            assert_untold(&answer.headers, answer.text(), path);
        }
        house.settled().await;
        assert_untold_to_operators(&house).await;
    }
}

async fn assert_untold_to_operators(house: &House) {
    let mut browser = Browser::of(house.gateway.admin);
    let key = [("x-management-key", MANAGER)];
    let get = async |path: &str| {
        let stream = tokio::net::TcpStream::connect(house.gateway.admin).await;
        let mut client = Client::on(stream.unwrap(), Http::One).await;
        let answer = get_with(&mut client, path, &key).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_untold(&answer.headers, answer.text(), path);
        answer
    };
    let decisions = get("/v0/management/decisions").await.json();
    let decisions = decisions["decisions"].as_array().unwrap();
    assert!(decisions.len() >= STREAMS.len(), "{}", decisions.len());
    for decision in decisions {
        let id = decision["id"].as_str().unwrap();
        get(&format!("/v0/management/decisions/{id}")).await;
    }
    for path in ["limits", "auths", "tokens", "sessions", "config"] {
        get(&format!("/v0/management/{path}")).await;
    }
    assert_eq!(sign_in(&mut browser, MANAGER).await.status, 303);
    for path in ["credentials", "tokens", "logins", "gateway"] {
        let page = browser.get(&format!("/admin/{path}")).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text());
        assert_untold(&page.headers, page.text(), path);
    }
}
