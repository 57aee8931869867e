//! A report as a table (RFC 4180), made as fast as it is taken.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use csv::{Terminator, Writer, WriterBuilder};
use futures::stream::{Stream, try_unfold};
use tokio::task::spawn_blocking;
use turnpike_api::Used;

use super::super::refusal::Refused;
use super::groups::{By, Dimension, Group};
use super::report::{Known, Report, failed};
use super::{Counts, shown};

/// Rows of one piece.
const PIECE: usize = 2_000;

const COUNTS: [&str; 9] = [
    "calls",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "estimated_tokens",
    "cost_microusd",
    "unpriced_calls",
];

pub(super) struct Table {
    by: By,
    report: Report,
    known: Arc<Known>,
    /// What is written next.
    written: Option<Bytes>,
    /// Groups that are complete, and not written yet.
    groups: std::vec::IntoIter<Group>,
}

impl Table {
    /// Reads as far as the first rows: what fails by then is refused properly.
    pub(super) async fn begin(by: By, report: Report, known: Known) -> Result<Self, Refused> {
        let mut table = Self {
            by,
            report,
            known: Arc::new(known),
            written: Some(written(|writer| writer.write_record(head(by)))?),
            groups: Vec::new().into_iter(),
        };
        if let Some(groups) = table.report.next().await? {
            table.groups = groups.into_iter();
        }
        Ok(table)
    }

    /// The pieces. Where one fails, the answer is cut: it must not look whole.
    pub(super) fn stream(self) -> impl Stream<Item = Result<Bytes, io::Error>> {
        try_unfold(self, |mut table| async move {
            let piece = table.next().await.map_err(|refused| {
                tracing::error!(error = %refused, "a report of usage was cut short");
                io::Error::other(refused)
            })?;
            Ok(piece.map(|piece| (piece, table)))
        })
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Refused> {
        if let Some(head) = self.written.take() {
            return Ok(Some(head));
        }
        while self.groups.len() == 0 {
            match self.report.next().await? {
                Some(groups) => self.groups = groups.into_iter(),
                None => return Ok(None),
            }
        }
        let groups: Vec<Group> = self.groups.by_ref().take(PIECE).collect();
        let (by, known) = (self.by, self.known.clone());
        let writing = spawn_blocking(move || {
            written(|writer| {
                let mut groups = groups.iter();
                groups.try_for_each(|group| writer.write_record(cells(by, group, &known)))
            })
        });
        writing.await.map_err(|_| failed())?.map(Some)
    }
}

fn written(
    write: impl FnOnce(&mut Writer<Vec<u8>>) -> Result<(), csv::Error>,
) -> Result<Bytes, Refused> {
    let mut writer = WriterBuilder::new()
        .terminator(Terminator::CRLF)
        .from_writer(Vec::new());
    write(&mut writer).map_err(|error| Refused::Failed(error.to_string()))?;
    let piece = writer.into_inner();
    piece
        .map(Bytes::from)
        .map_err(|error| Refused::Failed(error.to_string()))
}

fn head(by: By) -> Vec<&'static str> {
    let mut head = Vec::new();
    for dimension in Dimension::ALL.into_iter().filter(|one| by.has(*one)) {
        head.push(dimension.word());
        match dimension {
            Dimension::User => head.push("user_name"),
            Dimension::Token => head.push("token_name"),
            _ => {}
        }
    }
    head.extend(COUNTS);
    head
}

fn cells(by: By, group: &Group, known: &Known) -> Vec<String> {
    let key = &group.key;
    let mut cells = Vec::new();
    for dimension in Dimension::ALL.into_iter().filter(|one| by.has(*one)) {
        let text = |text: &Option<Box<str>>| harmless(text.as_deref().unwrap_or_default());
        match dimension {
            Dimension::Day => cells.push(key.day.map(shown).unwrap_or_default()),
            Dimension::Tenant => cells.push(text(&key.tenant)),
            Dimension::Team => cells.push(text(&key.team)),
            Dimension::Model => cells.push(text(&key.model)),
            Dimension::Credential => cells.push(text(&key.credential)),
            Dimension::User => {
                let id = key.user.as_deref().unwrap_or_default();
                cells.push(harmless(id));
                cells.push(harmless(known.person(id).unwrap_or_default()));
            }
            Dimension::Token => {
                let id = key.token.as_deref().unwrap_or_default();
                cells.push(harmless(id));
                cells.push(harmless(known.token(id).unwrap_or_default()));
            }
        }
    }
    cells.extend(numbers(group.used));
    cells
}

/// In the order of [`COUNTS`].
fn numbers(used: Used) -> [String; 9] {
    let counts = Counts::from(used);
    [
        counts.calls,
        counts.input_tokens,
        counts.output_tokens,
        counts.cache_read_tokens,
        counts.cache_write_tokens,
        counts.reasoning_tokens,
        counts.estimated_tokens,
        counts.cost_microusd,
        counts.unpriced_calls,
    ]
    .map(|number| number.to_string())
}

/// A text that a spreadsheet does not take for a formula: models and teams are called as somebody
/// outside likes.
fn harmless(text: &str) -> String {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::groups::Key;
    use super::*;

    fn table(by: &[&str], keys: &[Key]) -> String {
        let by = By::of(|one| by.contains(&one.word()));
        let bytes = written(|writer| {
            writer.write_record(head(by))?;
            keys.iter().try_for_each(|key| {
                let used = Used {
                    calls: 7,
                    ..Used::default()
                };
                let key = key.clone();
                writer.write_record(cells(by, &Group { key, used }, &Known::default()))
            })
        });
        String::from_utf8(bytes.unwrap().to_vec()).unwrap()
    }

    #[test]
    fn cells_are_quoted_and_no_formulas() {
        let of = |team: &str| Key {
            day: Some(20_513),
            team: Some(team.into()),
            ..Key::default()
        };
        let teams = [
            "search",
            "a,b",
            "say \"hi\"",
            "=1+1",
            "+1",
            "-1",
            "@SUM(A1)",
            "\tx",
            "",
        ];
        let expected = [
            "search",
            "\"a,b\"",
            "\"say \"\"hi\"\"\"",
            "'=1+1",
            "'+1",
            "'-1",
            "'@SUM(A1)",
            "'\tx",
            "",
        ];
        let table = table(&["team", "day"], &teams.map(of));
        let mut lines = table.split("\r\n");
        let counts = COUNTS.join(",");
        assert_eq!(lines.next(), Some(&*format!("day,team,{counts}")));
        for team in expected {
            let line = format!("2026-03-01,{team},7,0,0,0,0,0,0,0,0");
            assert_eq!(lines.next(), Some(&*line));
        }
        assert_eq!((lines.next(), lines.next()), (Some(""), None));
    }
}
