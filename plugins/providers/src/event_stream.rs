//! Splits an event stream (`text/event-stream`) into its events, over pieces cut anywhere.

use memchr::memchr2;

/// The largest event that is seen whole, in bytes of its lines.
pub const MAX_EVENT: usize = 1 << 20;

/// How much is seen of a larger one: its end, where vendors put the usage.
pub const TAIL: usize = 16 << 10;

/// How far into an event too large to keep its name is looked for.
const NAME_WITHIN: usize = 256;

/// What the buffers may keep between events: thousands of streams are open at once.
const KEPT_CAPACITY: usize = 8 << 10;

/// One event. Its bytes are the provider's: nothing says they are UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The last `event:` field; empty when there is none.
    pub name: &'a [u8],
    /// The `data:` fields, joined by line feeds; the last [`TAIL`] bytes of the event's lines when
    /// it is not `whole`.
    pub data: &'a [u8],
    /// Whether it was no larger than [`MAX_EVENT`].
    pub whole: bool,
}

/// Finds the events of one stream. An event that lies whole in one piece is not copied, unless it
/// has several lines of data.
#[derive(Default)]
pub struct Splitter {
    /// What came in earlier pieces of the event under way; its end only, when it grew too large.
    held: Vec<u8>,
    /// How many bytes of the event were let go.
    dropped: usize,
    /// The name of an event of which bytes were let go.
    name: Vec<u8>,
    /// Several lines of data, joined.
    joined: Vec<u8>,
    /// Lines of the event under way that are complete.
    lines: usize,
    /// The last piece ended within a line.
    inside_line: bool,
    /// The last byte was a carriage return: a line feed after it is the same line's end.
    after_return: bool,
    /// The first event is over, and with it the place of a byte order mark.
    under_way: bool,
}

impl Splitter {
    /// Reads the next piece and hands on each event that ends in it.
    pub fn feed(&mut self, piece: &[u8], mut on_event: impl FnMut(Event<'_>)) {
        let mut start = 0;
        let mut at = 0;
        while at < piece.len() {
            if std::mem::take(&mut self.after_return) && piece[at] == b'\n' {
                if start == at && self.held.is_empty() {
                    start += 1;
                }
                at += 1;
                continue;
            }
            let Some(found) = memchr2(b'\n', b'\r', &piece[at..]) else {
                self.inside_line = true;
                break;
            };
            let blank = found == 0 && !self.inside_line;
            let end = at + found;
            self.inside_line = false;
            self.after_return = piece[end] == b'\r';
            at = end + 1;
            if blank {
                self.end_event(&piece[start..end], &mut on_event);
                start = at;
            } else {
                self.lines += 1;
            }
        }
        self.hold(&piece[start..]);
    }

    /// Keeps the part of an event that a piece ended with.
    fn hold(&mut self, part: &[u8]) {
        if self.held.len() + part.len() > MAX_EVENT {
            self.drop_all_but_tail(part);
        } else {
            self.held.extend_from_slice(part);
        }
    }

    fn drop_all_but_tail(&mut self, part: &[u8]) {
        if self.dropped == 0 {
            let head: Vec<u8> = self
                .held
                .iter()
                .chain(part)
                .copied()
                .take(NAME_WITHIN)
                .collect();
            self.name = name_of(&head).to_vec();
        }
        let before = self.held.len() + part.len();
        let part = &part[part.len().saturating_sub(TAIL)..];
        let surplus = (self.held.len() + part.len())
            .saturating_sub(TAIL)
            .min(self.held.len());
        self.held.drain(..surplus);
        self.held.extend_from_slice(part);
        self.dropped += before - self.held.len();
    }

    /// A blank line was read; `part` is what this piece holds of the event before it.
    fn end_event(&mut self, part: &[u8], on_event: &mut impl FnMut(Event<'_>)) {
        let first = !std::mem::replace(&mut self.under_way, true);
        let lines = std::mem::take(&mut self.lines);
        if self.held.is_empty() && part.len() <= MAX_EVENT {
            if let Some(event) = parse(part, lines, first, &mut self.joined) {
                on_event(event);
            }
        } else {
            self.hold(part);
            if self.dropped > 0 {
                let data = &self.held[self.held.len().saturating_sub(TAIL)..];
                on_event(Event {
                    name: &self.name,
                    data,
                    whole: false,
                });
            } else if let Some(event) = parse(&self.held, lines, first, &mut self.joined) {
                on_event(event);
            }
            self.release();
        }
    }

    fn release(&mut self) {
        self.dropped = 0;
        for buffer in [&mut self.held, &mut self.joined] {
            buffer.clear();
            if buffer.capacity() > KEPT_CAPACITY {
                *buffer = Vec::new();
            }
        }
    }
}

/// The event whose lines are `block`; `None` when it has no data.
fn parse<'e>(
    block: &'e [u8],
    lines: usize,
    first: bool,
    joined: &'e mut Vec<u8>,
) -> Option<Event<'e>> {
    if lines == 1 && block.starts_with(b"data:") {
        let line = block.strip_suffix(b"\n").unwrap_or(block);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        return Some(Event {
            name: b"",
            data: value(line, b"data")?,
            whole: true,
        });
    }
    let block = match first {
        true => block.strip_prefix(b"\xef\xbb\xbf").unwrap_or(block),
        false => block,
    };
    let mut name: &[u8] = b"";
    let mut data: Option<&[u8]> = None;
    let mut several = false;
    for line in lines_of(block) {
        if let Some(more) = value(line, b"data") {
            if let Some(one) = data {
                if !std::mem::replace(&mut several, true) {
                    joined.clear();
                    joined.extend_from_slice(one);
                }
                joined.push(b'\n');
                joined.extend_from_slice(more);
            }
            data = data.or(Some(more));
        } else if let Some(named) = value(line, b"event") {
            name = named;
        }
    }
    let data = if several { joined } else { data? };
    Some(Event {
        name,
        data,
        whole: true,
    })
}

fn name_of(block: &[u8]) -> &[u8] {
    lines_of(block)
        .filter_map(|line| value(line, b"event"))
        .last()
        .unwrap_or_default()
}

/// A block's lines. `\r\n` gives an empty one more, which no field is.
fn lines_of(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = block;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        Some(line)
    })
}

/// The value of `line` if its field is `field`: without the colon and one space after it.
fn value<'l>(line: &'l [u8], field: &[u8]) -> Option<&'l [u8]> {
    match line.strip_prefix(field)? {
        [] => Some(b""),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}
