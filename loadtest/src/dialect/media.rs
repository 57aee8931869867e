//! Images and audio.

use memchr::memmem;
use serde_json::{Value, json};

use super::{Answer, Ask};
use crate::ids::now;
use crate::totals::Totals;

/// A PNG of one transparent pixel.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";

pub(super) fn images(ask: &Ask) -> Result<Answer, u16> {
    // Edits come as a form; what matters is only whether a URL is wanted.
    let url = memmem::find(&ask.body, b"\"url\"").is_some();
    let image = if url {
        json!({"url": "https://images.invalid/fake-provider.png"})
    } else {
        json!({"b64_json": PIXEL})
    };
    let (input, output) = (ask.input(), ask.output());
    let body = json!({
        "created": now(),
        "background": "opaque",
        "data": [image],
        "output_format": "png",
        "quality": "low",
        "size": "1024x1024",
        "usage": {
            "input_tokens": input,
            "input_tokens_details": {"image_tokens": 0, "text_tokens": input},
            "output_tokens": output,
            "total_tokens": input + output,
        },
    });
    Ok(Answer::json(body.to_string(), ask.told()))
}

/// Bytes that are no UTF-8, as audio is not.
pub(super) fn speech(ask: &Ask) -> Result<Answer, u16> {
    let request: Value = serde_json::from_slice(&ask.body).map_err(|_| 400_u16)?;
    let content_type = match request["response_format"].as_str() {
        Some("wav") => "audio/wav",
        Some("opus") => "audio/opus",
        Some("pcm") => "audio/pcm",
        _ => "audio/mpeg",
    };
    let mut audio = vec![0xFF, 0xFB, 0x90, 0x64];
    audio.extend((0..4092_u32).map(|n| (n.wrapping_mul(151) >> 3) as u8));
    Ok(Answer::Whole {
        content_type,
        body: audio.into(),
        told: Totals::NONE,
    })
}

pub(super) fn transcriptions(ask: &Ask) -> Result<Answer, u16> {
    let text = ask.text();
    if form_field(&ask.body, "response_format").as_deref() == Some("text") {
        let body = format!("{text}\n").into();
        let content_type = "text/plain; charset=utf-8";
        return Ok(Answer::Whole {
            content_type,
            body,
            told: Totals::NONE,
        });
    }
    let (input, output) = (ask.input(), ask.output());
    let body = json!({
        "text": text,
        "usage": {
            "type": "tokens",
            "input_tokens": input,
            "input_token_details": {"text_tokens": 0, "audio_tokens": input},
            "output_tokens": output,
            "total_tokens": input + output,
        },
    });
    Ok(Answer::json(body.to_string(), ask.told()))
}

/// A short field of a multipart form, by its looks: good enough for requests
/// that the tests' own clients wrote.
pub(super) fn form_field(body: &[u8], name: &str) -> Option<String> {
    let at = memmem::find(body, format!("name=\"{name}\"").as_bytes())?;
    let rest = &body[at..];
    let from = memmem::find(rest, b"\r\n\r\n")? + 4;
    let to = from + memmem::find(&rest[from..], b"\r\n")?;
    std::str::from_utf8(&rest[from..to])
        .ok()
        .map(ToOwned::to_owned)
}
