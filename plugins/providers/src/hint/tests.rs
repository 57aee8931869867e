use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

/// 21 September 2026, 12:00:00 UTC.
const NOW: u64 = 1_789_992_000_000;
const NOW_S: u64 = NOW / 1000;

const LIMITED: Judgement = Judgement::Fault(Fault::RateLimited);

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let header = |(name, value): &(&'static str, &str)| {
        let value = HeaderValue::try_from(*value).expect("a header's value");
        (HeaderName::from_static(name), value)
    };
    let mut headers = HeaderMap::new();
    for (name, value) in lines.iter().map(header) {
        headers.append(name, value);
    }
    headers
}

fn hint(lines: &[(&'static str, &str)], body: &str, windows: Windows) -> Hint {
    let refusal = Refusal {
        now: NOW,
        status: 429,
        headers: &headers(lines),
        body: body.as_bytes(),
    };
    of_answer(LIMITED, refusal, windows)
}

fn wait(lines: &[(&'static str, &str)], body: &str) -> Option<Duration> {
    let hint = hint(lines, body, openai_windows);
    assert!(!hint.whole_credential);
    hint.wait
}

fn secs(seconds: f64) -> Option<Duration> {
    Some(Duration::from_secs_f64(seconds))
}

/// In an answer's `error`.
fn error(members: &str) -> String {
    format!(r#"{{"error":{{"message":"no",{members}}}}}"#)
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    for (text, expected) in [
        ("7", secs(7.0)),
        (" 7 ", secs(7.0)),
        ("0", secs(0.0)),
        ("1.5", secs(1.5)),
        ("Mon, 21 Sep 2026 12:00:30 GMT", secs(30.0)),
        ("Monday, 21-Sep-26 12:00:30 GMT", secs(30.0)),
        ("Mon Sep 21 12:00:30 2026", secs(30.0)),
        ("Mon, 21 Sep 2026 11:59:59 GMT", secs(0.0)),
        ("Thu, 01 Jan 1970 00:00:00 GMT", secs(0.0)),
        // Absurd, but a time.
        ("99999999999", secs(LONGEST)),
        ("99999999999999999999999999999999", secs(LONGEST)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", secs(LONGEST)),
        // No times.
        ("-1", None),
        ("-0.5", None),
        ("+5", None),
        ("1e3", None),
        ("1e999", None),
        ("0x10", None),
        ("1.2.3", None),
        (".", None),
        ("inf", None),
        ("NaN", None),
        ("", None),
        ("soon", None),
        ("7 seconds", None),
        ("Mon, 32 Sep 2026 12:00:30 GMT", None),
        ("Mon, 21 Sep 1869 12:00:30 GMT", None),
    ] {
        assert_eq!(wait(&[("retry-after", text)], ""), expected, "{text}");
    }
    let beyond_floats = "9".repeat(400);
    assert_eq!(wait(&[("retry-after", &beyond_floats)], ""), None);
    for (text, expected) in [
        ("350", secs(0.35)),
        ("350.5", secs(0.3505)),
        ("0", secs(0.0)),
        ("-350", None),
        ("99999999999999999999", secs(LONGEST)),
    ] {
        assert_eq!(wait(&[("retry-after-ms", text)], ""), expected, "{text}");
    }
}

const LONGEST: f64 = u32::MAX as f64;

#[test]
fn openai_says_when_a_window_is_full() {
    for (text, expected) in [
        ("1s", secs(1.0)),
        ("6m0s", secs(360.0)),
        ("20ms", secs(0.02)),
        ("1h2m3.5s", secs(3723.5)),
        ("2m59.56s", secs(179.56)),
        ("7", secs(7.0)),
        ("1d2h", secs(93_600.0)),
        ("250µs", secs(0.00025)),
        ("99999999999h", secs(LONGEST)),
        ("-1s", None),
        ("s", None),
        ("1x", None),
        ("1s!", None),
        ("", None),
    ] {
        for window in ["requests", "tokens"] {
            let [remaining, reset] = match window {
                "requests" => [
                    "x-ratelimit-remaining-requests",
                    "x-ratelimit-reset-requests",
                ],
                _ => ["x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"],
            };
            assert_eq!(wait(&[(remaining, "0"), (reset, text)], ""), expected);
            assert_eq!(wait(&[(remaining, "1"), (reset, text)], ""), None);
            assert_eq!(wait(&[(reset, text)], ""), None);
        }
    }
    let both = [
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "8.64s"),
        ("x-ratelimit-remaining-tokens", "0"),
        ("x-ratelimit-reset-tokens", "1m0s"),
    ];
    assert_eq!(wait(&both, ""), secs(60.0), "the longest");
}

#[test]
fn words_say_when_to_try_again() {
    for (words, expected) in [
        (
            "Rate limit reached for gpt-4o in organization org-x on tokens per min (TPM): Limit \
             30000, Used 29000, Requested 2000. Please try again in 20s. Visit https://x.y/z.",
            secs(20.0),
        ),
        ("Please try again in 1.2s.", secs(1.2)),
        ("Please try again in 6m0s.", secs(360.0)),
        ("Please try again in 350ms. Visit", secs(0.35)),
        ("Please retry after 6 seconds.", secs(6.0)),
        ("\\nPlease retry in 36.429760048s.", secs(36.429760048)),
        ("Try again in 2 hours 5 minutes", secs(7500.0)),
        // The vendor's words come last.
        ("say: try again in 99h. Please try again in 3s", secs(3.0)),
        ("Please try again in -5s", None),
        ("Please try again in 20", None),
        ("Please try again in a while", None),
        ("Please try again later", None),
    ] {
        let body = format!(r#"{{"error":{{"message":"{words}"}}}}"#);
        assert_eq!(wait(&[], &body), expected, "{words}");
    }
}

#[test]
fn a_body_says_when_it_resets() {
    let soon = NOW_S + 90;
    for (members, expected) in [
        (format!(r#""resets_at":{soon}"#), secs(90.0)),
        (format!(r#""resets_at":{soon}000"#), secs(90.0)),
        (format!(r#""resets_at":"{soon}""#), secs(90.0)),
        (format!(r#""resets_at":{soon}.5"#), secs(90.5)),
        (
            r#""resets_at":"2026-09-21T12:01:30Z""#.to_owned(),
            secs(90.0),
        ),
        (format!(r#""resets_at":{}"#, NOW_S - 90), secs(0.0)),
        (r#""resets_at":1e300"#.to_owned(), secs(LONGEST)),
        (r#""resets_at":0"#.to_owned(), None),
        (format!(r#""resets_at":-{soon}"#), None),
        (r#""resets_at":null"#.to_owned(), None),
        (r#""resets_at":"tomorrow""#.to_owned(), None),
        (r#""resets_in_seconds":529498"#.to_owned(), secs(529_498.0)),
        (r#""resets_in_seconds":"12.5""#.to_owned(), secs(12.5)),
        (
            r#""resets_in_seconds":99999999999999999999999"#.to_owned(),
            secs(LONGEST),
        ),
        (r#""resets_in_seconds":-1"#.to_owned(), None),
        (r#""resets_in_seconds":1e999"#.to_owned(), None),
        (r#""resets_in_seconds":[7]"#.to_owned(), None),
        (r#""retry_after":7"#.to_owned(), secs(7.0)),
        (r#""retry_after":0.25"#.to_owned(), secs(0.25)),
        (r#""retry_after":"20s""#.to_owned(), secs(20.0)),
        (r#""retry_after":-7"#.to_owned(), None),
        (r#""retry_after":true"#.to_owned(), None),
    ] {
        assert_eq!(wait(&[], &error(&members)), expected, "{members}");
        assert_eq!(wait(&[], &format!("{{{members}}}")), expected, "{members}");
        let beside = format!(r#"{{"error":{{"message":"no"}},{members}}}"#);
        assert_eq!(wait(&[], &beside), expected, "{beside}");
    }
}

#[test]
fn google_says_it_in_details() {
    let retry_info = |delay: &str| {
        let info = format!(
            r#"{{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":{delay}}}"#
        );
        error(&format!(r#""details":[{{"@type":"x"}},{info}]"#))
    };
    for (delay, expected) in [
        (r#""34.074824224s""#, secs(34.074824224)),
        (r#""36s""#, secs(36.0)),
        (r#"{"seconds":34,"nanos":500000000}"#, secs(34.5)),
        (r#"{"seconds":"34"}"#, secs(34.0)),
        (r#"{"nanos":500000000}"#, secs(0.5)),
        (r#""-3s""#, None),
        (r#"{"seconds":-3}"#, None),
        (r#"{"seconds":"x"}"#, None),
        ("{}", None),
        ("null", None),
    ] {
        let body = retry_info(delay);
        assert_eq!(wait(&[], &body), expected, "{delay}");
        assert_eq!(wait(&[], &format!("[{body}]")), expected, "{delay}");
    }
    let quota = |quota: &str, more: &str| {
        format!(
            r#"{{"error":{{"code":429,"status":"RESOURCE_EXHAUSTED","message":"You exceeded your
            current quota.\nPlease retry in 36.4s.","details":[
            {{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[
            {{"quotaId":"GenerateRequests{quota}PerProjectPerModel-FreeTier"}}]}}{more}]}}}}"#
        )
        .replace('\n', " ")
    };
    let info = r#",{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"40s"}"#;
    assert_eq!(wait(&[], &quota("PerMinute", "")), secs(36.4));
    assert_eq!(wait(&[], &quota("PerDay", "")), None);
    assert_eq!(wait(&[], &quota("PerDay", info)), secs(40.0));
    let shorter = info.replace("40s", "30s");
    let both = quota("PerDay", &format!("{info}{shorter}"));
    assert_eq!(wait(&[], &both), secs(40.0));
}

#[test]
fn chatgpt_means_the_whole_account() {
    let said = |kind: &str, wrap: bool| {
        let members = format!(
            r#""type":"{kind}","message":"The usage limit has been reached","plan_type":"plus",
            "resets_at":{},"eligible_promo":null,"resets_in_seconds":602705"#,
            NOW_S + 602_705
        );
        let body = match wrap {
            true => format!(r#"{{"error":{{{members}}}}}"#),
            false => format!("{{{members}}}"),
        };
        hint(&[], &body, openai_windows)
    };
    for wrap in [true, false] {
        let limit = said("usage_limit_reached", wrap);
        assert_eq!(limit.wait, secs(602_705.0));
        assert!(limit.whole_credential);
        assert!(!said("rate_limit_exceeded", wrap).whole_credential);
    }
}

#[test]
fn the_longest_statement_wins_and_inference_comes_after() {
    let after = ("retry-after", "20");
    let window = [
        ("x-ratelimit-remaining-tokens", "0"),
        ("x-ratelimit-reset-tokens", "300s"),
    ];
    let resets = error(r#""resets_in_seconds":40"#);
    for (lines, body, expected) in [
        (vec![after], resets.as_str(), secs(40.0)),
        (vec![("retry-after", "60")], &resets, secs(60.0)),
        (vec![after, ("retry-after-ms", "500")], "", secs(20.0)),
        (vec![("retry-after", "30"), after], "", secs(30.0)),
        // Statements before inferences.
        (vec![after, window[0], window[1]], "", secs(20.0)),
        (vec![window[0], window[1]], "", secs(300.0)),
        (
            vec![window[0], window[1]],
            r#"{"error":{"message":"Please try again in 400s."}}"#,
            secs(400.0),
        ),
        // What is no time does not win, however it reads.
        (vec![("retry-after", "-99999")], &resets, secs(40.0)),
        (vec![("retry-after", "inf"), after], "", secs(20.0)),
        (
            vec![("retry-after", "1e999"), window[0], window[1]],
            "",
            secs(300.0),
        ),
        (vec![after], &error(r#""resets_at":-5"#), secs(20.0)),
        (vec![after], "{broken", secs(20.0)),
        // A time that has passed neither.
        (
            vec![("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")],
            &resets,
            secs(40.0),
        ),
    ] {
        assert_eq!(wait(&lines, body), expected, "{lines:?} {body}");
    }
}

/// A subscription's headers: (wait, whole account).
fn unified(lines: &[(&'static str, &str)]) -> (Option<Duration>, bool) {
    let hint = hint(lines, "{}", anthropic_windows);
    (hint.wait, hint.whole_credential)
}

#[test]
fn anthropic_says_which_window_is_rejected() {
    const STATUS: (&str, &str) = ("anthropic-ratelimit-unified-status", "rejected");
    const CLAIM: &str = "anthropic-ratelimit-unified-representative-claim";
    const RESET: &str = "anthropic-ratelimit-unified-reset";
    const STATUS_5H: &str = "anthropic-ratelimit-unified-5h-status";
    const RESET_5H: &str = "anthropic-ratelimit-unified-5h-reset";
    const STATUS_7D: &str = "anthropic-ratelimit-unified-7d-status";
    const RESET_7D: &str = "anthropic-ratelimit-unified-7d-reset";
    const STATUS_7D_OI: &str = "anthropic-ratelimit-unified-7d_oi-status";
    const RESET_7D_OI: &str = "anthropic-ratelimit-unified-7d_oi-reset";
    const OVERAGE: (&str, &str) = ("anthropic-ratelimit-unified-overage-status", "rejected");
    let at = |seconds: u64| (NOW_S + seconds).to_string();
    let (five, seven, other) = (at(500), at(7000), at(30));
    for (lines, expected) in [
        (vec![STATUS, (RESET, &*five)], (secs(500.0), true)),
        (
            vec![STATUS, (RESET, "2026-09-21T12:00:30Z")],
            (secs(30.0), true),
        ),
        // The window that is rejected, not the representative one.
        (
            vec![
                STATUS,
                (RESET, &*five),
                (CLAIM, "five_hour"),
                (STATUS_5H, "allowed_warning"),
                (RESET_5H, &*five),
                (STATUS_7D, "rejected"),
                (RESET_7D, &*seven),
                OVERAGE,
                ("anthropic-ratelimit-unified-overage-reset", "9999999999"),
            ],
            (secs(7000.0), true),
        ),
        // Both: the last one.
        (
            vec![
                STATUS,
                (STATUS_5H, "rejected"),
                (RESET_5H, &*five),
                (STATUS_7D, "rejected"),
                (RESET_7D, &*seven),
            ],
            (secs(7000.0), true),
        ),
        // Its own reset is no time: the representative one's.
        (
            vec![
                STATUS,
                (STATUS_5H, "rejected"),
                (RESET_5H, "-1"),
                (RESET, &*seven),
            ],
            (secs(7000.0), true),
        ),
        (
            vec![
                STATUS,
                (CLAIM, "seven_day"),
                (RESET, &*other),
                (RESET_7D, &*seven),
            ],
            (secs(7000.0), true),
        ),
        // One model's window.
        (
            vec![
                STATUS,
                (CLAIM, "seven_day_overage_included"),
                (STATUS_5H, "allowed"),
                (RESET_5H, &*five),
                (STATUS_7D_OI, "rejected"),
                (RESET_7D_OI, &*seven),
            ],
            (secs(7000.0), false),
        ),
        (
            vec![
                STATUS,
                (STATUS_5H, "rejected"),
                (RESET_5H, &*five),
                (STATUS_7D_OI, "rejected"),
                (RESET_7D_OI, &*seven),
            ],
            (secs(500.0), true),
        ),
        (
            vec![STATUS, (CLAIM, "seven_day_opus"), (RESET, &*seven)],
            (secs(7000.0), false),
        ),
        // Nothing is rejected: a limit of another kind.
        (
            vec![
                ("anthropic-ratelimit-unified-status", "allowed"),
                (RESET, &*five),
                (STATUS_5H, "allowed"),
                (RESET_5H, &*five),
                OVERAGE,
            ],
            (None, false),
        ),
        // It pays for more than its windows have.
        (
            vec![
                ("anthropic-ratelimit-unified-status", "allowed"),
                (STATUS_5H, "rejected"),
                (RESET_5H, &*five),
            ],
            (None, false),
        ),
        (
            vec![(STATUS_5H, "rejected"), (RESET_5H, &*five)],
            (secs(500.0), true),
        ),
        (vec![STATUS, (RESET, "0")], (None, true)),
        // Later than `Retry-After`, or earlier.
        (
            vec![STATUS, (RESET, &*five), ("retry-after", "20")],
            (secs(500.0), true),
        ),
        (
            vec![STATUS, (RESET, &*five), ("retry-after", "600")],
            (secs(600.0), true),
        ),
    ] {
        assert_eq!(unified(&lines), expected, "{lines:?}");
    }
}

#[test]
fn anthropic_says_when_a_keys_window_is_full() {
    let requests = ("anthropic-ratelimit-requests-remaining", "0");
    let reset = ("anthropic-ratelimit-requests-reset", "2026-09-21T12:00:08Z");
    let tokens = [
        ("anthropic-ratelimit-output-tokens-remaining", "0"),
        (
            "anthropic-ratelimit-output-tokens-reset",
            "2026-09-21T12:00:41Z",
        ),
    ];
    for (lines, expected) in [
        (vec![requests, reset], secs(8.0)),
        (vec![requests, reset, tokens[0], tokens[1]], secs(41.0)),
        (vec![reset, tokens[1]], None),
        (
            vec![("anthropic-ratelimit-requests-remaining", "12"), reset],
            None,
        ),
        (
            vec![
                requests,
                ("anthropic-ratelimit-requests-reset", "2026-09-21T11:00:00Z"),
            ],
            secs(0.0),
        ),
        (
            vec![requests, ("anthropic-ratelimit-requests-reset", "later")],
            None,
        ),
        // They say when it is full again, which is later than when a call fits.
        (vec![requests, reset, ("retry-after", "2")], secs(2.0)),
    ] {
        assert_eq!(unified(&lines), (expected, false), "{lines:?}");
    }
}

#[test]
fn only_faults_of_some_statuses_say_anything() {
    let lines = headers(&[("retry-after", "7")]);
    let said = |status, judged| {
        let refusal = Refusal {
            now: NOW,
            status,
            headers: &lines,
            body: b"",
        };
        of_answer(judged, refusal, no_windows)
    };
    for status in [400, 402, 403, 408, 429, 500, 502, 503, 529, 599] {
        assert_eq!(said(status, LIMITED).wait, secs(7.0), "{status}");
    }
    for status in [100, 200, 302, 401, 404, 409, 422, 600] {
        assert_eq!(said(status, LIMITED), Hint::default(), "{status}");
    }
    assert_eq!(said(400, Judgement::Caller), Hint::default());
    assert_eq!(said(429, Judgement::Good), Hint::default());
}

#[test]
fn an_account_without_money_waits_for_no_window() {
    let broke = Judgement::Fault(Fault::PaymentRequired);
    let lines = headers(&[
        ("retry-after", "7"),
        ("x-ratelimit-remaining-tokens", "0"),
        ("x-ratelimit-reset-tokens", "1s"),
    ]);
    for (status, wait) in [(429, None), (400, None), (403, None), (402, secs(7.0))] {
        let refusal = Refusal {
            now: NOW,
            status,
            headers: &lines,
            body: b"",
        };
        let hint = of_answer(broke, refusal, openai_windows);
        assert_eq!(hint.wait, wait, "{status}");
        assert!(hint.whole_credential, "{status}");
    }
    let event = br#"{"error":{"code":"insufficient_quota","message":"try again in 2s"}}"#;
    assert_eq!(of_event(Fault::PaymentRequired, NOW, event), out_of_money());
}

/// The names that are read, and parts of what is read in them.
const NAMES: &[&str] = &[
    "retry-after",
    "retry-after-ms",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
    "anthropic-ratelimit-unified-status",
    "anthropic-ratelimit-unified-reset",
    "anthropic-ratelimit-unified-5h-status",
    "anthropic-ratelimit-unified-5h-reset",
    "anthropic-ratelimit-unified-representative-claim",
    "anthropic-ratelimit-tokens-remaining",
    "anthropic-ratelimit-tokens-reset",
];

const TEXTS: &[&str] = &[
    "0",
    "9",
    "99999999999999999999",
    ".",
    "-",
    "s",
    "m",
    "h",
    " ",
    "µ",
    "rejected",
    "five_hour",
    "2026-09-21T12:00:30",
    "Z",
    "Mon, 21 Sep 2026 12:00:30 GMT",
];

const JSON: &[&str] = &[
    r#""resets_at":"#,
    r#""resets_in_seconds":"#,
    r#""retry_after":"#,
    r#""message":"try again in "#,
    r#""details":[{"@type":"google.rpc.RetryInfo","retryDelay":"#,
    r#""details":[{"@type":"google.rpc.QuotaFailure","violations":[{"quotaId":"#,
    r#"{"error":{"#,
    "\"",
    "}",
    "]",
    ",",
    "1e308",
    "-1",
    "18446744073709551615",
    "ß",
    "9s",
];

fn value() -> impl Strategy<Value = Vec<u8>> {
    let parts = prop::collection::vec(prop::sample::select(TEXTS), 0..4);
    prop_oneof![
        parts.prop_map(|parts| parts.concat().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..30),
    ]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let parts = prop::collection::vec(prop::sample::select(JSON), 0..8);
    prop_oneof![
        parts.prop_map(|parts| parts.concat().into_bytes()),
        any::<f64>().prop_map(|number| {
            let members = format!(r#""resets_at":{number},"resets_in_seconds":{number}"#);
            format!(r#"{{"error":{{{members},"retry_after":{number}}}}}"#).into_bytes()
        }),
        prop::collection::vec(any::<u8>(), 0..60),
    ]
}

proptest! {
    #[test]
    fn takes_any_bytes(
        now in any::<u64>(),
        status in 100..1000u16,
        lines in prop::collection::vec((prop::sample::select(NAMES), value()), 0..6),
        body in body(),
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(name, value);
            }
        }
        for windows in [no_windows, openai_windows, anthropic_windows as Windows] {
            let refusal = Refusal { now, status, headers: &headers, body: &body };
            let hint = of_answer(LIMITED, refusal, windows);
            prop_assert!(hint.wait.is_none_or(|wait| wait.as_secs_f64() <= LONGEST));
        }
        of_event(Fault::Overloaded, now, &body);
    }

    #[test]
    fn times_take_any_text(now in any::<u64>(), text in "\\PC{0,30}") {
        times::span(&text);
        times::leading_span(&text);
        times::rfc3339(now, &text);
        times::http_date(now, &text);
    }
}
