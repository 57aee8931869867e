//! Every event in every format.

use std::collections::BTreeSet;

use serde_json::Value;

use super::samples::{HOSTILE, samples};
use crate::events::{CATALOGUE, GROUPS, Managed};
use crate::formats::Native;
use crate::record::{Chain, NONE};
use crate::{Action, Format, Stream};

const FORMATS: [Format; 4] = [
    Format::Json,
    Format::Ocsf(Stream::Audit),
    Format::Cef,
    Format::Ecs(Stream::Audit),
];

fn written(format: Format, record: &[u8]) -> String {
    let mut out = Vec::new();
    format.write(record, &mut out);
    String::from_utf8(out).unwrap()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn there_is_a_sample_of_every_event_and_every_field_is_read() {
    let events: BTreeSet<_> = CATALOGUE
        .iter()
        .map(|event| event.name.to_owned())
        .collect();
    let records = samples();
    let sampled = records.iter().map(|record| {
        let record: Value = serde_json::from_slice(record).unwrap();
        record["event"].as_str().unwrap().to_owned()
    });
    assert_eq!(sampled.collect::<BTreeSet<_>>(), events);
    for described in CATALOGUE {
        for (field, _) in described.fields {
            assert!(
                Native::FIELDS.contains(field),
                "{field} of {}",
                described.name
            );
        }
    }
    for (described, read) in GROUPS.iter().zip(Native::GROUPS) {
        let fields: Vec<_> = described.fields.iter().map(|(field, _)| *field).collect();
        assert_eq!(&fields, read, "{}", described.name);
    }
}

/// The texts and numbers at the leaves, but for the time, which each format has its own way for.
fn leaves(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(name, _)| *name != "time");
            fields.for_each(|(_, value)| leaves(value, out));
        }
        Value::String(text) if text != HOSTILE => out.push(text.clone()),
        Value::Number(number) => out.push(number.to_string()),
        _ => {}
    }
}

#[test]
fn no_format_loses_a_field() {
    for record in samples() {
        let native = json(str::from_utf8(&record).unwrap());
        let mut all = Vec::new();
        leaves(&native, &mut all);
        for format in FORMATS {
            let text = written(format, &record);
            for leaf in &all {
                let is_there = text.contains(leaf);
                assert!(
                    is_there,
                    "{format:?} of {} has no {leaf}: {text}",
                    native["event"]
                );
            }
            let chain = native["chain"].as_str().unwrap();
            assert_eq!(
                format.seq_of(text.as_bytes(), chain),
                native["seq"].as_u64()
            );
            assert_eq!(format.seq_of(text.as_bytes(), "another"), None);
        }
    }
}

#[test]
fn no_text_begins_a_line_or_moves_a_cursor() {
    for record in samples() {
        for format in FORMATS {
            let text = written(format, &record);
            // What JSON need not escape no terminal minds.
            let is_plain =
                |c: char| !c.is_ascii_control() || (c == '\u{7f}' && format != Format::Json);
            assert!(text.chars().all(is_plain), "{format:?}: {text}");
        }
    }
}

#[test]
fn ocsf_events_are_what_the_schema_says() {
    let schema = json(include_str!("ocsf/1.8.0.json"));
    let validator = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap();
    let mut classes = BTreeSet::new();
    // Of the usage stream are some of these, too.
    let streams = [Stream::Audit, Stream::Usage].map(Format::Ocsf);
    for (format, record) in streams
        .into_iter()
        .flat_map(|format| samples().into_iter().map(move |record| (format, record)))
    {
        let event = json(&written(format, &record));
        let wrong: Vec<_> = validator
            .iter_errors(&event)
            .map(|wrong| wrong.to_string())
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?} in {event:#}");
        let number = |name: &str| event[name].as_u64().unwrap();
        assert_eq!(
            number("type_uid"),
            number("class_uid") * 100 + number("activity_id")
        );
        classes.insert(number("class_uid"));
    }
    assert!(
        classes
            .into_iter()
            .eq([3001, 3002, 3003, 3004, 3005, 6002, 6003])
    );
}

#[test]
fn the_schema_refuses_what_it_does_not_have() {
    let schema = json(include_str!("ocsf/1.8.0.json"));
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let good = json(&written(Format::Ocsf(Stream::Audit), &samples()[0]));
    assert!(validator.is_valid(&good));
    for (pointer, name) in [
        ("", "invented"),
        ("/metadata", "invented"),
        ("/app", "invented"),
    ] {
        let mut bad = good.clone();
        let at = bad.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
        at.insert(name.into(), Value::from("x"));
        assert!(!validator.is_valid(&bad), "{pointer}/{name}");
    }
    for name in ["metadata", "time", "app", "severity_id"] {
        let mut bad = good.clone();
        bad.as_object_mut().unwrap().remove(name);
        assert!(!validator.is_valid(&bad), "without {name}");
    }
}

/// The record of this event that was told first.
fn first(event: &str) -> Vec<u8> {
    let named = format!("\"event\":\"{event}\"");
    let is_it = |record: &Vec<u8>| str::from_utf8(record).unwrap().contains(&named);
    samples().into_iter().find(is_it).unwrap()
}

#[test]
fn a_call_in_ocsf() {
    let event = json(&written(Format::Ocsf(Stream::Audit), &first("request.end")));
    for (pointer, value) in [
        ("/class_uid", Value::from(6003)),
        ("/status", "Success".into()),
        ("/metadata/profiles/0", "ai_operation".into()),
        ("/metadata/uid", "5f0c9a1e22b7d340:50".into()),
        ("/metadata/sequence", 50.into()),
        ("/metadata/tenant_uid", "acme".into()),
        ("/actor/user/email_addr", "ada@acme.example".into()),
        ("/actor/user/credential_uid", "0190b3c1-token".into()),
        ("/src_endpoint/ip", "203.0.113.7".into()),
        ("/ai_model/name", "gpt-4o-served".into()),
        ("/ai_model/ai_provider", "openai-eu".into()),
        ("/message_context/prompt_tokens", 1203.into()),
        ("/message_context/total_tokens", 1610.into()),
        ("/duration", 2713.into()),
        ("/unmapped/model", "gpt-4o-asked".into()),
        ("/unmapped/chain", "5f0c9a1e22b7d340".into()),
        ("/unmapped/used/cost", 4711.into()),
    ] {
        assert_eq!(
            event.pointer(pointer),
            Some(&value),
            "{pointer} of {event:#}"
        );
    }
    let native = json(str::from_utf8(&first("request.end")).unwrap());
    assert_eq!(event["unmapped"]["hash"], native["hash"]);
    assert_eq!(event["time"], super::NOW);
}

/// Class and activity of each thing that operators do.
#[test]
fn what_operators_do_in_ocsf() {
    let said = |words: &str| {
        let mut chain = Chain::at("5f0c9a1e22b7d340".into(), 40, NONE, "host-1");
        let mut record = Vec::new();
        let managed = Managed::default();
        chain.append(&managed, super::NOW, &mut record);
        let record = String::from_utf8(record).unwrap();
        let record = record.replace(managed.action.words(), words);
        let event = json(&written(Format::Ocsf(Stream::Audit), record.as_bytes()));
        let activity = event["activity_name"].as_str().unwrap().to_owned();
        (event["class_uid"].as_u64().unwrap(), activity)
    };
    for (words, class, activity) in [
        ("signed in with a key", 3002, "Logon"),
        ("signed in through a login", 3002, "Logon"),
        ("signed out", 3002, "Logoff"),
        ("added a credential", 3004, "Create"),
        ("changed a credential", 3004, "Update"),
        ("removed a credential", 3004, "Delete"),
        ("cleared quota and cooldowns", 3004, "Update"),
        ("made an agent token", 3004, "Create"),
        ("rotated an agent token", 3004, "Update"),
        ("revoked an agent token", 3004, "Delete"),
        ("ended a session", 3005, "Revoke Privileges"),
        ("cleared a login rate limit", 3001, "Unlock"),
        ("cleared login rate limits", 3001, "Unlock"),
        ("read the configuration again", 3004, "Update"),
        ("set the level of the log", 3004, "Update"),
        ("did what another version knows", 3004, "Other"),
    ] {
        assert_eq!(said(words), (class, activity.to_owned()), "{words}");
    }
    let words: BTreeSet<_> = Action::ALL.iter().map(|action| action.words()).collect();
    assert_eq!((words.len(), Action::ALL.len()), (15, 15), "a row for each");
}

#[test]
fn every_record_says_of_which_stream_it_is() {
    for (stream, log_name) in [(Stream::Audit, "audit"), (Stream::Usage, "usage")] {
        // Those that tell of the stream itself among them.
        for record in samples() {
            let event = json(&written(Format::Ocsf(stream), &record));
            assert_eq!(event["metadata"]["log_name"], log_name);
            let event = json(&written(Format::Ecs(stream), &record));
            assert_eq!(event["event"]["dataset"], format!("turnpike.{log_name}"));
        }
    }
}

#[test]
fn a_call_in_ecs() {
    let event = json(&written(Format::Ecs(Stream::Audit), &first("request.end")));
    let native = json(str::from_utf8(&first("request.end")).unwrap());
    for (pointer, value) in [
        ("/@timestamp", native["time"].clone()),
        ("/event/hash", native["hash"].clone()),
        ("/event/sequence", 50.into()),
        ("/event/outcome", "success".into()),
        ("/event/duration", 2_713_000_000_u64.into()),
        ("/user/email", "ada@acme.example".into()),
        ("/organization/name", "acme".into()),
        ("/source/ip", "203.0.113.7".into()),
        ("/gen_ai/request/model", "gpt-4o-asked".into()),
        ("/gen_ai/response/model", "gpt-4o-served".into()),
        ("/gen_ai/usage/input_tokens", 1203.into()),
        ("/http/response/status_code", 200.into()),
        ("/turnpike/chain", "5f0c9a1e22b7d340".into()),
    ] {
        assert_eq!(
            event.pointer(pointer),
            Some(&value),
            "{pointer} of {event:#}"
        );
    }
}

/// The fields of a line of CEF, as a receiver reads them.
fn cef(line: &str) -> (Vec<String>, Vec<(String, String)>) {
    let mut parts = vec![String::new()];
    let mut chars = line.chars();
    while parts.len() < 8 {
        match chars.next().unwrap() {
            '\\' => parts.last_mut().unwrap().push(chars.next().unwrap()),
            '|' => parts.push(String::new()),
            c => parts.last_mut().unwrap().push(c),
        }
    }
    parts.pop();
    let extension = chars.as_str();
    // A name is what stands between a blank and an equals sign that is not escaped.
    let mut fields: Vec<(String, String)> = Vec::new();
    let (mut value, mut escaped) = (String::new(), false);
    for c in extension.chars() {
        match (escaped, c) {
            (true, 'n') => value.push('\n'),
            (true, 'r') => value.push('\r'),
            (true, c) => value.push(c),
            (false, '\\') => {}
            (false, '=') => {
                let (before, name) = value.rsplit_once(' ').unwrap_or(("", &value));
                if let Some((_, last)) = fields.last_mut() {
                    *last = before.to_owned();
                }
                fields.push((name.to_owned(), String::new()));
                value.clear();
            }
            (false, c) => value.push(c),
        }
        escaped = !escaped && c == '\\';
    }
    if let Some((_, last)) = fields.last_mut() {
        *last = value;
    }
    (parts, fields)
}

#[test]
fn a_denial_in_cef_reads_back_whatever_its_texts_are() {
    let line = written(Format::Cef, &first("authorization.denied"));
    let (header, fields) = cef(&line);
    assert_eq!(header[0], "CEF:0");
    assert_eq!(header[4], "authorization.denied");
    assert_eq!(header[6], "6");
    let field = |name: &str| {
        let found = fields.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    };
    let shown = HOSTILE
        .replace('\u{1b}', "\\u001b")
        .replace('\u{7f}', "\\u007f")
        .replace('\u{85}', "\\u0085");
    assert_eq!(field("cs2"), Some(shown.as_str()));
    assert_eq!(field("cs2Label"), Some("model"));
    assert_eq!(field("suser"), Some("Ada Lovelace"));
    assert_eq!(field("cs1"), Some("acme"));
    assert_eq!(field("src"), Some("203.0.113.7"));
    assert_eq!(field("cn1"), Some("403"));
    assert_eq!(field("outcome"), Some("failure"));
    assert_eq!(field("turnpikeChain"), Some("5f0c9a1e22b7d340"));
    assert!(field("turnpikeHash").is_some() && field("turnpikePrev").is_some());
    let names: BTreeSet<_> = fields.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), fields.len(), "each name once: {line}");
}

#[test]
fn no_name_of_an_operator_is_taken_for_the_number_of_a_record() {
    for actor in [
        "ops|externalId=5f0c9a1e22b7d340:999 ",
        "ops\\|externalId=5f0c9a1e22b7d340:999 ",
        "ops|1|externalId=5f0c9a1e22b7d340:999 rt=0",
        "ops\\",
    ] {
        let mut chain = Chain::at("5f0c9a1e22b7d340".into(), 40, NONE, "host-1");
        let mut record = Vec::new();
        let managed = Managed {
            actor,
            action: Action::SignedOut,
            ..Managed::default()
        };
        chain.append(&managed, super::NOW, &mut record);
        for format in FORMATS {
            let line = written(format, &record);
            let seq = format.seq_of(line.as_bytes(), "5f0c9a1e22b7d340");
            assert_eq!(seq, Some(41), "{format:?}: {line}");
        }
    }
}

#[test]
fn what_cannot_be_read_goes_as_it_is() {
    for record in ["{\"v\":\"two\"}", "not JSON"] {
        for format in FORMATS {
            assert_eq!(written(format, record.as_bytes()), record);
        }
    }
}

/// The documents show a call's end in each format: as it is.
#[test]
fn the_examples_of_the_documents_are_what_is_written() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/audit.md");
    let text = std::fs::read_to_string(page).unwrap();
    let renew = std::env::var_os("RENEW").is_some();
    let mut renewed = text.clone();
    for (begin, format) in [
        ("```json\n{\"activity_id\"", Format::Ocsf(Stream::Audit)),
        ("```json\n{\"@timestamp\"", Format::Ecs(Stream::Audit)),
        ("```text\nCEF:0", Format::Cef),
    ] {
        let example = written(format, &first("request.end"));
        if renew && let Some(at) = renewed.find(begin) {
            let line = renewed[at..].find('\n').unwrap() + at + 1;
            let end = renewed[line..].find('\n').unwrap() + line;
            renewed.replace_range(line..end, &example);
        } else {
            assert!(text.contains(&example), "{format:?}: run it with RENEW=1");
        }
    }
    if renew {
        std::fs::write(page, renewed).unwrap();
    }
}
