//! Server-sent events out of a byte stream, split at any byte.
//!
//! Implements the parts of the HTML standard's event stream that vendors use: `event`, `data` over several lines,
//! comments, all three line ends, a byte order mark. `id` and `retry` are ignored: a broken stream is asked for anew.

use crate::error::ModelError;

/// The largest event: a whole reply repeated in `response.completed`, with room for images and long reasoning.
pub(crate) const MAX_EVENT_BYTES: usize = 8 << 20;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its name; empty if it has none.
    pub(crate) name: String,
    pub(crate) data: String,
}

/// A parser between two pieces of the stream.
#[derive(Debug, Default)]
pub(crate) struct SseParser {
    /// The line that has begun.
    line: Vec<u8>,
    /// The event that has begun.
    event: Event,
    has_data: bool,
    /// The last byte was a carriage return: a line feed right after it belongs to the same line end.
    after_return: bool,
    past_first_line: bool,
}

impl SseParser {
    /// Takes the next bytes and returns the events that they complete.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<Event>, ModelError> {
        let mut events = Vec::new();
        while let Some(&first) = bytes.first() {
            if std::mem::take(&mut self.after_return) && first == b'\n' {
                bytes = bytes.get(1..).unwrap_or_default();
                continue;
            }
            let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) else {
                self.extend(bytes)?;
                break;
            };
            let (line, rest) = bytes.split_at(end);
            self.extend(line)?;
            self.after_return = rest.first() == Some(&b'\r');
            bytes = rest.get(1..).unwrap_or_default();
            events.extend(self.end_line());
        }
        Ok(events)
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), ModelError> {
        if self.line.len() + self.event.data.len() + bytes.len() > MAX_EVENT_BYTES {
            return Err(ModelError::TooLarge {
                what: "an event of the stream",
                limit_bytes: MAX_EVENT_BYTES,
            });
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self) -> Option<Event> {
        let bytes = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&bytes);
        let mut line: &str = &text;
        if !std::mem::replace(&mut self.past_first_line, true) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            return self.end_event();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "data" => self.data_line(value),
            _ => {}
        }
        None
    }

    fn data_line(&mut self, value: &str) {
        if self.has_data {
            self.event.data.push('\n');
        }
        self.event.data.push_str(value);
        self.has_data = true;
    }

    /// A blank line ends an event; one without data is none.
    fn end_event(&mut self) -> Option<Event> {
        let event = std::mem::take(&mut self.event);
        std::mem::take(&mut self.has_data).then_some(event)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(name: &str, data: &str) -> Event {
        Event { name: name.into(), data: data.into() }
    }

    fn parse(pieces: &[&[u8]]) -> Vec<Event> {
        let mut parser = SseParser::default();
        pieces.iter().flat_map(|piece| parser.push(piece).unwrap()).collect()
    }

    const STREAM: &str = "\u{feff}event: a\r\ndata: {\"ü\":1}\r\n\r\n: comment\n\ndata:one\ndata: two\rid: 7\r\revent: \
                          nothing\n\ndata\n\ndata: torn";

    #[test]
    fn names_data_comments_and_all_line_ends_are_understood() {
        let expected = [event("a", "{\"ü\":1}"), event("", "one\ntwo"), event("", "")];
        assert_eq!(parse(&[STREAM.as_bytes()]), expected);
    }

    #[test]
    fn the_split_does_not_matter() {
        let whole = parse(&[STREAM.as_bytes()]);
        let bytes: Vec<&[u8]> = STREAM.as_bytes().chunks(1).collect();
        assert_eq!(parse(&bytes), whole);
    }

    #[test]
    fn an_event_without_end_is_refused_before_it_fills_memory() {
        let mut parser = SseParser::default();
        parser.push(b"data: ").unwrap();
        let piece = vec![b'x'; 1 << 20];
        let refused = (0..9).find_map(|_| parser.push(&piece).err());
        assert!(
            matches!(refused, Some(ModelError::TooLarge { limit_bytes: MAX_EVENT_BYTES, .. })),
            "{refused:?}"
        );
    }

    #[test]
    fn many_short_lines_of_one_event_count_together() {
        let mut parser = SseParser::default();
        let piece = "data: 0123456789\n".repeat(65_536);
        let refused = (0..16).find_map(|_| parser.push(piece.as_bytes()).err());
        assert!(matches!(refused, Some(ModelError::TooLarge { .. })), "{refused:?}");
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_give_the_same_events(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), Just(b'd'), any::<u8>()], 0..200),
            at in 0usize..200,
        ) {
            let at = at.min(bytes.len());
            prop_assert_eq!(parse(&[&bytes[..at], &bytes[at..]]), parse(&[&bytes]));
        }
    }
}
