//! `cargo +nightly fuzz run refusal`: every vendor takes any refusal, and what an event stream says
//! does not hang on where it is cut. The first two bytes are the status; the input is headers,
//! a blank line, and a body.
#![no_main]

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use turnpike_api::{Operation, Provider};
use turnpike_providers::PROVIDERS;

const NOW: u64 = 1_789_992_000_000;

fn headers(lines: &[u8]) -> HeaderMap {
    let header = |line: &[u8]| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
    };
    lines.split(|&byte| byte == b'\n').filter_map(header).collect()
}

fn check(provider: &dyn Provider, status: u16, headers: &HeaderMap, body: &[u8]) {
    let hint = provider.hint(NOW, status, headers, body);
    assert!(hint.wait.is_none_or(|wait| wait <= Duration::from_secs(u32::MAX.into())));
    for operation in Operation::ALL.into_iter().filter(|&operation| provider.serves(operation)) {
        let read = |piece: usize| {
            let mut meter = provider.meter(operation, true);
            let progress = body.chunks(piece).map(|piece| meter.read(piece)).last();
            (progress, meter.usage(), meter.hint(NOW))
        };
        assert_eq!(read(body.len().max(1)), read(1));
    }
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((&[high, low], rest)) = input.split_first_chunk() else { return };
    let end = rest.windows(2).position(|pair| pair == b"\n\n").unwrap_or(rest.len());
    let (lines, body) = rest.split_at(end);
    let headers = headers(lines);
    for row in PROVIDERS {
        let status = u16::from_be_bytes([high, low]) % 1000;
        check(&*(row.build)(&()), status, &headers, body.get(2..).unwrap_or_default());
    }
});
