//! Whether the authorization API lets in a caller who has no login (F25).
//!
//! It is asked before any authorizer is: its answer may name the caller's roles and tenant, by which the
//! others judge. What it said is in the identity ([`LetIn`]).

use turnpike_api::{Answer, Ask, Authorizer, Decision, Denial, Identity, LetIn};

/// Refuses whom the authorization API does not let in. Its yes grants nothing: what somebody may do,
/// the others say.
pub struct Remote {
    asks: bool,
}

impl Remote {
    /// Where it is asked, or is not, about signed tokens.
    pub fn new(asks: bool) -> Self {
        Self { asks }
    }
}

impl Authorizer for Remote {
    fn authorize<'a>(&'a self, identity: &'a Identity, _: &'a Ask) -> Answer<'a, Decision> {
        let denied = |why| Decision::Deny(Denial::Authorization(why));
        Answer::Ready(match &identity.let_in {
            LetIn::Yes => Decision::Abstain,
            LetIn::No(why) => denied(why.clone()),
            // Who came past the question is not let in by that.
            LetIn::NotAsked if self.asks && identity.attributes.is_of_signed_token() => {
                denied("the authorization API was not asked".into())
            }
            LetIn::NotAsked => Decision::Abstain,
        })
    }
}

#[cfg(test)]
mod tests {
    use turnpike_api::{Attributes, ModelRules, Operation, testing};

    use super::*;

    fn identity(attributes: Attributes, let_in: LetIn) -> Identity {
        Identity {
            let_in,
            ..Identity::new("ada", ModelRules::any()).with(attributes)
        }
    }

    fn signed() -> Attributes {
        Attributes {
            issuer: Some("idp".into()),
            subject: Some("ada".into()),
            ..Attributes::default()
        }
    }

    fn decision(asks: bool, identity: &Identity) -> Decision {
        let ask = Ask {
            operation: Operation::ChatCompletions,
            model: "gpt-4o".into(),
            stream: false,
            max_tokens: None,
            body_len: 2,
        };
        match Remote::new(asks).authorize(identity, &ask) {
            Answer::Ready(decision) => decision,
            Answer::Pending(_) => panic!("it was asked before"),
        }
    }

    #[test]
    fn conforms() {
        let said = [LetIn::NotAsked, LetIn::Yes, LetIn::No("no".into())];
        let callers = said.map(|let_in| identity(signed(), let_in));
        for asks in [true, false] {
            testing::conforming_authorizer(&Remote::new(asks));
            testing::conforming_authorizer_of(&Remote::new(asks), &callers);
        }
    }

    #[test]
    fn a_signed_token_takes_a_yes_where_there_is_somebody_to_ask() {
        let denied = |why: &str| Decision::Deny(Denial::Authorization(why.into()));
        for asks in [true, false] {
            let said = |let_in| decision(asks, &identity(signed(), let_in));
            assert_eq!(said(LetIn::Yes), Decision::Abstain);
            assert_eq!(said(LetIn::No("left".into())), denied("left"));
            let unasked = match asks {
                true => denied("the authorization API was not asked"),
                false => Decision::Abstain,
            };
            assert_eq!(said(LetIn::NotAsked), unasked);
        }
    }

    #[test]
    fn keys_and_agent_tokens_are_not_asked_about() {
        let key = Attributes {
            api_key: Some("ci".into()),
            ..Attributes::default()
        };
        let token = Attributes {
            token_id: Some("7".into()),
            ..signed()
        };
        for of in [Attributes::default(), key, token] {
            let of = identity(of, LetIn::NotAsked);
            assert_eq!(decision(true, &of), Decision::Abstain, "{of:?}");
        }
    }
}
