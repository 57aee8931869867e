//! Upstream credentials, and how they stand.

use askama::Template;
use axum::extract::RawQuery;
use axum::response::Response;
use http::Method;
use serde::Deserialize;
use serde_json::json;
use turnpike_config::plan::Scope;

use super::api::{encoded, sentence};
use super::frame::{Frame, Place};
use super::list::{Part, Wanted};
use super::operator::{Operator, Sent};
use crate::web::form::Form;
use crate::web::page::{When, html, see_other};
use crate::web::problem::Problem;

#[derive(Deserialize)]
struct Listed {
    auths: Vec<Entry>,
}

/// As the management API shows it.
#[derive(Deserialize)]
struct Entry {
    id: String,
    provider: String,
    #[serde(rename = "type")]
    kind: String,
    label: Option<String>,
    file: Option<String>,
    priority: Option<i64>,
    weight: Option<u32>,
    status: String,
    status_message: String,
    next_retry_after: Option<String>,
    expires_at: Option<String>,
    quota: Option<Quota>,
}

#[derive(Deserialize)]
struct Quota {
    limit: Option<u64>,
    used: u64,
    reset_at: Option<String>,
}

#[derive(Template)]
#[template(path = "admin/credentials.html")]
struct CredentialsPage<'p> {
    frame: &'p Frame,
    part: &'p Part<Row>,
    /// So many there are in each state.
    states: &'p [(String, usize)],
    may_write: bool,
}

struct Row {
    id: String,
    provider: String,
    /// It is the first of its provider on this page.
    is_first: bool,
    kind: &'static str,
    /// Where it does not stand in the id.
    label: Option<String>,
    file: Option<String>,
    order: Option<String>,
    status: String,
    message: String,
    back: Option<When>,
    expires: Option<When>,
    quota: Option<Bar>,
}

/// How much of a quota is used.
struct Bar {
    used: u64,
    /// `None` = no limit.
    limit: Option<u64>,
    /// Up to here there is plenty left.
    low: u64,
    /// From here on hardly anything is.
    high: u64,
    text: String,
    reset: Option<When>,
}

#[derive(Template)]
#[template(path = "admin/remove_credential.html")]
struct RemovalPage<'p> {
    frame: &'p Frame,
    id: &'p str,
    provider: &'p str,
    file: &'p str,
}

/// `GET /admin/credentials`.
pub(super) async fn list(
    operator: Operator,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Form::read(query.unwrap_or_default().as_bytes());
    let listed = all(&operator).await?;
    let states = counted(&listed);
    let wanted = Wanted::of(&query);
    let rows = listed.into_iter().map(Row::of).collect();
    let mut part = wanted.of_all(rows, "/admin/credentials", |row: &Row| {
        let label = row.label.as_deref().unwrap_or_default();
        vec![&row.id, &row.provider, &row.status, label]
    });
    let mut before: Option<String> = None;
    for row in &mut part.items {
        row.is_first = before.as_ref() != Some(&row.provider);
        before = Some(row.provider.clone());
    }
    Ok(html(&CredentialsPage {
        frame: &Frame::of(&operator, Place::Credentials, &query),
        part: &part,
        states: &states,
        may_write: operator.actor.may(Scope::CredentialsWrite).is_ok(),
    }))
}

/// `POST /admin/credentials/reset`: quota and cooldowns.
pub(super) async fn reset(Sent { operator, form }: Sent) -> Result<Response, Problem> {
    let api = &operator.visitor.pages.api;
    // Without an id it would be all of them.
    let body = json!({ "id": form.get("id") });
    let sent = api.send(&operator.actor, Method::POST, "/reset-quota", Some(body));
    sent.await?;
    Ok(see_other("/admin/credentials?done=reset"))
}

/// `GET /admin/credentials/remove?id=`.
pub(super) async fn ask_removal(
    operator: Operator,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Form::read(query.unwrap_or_default().as_bytes());
    let all = all(&operator).await?;
    let entry = all.into_iter().find(|entry| entry.id == query.get("id"));
    let Some((entry, file)) = entry.and_then(|mut entry| {
        let file = entry.file.take()?;
        Some((entry, file))
    }) else {
        return Err(Problem::new(404, "unknown_credential", "It is not there")
            .with("No credential that a file holds has this id.")
            .towards("Credentials", "/admin/credentials"));
    };
    Ok(html(&RemovalPage {
        frame: &Frame::of(&operator, Place::Credentials, &query),
        id: &entry.id,
        provider: &entry.provider,
        file: &file,
    }))
}

/// `POST /admin/credentials/remove`.
pub(super) async fn remove(Sent { operator, form }: Sent) -> Result<Response, Problem> {
    let (provider, id) = (encoded(form.get("provider")), encoded(form.get("id")));
    let path = format!("/auths/{provider}?id={id}");
    let api = &operator.visitor.pages.api;
    api.send(&operator.actor, Method::DELETE, &path, None)
        .await?;
    Ok(see_other("/admin/credentials?done=removed"))
}

async fn all(operator: &Operator) -> Result<Vec<Entry>, Problem> {
    let api = &operator.visitor.pages.api;
    let listed: Listed = api.get(&operator.actor, "/auths").await?;
    Ok(listed.auths)
}

/// How many there are in each state, in the order in which they come.
fn counted(entries: &[Entry]) -> Vec<(String, usize)> {
    let mut states: Vec<(String, usize)> = Vec::new();
    for entry in entries {
        match states.iter_mut().find(|(state, _)| *state == entry.status) {
            Some((_, count)) => *count += 1,
            None => states.push((entry.status.clone(), 1)),
        }
    }
    states
}

impl Row {
    fn of(entry: Entry) -> Self {
        let order = entry.priority.zip(entry.weight);
        Self {
            is_first: false,
            label: entry.label.filter(|label| !entry.id.ends_with(&**label)),
            kind: match &*entry.kind {
                "api_key" => "API key",
                "oauth" => "account",
                _ => "service account",
            },
            order: order.map(|(priority, weight)| format!("priority {priority}, weight {weight}")),
            status: entry.status,
            message: sentence(&entry.status_message),
            back: entry.next_retry_after.map(When::read),
            expires: entry.expires_at.map(When::read),
            quota: entry.quota.map(Bar::of),
            id: entry.id,
            provider: entry.provider,
            file: entry.file,
        }
    }
}

impl Bar {
    fn of(quota: Quota) -> Self {
        let used = grouped(quota.used);
        let text = match quota.limit {
            Some(limit) => format!("{used} of {} tokens used", grouped(limit)),
            None => format!("{used} tokens used, no limit"),
        };
        Self {
            used: quota.used,
            limit: quota.limit,
            low: quota.limit.unwrap_or_default() / 10 * 7,
            high: quota.limit.unwrap_or_default() / 10 * 9,
            text,
            reset: quota.reset_at.map(When::read),
        }
    }
}

/// `1234567` is `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_groups() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
