use turnpike_providers::{MAX_EVENT, Splitter, TAIL};

/// An event's name, data, and whether it is whole.
pub(crate) type Owned = (Vec<u8>, Vec<u8>, bool);

/// What the splitter makes of the pieces.
pub(crate) fn split<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<Owned> {
    let mut splitter = Splitter::default();
    let mut events = Vec::new();
    for piece in pieces {
        splitter.feed(piece, |event| {
            events.push((event.name.to_vec(), event.data.to_vec(), event.whole));
        });
    }
    events
}

/// The same, as the WHATWG's text has it: line by line over the whole stream.
pub(crate) fn plainly(stream: &[u8]) -> Vec<Owned> {
    let stream = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    let mut events = Vec::new();
    let mut block: Vec<u8> = Vec::new();
    let mut event = (Vec::new(), Vec::new());
    let mut rest = stream;
    while let Some(end) = rest.iter().position(|byte| b"\r\n".contains(byte)) {
        let (line, after) = rest.split_at(end);
        let len = if after.starts_with(b"\r\n") { 2 } else { 1 };
        rest = &after[len..];
        if !line.is_empty() {
            block.extend_from_slice(line);
            block.extend_from_slice(&after[..len]);
            field(line, &mut event);
            continue;
        }
        let (name, mut data) = std::mem::take(&mut event);
        let block = std::mem::take(&mut block);
        if block.len() > MAX_EVENT {
            events.push((name, block[block.len() - TAIL..].to_vec(), false));
        } else if data.pop().is_some() {
            events.push((name, data, true));
        }
    }
    events
}

fn field(line: &[u8], (name, data): &mut (Vec<u8>, Vec<u8>)) {
    let colon = line
        .iter()
        .position(|&byte| byte == b':')
        .unwrap_or(line.len());
    let value = line.get(colon + 1..).unwrap_or_default();
    let value = value.strip_prefix(b" ").unwrap_or(value);
    match &line[..colon] {
        b"event" => *name = value.to_vec(),
        b"data" => {
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        _ => {}
    }
}
