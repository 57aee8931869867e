//! Takes what was [`said`](super::say) out of a conversation again: agents send the whole of it
//! back with every call, and a model must not read it as its own words.

use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::RESPONSE_ID;

/// Where the dialects keep a conversation, and what they say it goes on from.
#[derive(Deserialize)]
struct Document<'a> {
    /// OpenAI's chat and Anthropic.
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    /// OpenAI's Responses.
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    previous_response_id: Option<&'a RawValue>,
    /// Gemini.
    #[serde(borrow)]
    contents: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Turn<'a> {
    #[serde(borrow)]
    role: Option<&'a RawValue>,
}

/// The body without those turns of the model's that are `marked`, every other byte as it was;
/// `None` when there is nothing to take out. The turns are given as JSON text.
pub fn unsay(body: &[u8], marked: impl Fn(&str) -> bool) -> Option<Vec<u8>> {
    let document: Document<'_> = serde_json::from_slice(body).ok()?;
    let conversations = [document.messages, document.input, document.contents];
    let mut cuts: Vec<Range<usize>> = Vec::new();
    for conversation in conversations.into_iter().flatten() {
        cuts.extend(cuts_of(body, conversation, &marked));
    }
    let before = document.previous_response_id;
    // The provider does not know an answer that it did not give.
    let unknown = before.filter(|id| id.get().trim_start_matches('"').starts_with(RESPONSE_ID));
    let unknown = unknown.map(|id| place(body, id));
    if cuts.is_empty() && unknown.is_none() {
        return None;
    }
    let mut edits: Vec<(Range<usize>, &[u8])> =
        cuts.into_iter().map(|cut| (cut, &b""[..])).collect();
    edits.extend(unknown.map(|id| (id, &b"null"[..])));
    edits.sort_by_key(|(range, _)| range.start);
    let mut edited = Vec::with_capacity(body.len());
    let mut at = 0;
    for (range, instead) in edits {
        edited.extend_from_slice(&body[at..range.start]);
        edited.extend_from_slice(instead);
        at = range.end;
    }
    edited.extend_from_slice(&body[at..]);
    Some(edited)
}

/// The marked turns, each with one of the commas beside it.
fn cuts_of(
    body: &[u8],
    conversation: &RawValue,
    marked: impl Fn(&str) -> bool,
) -> Vec<Range<usize>> {
    // A text alone, which Responses allow, is the person's.
    let Ok(turns) = serde_json::from_str::<Vec<&RawValue>>(conversation.get()) else {
        return Vec::new();
    };
    let places: Vec<_> = turns.iter().map(|turn| place(body, turn)).collect();
    let kept = |nth: &usize| !(is_the_models(turns[*nth]) && marked(turns[*nth].get()));
    let first_kept = (0..turns.len()).find(kept);
    let cut = (0..turns.len()).filter(|nth| !kept(nth));
    cut.map(|nth| match first_kept {
        // From the end of the turn before, which stays or is cut out likewise.
        Some(first) if nth > first => places[nth - 1].end..places[nth].end,
        Some(_) => places[nth].start..places[nth + 1].start,
        // Nothing stays: from the beginning of this one to that of the next.
        None => {
            let next = places.get(nth + 1);
            places[nth].start..next.map_or(places[nth].end, |next| next.start)
        }
    })
    .collect()
}

fn is_the_models(turn: &RawValue) -> bool {
    let turn = serde_json::from_str::<Turn<'_>>(turn.get());
    let role = turn.ok().and_then(|turn| turn.role);
    role.is_some_and(|role| matches!(role.get(), r#""assistant""# | r#""model""#))
}

/// Where a value stands, which was read out of `body` without a copy.
fn place(body: &[u8], value: &RawValue) -> Range<usize> {
    let start = value.get().as_ptr().addr() - body.as_ptr().addr();
    start..start + value.get().len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn unsaid(body: &str) -> Option<String> {
        let unsaid = unsay(body.as_bytes(), |turn| turn.contains("MARK"));
        unsaid.map(|body| String::from_utf8(body).unwrap())
    }

    #[test]
    fn each_dialects_turn_is_taken_out_and_nothing_else() {
        for (before, after) in [
            (
                r#"{"model":"m", "messages": [ {"role":"user","content":"hi"} , {"role":"assistant","content":"x MARK"} ,{"role":"user","content":"again \u00e9"}] }"#,
                r#"{"model":"m", "messages": [ {"role":"user","content":"hi"} ,{"role":"user","content":"again \u00e9"}] }"#,
            ),
            (
                r#"{"messages":[{"role":"assistant","content":[{"type":"text","text":"MARK"}]}, {"role":"user","content":"go"}]}"#,
                r#"{"messages":[{"role":"user","content":"go"}]}"#,
            ),
            (
                r#"{"input":[{"role":"user","content":"a"},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"MARK"}]}]}"#,
                r#"{"input":[{"role":"user","content":"a"}]}"#,
            ),
            (
                r#"{"contents":[{"role":"user","parts":[{"text":"a"}]},{"role":"model","parts":[{"text":"MARK"}]},{"role":"user","parts":[{"text":"b"}]}]}"#,
                r#"{"contents":[{"role":"user","parts":[{"text":"a"}]},{"role":"user","parts":[{"text":"b"}]}]}"#,
            ),
            (
                r#"{"input":"go","previous_response_id": "resp_sandbox_abc"}"#,
                r#"{"input":"go","previous_response_id": null}"#,
            ),
        ] {
            assert_eq!(unsaid(before).as_deref(), Some(after));
        }
    }

    #[test]
    fn what_people_and_providers_say_stays() {
        for body in [
            r#"{"messages":[{"role":"user","content":"what does MARK mean?"}]}"#,
            r#"{"messages":[{"role":"assistant","content":"a mark"}]}"#,
            r#"{"input":"MARK"}"#,
            r#"{"input":"go","previous_response_id":"resp_abc"}"#,
            r#"{"messages":"MARK"}"#,
            r#"{"messages":null}"#,
            "MARK",
            "",
        ] {
            assert_eq!(unsaid(body), None, "{body}");
        }
    }

    proptest! {
        /// Whichever turns are marked, the others stay, in their order.
        #[test]
        fn all_marked_turns_go(marked in prop::collection::vec(any::<bool>(), 0..8)) {
            let turn = |(n, marked): (usize, &bool)| {
                let text = if *marked { "MARK".to_owned() } else { n.to_string() };
                json!({"role": "assistant", "content": text})
            };
            let turns: Vec<Value> = marked.iter().enumerate().map(turn).collect();
            let body = json!({"messages": turns}).to_string();
            let kept: Vec<_> = turns.iter().filter(|turn| turn["content"] != "MARK").collect();
            let expected = json!({"messages": kept});
            let unsaid = unsaid(&body);
            prop_assert_eq!(unsaid.is_some(), marked.contains(&true));
            let after: Value = serde_json::from_str(unsaid.as_deref().unwrap_or(&body)).unwrap();
            prop_assert_eq!(after, expected);
        }
    }
}
