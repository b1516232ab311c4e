//! Spans of time as they are typed: `90s`, `15m`, `2h`, `3d`.

use std::time::Duration;

/// The span, or nothing for what is none.
pub(crate) fn span(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    Some(Duration::from_secs(digits.parse::<u64>().ok()?.saturating_mul(seconds)))
}

/// The same for an argument of a command, with what is wrong with it.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    span(text).ok_or_else(|| format!("not a time: {text}; 90s, 30m, 2h"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_and_a_unit() {
        let seconds = |text| span(text).map(|span| span.as_secs());
        assert_eq!(
            ["90s", "15m", "2h", "3d"].map(seconds),
            [Some(90), Some(900), Some(7_200), Some(259_200)]
        );
        for wrong in ["", "h", "2", "2w", "yesterday", "-5m", "5µ"] {
            assert_eq!(span(wrong), None, "{wrong}");
        }
    }
}
