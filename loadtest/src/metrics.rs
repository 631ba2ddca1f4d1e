//! Reading one series of the program's `/metrics`.

/// The value of the series of this full name.
pub fn value(text: &str, name: &str) -> Option<f64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_found_by_its_full_name() {
        let text = "# HELP a_b help\na_b_total 7\na_b 3.5\n";
        assert_eq!(value(text, "a_b"), Some(3.5));
        assert_eq!(value(text, "a"), None);
    }
}
