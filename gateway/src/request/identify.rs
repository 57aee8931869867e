//! Who is calling.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::header::{AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;
use pingora::http::RequestHeader;
use turnpike_api::{Identity, ModelRules, Presented, Rejection, Verdict};
use turnpike_config::is_loopback_host;

use super::let_in::let_in;
use crate::context::Context;
use crate::path::CREDENTIAL_PARAMETERS;
use crate::refusal::{Reason, Refusal};
use crate::snapshot::Snapshot;
use crate::tenant::{Place, Settled, Tenant, Tenants};

/// Where callers put credentials, in the order in which they are looked at; the query comes after.
const CREDENTIAL_HEADERS: [HeaderName; 3] = [
    AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

/// No network has it.
const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Somebody who is not known.
pub struct Stranger {
    pub refusal: Refusal,
    /// Set where signing in would help.
    pub may_sign_in: Option<MaySignIn>,
    /// Whose credential it was, where that is proven.
    whose: Option<Arc<Identity>>,
}

/// What is wrong with a credential.
struct Failure {
    rejection: Rejection,
    may_sign_in: Option<MaySignIn>,
}

/// What signing in would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MaySignIn {
    /// The person gets an agent token.
    Anew,
    /// The agent token of this id works again.
    Renews(String),
}

impl From<Refusal> for Stranger {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            may_sign_in: None,
            whose: None,
        }
    }
}

impl Failure {
    fn of(rejection: Rejection, token: &str) -> Self {
        Self {
            rejection,
            may_sign_in: may_sign_in(rejection, token),
        }
    }
}

/// Asks the authenticators about each credential that is presented; the first one that is known
/// wins.
pub async fn identify(
    head: &RequestHeader,
    query: &str,
    context: &mut Context<'_>,
) -> Result<Arc<Identity>, Stranger> {
    let found = find(head, query, context).await;
    if let Err(stranger) = &found {
        context.record.turned_away.clone_from(&stranger.whose);
        context.leave_untraced();
    }
    found
}

async fn find(
    head: &RequestHeader,
    query: &str,
    context: &mut Context<'_>,
) -> Result<Arc<Identity>, Stranger> {
    let snapshot = context.snapshot.clone();
    // The first token that is made closes a gateway that was open.
    let is_open = snapshot.open && !context.runtime.agent_tokens.had_any();
    let identity = match is_open && context.place.is_none() {
        true => anyone(head)?,
        false => {
            let from = presented(head, context);
            let (identity, tenant) = known(from, head, query, context, &snapshot).await?;
            let other = tenant.as_ref().unwrap_or(&context.tenant);
            if !other.admits(&identity, &from) {
                return Err(Stranger {
                    whose: Some(identity),
                    ..refusal(Some(Rejection::Elsewhere)).into()
                });
            }
            if let Some(tenant) = tenant {
                context.tenant = tenant;
            }
            identity
        }
    };
    context.record.identity = Some(identity.clone());
    Ok(identity)
}

/// Whether the caller may still be served, who has waited: their agent token may have been revoked,
/// on this replica or another, or their session be over.
pub fn still(context: &Context<'_>) -> Result<(), Refusal> {
    let identity = context.record.identity.as_ref();
    let Some(id) = identity.and_then(|identity| identity.attributes.token_id.as_deref()) else {
        return Ok(());
    };
    match context.runtime.agent_tokens.refuses(id) {
        None => Ok(()),
        rejection => Err(refusal(rejection)),
    }
}

/// From where the call comes; its credential is to be found yet.
fn presented<'c>(head: &'c RequestHeader, context: &'c Context<'_>) -> Presented<'c> {
    let user_agent = head.headers.get(USER_AGENT);
    Presented {
        token: "",
        // A listener always knows its peer.
        client: context.record.client.unwrap_or(UNKNOWN),
        certificate: context.certificate.as_deref(),
        user_agent: user_agent.and_then(|agent| agent.to_str().ok()),
    }
}

/// Who it is, and for whom they act, where that is not the house.
async fn known(
    from: Presented<'_>,
    head: &RequestHeader,
    query: &str,
    context: &Context<'_>,
    snapshot: &Snapshot,
) -> Result<(Arc<Identity>, Option<Arc<Tenant>>), Stranger> {
    let (tenants, here) = (&snapshot.tenants, context.place.as_deref());
    let mut failure: Option<Failure> = None;
    let mut whose = None;
    for place in places(&head.headers, query) {
        let token = match place? {
            Ok(token) => token,
            Err(malformed) => {
                failure.get_or_insert(Failure {
                    rejection: Rejection::Malformed(malformed),
                    may_sign_in: None,
                });
                continue;
            }
        };
        // Before it is proven: the time that takes would tell that it is good elsewhere.
        let book = &context.runtime.agent_tokens;
        if here.is_some_and(|here| here.is_foreign(&token, book)) {
            failure.get_or_insert_with(|| Failure::of(Rejection::Unknown, &token));
            continue;
        }
        for authenticator in &snapshot.authenticators {
            match authenticator
                .authenticate(Presented {
                    token: &token,
                    ..from
                })
                .get()
                .await
            {
                Verdict::Known(identity) => {
                    let Some(found) = settled(identity, from.client, here, tenants).await else {
                        // As if nobody had it: it is nobody's business here that it is good.
                        failure = Some(Failure::of(Rejection::Unknown, &token));
                        break;
                    };
                    let (identity, tenant) = found;
                    // Nearly always there is one house, and it is known.
                    let other = !Arc::ptr_eq(tenant, &context.tenant);
                    return Ok((identity, other.then(|| tenant.clone())));
                }
                Verdict::Reject(rejection) => {
                    let rejection = as_told(rejection, &token, context);
                    // Also where another one beside it is rubbish.
                    whose = whose.or_else(|| proven(rejection, &token, context));
                    // What may be good in a moment is told before what never is.
                    let may_be = matches!(
                        failure.as_ref().map(|failure| failure.rejection),
                        Some(Rejection::Busy | Rejection::Unavailable(_))
                    );
                    if !may_be {
                        failure = Some(Failure::of(rejection, &token));
                    }
                    break;
                }
                Verdict::NotMine => {}
            }
        }
        failure.get_or_insert_with(|| Failure::of(Rejection::Unknown, &token));
    }
    let (rejection, may_sign_in) = match failure {
        None => (None, Some(MaySignIn::Anew)),
        Some(failure) => (Some(failure.rejection), failure.may_sign_in),
    };
    Err(Stranger {
        refusal: refusal(rejection),
        may_sign_in,
        whose,
    })
}

/// Whose agent token it is that was refused, where its secret was found to be right first.
fn proven(rejection: Rejection, token: &str, context: &Context<'_>) -> Option<Arc<Identity>> {
    match rejection {
        Rejection::Revoked | Rejection::SessionExpired | Rejection::Elsewhere => {
            let id = turnpike_identity::agent_tokens::id_of(token)?;
            context.runtime.agent_tokens.identity(id)
        }
        Rejection::Malformed(_)
        | Rejection::Unknown
        | Rejection::NotGood(_)
        | Rejection::Busy
        | Rejection::Unavailable(_) => None,
    }
}

/// For whom a known caller acts, and as whom; `None` = nobody is known by this credential here.
async fn settled<'t>(
    identity: Arc<Identity>,
    client: IpAddr,
    here: Option<&'t Place>,
    tenants: &'t Tenants,
) -> Option<(Arc<Identity>, &'t Arc<Tenant>)> {
    match tenants.settle(identity, here)? {
        Settled::As(identity, tenant) => Some((identity, tenant)),
        // Boxed: of nearly everybody it is known.
        Settled::ToAsk(ask) => Box::pin(let_in(ask, client, here, tenants)).await,
    }
}

/// At a tenant's host nobody is told what became of another tenant's credential.
fn as_told(rejection: Rejection, token: &str, context: &Context<'_>) -> Rejection {
    let Some(place) = &context.place else {
        return rejection;
    };
    let tenants = &context.snapshot.tenants;
    match tenants.is_anothers(token, place) {
        true => Rejection::Unknown,
        false => rejection,
    }
}

/// Whether its owner is helped by signing in. A token that an issuer signed is of a program, which
/// cannot.
fn may_sign_in(rejection: Rejection, token: &str) -> Option<MaySignIn> {
    match rejection {
        Rejection::Unknown if is_signed(token) => None,
        Rejection::Unknown | Rejection::Revoked => Some(MaySignIn::Anew),
        Rejection::SessionExpired => {
            let id = turnpike_identity::agent_tokens::id_of(token);
            Some(id.map_or(MaySignIn::Anew, |id| MaySignIn::Renews(id.to_owned())))
        }
        Rejection::Malformed(_)
        | Rejection::NotGood(_)
        | Rejection::Elsewhere
        | Rejection::Busy
        | Rejection::Unavailable(_) => None,
    }
}

/// Whether it has the form of a JWT, whoever may have made it.
fn is_signed(token: &str) -> bool {
    token.starts_with("eyJ") && token.split('.').count() == 3
}

/// What stands in one place: a credential, or what is wrong with it.
type Found<'h> = Result<Cow<'h, str>, &'static str>;

/// The places that hold something. An error is a request that must not be served whatever else
/// it holds: a header or parameter given twice is read differently by different parsers.
fn places<'h>(
    headers: &'h HeaderMap,
    query: &'h str,
) -> impl Iterator<Item = Result<Found<'h>, Refusal>> {
    let in_headers = CREDENTIAL_HEADERS.into_iter().filter_map(|name| {
        let mut values = headers.get_all(&name).iter();
        let value = values.next()?;
        if values.next().is_some() {
            return Some(Err(malformed(
                "the header that carries the credential is given twice",
            )));
        }
        let Ok(text) = value.to_str() else {
            return Some(Ok(Err(
                "the credential has characters that no credential has",
            )));
        };
        let token = if name == AUTHORIZATION {
            bearer(text)
        } else {
            Ok(text)
        };
        token
            .map(|token| credential(token.into()))
            .unwrap_or_else(|wrong| Some(Err(wrong)))
            .map(Ok)
    });
    let in_query = CREDENTIAL_PARAMETERS.iter().filter_map(move |&name| {
        let mut values = query.split('&').filter_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            (percent_decode_str(key).decode_utf8_lossy() == name).then_some(value)
        });
        let value = values.next()?;
        if values.next().is_some() {
            return Some(Err(malformed(
                "the query parameter that carries the credential is given twice",
            )));
        }
        Some(match percent_decode_str(value).decode_utf8() {
            Ok(token) => Ok(credential(token)?),
            Err(_) => Ok(Err("the credential has characters that no credential has")),
        })
    });
    in_headers.chain(in_query)
}

/// What the request brought as credentials, good or not, so that it is found where it must not be.
pub fn brought(headers: &HeaderMap, query: &str) -> Vec<String> {
    let places = places(headers, query).filter_map(|place| place.ok()?.ok());
    places.map(Cow::into_owned).collect()
}

/// The token of an `Authorization` header.
fn bearer(value: &str) -> Result<&str, &'static str> {
    match value.trim().split_once([' ', '\t']) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token),
        None if value.trim().eq_ignore_ascii_case("bearer") || value.trim().is_empty() => Ok(""),
        _ => Err("the Authorization header is not of the form `Bearer <token>`"),
    }
}

/// A credential without the blanks and line breaks around it; `None` when nothing is left, which
/// is what clients send whose key is not set.
fn credential(text: Cow<'_, str>) -> Option<Found<'_>> {
    let token = match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    };
    // Nearly all have nothing odd. Without an early end the compiler looks at many bytes at once.
    let is_odd = |odd, byte: u8| odd | !byte.is_ascii_graphic() | (byte == b',');
    if token.is_empty() {
        None
    } else if !token.bytes().fold(false, is_odd) {
        Some(Ok(token))
    } else if token.contains([' ', '\t', ',']) {
        Some(Err(
            "there are blanks or commas inside the credential: are there two?",
        ))
    } else {
        Some(Err("the credential has characters that no credential has"))
    }
}

fn malformed(what: &'static str) -> Refusal {
    Refusal::new(
        Reason::CredentialMalformed,
        format!("Invalid token format: {what}"),
    )
}

fn refusal(failure: Option<Rejection>) -> Refusal {
    match failure {
        None => Refusal::new(
            Reason::CredentialMissing,
            "no credential: send your key as `Authorization: Bearer <key>`, `x-api-key` or `x-goog-api-key`",
        ),
        Some(Rejection::Malformed(what)) => malformed(what),
        Some(Rejection::Unknown) => Refusal::new(
            Reason::CredentialUnknown,
            "the key is not known here: check it for typing errors, or ask your platform team for one",
        ),
        Some(Rejection::NotGood(why)) => Refusal::new(Reason::CredentialUnknown, why),
        Some(Rejection::Revoked) => Refusal::new(
            Reason::TokenRevoked,
            "the agent token is revoked, which is for good: ask your platform team for another one",
        ),
        Some(Rejection::SessionExpired) => Refusal::new(
            Reason::SessionExpired,
            "Session expired: sign in again, and the same agent token works again",
        ),
        Some(Rejection::Elsewhere) => Refusal::new(
            Reason::BindingMismatch,
            "the key is bound to other networks or another client certificate",
        ),
        Some(Rejection::Busy) => Refusal::new(
            Reason::Overloaded,
            "too many credentials are being checked; try again in a moment",
        ),
        Some(Rejection::Unavailable(why)) => Refusal::new(Reason::StorageUnavailable, why),
    }
}

/// Open mode's caller: a program on this machine. A web page that a browser on this machine shows
/// is none, be it by a request across origins or by a name that resolves to loopback.
fn anyone(head: &RequestHeader) -> Result<Arc<Identity>, Refusal> {
    static ANYONE: std::sync::LazyLock<Arc<Identity>> =
        std::sync::LazyLock::new(|| Arc::new(Identity::new("anyone", ModelRules::any())));
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let host = head.uri.authority().map(|authority| authority.as_str());
    let host = host.or(header("host")).unwrap_or_default();
    if is_loopback(host) && header("origin").is_none() {
        return Ok(ANYONE.clone());
    }
    Err(Refusal::new(
        Reason::CredentialMissing,
        "open mode serves programs on this machine, at localhost: for other hosts and for web pages configure `api_keys`",
    ))
}

/// Whether a `Host` names this machine as seen from itself.
fn is_loopback(host: &str) -> bool {
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) => name,
        _ => host,
    };
    is_loopback_host(name)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn found(headers: &[(&'static str, &'static str)], query: &str) -> Vec<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        places(&map, query)
            .map(|place| match place {
                Ok(Ok(token)) => token.into_owned(),
                Ok(Err(wrong)) => format!("wrong: {wrong}"),
                Err(refusal) => format!("refused: {}", refusal.message),
            })
            .collect()
    }

    #[test]
    fn credentials_are_found_in_order() {
        let all = [
            ("x-goog-api-key", "c"),
            ("x-api-key", "b"),
            ("Authorization", "bEaReR  a\t"),
        ]
        .map(|(name, value)| {
            (
                if name == "Authorization" {
                    "authorization"
                } else {
                    name
                },
                value,
            )
        });
        assert_eq!(found(&all, "auth_token=e&key=d"), ["a", "b", "c", "d", "e"]);
        assert_eq!(found(&[], "key=a%2Bb%0a"), ["a+b"]);
    }

    #[test]
    fn empty_ones_count_as_none() {
        assert!(found(&[("authorization", "Bearer "), ("x-api-key", "  ")], "key=").is_empty());
        assert!(found(&[("authorization", "")], "").is_empty());
    }

    #[test]
    fn loopback_hosts() {
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:80",
            "[::1]:8080",
            "[::1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:80",
            "10.0.0.1",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn malformed_ones_are_named() {
        assert!(
            found(&[("authorization", "Basic abc")], "")[0].starts_with("wrong: the Authorization")
        );
        assert!(
            found(&[("authorization", "Bearer a b")], "")[0].starts_with("wrong: there are blanks")
        );
        assert!(found(&[("x-api-key", "a,b")], "")[0].starts_with("wrong: there are blanks"));
        assert!(found(&[("x-api-key", "a"), ("x-api-key", "a")], "")[0].contains("given twice"));
        assert!(found(&[], "key=a&k%65y=b")[0].contains("given twice"));
        assert!(found(&[], "key=%ff")[0].starts_with("wrong: the credential has characters"));
    }
}
