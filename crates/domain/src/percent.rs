//! Percentages as television shows them: two decimals, every column exactly 100.00.

use std::fmt;

/// A share in hundredths of a percent, 0 to 10,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percentage(u16);

impl Percentage {
    const WHOLE: u16 = 10_000;
}

impl fmt::Display for Percentage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// Apportions 100.00 % over `votes` by the largest remainder (Hamilton's method): each share is
/// rounded down, and the hundredths left over go to the largest remainders, earlier entries
/// first where remainders are equal. Without votes every share is 0.00.
pub fn apportion(votes: &[u64]) -> Vec<Percentage> {
    let total: u128 = votes.iter().map(|&v| u128::from(v)).sum();
    if total == 0 {
        return vec![Percentage::default(); votes.len()];
    }
    let scaled = |v: u64| u128::from(v) * u128::from(Percentage::WHOLE);
    let mut shares: Vec<u16> = votes
        .iter()
        .map(|&v| u16::try_from(scaled(v) / total).unwrap_or(Percentage::WHOLE))
        .collect();
    let left_over = Percentage::WHOLE - shares.iter().sum::<u16>();

    let mut by_remainder: Vec<usize> = (0..votes.len()).collect();
    let remainder = |&i: &usize| votes.get(i).map_or(0, |&v| scaled(v) % total);
    by_remainder.sort_by_key(|i| std::cmp::Reverse(remainder(i)));
    for i in by_remainder.into_iter().take(usize::from(left_over)) {
        if let Some(share) = shares.get_mut(i) {
            *share += 1;
        }
    }
    shares.into_iter().map(Percentage).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(votes: &[u64]) -> Vec<String> {
        apportion(votes).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_record_poll_of_2020_comes_out_as_published() {
        // BBB20, 31/03/2020: 1,532,944,337 votes, published as 56.73 / 42.51 / 0.76 %.
        let votes = [869_639_322, 651_654_638, 11_650_377];
        assert_eq!(texts(&votes), ["56.73", "42.51", "0.76"]);
    }

    #[test]
    fn thirds_add_up_and_the_first_takes_the_odd_hundredth() {
        assert_eq!(texts(&[1, 1, 1]), ["33.34", "33.33", "33.33"]);
    }

    #[test]
    fn no_votes_are_no_percent() {
        assert_eq!(texts(&[0, 0]), ["0.00", "0.00"]);
        assert_eq!(texts(&[0, 5]), ["0.00", "100.00"]);
    }

    proptest! {
        #[test]
        fn every_column_adds_up_and_stays_within_a_hundredth(
            votes in prop::collection::vec(any::<u64>(), 1..=20)
        ) {
            prop_assume!(votes.iter().any(|&v| v > 0));
            let shares = apportion(&votes);
            let sum: u32 = shares.iter().map(|p| u32::from(p.0)).sum();
            prop_assert_eq!(sum, 10_000);
            let total: u128 = votes.iter().map(|&v| u128::from(v)).sum();
            for (share, &v) in shares.iter().zip(&votes) {
                let floor = u128::from(v) * 10_000 / total;
                let got = u128::from(share.0);
                prop_assert!(got == floor || got == floor + 1);
            }
        }
    }
}
