//! What callers say to models, for tenants that want it on record.

use pingora::http::RequestHeader;
use turnpike_api::Operation;
use turnpike_audit::events::RequestPrompt;
use turnpike_audit::{Prompt, Whole, prompt};

use super::who;
use crate::context::Context;
use crate::request::identify;

/// Puts on record what an admitted call says to a model, where its tenant wants that. Nobody waits for it.
pub fn tell(
    head: &RequestHeader,
    query: &str,
    operation: Operation,
    body: &[u8],
    context: &Context<'_>,
) {
    let Some(most) = context.tenant.prompts else {
        return;
    };
    let record = &context.record;
    if !record.is_on_record || !operation.answers_with_text() {
        return;
    }
    let known = identify::brought(&head.headers, query);
    let Prompt { text, bytes } = prompt(body, most, &known);
    context.runtime.audit.tell(&RequestPrompt {
        request: record.id.as_str(),
        decision: record.decision.as_str(),
        who: record.identity.as_deref().map(who).unwrap_or_default(),
        operation: operation.as_str(),
        model: record.model.as_deref(),
        prompt: Whole(&text),
        prompt_bytes: bytes,
    });
}
