//! Numbers as people read them. A minus is U+2212, thousands are set apart, and what is not a number is a dash.

/// A fraction as per cent with one digit: `0.9634` is `96.3`.
pub(super) fn percent(fraction: f64) -> String {
    if fraction.is_finite() { minus(format!("{:.1}", fraction * 100.0)) } else { "–".to_owned() }
}

/// A difference of two fractions in points, signed: `+0.8`, `−1.2`, `0.0`.
pub(super) fn points(difference: f64) -> String {
    if !difference.is_finite() {
        return "–".to_owned();
    }
    let text = format!("{:.1}", difference * 100.0);
    if text == "0.0" || text == "-0.0" {
        return "0.0".to_owned();
    }
    minus(if difference > 0.0 { format!("+{text}") } else { text })
}

/// A count: `1,234,567`.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A large count in short: `950`, `12.3k`, `4.56M`.
pub(super) fn short_count(n: u64) -> String {
    const UNITS: [(f64, &str); 3] = [(1e9, "G"), (1e6, "M"), (1e3, "k")];
    if n < 10_000 {
        return count(n);
    }
    let unit = UNITS.iter().find(|(size, _)| n as f64 >= *size * 0.9995);
    unit.map_or_else(|| count(n), |(size, name)| format!("{}{name}", measure(n as f64 / size)))
}

/// A measured quantity with three significant digits: `0.0314`, `12.5`, `1,234`, `2.1e-7`.
pub(crate) fn measure(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let size = value.abs();
    if size < 1e-4 {
        let text = format!("{value:.1e}");
        return minus(text);
    }
    if size >= 999.5 {
        let whole = size.round();
        let text = if whole < 1e15 { count(whole as u64) } else { format!("{whole:.2e}") };
        return if value < 0.0 { format!("−{text}") } else { text };
    }
    let digits = (2 - size.log10().floor() as i32).max(0) as usize;
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text };
    minus(text)
}

fn minus(text: String) -> String {
    match text.strip_prefix('-') {
        Some(rest) if rest.bytes().all(|b| matches!(b, b'0' | b'.')) => rest.to_owned(),
        Some(rest) => format!("−{rest}"),
        None => text,
    }
}

/// Wilson's 95 % interval of a share of right answers among `n`.
pub(super) fn wilson(share: f64, n: u64) -> [f64; 2] {
    const Z: f64 = 1.959_963_984_540_054;
    if n == 0 {
        return [0.0, 1.0];
    }
    let n = n as f64;
    let middle = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).max(0.0).sqrt();
    let total = 1.0 + Z * Z / n;
    [((middle - half) / total).max(0.0), ((middle + half) / total).min(1.0)]
}

/// Round numbers (1, 2 or 5 times a power of ten apart) inside `[low, high]`, about as many as asked.
pub(super) fn ticks(low: f64, high: f64, about: usize) -> Vec<f64> {
    let width = high - low;
    if !(width.is_finite() && width > 0.0) {
        return Vec::new();
    }
    let raw = width / about.max(1) as f64;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|step| *step >= raw * 0.999).unwrap_or(power);
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|i| i as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0.9634, 1.0, 0.0, f64::NAN].map(percent), ["96.3", "100.0", "0.0", "–"]);
        assert_eq!([0.0081, -0.0119, 0.0004, -0.0004].map(points), ["+0.8", "−1.2", "0.0", "0.0"]);
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([9_999, 12_345, 999_999, 4_560_000].map(short_count), ["9,999", "12.3k", "1M", "4.56M"]);
        assert_eq!([0.0, 0.031_372_5, 12.5, 1234.4, -3.0, 0.1, 999.7].map(measure), ["0", "0.0314", "12.5", "1,234", "−3", "0.1", "1,000"]);
        assert_eq!([2.1e-7, f64::INFINITY, -0.25, 100.0, 1e300].map(measure), ["2.1e-7", "–", "−0.25", "100", "1.00e300"]);
    }

    #[test]
    fn wilson_agrees_with_worked_values() {
        // 8 of 10: 0.4902 to 0.9433 (Wilson 1927, without continuity correction).
        let [low, high] = wilson(0.8, 10);
        assert!((low - 0.4902).abs() < 1e-4 && (high - 0.9433).abs() < 1e-4, "{low} {high}");
        assert_eq!(wilson(1.0, 50)[1], 1.0);
        assert_eq!(wilson(0.5, 0), [0.0, 1.0]);
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(0.0, 1.0, 5), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(ticks(-0.013, 0.021, 4), [-0.01, 0.0, 0.01, 0.02]);
        assert!(ticks(1.0, 1.0, 5).is_empty() && ticks(0.0, f64::NAN, 5).is_empty());
    }
}
