//! A record of every event, with every field.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::NOW;
use crate::events::*;
use crate::json::Whole;
use crate::record::{Chain, NONE};
use crate::{Action, Event};

/// What somebody might try by a text of their own.
pub(crate) const HOSTILE: &str =
    "gpt\n<13>1 - evil\r\u{1b}[2J\u{7f}\u{85} \"]|a=b\\c \u{2028}ä,{\"seq\":1}";

pub(crate) fn who() -> Who<'static> {
    Who {
        name: Some("Ada Lovelace"),
        issuer: Some("https://idp.example"),
        subject: Some("subject-77"),
        email: Some("ada@acme.example"),
        tenant: Some("acme"),
        token_id: Some("0190b3c1-token"),
        api_key: None,
    }
}

/// As headers have it, and as they never would.
fn claimed() -> Claimed<'static> {
    let mut claimed = Claimed::default();
    claimed.add("x-user-id", b"somebody-claimed", &[]);
    claimed.add("x-department", HOSTILE.as_bytes(), &[]);
    claimed
}

fn key() -> Who<'static> {
    Who {
        name: Some("continuous"),
        api_key: Some("ci-key"),
        ..Who::default()
    }
}

const CLIENT: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)));
const SIX: Option<IpAddr> = Some(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7)));

/// The records of a chain, in their order.
pub(crate) fn samples() -> Vec<Vec<u8>> {
    let mut chain = Chain::at("5f0c9a1e22b7d340".into(), 40, NONE, "host-1");
    let mut records = Vec::new();
    let mut tell = |event: &dyn Event| {
        let mut record = Vec::new();
        chain.append(event, NOW, &mut record);
        records.push(record);
    };
    gateway(&mut tell);
    calls(&mut tell);
    people(&mut tell);
    credentials(&mut tell);
    for action in Action::ALL {
        tell(&Managed {
            actor: "operator-ops",
            tenant: Some("acme"),
            client: CLIENT,
            action: *action,
            subject: "subject-of-it",
            before: Some("before-it"),
            after: Some("after-it"),
        });
    }
    for (method, status, reason) in [
        ("GET", 200, None),
        ("DELETE", 412, Some("changed")),
        ("OPTIONS", 405, Some("method_not_allowed")),
    ] {
        tell(&ManagementRequest {
            actor: "operator-ops",
            tenant: Some("acme"),
            client: SIX,
            method,
            route: Some("/v0/management/tokens/{id}"),
            status,
            reason,
            untold: Some(1706),
        });
    }
    records
}

fn gateway(tell: &mut impl FnMut(&dyn Event)) {
    tell(&Started {
        version: "9.8.7",
        generation: 31,
    });
    tell(&Stopped {});
    for accepted in [true, false] {
        tell(&Configuration {
            generation: 32,
            accepted,
            digest: "d1935700",
            problems: (!accepted).then_some("line 7: unknown key"),
        });
    }
    tell(&Checkpoint {
        key: "8a88e3dd",
        signature: "51671a7e",
    });
    tell(&Dropped {
        sink: "webhook siem.example 0a1b2c3d",
        from_seq: 1701,
        from_chain: Some("5e0b8a0d11a6c23f"),
        count: 907,
    });
    tell(&Damaged {
        bytes: 911,
        last_seq: 1702,
    });
}

fn calls(tell: &mut impl FnMut(&dyn Event)) {
    for (who, client, model) in [(who(), CLIENT, "gpt-4o-asked"), (key(), SIX, HOSTILE)] {
        tell(&RequestStart {
            request: "request-1",
            decision: "decision-1",
            trace: "4bf92f3577b34da6a3ce929d0e0e4736",
            who,
            client,
            user_agent: Some(HOSTILE),
            claimed: claimed(),
            operation: "chat_completions",
            model: Some(model),
            generation: 33,
        });
    }
    for (outcome, status, reason) in [
        ("answered", 200, None),
        ("incomplete", 200, Some("upstream_incomplete")),
        ("client_gone", 499, None),
    ] {
        tell(&RequestEnd {
            request: "request-1",
            decision: "decision-1",
            trace: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
            who: who(),
            client: CLIENT,
            operation: "chat_completions",
            model: Some("gpt-4o-asked"),
            served: Some("gpt-4o-served"),
            provider: Some("openai-eu"),
            credential: Some("openai-eu/3"),
            outcome,
            status,
            reason,
            attempts: 2,
            stream: true,
            used: Some(Used {
                input: 1203,
                output: 407,
                cache_read: 1024,
                cache_write: 55,
                reasoning: 66,
                cost: Some(4711),
            }),
            took_ms: 2713,
            first_ms: Some(613),
        });
    }
    tell(&CallUsage {
        request: "request-1",
        decision: "decision-1",
        trace: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
        who: who(),
        operation: "chat_completions",
        model: Some(HOSTILE),
        served: Some("gpt-4o-served"),
        provider: Some("openai-eu"),
        credential: Some("openai-eu/3"),
        outcome: "incomplete",
        status: 200,
        reason: Some("upstream_incomplete"),
        attempts: 2,
        stream: true,
        used: Some(Used {
            input: 1204,
            output: 408,
            cache_read: 1025,
            cache_write: 56,
            reasoning: 67,
            cost: Some(4712),
        }),
        took_ms: 2714,
        first_ms: Some(614),
        first_chunk_ms: Some(615),
        overhead_us: Some(1616),
    });
    tell(&RequestAborted {
        request: "request-2",
        decision: "decision-2",
        start_seq: 1703,
        start_chain: Some("5e0b8a0d11a6c23e"),
    });
    for (who, reason) in [
        (Who::default(), "credential_unknown"),
        (who(), "binding_mismatch"),
    ] {
        tell(&AuthenticationRefused {
            request: "request-3",
            decision: "decision-3",
            tenant: Some("acme"),
            who,
            client: CLIENT,
            user_agent: Some(HOSTILE),
            status: 401,
            reason,
            untold: Some(1704),
        });
    }
    tell(&AuthorizationDenied {
        request: "request-4",
        decision: "decision-4",
        who: who(),
        client: CLIENT,
        operation: Some("embeddings"),
        model: Some(HOSTILE),
        status: 403,
        reason: "model_denied",
        generation: 34,
        untold: Some(3),
    });
    tell(&LimitHit {
        request: "request-5",
        decision: "decision-5",
        who: key(),
        client: CLIENT,
        model: Some("gpt-4o-asked"),
        status: 429,
        reason: "rate_limited",
        limit: Some(Fell {
            name: "org-cap",
            scope: "tenant",
            measure: "requests",
            window: "minute",
            reset: Some("2026-11-21T15:00:00Z"),
        }),
        untold: Some(3),
    });
    for prompt in ["[user] something-that-was-asked", HOSTILE] {
        tell(&RequestPrompt {
            request: "request-1",
            decision: "decision-1",
            who: who(),
            operation: "chat_completions",
            model: Some("gpt-4o-asked"),
            prompt: Whole(prompt),
            prompt_bytes: 1618,
        });
    }
}

fn people(tell: &mut impl FnMut(&dyn Event)) {
    for (outcome, provider, who, reason) in [
        ("granted", Some("okta"), who(), None),
        ("denied", Some("okta"), who(), Some("no_role")),
        (
            "failed",
            Some("okta"),
            Who::default(),
            Some("state_mismatch"),
        ),
        ("failed", None, Who::default(), Some("rate_limited")),
    ] {
        tell(&Login {
            outcome,
            provider,
            who,
            client: CLIENT,
            reason,
            untold: provider.is_none().then_some(1705),
        });
    }
    tell(&Logout {
        who: who(),
        client: CLIENT,
    });
    for outcome in ["renewed", "ended", "not_renewed"] {
        tell(&Session {
            outcome,
            who: who(),
            provider: "okta",
            reason: Some("invalid_grant"),
        });
    }
    for change in ["issued", "revoked"] {
        tell(&Token {
            change,
            token_id: "0190b3c1-new",
            who: who(),
            client: CLIENT,
            program: Some("claude-code"),
        });
    }
    tell(&TokenHeard {
        token_id: "0190b3c1-heard",
        state: "revoked",
    });
    tell(&ManagementRefused {
        client: CLIENT,
        refused_for: 77,
        untold: Some(3),
    });
}

fn credentials(tell: &mut impl FnMut(&dyn Event)) {
    let credential = "openai-eu/3";
    tell(&CredentialCooled {
        credential,
        model: Some("gpt-4o-asked"),
        fault: "rate_limited_upstream",
        until: "2026-11-21T16:00:00Z",
    });
    tell(&CredentialRecovered {
        credential,
        model: Some("gpt-4o-asked"),
        by: "probe",
    });
    tell(&CredentialSpent {
        credential,
        quota: Some(123_456),
    });
    for error in [None, Some("invalid_grant")] {
        tell(&CredentialRefreshed { credential, error });
    }
    for change in ["added", "new_secret", "removed"] {
        tell(&CredentialChanged { change, credential });
    }
}
