//! An amount of memory as people write it.

use process::{Error, Result};

/// The bytes in `64m`: a whole number, and `b`, `k`, `m` or `g` for powers of 1,024.
///
/// # Errors
/// It is none, or zero, or more than 64 bits hold. A tmpfs takes zero for "no limit", so we refuse it.
pub fn bytes(text: &str) -> Result<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(['b', 'k', 'm', 'g']);
    let factor: Option<u64> = match &lower[digits.len()..] {
        "" | "b" => Some(1),
        "k" | "kb" => Some(1 << 10),
        "m" | "mb" => Some(1 << 20),
        "g" | "gb" => Some(1 << 30),
        _ => None,
    };
    let number = digits.parse::<u64>().ok().filter(|number| *number > 0);
    number.zip(factor).and_then(|(number, factor)| number.checked_mul(factor)).ok_or_else(|| {
        Error::refused("size", text, "write it as a whole number above zero with b, k, m or g: 64m")
    })
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, size) in
            [("1", 1), ("7b", 7), ("64k", 65_536), ("64M", 67_108_864), ("2gb", 2_147_483_648)]
        {
            assert_eq!(bytes(text).unwrap(), size, "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "m", "0", "0m", "-1m", "1.5g", "64 m", "1t", "bb", "18446744073709551615k"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
