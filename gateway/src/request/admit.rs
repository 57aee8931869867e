//! Does it fit within the limits? What it is expected to use is taken of all of them together, before
//! the call goes out; what it does use is settled when it is over.

use turnpike_api::{Ask, Identity, Measure, Payer, Permission, Usage};
use turnpike_config::plan::UnknownModel;
use turnpike_identity::Names;
use turnpike_limits::{Caller, Expected, Model, Price, Reservation, Rule, Spent};

use super::authorize::{Permit, shown};
use super::count::{BYTES_A_TOKEN, states_usage};
use super::limit_fell;
use super::model_limits::ModelLimits;
use super::route::Route;
use super::select::LONGEST_PROMPT;
use crate::context::Context;
use crate::refusal::{Reason, Refusal};
use crate::upstream::Pool;
use crate::upstream::answers::Answers;

/// The evidence that the call fits within the limits of its caller. Dropped, it is settled.
pub struct Admission<'i> {
    identity: &'i Identity,
    reservation: Option<Reservation>,
    /// Those of models, where the model that serves is not known yet.
    of_models: Option<Box<ModelLimits>>,
    /// What it costs must be known.
    only_priced: bool,
    expected: Expected,
    /// The caller's own bound on the answer, in tokens.
    bound: u64,
}

impl Admission<'_> {
    /// As whom usage counts the caller.
    pub fn payer(&self, names: &Names) -> Payer<'_> {
        let of = &self.identity.attributes;
        let digest = |issuer: &str, subject: &str| names.seen(issuer, subject, of);
        self.identity.payer(digest)
    }

    /// The call goes to a provider.
    pub fn sent(&self) {
        if let Some(reservation) = &self.reservation {
            reservation.sent();
        }
    }

    /// It used so much more.
    pub fn spend(&self, more: Spent) {
        if let Some(reservation) = &self.reservation {
            reservation.spend(more);
        }
    }

    /// What it is expected to use at a provider whose answers are as long as these.
    pub fn expected(&self, answers: &Answers) -> Expected {
        Expected {
            output: answers.expected().min(self.bound),
            ..self.expected
        }
    }

    /// Whether what the call uses is limited, in tokens or money.
    pub fn needs_usage(&self) -> bool {
        let reservation = self.reservation.iter();
        let mut limits = reservation.flat_map(Reservation::limits);
        let of_models = self.of_models.iter();
        let mut of_models = of_models.flat_map(|limits| limits.measures());
        limits.any(|(limit, _)| limit.measure.is_of_usage())
            || of_models.any(|measure| measure.is_of_usage())
    }

    /// The limits of which is taken at each attempt, if there are any.
    pub fn of_models(&self) -> Option<&ModelLimits> {
        self.of_models.as_deref()
    }

    /// Whether another model may serve the call in the place of the asked one: not where nobody could
    /// say what that costs.
    pub fn admits(&self, stand_in: &Pool) -> bool {
        !self.only_priced || is_priced(stand_in)
    }

    /// What it took of which limits.
    pub fn reservation(&self) -> Option<&Reservation> {
        self.reservation.as_ref()
    }
}

/// What of a call's usage was not told before; what it costs is rounded once.
pub fn spent(usage: Usage, before: Usage, price: Option<Price>) -> Spent {
    let cost = |usage: &Usage| price.map_or(0, |price| price.of(usage));
    Spent {
        input: usage.input.saturating_sub(before.input),
        output: usage.output.saturating_sub(before.output),
        cost: cost(&usage).saturating_sub(cost(&before)),
    }
}

/// Takes what the call is expected to use of all its limits, or says which fell.
pub async fn admit<'i>(
    identity: &'i Identity,
    permit: &Permit,
    route: &Route,
    context: &Context<'_>,
) -> Result<Admission<'i>, Refusal> {
    let ask = permit.ask();
    let rules = &context.tenant.rules;
    let (counted, of) = (identity.counted(), &identity.attributes);
    // None that a person may choose for their own tokens.
    let names = [&of.api_key, &of.token_name, &of.token_id];
    let roles = context.tenant.roles.as_deref();
    let roles = roles.filter(|_| rules.tell_roles_apart());
    let roles = roles.map_or_else(Vec::new, |table| table.granting(identity, ask));
    let several = route.has_several_models();
    let of_models = several.then(|| ModelLimits::of(&context.tenant)).flatten();
    let model = route.pool().parts().first();
    let model = Model {
        counted: model.map_or(&ask.model, |part| &part.counted),
        names: [&ask.model, model.map_or(&ask.model, |part| &part.model)],
    };
    let caller = Caller {
        roles: &roles,
        user: &counted.user,
        user_name: of.email.as_deref().unwrap_or(&counted.user),
        token: &counted.token,
        token_name: names.into_iter().flatten().next().unwrap_or(&counted.token),
        api_key: of.api_key.as_deref(),
        model: of_models.is_none().then_some(model),
    };
    let mut applying: Vec<(&Rule, &str)> = Vec::new();
    rules.of(&caller, |rule, subject| applying.push((rule, subject)));
    let costs = are_in_money(&applying, of_models.as_deref());
    let only_priced = costs && context.snapshot.unknown_model == UnknownModel::Refuse;
    if only_priced {
        can_be_counted(ask, route.pool())?;
    }
    let expected = expected(ask, route, costs);
    let mut admission = Admission {
        identity,
        reservation: None,
        of_models,
        only_priced,
        expected,
        bound: bound(ask),
    };
    if !applying.is_empty() {
        let limits = &context.runtime.limits;
        let reserved = limits.reserve(&applying, expected).await;
        let status = context.snapshot.spent_status;
        let refusal = |fallen| limit_fell::refusal(&fallen, limits.now(), status);
        admission.reservation = Some(reserved.map_err(refusal)?);
    }
    Ok(admission)
}

/// Whether any of these limits is in money.
fn are_in_money(applying: &[(&Rule, &str)], of_models: Option<&ModelLimits>) -> bool {
    let applying = applying.iter().map(|(rule, _)| rule.limit.measure);
    let of_models = of_models.into_iter().flat_map(ModelLimits::measures);
    let mut all = applying.chain(of_models);
    all.any(|measure| measure == Measure::Usd)
}

/// The caller's own bound on the answer, in tokens; nothing where there are none.
fn bound(ask: &Ask) -> u64 {
    match states_usage(ask.operation) {
        true => ask.max_tokens.unwrap_or(u64::MAX),
        false => 0,
    }
}

/// What the call is expected to use: its prompt by its length, and an answer as long as those of the
/// model are of late, but no longer than the caller wants. Not simply as long as that: agents ask for
/// room for 32,000 tokens and more, use some hundred of them, and would be refused with most of a
/// budget left.
fn expected(ask: &Ask, route: &Route, costs: bool) -> Expected {
    if !states_usage(ask.operation) {
        return Expected::default();
    }
    let input = (ask.body_len as u64 / BYTES_A_TOKEN).min(LONGEST_PROMPT);
    let pools = || {
        let stand_ins = route.stand_ins().iter().map(|one| &*one.pool);
        std::iter::once(route.pool()).chain(stand_ins)
    };
    let parts = pools().flat_map(Pool::parts);
    let longest = parts.map(|part| part.answers.expected()).max();
    let output = longest.unwrap_or(0).min(bound(ask));
    let mut cost = 0;
    if costs {
        let usage = Usage {
            input,
            output,
            ..Usage::default()
        };
        let prices = pools().flat_map(Pool::parts).filter_map(|part| part.price);
        cost = prices.map(|price| price.of(&usage)).max().unwrap_or(0);
    }
    Expected {
        input,
        output,
        cost,
    }
}

/// Where the operator says so, a budget in money admits nothing whose cost cannot be counted. Counting
/// tokens costs nothing.
fn can_be_counted(ask: &Ask, pool: &Pool) -> Result<(), Refusal> {
    if ask.operation.permission() == Permission::Read {
        return Ok(());
    }
    if !states_usage(ask.operation) {
        return Err(no_usage());
    }
    match is_priced(pool) {
        true => Ok(()),
        false => Err(no_price(&ask.model)),
    }
}

fn is_priced(pool: &Pool) -> bool {
    pool.parts().iter().all(|part| part.price.is_some())
}

fn no_usage() -> Refusal {
    Refusal::new(
        Reason::PermissionDenied,
        "answers on this path do not say what they used, so what they cost cannot be counted, and your budget is in money; ask your platform team for a key without one",
    )
}

fn no_price(model: &str) -> Refusal {
    let message = format!(
        "the model {:?} has no price, and your budget is in money; ask your platform team to add it to `prices`",
        shown(model)
    );
    Refusal::new(Reason::ModelDenied, message)
}
