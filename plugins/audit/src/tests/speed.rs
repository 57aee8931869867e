//! What record keeping costs a call: `cargo test --release -p turnpike-audit speed -- --ignored --nocapture`.

use super::*;
use crate::events::{RequestEnd, RequestStart, Used, Who};

const CALLS: u32 = 200_000;

/// Nanoseconds that this thread was on a processor, the system's work for it among them.
fn on_cpu() -> u64 {
    let read = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    read.split(' ').next().unwrap().parse().unwrap()
}

/// As a call of a person's agent has it.
fn who() -> Who<'static> {
    Who {
        name: Some("ada@example.com"),
        issuer: Some("https://idp.example.com"),
        subject: Some("00u1a2b3c4d5e6f7g8h9"),
        email: Some("ada@example.com"),
        tenant: Some("acme"),
        token_id: Some("k3j9x8m2q7w1"),
        api_key: None,
    }
}

#[test]
#[ignore = "a measurement"]
fn a_call_on_record() {
    let directory = tempfile::tempdir().unwrap();
    let spool = large(directory.path());
    let began = on_cpu();
    for nth in 0..CALLS {
        let decision = nth.to_string();
        let start = spool.note(
            &RequestStart {
                request: "019aa7e2-5f6b-7c3d-8e4f-1a2b3c4d5e6f",
                decision: &decision,
                trace: "4bf92f3577b34da6a3ce929d0e0e4736",
                who: who(),
                client: Some([10, 1, 2, 3].into()),
                user_agent: Some("claude-cli/2.0.1 (external, cli)"),
                claimed: Default::default(),
                operation: "chat_completions",
                model: Some("gpt-4o"),
                generation: 3,
            },
            NOW,
        );
        spool.keep(start).unwrap();
        spool.note(
            &RequestEnd {
                request: "019aa7e2-5f6b-7c3d-8e4f-1a2b3c4d5e6f",
                decision: &decision,
                who: who(),
                operation: "chat_completions",
                model: Some("gpt-4o"),
                served: Some("gpt-4o"),
                provider: Some("openai"),
                credential: Some("openai/main"),
                outcome: "answered",
                status: 200,
                attempts: 1,
                used: Some(Used {
                    input: 120,
                    output: 40,
                    cost: Some(700),
                    ..Used::default()
                }),
                took_ms: 812,
                first_ms: Some(230),
                ..RequestEnd::default()
            },
            NOW,
        );
    }
    spool.keep_all().unwrap();
    let each = (on_cpu() - began) / u64::from(CALLS);
    let bytes = spool.bytes() / u64::from(CALLS);
    println!("a call on record: {each} ns of the processor, {bytes} bytes");
}
