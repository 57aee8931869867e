//! Agent tokens to authenticate by, without anything around them.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use turnpike::clock::Time;
use turnpike_api::{Answer, Authenticator, Identity, Presented, Secret, Verdict};
use turnpike_identity::agent_tokens::{Costs, NewToken};
use turnpike_identity::jwt::SignatureChecks;
use turnpike_identity::{AgentTokens, Checks, Settings, TokenBook};

/// So many tokens, of which one was proven.
pub(crate) struct Tokens {
    tokens: AgentTokens,
    proven: Secret,
}

impl Tokens {
    pub(crate) fn new(count: usize) -> Self {
        let settings = settings(Vec::new());
        let new = NewToken {
            name: "bench".into(),
            ..NewToken::default()
        };
        let issued = new.make(Costs::default(), 0).expect("a token");
        let record = serde_json::to_string(&issued.record).expect("a record");
        let book = &settings.agent_tokens;
        for nth in 1..count {
            let id = format!("{nth:a>16}");
            let other = record.replace(&issued.record.id, &id);
            book.enter(&id, other.as_bytes());
        }
        book.enter(&issued.record.id, record.as_bytes());
        let tokens = AgentTokens::new(&settings);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let proving = tokens.authenticate(Presented::new(issued.token.expose()));
        let proven = runtime.block_on(proving.get());
        assert!(matches!(proven, Verdict::Known(_)), "the token is known");
        Self {
            tokens,
            proven: issued.token,
        }
    }

    /// One request with the token that was proven.
    pub(crate) fn authenticate(&self) -> Arc<Identity> {
        let presented = Presented::new(black_box(self.proven.expose()));
        match self.tokens.authenticate(presented) {
            Answer::Ready(Verdict::Known(holder)) => holder,
            _ => unreachable!("the token was proven"),
        }
    }
}

/// Nobody is known but by these keys.
pub(crate) fn settings(api_keys: Vec<(Secret, Arc<Identity>)>) -> Settings {
    let book = TokenBook::new([7; 32], 1, Arc::new(Time::system()));
    Settings {
        api_keys,
        digest_key: [7; 32],
        jwt_issuers: Vec::new(),
        signature_checks: Arc::new(SignatureChecks::new(1)),
        clock: Arc::new(Time::system()),
        agent_tokens: Arc::new(book),
        checks: Checks {
            cache_ttl: Duration::from_secs(3600),
            max_stale: Duration::from_secs(3600),
        },
    }
}
