//! What a reply says it cost, on the three vendors' wires, streamed or not.
//!
//! Reads a finished body; a body that says nothing, or says it in a way that is not known here, gives zeroes and is nobody's
//! error. Vendors repeat counts in the course of a stream: the last value counts, values are never added up.

use std::io::Read;

use ruzstd::decoding::StreamingDecoder;
use serde_json::Value;

/// The most that a compressed body is unpacked to; more is a bomb, not a reply.
const MAX_UNPACKED_BYTES: u64 = 128 << 20;
/// Read at a time.
const BROTLI_BUFFER_BYTES: usize = 16 << 10;
/// What every decoder of zstd on the web supports, RFC 9659.
const ZSTD_WINDOW_BYTES: u64 = 8 << 20;

/// Token counts of one reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenCounts {
    /// Input tokens that were neither read from nor written to a prompt cache; `None` if the reply does not say.
    pub input: Option<u64>,
    /// Output tokens, with those of reasoning.
    pub output: Option<u64>,
    /// Input tokens read from a prompt cache.
    pub cache_read: Option<u64>,
    /// Input tokens written to a prompt cache.
    pub cache_write: Option<u64>,
}

/// What `body` says, given its `Content-Encoding`: one of those that clients ask for. What was encoded twice is not looked
/// into.
pub(crate) fn read(body: &[u8], encoding: Option<&str>) -> TokenCounts {
    let unpacked = encoding.map(str::trim).and_then(|encoding| unpacked(body, encoding));
    let text = unpacked.as_deref().unwrap_or(body);
    let mut said = Said::default();
    match serde_json::from_slice::<Value>(text) {
        Ok(Value::Array(parts)) => parts.iter().for_each(|part| said.take(part)),
        Ok(whole) => said.take(&whole),
        Err(_) => said.take_events(text),
    }
    said.counts()
}

/// A body without its encoding, as far as it goes; `None` if it has none that is known.
pub(crate) fn unpacked(body: &[u8], encoding: &str) -> Option<Vec<u8>> {
    let decoder: Box<dyn Read + '_> = match encoding {
        "gzip" | "x-gzip" => Box::new(flate2::read::MultiGzDecoder::new(body)),
        "deflate" => Box::new(flate2::read::ZlibDecoder::new(body)),
        "br" => Box::new(brotli_decompressor::Decompressor::new(body, BROTLI_BUFFER_BYTES)),
        "zstd" => Box::new(StreamingDecoder::new_with_max_window_size(body, ZSTD_WINDOW_BYTES).ok()?),
        _ => return None,
    };
    let mut text = Vec::new();
    // What breaks off, or is none of this, ends there.
    let _ = decoder.take(MAX_UNPACKED_BYTES).read_to_end(&mut text);
    Some(text)
}

/// Values in the vendors' own terms.
#[derive(Debug, Default)]
struct Said {
    /// All input, with what the cache gave (OpenAI, Gemini).
    prompt: Option<u64>,
    /// Input beside the cache (Anthropic).
    uncached: Option<u64>,
    output: Option<u64>,
    /// Reasoning that is not part of `output` (Gemini).
    thoughts: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
}

impl Said {
    /// Server-sent events: only lines that can hold counts are parsed.
    fn take_events(&mut self, text: &[u8]) {
        for line in text.split(|byte| matches!(byte, b'\n' | b'\r')) {
            let Some(data) = line.strip_prefix(b"data:") else { continue };
            if memchr::memmem::find(data, b"\"usage").is_some() {
                serde_json::from_slice(data).iter().for_each(|event| self.take(event));
            }
        }
    }

    /// A whole reply, or one event of a stream.
    fn take(&mut self, value: &Value) {
        let nested = ["message", "response"].map(|key| value.get(key).unwrap_or(&Value::Null));
        for holder in [value].into_iter().chain(nested) {
            if let Some(usage) = holder.get("usage") {
                self.take_usage(usage);
            }
            if let Some(usage) = holder.get("usageMetadata") {
                self.take_gemini(usage);
            }
        }
    }

    fn take_usage(&mut self, usage: &Value) {
        let is_openai = usage.get("prompt_tokens").is_some() || usage.get("total_tokens").is_some();
        let input = if is_openai { &mut self.prompt } else { &mut self.uncached };
        note(input, usage, &["/prompt_tokens", "/input_tokens"]);
        note(&mut self.output, usage, &["/completion_tokens", "/output_tokens"]);
        let read = [
            "/cache_read_input_tokens",
            "/prompt_tokens_details/cached_tokens",
            "/input_tokens_details/cached_tokens",
        ];
        note(&mut self.cache_read, usage, &read);
        note(&mut self.cache_write, usage, &["/cache_creation_input_tokens"]);
    }

    fn take_gemini(&mut self, usage: &Value) {
        note(&mut self.prompt, usage, &["/promptTokenCount"]);
        note(&mut self.output, usage, &["/candidatesTokenCount"]);
        note(&mut self.thoughts, usage, &["/thoughtsTokenCount"]);
        note(&mut self.cache_read, usage, &["/cachedContentTokenCount"]);
    }

    fn counts(&self) -> TokenCounts {
        let beside = |prompt: u64| prompt.saturating_sub(self.cache_read.unwrap_or(0));
        let output = self.output.or(self.thoughts.map(|_| 0));
        TokenCounts {
            input: self.uncached.or(self.prompt.map(beside)),
            output: output.map(|output| output.saturating_add(self.thoughts.unwrap_or(0))),
            cache_read: self.cache_read,
            cache_write: self.cache_write,
        }
    }
}

/// The first of the places that holds a number replaces what was known.
fn note(known: &mut Option<u64>, usage: &Value, places: &[&str]) {
    let found = places.iter().find_map(|place| usage.pointer(place).and_then(Value::as_u64));
    *known = found.or(*known);
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn counts(input: u64, output: u64, cache_read: Option<u64>, cache_write: Option<u64>) -> TokenCounts {
        TokenCounts { input: Some(input), output: Some(output), cache_read, cache_write }
    }

    #[test]
    fn anthropic_replies_are_understood() {
        let whole = br#"{"usage":{"input_tokens":7,"cache_creation_input_tokens":1,"cache_read_input_tokens":2,"output_tokens":3}}"#;
        assert_eq!(read(whole, None), counts(7, 3, Some(2), Some(1)));
        let stream = b"event: message_start\r\ndata: {\"message\":{\"usage\":{\"input_tokens\":7,\"cache_read_input_tokens\":2,\"output_tokens\":1}}}\r\n\r\ndata:{\"type\":\"message_delta\",\"usage\":{\"output_tokens\":30}}\r\n\r\ndata: {\"usage\": torn";
        assert_eq!(read(stream, None), counts(7, 30, Some(2), None));
    }

    #[test]
    fn openai_replies_are_understood() {
        let chat = br#"{"usage":{"prompt_tokens":10,"completion_tokens":4,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":8}}}"#;
        assert_eq!(read(chat, None), counts(2, 4, Some(8), None));
        let stream = b"data: {\"usage\":null}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1}}\n\ndata: [DONE]\n\n";
        assert_eq!(read(stream, None), counts(5, 1, None, None));
        let responses = b"data: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":9,\"input_tokens_details\":{\"cached_tokens\":4},\"output_tokens\":2,\"total_tokens\":11}}}\n\n";
        assert_eq!(read(responses, None), counts(5, 2, Some(4), None));
    }

    #[test]
    fn gemini_replies_are_understood() {
        let whole = br#"{"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":3,"thoughtsTokenCount":5,"cachedContentTokenCount":6}}"#;
        assert_eq!(read(whole, None), counts(4, 8, Some(6), None));
        let list = br#"[{"usageMetadata":{"promptTokenCount":10}},{"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":3}}]"#;
        assert_eq!(read(list, None), counts(10, 3, None, None));
        let stream =
            b"data: {\"usageMetadata\": {\"promptTokenCount\": 1,\"candidatesTokenCount\": 2}}\r\n\r\n";
        assert_eq!(read(stream, None), counts(1, 2, None, None));
    }

    #[test]
    fn a_compressed_reply_is_understood_however_it_is_compressed() {
        let text = br#"{"usage":{"input_tokens":7,"output_tokens":3}}"#;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(text).unwrap();
        let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        deflate.write_all(text).unwrap();
        let zstd = ruzstd::encoding::compress_to_vec(&text[..], ruzstd::encoding::CompressionLevel::Fastest);
        // Brotli as node packs it: so short a text is stored.
        let brotli = [b"\x8b\x16\x80", &text[..], b"\x03"].concat();
        let gzip = gzip.finish().unwrap();
        for (encoding, bytes) in
            [("gzip", &gzip), ("deflate", &deflate.finish().unwrap()), ("br", &brotli), ("zstd", &zstd)]
        {
            assert_eq!(read(bytes, Some(encoding)), counts(7, 3, None, None), "{encoding}");
            assert_eq!(read(&bytes[..bytes.len() / 2], Some(encoding)), TokenCounts::default(), "{encoding}");
        }
        assert_eq!(read(&gzip, Some("gzip, br")), TokenCounts::default());
    }

    #[test]
    fn a_compressed_stream_that_breaks_off_is_understood_as_far_as_it_goes() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(b"data: {\"usage\":{\"output_tokens\":3}}\n\n").unwrap();
        gzip.flush().unwrap();
        let flushed = gzip.get_ref().clone();
        assert_eq!(read(&flushed, Some("gzip")).output, Some(3));
    }

    #[test]
    fn what_says_nothing_is_nothing() {
        for body in [
            &b""[..],
            b"{}",
            b"[]",
            b"null",
            b"{\"usage\":7}",
            b"<html>",
            b"\xff\xfe",
            b"data: {\"usage\":{\"output_tokens\":-1}}\n",
        ] {
            assert_eq!(read(body, None), TokenCounts::default());
        }
        for encoding in ["gzip", "deflate", "br", "zstd", "other"] {
            assert_eq!(read(b"{}", Some(encoding)), TokenCounts::default());
        }
    }
}
