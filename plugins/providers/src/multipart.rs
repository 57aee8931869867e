//! The model of a `multipart/form-data` body (audio, images, files).

use std::borrow::Cow;

use memchr::memmem;

use crate::scan::{Model, ScanError, check_utf8};

/// The form field `model`. `None` when the content type is no form or the form has no such field;
/// a form that has two is refused, for servers disagree on which counts.
pub fn multipart_model<'b>(
    content_type: &str,
    body: &'b [u8],
) -> Result<Option<Model<'b>>, ScanError> {
    let Some(boundary) = boundary(content_type) else {
        return Ok(None);
    };
    let delimiter = format!("--{boundary}");
    let mut starts = delimiters(body, delimiter.as_bytes()).peekable();
    let mut found = None;
    while let Some(start) = starts.next() {
        let start = start + delimiter.len();
        if body[start..].starts_with(b"--") {
            break;
        }
        let end = starts.peek().copied().unwrap_or(body.len());
        let Some((headers, value)) = split_part(&body[start..end]) else {
            continue;
        };
        if field_name(headers).as_deref() != Some("model") {
            continue;
        }
        if found.is_some() {
            return Err(ScanError::DuplicateKey("model"));
        }
        found = Some(model(body, value)?);
    }
    Ok(found)
}

/// Where lines begin that start with `delimiter`.
fn delimiters<'s>(body: &'s [u8], delimiter: &'s [u8]) -> impl Iterator<Item = usize> + 's {
    memmem::find_iter(body, delimiter).filter(|&at| at == 0 || body[at - 1] == b'\n')
}

/// A part's headers and its value, the line break before the next delimiter taken off.
fn split_part(part: &[u8]) -> Option<(&[u8], &[u8])> {
    // The rest of the delimiter's own line is padding.
    let part = &part[memchr::memchr(b'\n', part)? + 1..];
    let mut at = 0;
    loop {
        let end = at + memchr::memchr(b'\n', &part[at..])?;
        if matches!(&part[at..end], b"" | b"\r") {
            let value = part[end + 1..]
                .strip_suffix(b"\n")
                .unwrap_or(&part[end + 1..]);
            return Some((&part[..at], value.strip_suffix(b"\r").unwrap_or(value)));
        }
        at = end + 1;
    }
}

fn field_name(headers: &[u8]) -> Option<String> {
    // A folded header is one header.
    let headers = String::from_utf8_lossy(headers)
        .replace("\r\n", "\n")
        .replace("\n ", " ");
    let disposition = headers.replace("\n\t", " ").lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim()
            .eq_ignore_ascii_case("content-disposition")
            .then(|| value.to_owned())
    })?;
    if let Some(extended) = parameter(&disposition, "name*") {
        let encoded = extended.rsplit('\'').next().unwrap_or_default();
        return Some(
            percent_encoding::percent_decode_str(encoded)
                .decode_utf8_lossy()
                .into_owned(),
        );
    }
    parameter(&disposition, "name")
}

fn boundary(content_type: &str) -> Option<String> {
    let kind = content_type.split(';').next()?.trim();
    if !kind.eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    parameter(content_type, "boundary").filter(|boundary| !boundary.is_empty())
}

/// The parameter `name` of a header's value, quotes and their escapes resolved.
fn parameter(header: &str, name: &str) -> Option<String> {
    let mut rest = header.split_once(';')?.1;
    loop {
        let (key, after) = rest.split_once('=')?;
        let (value, next) = parameter_value(after.trim_start());
        // A parameter without a value may stand before this one.
        if key.rsplit(';').next()?.trim().eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = next;
    }
}

/// A parameter's value and what follows it.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        return (text[..end].trim().to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => value.push(char),
        }
    }
    (value, "")
}

fn model<'b>(body: &'b [u8], value: &'b [u8]) -> Result<Model<'b>, ScanError> {
    let start = value.as_ptr() as usize - body.as_ptr() as usize;
    let name = check_utf8(value, start)?;
    Model::new(Cow::Borrowed(name), start..start + value.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=XX";

    fn part(disposition: &str, value: &str) -> String {
        format!("--XX\r\nContent-Disposition: {disposition}\r\n\r\n{value}\r\n")
    }

    fn form(parts: &[String]) -> String {
        format!("{}--XX--\r\n", parts.concat())
    }

    fn name_in(body: &str) -> Option<String> {
        let model = multipart_model(TYPE, body.as_bytes()).unwrap()?;
        assert_eq!(&body[model.span], model.name);
        Some(model.name.into_owned())
    }

    #[test]
    fn finds_the_model_among_other_fields() {
        let file = part(
            "form-data; name=\"file\"; filename=\"a;name=model.mp3\"",
            "\0\x01--X\r\n",
        );
        let body = form(&[file, part("form-data; name=\"model\"", "whisper-1")]);
        assert_eq!(name_in(&body).as_deref(), Some("whisper-1"));
    }

    #[test]
    fn every_way_to_write_the_name() {
        for disposition in [
            "form-data; name=model",
            "FORM-DATA; NAME=\"model\"",
            "form-data; name=\"mo\\del\"",
            "form-data;\r\n name=\"model\"",
            "form-data; filename=\"x\"; name = \"model\"",
            "form-data; name*=utf-8''mod%65l",
        ] {
            let body = form(&[part(disposition, "m")]);
            assert_eq!(name_in(&body).as_deref(), Some("m"), "{disposition}");
        }
    }

    #[test]
    fn no_model() {
        assert_eq!(
            name_in(&form(&[part("form-data; name=\"models\"", "m")])),
            None
        );
        assert_eq!(
            name_in(&form(&[part("form-data; filename=\"model\"", "m")])),
            None
        );
        assert_eq!(name_in(""), None);
        assert_eq!(multipart_model("application/json", b"{}"), Ok(None));
        assert_eq!(multipart_model("multipart/form-data", b"--\r\n"), Ok(None));
    }

    #[test]
    fn refusals() {
        let model = |value: &str| part("form-data; name=\"model\"", value);
        let refusal = |body: String| multipart_model(TYPE, body.as_bytes()).unwrap_err();
        assert_eq!(
            refusal(form(&[model("a"), model("b")])),
            ScanError::DuplicateKey("model")
        );
        assert_eq!(refusal(form(&[model("")])), ScanError::ModelEmpty);
        assert_eq!(
            refusal(form(&[model(&"m".repeat(513))])),
            ScanError::ModelTooLong
        );
    }

    #[test]
    fn quoted_boundary() {
        let body = form(&[part("form-data; name=model", "m")]);
        let kind = "Multipart/Form-Data; charset=utf-8; Boundary=\"XX\"";
        assert!(multipart_model(kind, body.as_bytes()).unwrap().is_some());
    }
}
