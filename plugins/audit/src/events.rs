//! A struct per thing that happens. No field ever holds a credential or a completion, and none a prompt but
//! that of [`RequestPrompt`], which is told where that is switched on.
//!
//! [`CATALOGUE`] lists them with their fields; `docs/audit.md` is held against it.

use std::net::IpAddr;

use crate::Action;
use crate::json::{Value, Whole, boundary, field, object, string};
use crate::redact::credentials;

/// Something that happened.
pub trait Event {
    fn name(&self) -> &'static str;

    /// Its name and its fields, a comma before each.
    fn write(&self, out: &mut Vec<u8>);
}

/// What a caller says of itself in headers. Nobody checks it.
#[derive(Clone, Default)]
pub struct Claimed<'a>(Vec<(&'a str, String)>);

/// As many bytes of each are on record.
const CLAIM: usize = 256;

impl<'a> Claimed<'a> {
    /// The header of this name says so. `known` are secrets that it must not have.
    pub fn add(&mut self, name: &'a str, value: &[u8], known: &[String]) {
        // Those that are no text are told as far as they are one.
        let mut value = credentials(&String::from_utf8_lossy(value), known);
        value.truncate(boundary(&value, CLAIM));
        self.0.push((name, value));
    }
}

impl Value for Claimed<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        object(out, |out| {
            for (name, value) in &self.0 {
                // Names of headers are plain.
                out.extend_from_slice(b",\"");
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"\":");
                string(value, out);
            }
        });
    }
}

/// An event or a group of fields, for the reference.
pub struct Described {
    pub name: &'static str,
    pub what: &'static str,
    /// Names and what they say.
    pub fields: &'static [(&'static str, &'static str)],
}

/// Makes the structs, and the list of them.
macro_rules! described {
    ($list:ident, $default:meta: $(
        #[doc = $what:literal]
        $type:ident $(<$life:lifetime>)? = $name:literal {
            $( #[doc = $doc:literal] $field:ident: $value:ty, )*
        }
    )*) => {
        $(
            #[doc = $what]
            #[derive(Clone)]
            #[$default]
            pub struct $type $(<$life>)? {
                $( #[doc = $doc] pub $field: $value, )*
            }

            impl $(<$life>)? $type $(<$life>)? {
                fn write_fields(&self, _out: &mut Vec<u8>) {
                    $( field(concat!(",\"", stringify!($field), "\":"), &self.$field, _out); )*
                }
            }
        )*

        pub const $list: &[Described] = &[$(
            Described {
                name: $name,
                what: $what,
                fields: &[$( (stringify!($field), $doc) ),*],
            },
        )*];
    };
}

/// Makes structs that are events.
macro_rules! events {
    ($( #[doc = $what:literal] $type:ident $(<$life:lifetime>)? = $name:literal { $($fields:tt)* } )*) => {
        // Nothing that happens is left to a default.
        described! { CATALOGUE, cfg_attr(test, derive(Default)): $(
            #[doc = $what]
            $type $(<$life>)? = $name { $($fields)* }
        )* }

        $(
            impl $(<$life>)? Event for $type $(<$life>)? {
                fn name(&self) -> &'static str {
                    $name
                }

                fn write(&self, out: &mut Vec<u8>) {
                    out.extend_from_slice(concat!(",\"event\":\"", $name, "\"").as_bytes());
                    self.write_fields(out);
                }
            }
        )*
    };
}

/// Makes structs that are objects within events.
macro_rules! groups {
    ($( #[doc = $what:literal] $type:ident $(<$life:lifetime>)? = $name:literal { $($fields:tt)* } )*) => {
        described! { GROUPS, derive(Default): $(
            #[doc = $what]
            $type $(<$life>)? = $name { $($fields)* }
        )* }

        $(
            impl $(<$life>)? Value for $type $(<$life>)? {
                fn write(&self, out: &mut Vec<u8>) {
                    object(out, |out| self.write_fields(out));
                }
            }
        )*
    };
}

groups! {
    /// Who it was, as far as that is known for certain.
    Who<'a> = "who" {
        /// The name under which logs and metrics know them.
        name: Option<&'a str>,
        /// Who vouches for them.
        issuer: Option<&'a str>,
        /// Who they are to the issuer.
        subject: Option<&'a str>,
        /// Their e-mail address.
        email: Option<&'a str>,
        /// The tenant they act for.
        tenant: Option<&'a str>,
        /// The id of the agent token they came with.
        token_id: Option<&'a str>,
        /// The name of the configured key they came with.
        api_key: Option<&'a str>,
    }
    /// What a call used.
    Used = "used" {
        /// Tokens of the prompt, cached ones among them.
        input: u64,
        /// Tokens of the answer.
        output: u64,
        /// Tokens of the prompt that the provider read from its cache.
        cache_read: u64,
        /// Tokens of the prompt that the provider wrote to its cache.
        cache_write: u64,
        /// Tokens of the answer that were thought and not said.
        reasoning: u64,
        /// What it cost, in millionths of a US dollar, where the model has a price.
        cost: Option<u64>,
    }
    /// The limit that fell.
    Fell<'a> = "limit" {
        /// Its name.
        name: &'a str,
        /// On which level it is.
        scope: &'a str,
        /// What it counts.
        measure: &'a str,
        /// Over which window.
        window: &'a str,
        /// When it begins anew.
        reset: Option<&'a str>,
    }
}

events! {
    /// The gateway serves.
    Started<'a> = "gateway.started" {
        /// Its version.
        version: &'a str,
        /// The number of the configuration in force.
        generation: u64,
    }
    /// The gateway stops, and all it did is told.
    Stopped = "gateway.stopped" {
    }
    /// A call was admitted; what follows is the call itself. Nothing goes to a provider before this is on record.
    RequestStart<'a> = "request.start" {
        /// The request's id, which the caller may have chosen.
        request: &'a str,
        /// The decision's id, which is the gateway's own and unlike all others.
        decision: &'a str,
        /// The id of the trace it is part of.
        trace: &'a str,
        /// Who calls.
        who: Who<'a>,
        /// The caller's address, after trusted proxies.
        client: Option<IpAddr>,
        /// What the caller says its program is.
        user_agent: Option<&'a str>,
        /// What the caller says of itself in the headers of `audit.claimed_headers`, by their names; nobody has checked it.
        claimed: Claimed<'a>,
        /// What was asked for.
        operation: &'a str,
        /// The model, as it was asked for.
        model: Option<&'a str>,
        /// The number of the configuration it was judged by.
        generation: u64,
    }
    /// What an admitted call says to a model, where `audit.prompts` or a tenant's is switched on. What looks like a credential, a key, an address or a card is left out.
    RequestPrompt<'a> = "request.prompt" {
        /// The request's id.
        request: &'a str,
        /// The decision's id, as in `request.start`.
        decision: &'a str,
        /// Who calls.
        who: Who<'a>,
        /// What was asked for.
        operation: &'a str,
        /// The model, as it was asked for.
        model: Option<&'a str>,
        /// Its texts, one a line, each role in brackets: the first of them, up to `audit.prompts.max_bytes`.
        prompt: Whole<'a>,
        /// Bytes of all its texts.
        prompt_bytes: u64,
    }
    /// An admitted call is over.
    RequestEnd<'a> = "request.end" {
        /// The request's id.
        request: &'a str,
        /// The decision's id, as in `request.start`.
        decision: &'a str,
        /// The id of the trace it is part of, where that is the caller's, or recorded.
        trace: Option<&'a str>,
        /// Who called.
        who: Who<'a>,
        /// The caller's address, after trusted proxies.
        client: Option<IpAddr>,
        /// What was asked for.
        operation: &'a str,
        /// The model, as it was asked for.
        model: Option<&'a str>,
        /// The model that served, as its provider calls it.
        served: Option<&'a str>,
        /// The provider that served, or was tried last.
        provider: Option<&'a str>,
        /// The credential that served, or was tried last.
        credential: Option<&'a str>,
        /// `answered`, `refused`, `incomplete`, `client_gone` or `aborted`.
        outcome: &'a str,
        /// The status that the caller got.
        status: u64,
        /// Why, where it was refused or cut short.
        reason: Option<&'a str>,
        /// How many times a provider was called.
        attempts: u64,
        /// Whether it was answered as a stream.
        stream: bool,
        /// What it used, where the provider said so.
        used: Option<Used>,
        /// Milliseconds from its head to its end.
        took_ms: u64,
        /// Milliseconds until its answer was under way.
        first_ms: Option<u64>,
    }
    /// What a call used, told when it is over: of the stream `usage`, and of each call that a provider was called for.
    CallUsage<'a> = "usage" {
        /// The request's id.
        request: &'a str,
        /// The decision's id, as in `request.end`.
        decision: &'a str,
        /// The id of the trace it is part of, where that is the caller's, or recorded.
        trace: Option<&'a str>,
        /// Who called.
        who: Who<'a>,
        /// What was asked for.
        operation: &'a str,
        /// The model, as it was asked for.
        model: Option<&'a str>,
        /// The model that served, as its provider calls it.
        served: Option<&'a str>,
        /// The provider that served, or was tried last.
        provider: Option<&'a str>,
        /// The credential that served, or was tried last.
        credential: Option<&'a str>,
        /// As in `request.end`.
        outcome: &'a str,
        /// The status that the caller got.
        status: u64,
        /// Why, where it was refused or cut short.
        reason: Option<&'a str>,
        /// How many times a provider was called.
        attempts: u64,
        /// Whether it was answered as a stream.
        stream: bool,
        /// What it used, where the provider said so.
        used: Option<Used>,
        /// Milliseconds from its head to its end.
        took_ms: u64,
        /// Milliseconds until its answer was under way.
        first_ms: Option<u64>,
        /// Milliseconds until the first of a stream went to the caller.
        first_chunk_ms: Option<u64>,
        /// Microseconds of `first_ms` that were the gateway's own, and not spent waiting.
        overhead_us: Option<u64>,
    }
    /// An admitted call was under way when the gateway was killed. Told at the next start.
    RequestAborted<'a> = "request.aborted" {
        /// The request's id.
        request: &'a str,
        /// The decision's id, as in `request.start`.
        decision: &'a str,
        /// The number of its `request.start`.
        start_seq: u64,
        /// The chain of that, where it is not the chain of this record.
        start_chain: Option<&'a str>,
    }
    /// Somebody was not let in.
    AuthenticationRefused<'a> = "authentication.refused" {
        /// The request's id.
        request: &'a str,
        /// The decision's id.
        decision: &'a str,
        /// The tenant at whose host it was.
        tenant: Option<&'a str>,
        /// Whose credential it was, where it is theirs without doubt: it is revoked, its session is over, or it is bound elsewhere.
        who: Who<'a>,
        /// The caller's address, after trusted proxies.
        client: Option<IpAddr>,
        /// What the caller says its program is.
        user_agent: Option<&'a str>,
        /// The status that the caller got.
        status: u64,
        /// Why.
        reason: &'a str,
        /// How many before it were not told one by one, for there were too many: refusals of strangers; where `who` is known, denials and limits that fell.
        untold: Option<u64>,
    }
    /// Somebody who is known may not do what they asked.
    AuthorizationDenied<'a> = "authorization.denied" {
        /// The request's id.
        request: &'a str,
        /// The decision's id.
        decision: &'a str,
        /// Who called.
        who: Who<'a>,
        /// The caller's address, after trusted proxies.
        client: Option<IpAddr>,
        /// What was asked for.
        operation: Option<&'a str>,
        /// The model, as it was asked for.
        model: Option<&'a str>,
        /// The status that the caller got.
        status: u64,
        /// Why.
        reason: &'a str,
        /// The number of the configuration it was judged by.
        generation: u64,
        /// How many denials and limits that fell were not told one by one, for there were too many.
        untold: Option<u64>,
    }
    /// A call did not fit within a limit.
    LimitHit<'a> = "limit.hit" {
        /// The request's id.
        request: &'a str,
        /// The decision's id.
        decision: &'a str,
        /// Who called.
        who: Who<'a>,
        /// The caller's address, after trusted proxies.
        client: Option<IpAddr>,
        /// The model, as it was asked for.
        model: Option<&'a str>,
        /// The status that the caller got.
        status: u64,
        /// Why.
        reason: &'a str,
        /// The limit that fell.
        limit: Option<Fell<'a>>,
        /// How many denials and limits that fell were not told one by one, for there were too many.
        untold: Option<u64>,
    }
    /// Somebody logged in, or was not let in.
    Login<'a> = "login" {
        /// `granted`, `denied` by a role or the authorization API, or `failed` before it was known who it is.
        outcome: &'a str,
        /// The identity provider, where one was chosen.
        provider: Option<&'a str>,
        /// Who, where the provider has said so, or somebody signed in types a device's code.
        who: Who<'a>,
        /// The address.
        client: Option<IpAddr>,
        /// Why not: `rate_limited` has to wait, `unknown_user_code` is no device's; others are a provider's, the authorization API's, or of a login's end.
        reason: Option<&'a str>,
        /// How many `rate_limited` and `unknown_user_code` before it were not told one by one, for there were too many.
        untold: Option<u64>,
    }
    /// Somebody logged out.
    Logout<'a> = "logout" {
        /// Who.
        who: Who<'a>,
        /// The address.
        client: Option<IpAddr>,
    }
    /// A session was to be renewed. That one has expired is told with the calls that are refused for it.
    Session<'a> = "session" {
        /// `renewed`, `ended` by its provider, or `not_renewed`: it is tried again.
        outcome: &'a str,
        /// Whose.
        who: Who<'a>,
        /// The identity provider.
        provider: &'a str,
        /// Why it was not renewed.
        reason: Option<&'a str>,
    }
    /// A person made or revoked an agent token of theirs. What operators do with tokens is `managed`.
    Token<'a> = "token" {
        /// `issued` or `revoked`.
        change: &'a str,
        /// Its id.
        token_id: &'a str,
        /// Whose it is.
        who: Who<'a>,
        /// The address.
        client: Option<IpAddr>,
        /// The program that asked for it, where one did.
        program: Option<&'a str>,
    }
    /// This replica heard that an agent token was made or changed: here, by a command, or by another replica.
    TokenHeard<'a> = "token.heard" {
        /// Its id.
        token_id: &'a str,
        /// `good`, or why it is refused from now on.
        state: &'a str,
    }
    /// An upstream credential is left alone for a while.
    CredentialCooled<'a> = "credential.cooled" {
        /// The credential's id.
        credential: &'a str,
        /// The model, where it is for that one alone.
        model: Option<&'a str>,
        /// Why.
        fault: &'a str,
        /// Until when.
        until: &'a str,
    }
    /// What was wrong with an upstream credential is over.
    CredentialRecovered<'a> = "credential.recovered" {
        /// The credential's id.
        credential: &'a str,
        /// The model, where it is for that one alone.
        model: Option<&'a str>,
        /// What showed it: `call`, `probe`, `operator` or `new_secret`.
        by: &'a str,
    }
    /// An upstream credential's quota is spent.
    CredentialSpent<'a> = "credential.spent" {
        /// The credential's id.
        credential: &'a str,
        /// Tokens.
        quota: Option<u64>,
    }
    /// An upstream credential has another access token, or could not get one.
    CredentialRefreshed<'a> = "credential.refreshed" {
        /// The credential's id.
        credential: &'a str,
        /// Why it could not.
        error: Option<&'a str>,
    }
    /// An upstream credential came with a configuration or a file, has another secret, or is gone.
    CredentialChanged<'a> = "credential.changed" {
        /// `added`, `new_secret` or `removed`.
        change: &'a str,
        /// The credential's id.
        credential: &'a str,
    }
    /// A configuration was put in force, or was not.
    Configuration<'a> = "configuration" {
        /// The number of the configuration in force.
        generation: u64,
        /// Whether what was read is in force.
        accepted: bool,
        /// SHA-256 of what is in effect, secrets blotted out.
        digest: &'a str,
        /// What stood in its way.
        problems: Option<&'a str>,
    }
    /// Somebody changed something over the management API, or on the pages that use it.
    Managed<'a> = "managed" {
        /// The name of the key, or the person.
        actor: &'a str,
        /// The tenant that they manage; left out = the whole gateway.
        tenant: Option<&'a str>,
        /// The address.
        client: Option<IpAddr>,
        /// What was done.
        action: Action,
        /// To what.
        subject: &'a str,
        /// How it was, secrets blotted out.
        before: Option<&'a str>,
        /// How it is, likewise.
        after: Option<&'a str>,
    }
    /// An operator looked at something, or asked for what was not done; a request to the management API, or of a page that uses it, that has no record of another event.
    ManagementRequest<'a> = "management.request" {
        /// The name of the key, or the person.
        actor: &'a str,
        /// The tenant that they manage; left out = the whole gateway.
        tenant: Option<&'a str>,
        /// The address.
        client: Option<IpAddr>,
        /// The method.
        method: &'a str,
        /// The path, as the API's document has it; left out where it has none such.
        route: Option<&'a str>,
        /// The status that was answered; 499 = they left first.
        status: u64,
        /// Why it was not done: the `code` of the answer.
        reason: Option<&'a str>,
        /// How many before it were not told one by one, for there were too many: of one who looks at the same thing again and again, or of those that were not done.
        untold: Option<u64>,
    }
    /// A request to the management API came with a wrong key.
    ManagementRefused = "management.refused" {
        /// The address.
        client: Option<IpAddr>,
        /// For how many seconds it is refused now.
        refused_for: u64,
        /// How many such requests were not told one by one, for there were too many.
        untold: Option<u64>,
    }
    /// All records before this one are signed.
    Checkpoint<'a> = "checkpoint" {
        /// The public key, Ed25519, in hexadecimal digits.
        key: &'a str,
        /// The signature, likewise, of the text `turnpike audit checkpoint 1`, the chain, the number and `prev` of this record, a line each.
        signature: &'a str,
    }
    /// The spool was full, and a sink did not get its oldest records.
    Dropped<'a> = "audit.dropped" {
        /// The sink.
        sink: &'a str,
        /// The number of the first record it did not get.
        from_seq: u64,
        /// The chain of those records, where it is not the chain of this one.
        from_chain: Option<&'a str>,
        /// How many it did not get.
        count: u64,
    }
    /// The end of the spool was not whole at the start: the machine lost power.
    Damaged = "audit.damaged" {
        /// Bytes that could not be read.
        bytes: u64,
        /// The number of the last record that could.
        last_seq: u64,
    }
}
