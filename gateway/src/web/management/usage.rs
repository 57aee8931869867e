//! What was used, by whom: as JSON, and as CSV for as many rows as there are.

mod asked;
mod csv;
mod groups;
mod report;

use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue};
use jiff::civil::Date;
use serde::Serialize;
use turnpike_api::{Clock, Used};
use utoipa::ToSchema;

use super::access::Actor;
use super::office::Office;
use super::refusal::Refused;
use crate::runtime::Runtime;
use asked::{Asked, Format, Wanted};
use groups::Group;
use report::{Known, Report};

/// Rows of an answer in JSON, which is put together whole.
const MOST: usize = 10_000;

#[derive(Serialize, ToSchema)]
pub(super) struct UsageReport {
    /// The first day, in UTC.
    from: String,
    /// The last.
    to: String,
    /// What rows are told apart by.
    by: Vec<&'static str>,
    rows: Vec<UsageRow>,
    /// Of all rows.
    total: Counts,
}

/// What was used, of what is told apart. An empty text is nobody, or none.
#[derive(Default, Serialize, ToSchema)]
pub(super) struct UsageRow {
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<String>,
    /// A digest of who they are, by which they are found again.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// Their e-mail address, or what else their issuer calls them; `null` = it is not kept, or
    /// forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<Option<String>>,
    /// `key` and the name of a configured key, or `token` and the id of an agent token.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_name: Option<Option<String>>,
    /// As the provider calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<String>,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Clone, Copy, Default, Serialize, ToSchema)]
pub(super) struct Counts {
    /// Of providers.
    calls: u64,
    input_tokens: u64,
    output_tokens: u64,
    /// Of the input.
    cache_read_tokens: u64,
    /// Of the input.
    cache_write_tokens: u64,
    /// Of the output.
    reasoning_tokens: u64,
    /// Of input and output: what providers did not say, as the gateway estimates it.
    estimated_tokens: u64,
    /// In millionths of a US dollar, by `prices`.
    cost_microusd: u64,
    /// Calls of models without a price: they are in no cost.
    unpriced_calls: u64,
}

/// Report what was used
///
/// Of all replicas: of others as they told, some seconds ago. Rows are told apart by what `by` says,
/// and added up over the rest. As CSV there may be any number of rows.
#[utoipa::path(get, path = "/usage", tag = "usage", operation_id = "report_usage",
    params(
        ("from" = Option<String>, Query, description = "The first day, such as `2026-03-01`, in UTC; left out = 29 days before `to`"),
        ("to" = Option<String>, Query, description = "The last day; left out = today"),
        ("by" = Option<String>, Query, description = "Some of `day`, `tenant`, `team`, `user`, `token`, `model` and `credential`, with commas; left out = `day`"),
        ("tenant" = Option<String>, Query, description = "Of this tenant only"),
        ("team" = Option<String>, Query, description = "Of this team only"),
        ("user" = Option<String>, Query, description = "Of this person only: the digest, or the name in any case of letters"),
        ("token" = Option<String>, Query, description = "Of this key or token only, as rows show it"),
        ("model" = Option<String>, Query, description = "Of this model only"),
        ("credential" = Option<String>, Query, description = "Of this credential only"),
        ("format" = Option<String>, Query, description = "`json` or `csv`; left out = as `Accept` says, or JSON")),
    responses((status = 200, description = "What was used", content(
        (UsageReport = "application/json"),
        (String = "text/csv")))))]
pub(super) async fn report(
    State(office): State<Arc<Office>>,
    Extension(actor): Extension<Actor>,
    headers: HeaderMap,
    query: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Refused> {
    let Query(asked) = query.map_err(|rejection| Refused::Body(rejection.body_text()))?;
    let runtime = office.runtime()?;
    let mut wanted = asked.wanted(&headers, runtime.board.time.now())?;
    wanted.only.within = actor.tenant.as_deref().map(str::to_owned);
    let known = known(&runtime, &wanted).await?;
    let report = Report::begin(runtime.store.clone(), &wanted, &known).await?;
    drop(runtime);
    match wanted.format {
        Format::Json => json(&wanted, report, &known).await,
        Format::Csv => csv(&wanted, report, known).await,
    }
}

/// The names that the report has to know.
async fn known(runtime: &Runtime, wanted: &Wanted) -> Result<Known, Refused> {
    let mut known = Known::default();
    if wanted.needs_people() {
        known.read_people(&*runtime.store).await?;
    }
    if wanted.needs_tokens() {
        known.read_tokens(&*runtime.store).await?;
    }
    Ok(known)
}

async fn json(wanted: &Wanted, mut report: Report, known: &Known) -> Result<Response, Refused> {
    let (mut rows, mut total) = (Vec::new(), Used::default());
    while let Some(groups) = report.next().await? {
        for group in groups {
            total.add_up(&group.used);
            rows.push(row(&group, known));
        }
        if rows.len() > MOST {
            return Err(Refused::TooManyRows(MOST));
        }
    }
    let answer = Json(UsageReport {
        from: wanted.from.to_string(),
        to: wanted.to.to_string(),
        by: wanted.by.words(),
        rows,
        total: total.into(),
    });
    Ok(varied(answer.into_response()))
}

async fn csv(wanted: &Wanted, report: Report, known: Known) -> Result<Response, Refused> {
    let (from, to) = (wanted.from, wanted.to);
    let table = csv::Table::begin(wanted.by, report, known).await?;
    let mut response = Body::from_stream(table.stream()).into_response();
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/csv; charset=utf-8; header=present");
    headers.insert(CONTENT_TYPE, kind);
    let name = format!("attachment; filename=\"turnpike-usage-{from}-{to}.csv\"");
    if let Ok(name) = name.parse() {
        headers.insert(CONTENT_DISPOSITION, name);
    }
    Ok(varied(response))
}

fn varied(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("accept"));
    response
}

fn row(group: &Group, known: &Known) -> UsageRow {
    let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
    let named = |id: &Option<Box<str>>, name: fn(&Known, &str) -> Option<String>| {
        id.as_deref().map(|id| name(known, id))
    };
    let key = &group.key;
    UsageRow {
        day: key.day.map(shown),
        tenant: text(&key.tenant),
        team: text(&key.team),
        user: text(&key.user),
        user_name: named(&key.user, |known, id| known.person(id).map(str::to_owned)),
        token: text(&key.token),
        token_name: named(&key.token, |known, id| known.token(id).map(str::to_owned)),
        model: text(&key.model),
        credential: text(&key.credential),
        counts: group.used.into(),
    }
}

/// A day, counted from 1970-01-01 on, as people write it.
fn shown(day: u32) -> String {
    date(day).unwrap_or(Date::MAX).to_string()
}

fn date(day: u32) -> Option<Date> {
    let span = jiff::Span::new().try_days(day).ok()?;
    Date::constant(1970, 1, 1).checked_add(span).ok()
}

impl From<Used> for Counts {
    fn from(used: Used) -> Self {
        let usage = used.usage;
        Self {
            calls: used.calls,
            input_tokens: usage.input,
            output_tokens: usage.output,
            cache_read_tokens: usage.cache_read,
            cache_write_tokens: usage.cache_write,
            reasoning_tokens: usage.reasoning,
            estimated_tokens: used.estimated,
            cost_microusd: used.cost,
            unpriced_calls: used.unpriced,
        }
    }
}
