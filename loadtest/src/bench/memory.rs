//! What the program keeps in memory after saturation, while the window is full.

use super::report::{Line, Section, Target, Unit, ratio};
use super::site::{Deployment, Site};
use super::wrk::{Connections, Keys};

const CONNECTIONS: u32 = 256;

/// Fills the window, unless another measurement just did: each vote has a key of its own.
pub(super) async fn fill(site: &Site, vote: &Deployment) -> anyhow::Result<()> {
    let (address, length) = (vote.program.listen, site.effort.length());
    site.wrk
        .vote(
            address,
            CONNECTIONS,
            length,
            Keys::Unique,
            Connections::Kept,
        )
        .await?;
    vote.settled().await?;
    Ok(())
}

/// Reads resident memory and the window's size.
pub(super) async fn measure(vote: &Deployment) -> anyhow::Result<Section> {
    let keys = vote.metric("paredao_consumer_window_keys").await?;
    let window = vote.metric("paredao_consumer_window_bytes").await?;
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 bytes")]
    let resident = vote.resident_bytes()? as f64;
    Ok(section(resident, window, keys))
}

fn section(resident: f64, window: f64, keys: f64) -> Section {
    let mut section = Section::new("Memory after saturation");
    section.push(Line::new("resident", resident / 1e6, Unit::Megabytes));
    section.push(Line::new(
        "window of live keys",
        window / 1e6,
        Unit::Megabytes,
    ));
    // Of a window without keys nothing was measured.
    let live = Line::new("live keys", keys, Unit::Count);
    section.push(live.target(Target::AtLeast(1.0)));
    let besides = Line::new(
        "resident besides the window",
        (resident - window) / 1e6,
        Unit::Megabytes,
    );
    section.push(besides.target(Target::AtMost(100.0)));
    let each = Line::new("window, per live key", ratio(window, keys), Unit::Bytes);
    section.push(each.target(Target::AtMost(32.0)));
    section
}

#[cfg(test)]
mod tests {
    use super::super::report::BenchReport;
    use super::*;

    #[test]
    fn an_empty_window_is_no_good_measurement() {
        assert!(BenchReport::all_met(&[section(80e6, 26e6, 1e6)]));
        assert!(!BenchReport::all_met(&[section(80e6, 0.0, 0.0)]));
    }
}
