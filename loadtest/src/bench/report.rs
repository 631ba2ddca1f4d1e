//! What a benchmark says: one line for each measure, with its target and whether it was met.

use std::fmt::Write;

use serde::Serialize;

/// What a measure should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
}

impl Target {
    fn is_met_by(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }
}

/// What a value is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Requests or votes a second.
    PerSecond,
    /// One quantity over another.
    Ratio,
    /// Microseconds.
    Micros,
    /// Seconds.
    Seconds,
    /// 10⁶ bytes.
    Megabytes,
    /// Bytes.
    Bytes,
    /// Whole things.
    Count,
}

/// One measure.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// What was measured.
    pub name: String,
    /// The median, where several were taken.
    pub value: f64,
    /// In what.
    pub unit: Unit,
    /// What it should be, if anything.
    pub target: Option<Target>,
    /// Whether it is.
    pub met: Option<bool>,
    /// The single measurements behind a median.
    pub samples: Vec<f64>,
}

impl Line {
    /// A measure without a target.
    pub fn new(name: impl Into<String>, value: f64, unit: Unit) -> Self {
        Self {
            name: name.into(),
            value,
            unit,
            target: None,
            met: None,
            samples: Vec::new(),
        }
    }

    /// The median of some measurements.
    pub fn median(name: impl Into<String>, samples: &[f64], unit: Unit) -> Self {
        Self {
            samples: samples.to_vec(),
            ..Self::new(name, median(samples), unit)
        }
    }

    /// Sets what it should be.
    #[must_use]
    pub fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self.met = Some(target.is_met_by(self.value));
        self
    }
}

/// The measures of one subject.
#[derive(Clone, Debug, Serialize)]
pub struct Section {
    /// The subject.
    pub title: String,
    /// Its measures.
    pub lines: Vec<Line>,
}

impl Section {
    /// A section without lines.
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            lines: Vec::new(),
        }
    }

    /// Adds a line.
    pub fn push(&mut self, line: Line) {
        self.lines.push(line);
    }
}

/// Everything a benchmark measured.
#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    /// When it began, RFC 3339.
    pub began: String,
    /// Processor, cores, kernel.
    pub machine: String,
    /// Short measurements: a look, not a result.
    pub quick: bool,
    /// The subjects in the order of measuring.
    pub sections: Vec<Section>,
    /// No target was missed.
    pub passed: bool,
}

impl BenchReport {
    /// The table for people.
    pub fn table(&self) -> String {
        let mut table = format!("{}\n{}\n", self.machine, self.began);
        for section in &self.sections {
            // Writing into a string cannot fail.
            let _ = writeln!(table, "\n{}", section.title);
            for line in &section.lines {
                let _ = writeln!(table, "  {}", row(line));
            }
        }
        table
    }

    /// Whether every target is met.
    pub fn all_met(sections: &[Section]) -> bool {
        sections
            .iter()
            .flat_map(|section| &section.lines)
            .all(|line| line.met != Some(false))
    }
}

fn row(line: &Line) -> String {
    let target = line.target.map_or(String::new(), |target| match target {
        Target::AtLeast(least) => format!("≥ {}", quantity(least, line.unit)),
        Target::AtMost(most) => format!("≤ {}", quantity(most, line.unit)),
    });
    let met = match line.met {
        None => "",
        Some(true) => "met",
        Some(false) => "MISSED",
    };
    let row = format!(
        "{:<58}{:>14}  {target:<18}{met}",
        line.name,
        quantity(line.value, line.unit)
    );
    row.trim_end().to_owned()
}

fn quantity(value: f64, unit: Unit) -> String {
    match unit {
        Unit::PerSecond => format!("{}/s", grouped(value)),
        Unit::Ratio => format!("{value:.2}"),
        Unit::Micros => format!("{} µs", grouped(value)),
        Unit::Seconds => format!("{value:.2} s"),
        Unit::Megabytes => format!("{value:.1} MB"),
        Unit::Bytes => format!("{value:.1} B"),
        Unit::Count => grouped(value),
    }
}

/// A whole number with commas between thousands.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// One quantity over another; 0 where there is nothing to compare with, which misses every target
/// that a ratio has.
pub(super) fn ratio(quantity: f64, over: f64) -> f64 {
    if over > 0.0 { quantity / over } else { 0.0 }
}

/// The middle of some numbers; of an even count, the mean of the middle two. 0 of none.
pub(super) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
    match (sorted.get(low), sorted.get(high)) {
        (Some(a), Some(b)) => f64::midpoint(*a, *b),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_whatever_the_order() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(&[]).abs() < 1e-9);
    }

    #[test]
    fn a_target_is_met_or_missed_and_one_miss_fails_the_whole() {
        let line = |value| Line::new("x", value, Unit::Ratio).target(Target::AtLeast(0.8));
        assert_eq!((line(0.8).met, line(0.79).met), (Some(true), Some(false)));
        let most = Line::new("y", 101.0, Unit::Megabytes).target(Target::AtMost(100.0));
        assert_eq!(most.met, Some(false));
        let mut section = Section::new("s");
        section.push(line(0.9));
        section.push(Line::new("no target", 0.0, Unit::Count));
        assert!(BenchReport::all_met(std::slice::from_ref(&section)));
        section.push(most);
        assert!(!BenchReport::all_met(&[section]));
    }

    #[test]
    fn a_ratio_to_nothing_is_no_success() {
        assert!((ratio(1.0, 2.0) - 0.5).abs() < 1e-9);
        assert!(ratio(5.0, 0.0).abs() < 1e-9);
    }

    #[test]
    fn a_row_shows_value_target_and_verdict() {
        let line = Line::new("votes", 71_234.4, Unit::PerSecond).target(Target::AtLeast(1000.0));
        let shown = row(&line);
        assert!(
            shown.starts_with("votes ") && shown.ends_with("met"),
            "{shown}"
        );
        assert!(
            shown.contains("71,234/s") && shown.contains("≥ 1,000/s"),
            "{shown}"
        );
        assert_eq!(grouped(-1_234_567.0), "-1,234,567");
        assert_eq!(grouped(-123.0), "-123");
    }
}
