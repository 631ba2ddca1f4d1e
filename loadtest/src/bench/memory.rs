//! What the program keeps in memory after saturation, while the window is full.

use super::report::{Line, Section, Target, Unit};
use super::site::Deployment;

/// Reads resident memory and the window's size.
pub(super) async fn measure(vote: &Deployment) -> anyhow::Result<Section> {
    let keys = vote.metric("paredao_consumer_window_keys").await?;
    let window = vote.metric("paredao_consumer_window_bytes").await?;
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 bytes")]
    let resident = vote.resident_bytes()? as f64;

    let mut section = Section::new("Memory after saturation");
    section.push(Line::new("resident", resident / 1e6, Unit::Megabytes));
    section.push(Line::new(
        "window of live keys",
        window / 1e6,
        Unit::Megabytes,
    ));
    section.push(Line::new("live keys", keys, Unit::Count));
    let besides = Line::new(
        "resident besides the window",
        (resident - window) / 1e6,
        Unit::Megabytes,
    );
    section.push(besides.target(Target::AtMost(100.0)));
    let each = Line::new("window, per live key", window / keys.max(1.0), Unit::Bytes);
    section.push(each.target(Target::AtMost(32.0)));
    Ok(section)
}
