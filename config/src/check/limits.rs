//! The section `limits`, also that of tenants, and limits as roles, keys and credentials write them.

mod inline;
mod only;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use turnpike_api::{Calendar, Level, Limit, Measure, OnUnavailable, Window};

use crate::calendar::{Minutes, Resets};
use crate::document::{
    Amount, Document, LimitEntry, LimitMeasure, LimitScope, LimitWindow, Tenant, Unfit,
    WhenUnavailable,
};
use crate::locate::Path;
use crate::plan::{ClientKeyPlan, ProviderPlan};

use super::Context;
use super::credential::is_word;
use super::owners::Owners;

pub(super) use inline::{caps, of_key, of_role};

/// The calendars in use; whoever counts by the same one shares it.
#[derive(Default)]
pub(crate) struct Calendars(BTreeMap<(LimitWindow, String), Arc<dyn Calendar>>);

impl Calendars {
    /// `zone` is an IANA name; what else is written there is said in the error.
    fn window(&mut self, window: LimitWindow, zone: &str) -> Result<Window, String> {
        let expression = match window {
            LimitWindow::Second => return Ok(Window::Sliding(Duration::from_secs(1))),
            LimitWindow::Total => return Ok(Window::Total),
            LimitWindow::Minute => return Ok(minute()),
            LimitWindow::Hour => "0 * * * *",
            LimitWindow::Day => "daily",
            LimitWindow::Week => "weekly",
            LimitWindow::Month => "monthly",
        };
        let key = (window, zone.to_owned());
        let calendar = match self.0.get(&key) {
            Some(known) => known.clone(),
            None => Resets::shared(expression, zone)?,
        };
        self.0.insert(key, calendar.clone());
        Ok(Window::Calendar(window.as_str(), calendar))
    }
}

fn minute() -> Window {
    Window::Calendar(LimitWindow::Minute.as_str(), Arc::new(Minutes))
}

pub(super) fn limits(
    document: &Document,
    client_keys: &[ClientKeyPlan],
    providers: &[ProviderPlan],
    context: &mut Context<'_>,
) -> Vec<Arc<Limit>> {
    let keys = client_keys.iter().map(|key| key.name.as_str());
    let subjects = only::Subjects::of(&document.roles, keys, providers);
    let section = Path::default().field("limits");
    let (mut by_name, written) = (BTreeMap::new(), &document.limits);
    entries(written, &section, &subjects, &mut by_name, context)
}

/// Those that a tenant has beside the ones of the top level.
pub(super) fn of_tenant(
    (name, tenant): (&str, &Tenant),
    document: &Document,
    owners: &Owners<'_>,
    context: &mut Context<'_>,
) -> Vec<Arc<Limit>> {
    if tenant.limits.is_empty() {
        return Vec::new();
    }
    let section = Path::default().field("tenants").entry(name).field("limits");
    let roles = match tenant.roles.is_empty() && tenant.role_bindings.is_empty() {
        true => &document.roles,
        false => &tenant.roles,
    };
    let subjects = only::Subjects::of(roles, owners.keys(name), &[]);
    let top = document.limits.iter().enumerate();
    let mut by_name: BTreeMap<String, Path> = top
        .map(|(index, one)| (made_name(one), Path::default().field("limits").item(index)))
        .collect();
    for (index, one) in tenant.limits.iter().enumerate() {
        if one.scope == LimitScope::Credential {
            let message = "is for whoever serves, whoever calls; write it under `limits` at the top, or `caps` of the credential";
            context
                .report
                .at(&section.item(index).field("scope"), message);
        }
    }
    entries(&tenant.limits, &section, &subjects, &mut by_name, context)
}

fn entries(
    written: &[LimitEntry],
    section: &Path,
    subjects: &only::Subjects<'_>,
    by_name: &mut BTreeMap<String, Path>,
    context: &mut Context<'_>,
) -> Vec<Arc<Limit>> {
    let mut plans = Vec::new();
    for (index, written) in written.iter().enumerate() {
        let at = section.item(index);
        let name = name(written, &at, context);
        let twin = by_name
            .get(&name)
            .map(|twin| context.report.whereabouts(twin));
        if let Some(twin) = twin {
            report_twin(written, &name, &twin, &at, context);
        }
        by_name.entry(name.clone()).or_insert_with(|| at.clone());
        let only = only::only(written, &at, subjects, context);
        let window = window(written, &at, context);
        let measure = measure(written.measure);
        let most = most(&written.limit, measure, &at.field("limit"), context);
        if let (Some(window), Some(most)) = (window, most) {
            let on_unavailable = written.on_unavailable.map(on_unavailable);
            plans.push(Arc::new(Limit {
                name: name.into(),
                level: level(written.scope),
                only,
                measure,
                on_unavailable: on_unavailable.unwrap_or_else(|| default_of(&window)),
                window,
                most,
            }));
        }
    }
    plans
}

/// As it is written, or made of what it says.
fn name(written: &LimitEntry, at: &Path, context: &mut Context<'_>) -> String {
    if written.name.as_deref().is_some_and(|name| !is_word(name)) {
        let message = "expected a name of letters, digits, `-`, `_` and `.` only";
        context.report.at(&at.field("name"), message);
    }
    made_name(written)
}

fn made_name(written: &LimitEntry) -> String {
    if let Some(name) = &written.name {
        return name.clone();
    }
    let scope = level(written.scope).as_str();
    let measure = measure(written.measure).as_str();
    match written.window {
        Some(window) => format!("{scope}-{measure}-{}", window.as_str()),
        None => format!("{scope}-{measure}"),
    }
}

fn report_twin(written: &LimitEntry, name: &str, twin: &str, at: &Path, context: &mut Context<'_>) {
    if written.name.is_some() {
        let message = format!("`{name}` is also the name of {twin}; names of limits must differ");
        context.report.at(&at.field("name"), message);
    } else {
        let message = format!("without a `name` it is called `{name}`, as {twin} is; write one");
        context.report.at(at, message);
    }
}

/// Over which time; `None` when that is not clear.
fn window(written: &LimitEntry, at: &Path, context: &mut Context<'_>) -> Option<Window> {
    let key = at.field("window");
    let zone = zone(written, at, context);
    match (written.measure, written.window) {
        (LimitMeasure::Concurrency, None) => Some(Window::Running),
        (LimitMeasure::Concurrency, Some(_)) => {
            let message = "calls count as long as they run; leave the window out";
            context.report.at(&key, message);
            None
        }
        (_, Some(window)) => context.calendars.window(window, zone?).ok(),
        (_, None) => {
            // A word that is none was reported already.
            if !context.report.is_written(&key) {
                let message = "missing; write second, minute, hour, day, week, month, or total";
                context.report.at(&key, message);
            }
            None
        }
    }
}

/// The zone of its calendar; `None` when it is none.
fn zone<'w>(written: &'w LimitEntry, at: &Path, context: &mut Context<'_>) -> Option<&'w str> {
    let Some(zone) = &written.zone else {
        return Some("UTC");
    };
    let key = at.field("zone");
    let without = match written.window {
        None if written.measure == LimitMeasure::Concurrency => "concurrency",
        Some(LimitWindow::Second) => "a second",
        Some(LimitWindow::Minute) => "a minute",
        Some(LimitWindow::Total) => "a total",
        _ => {
            let found = crate::schedule::find_zone(zone);
            let found = found.map_err(|message| context.report.at(&key, message));
            return found.ok().map(|_| zone.as_str());
        }
    };
    let message = format!("{without} is the same in every zone; leave it out");
    context.report.at(&key, message);
    None
}

/// How much in units of the measure; `None` when it is no such number.
fn most(amount: &Amount, measure: Measure, key: &Path, context: &mut Context<'_>) -> Option<u64> {
    let money = measure == Measure::Usd;
    let message = match (amount.units(if money { 6 } else { 0 }), money) {
        (Ok(0), _) => "expected more than 0; to keep somebody out, grant no models",
        (Ok(most), _) => return Some(most),
        (Err(Unfit::TooFine), true) => "expected dollars with at most six places",
        (Err(Unfit::TooFine), false) => "expected a whole number",
        (Err(Unfit::TooMuch), true) => "expected at most 9007199254 dollars",
        (Err(Unfit::TooMuch), false) => "expected at most 9007199254740992",
    };
    context.report.at(key, message);
    None
}

/// Pace is shared out, a budget is kept.
fn default_of(window: &Window) -> OnUnavailable {
    match window.is_short() {
        true => OnUnavailable::LocalShare,
        false => OnUnavailable::Deny,
    }
}

fn on_unavailable(written: WhenUnavailable) -> OnUnavailable {
    match written {
        WhenUnavailable::LocalShare => OnUnavailable::LocalShare,
        WhenUnavailable::Deny => OnUnavailable::Deny,
        WhenUnavailable::Allow => OnUnavailable::Allow,
    }
}

fn level(written: LimitScope) -> Level {
    match written {
        LimitScope::Tenant => Level::Tenant,
        LimitScope::Role => Level::Role,
        LimitScope::User => Level::User,
        LimitScope::Token => Level::Token,
        LimitScope::Model => Level::Model,
        LimitScope::Credential => Level::Credential,
    }
}

fn measure(written: LimitMeasure) -> Measure {
    match written {
        LimitMeasure::Requests => Measure::Requests,
        LimitMeasure::Tokens => Measure::Tokens,
        LimitMeasure::InputTokens => Measure::InputTokens,
        LimitMeasure::OutputTokens => Measure::OutputTokens,
        LimitMeasure::Usd => Measure::Usd,
        LimitMeasure::Concurrency => Measure::Concurrency,
    }
}
