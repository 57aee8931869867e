//! What was used, by one thing at a time.

use std::cmp::Reverse;

use askama::Template;
use axum::extract::RawQuery;
use axum::response::Response;
use serde::Deserialize;

use super::api::encoded;
use super::frame::{Frame, Place};
use super::operator::Operator;
use crate::web::form::Form;
use crate::web::page::html;
use crate::web::problem::Problem;

/// As many rows are shown.
const SHOWN: usize = 200;

/// What rows may be told apart by, and how it is called.
const CHOICES: [(&str, &str); 7] = [
    ("day", "Day"),
    ("model", "Model"),
    ("user", "Person"),
    ("team", "Team"),
    ("tenant", "Tenant"),
    ("token", "Key or token"),
    ("credential", "Credential"),
];

/// As the management API reports it.
#[derive(Deserialize)]
struct Report {
    from: String,
    to: String,
    rows: Vec<Entry>,
    total: Counts,
}

#[derive(Deserialize)]
struct Entry {
    day: Option<String>,
    tenant: Option<String>,
    team: Option<String>,
    user: Option<String>,
    user_name: Option<String>,
    token: Option<String>,
    token_name: Option<String>,
    model: Option<String>,
    credential: Option<String>,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Deserialize)]
struct Counts {
    calls: u64,
    input_tokens: u64,
    output_tokens: u64,
    estimated_tokens: u64,
    cost_microusd: u64,
    unpriced_calls: u64,
}

#[derive(Template)]
#[template(path = "admin/usage.html")]
struct UsagePage<'p> {
    frame: &'p Frame,
    from: &'p str,
    to: &'p str,
    label: &'static str,
    choices: &'p [Choice],
    rows: &'p [Row],
    total: &'p Row,
    hidden: &'p usize,
    unpriced: Option<String>,
}

struct Choice {
    word: &'static str,
    label: &'static str,
    is_it: bool,
}

struct Row {
    name: String,
    calls: String,
    input: String,
    output: String,
    estimated: String,
    cost: String,
}

/// `GET /admin/usage?from=&to=&by=`.
pub(super) async fn show(
    operator: Operator,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Form::read(query.unwrap_or_default().as_bytes());
    let sought = query.get("by");
    let choice = CHOICES.iter().find(|(word, _)| *word == sought);
    let (by, label) = choice.copied().unwrap_or(CHOICES[0]);
    let mut path = format!("/usage?format=json&by={by}");
    for name in ["from", "to"] {
        let value = query.get(name);
        if !value.is_empty() {
            path.push_str(&format!("&{name}={}", encoded(value)));
        }
    }
    let api = &operator.visitor.pages.api;
    let mut report: Report = api.get(&operator.actor, &path).await?;
    report
        .rows
        .sort_by_key(|row| (by != "day").then_some(Reverse(row.counts.tokens())));
    let hidden = report.rows.len().saturating_sub(SHOWN);
    report.rows.truncate(SHOWN);
    let rows: Vec<Row> = report.rows.into_iter().map(Row::of).collect();
    let unpriced = report.total.unpriced_calls;
    let choices = CHOICES.map(|(word, label)| Choice {
        word,
        label,
        is_it: word == by,
    });
    Ok(html(&UsagePage {
        frame: &Frame::of(&operator, Place::Usage, &query),
        from: &report.from,
        to: &report.to,
        label,
        choices: &choices,
        rows: &rows,
        total: &Row::new(String::new(), &report.total),
        hidden: &hidden,
        unpriced: (unpriced > 0).then(|| grouped(unpriced)),
    }))
}

impl Counts {
    fn tokens(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

impl Row {
    fn of(entry: Entry) -> Self {
        let counts = entry.counts;
        // A name says more than an id; one that was forgotten is not there.
        let person = entry.user_name.or(entry.user);
        let token = entry.token_name.or(entry.token);
        let names = [
            entry.day,
            entry.tenant,
            entry.team,
            person,
            token,
            entry.model,
            entry.credential,
        ];
        let name = names.into_iter().flatten().next().unwrap_or_default();
        let name = match name.is_empty() {
            true => "–".to_owned(),
            false => name,
        };
        Self::new(name, &counts)
    }

    fn new(name: String, counts: &Counts) -> Self {
        Self {
            name,
            calls: grouped(counts.calls),
            input: grouped(counts.input_tokens),
            output: grouped(counts.output_tokens),
            estimated: grouped(counts.estimated_tokens),
            cost: dollars(counts.cost_microusd),
        }
    }
}

/// Digits in threes.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// To the cent, rounded up; `micros` are millionths of a dollar.
fn dollars(micros: u64) -> String {
    let cents = micros.div_ceil(10_000);
    format!("${}.{:02}", grouped(cents / 100), cents % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
        for (micros, text) in [(0, "$0.00"), (1, "$0.01"), (13_551_140, "$13.56")] {
            assert_eq!(dollars(micros), text);
        }
    }
}
