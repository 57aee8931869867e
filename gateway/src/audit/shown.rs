//! What the gateway shows receivers of itself, as the configuration in force has it: tokens and signing keys
//! are replaced without a restart.

use turnpike_api::Secret;
use turnpike_audit::Stream;
use turnpike_audit::sinks::outside::Renewable;
use turnpike_audit::sinks::webhook::Keys;
use turnpike_config::plan::{AuditPlan, AuditReceiverPlan, AuditSinkPlan};

use super::Audit;
use super::open::sink_name;

/// The secrets of a sink that was opened.
pub(super) struct Shown {
    pub(super) stream: Stream,
    pub(super) sink: String,
    pub(super) secrets: Secrets,
}

/// By what each kind of receiver knows who sends.
pub(super) enum Secrets {
    Webhook(Renewable<Keys>),
    SplunkHec(Renewable<Secret>),
    Otlp(Renewable<Option<Secret>>),
}

impl Audit {
    /// Has its sinks show what this configuration says.
    pub fn show(&self, plan: &AuditPlan) {
        let usage = plan.usage.iter().flat_map(|usage| &usage.sinks);
        let audit = plan.sinks.iter().map(|sink| (Stream::Audit, sink));
        for (stream, sink) in audit.chain(usage.map(|sink| (Stream::Usage, sink))) {
            self.show_one(stream, sink);
        }
    }

    fn show_one(&self, stream: Stream, sink: &AuditSinkPlan) {
        let name = sink_name(&sink.to);
        let mut shown = self.shown.get().into_iter().flatten();
        // One that is new is opened at the next start.
        if let Some(shown) = shown.find(|shown| shown.stream == stream && shown.sink == name) {
            shown.secrets.renew(&sink.to);
        }
    }
}

impl Secrets {
    /// The sink has its name of its kind and of where it is, so the kind is the same.
    fn renew(&self, to: &AuditReceiverPlan) {
        match (self, to) {
            (Self::Webhook(keys), AuditReceiverPlan::Webhook { secret, token, .. }) => {
                keys.renew(Keys {
                    secret: secret.clone(),
                    token: token.clone(),
                });
            }
            (Self::SplunkHec(shown), AuditReceiverPlan::SplunkHec { token, .. }) => {
                shown.renew(token.clone());
            }
            (Self::Otlp(shown), AuditReceiverPlan::Otlp { token, .. }) => {
                shown.renew(token.clone());
            }
            _ => {}
        }
    }
}
