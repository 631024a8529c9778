//! Figures that are read from elsewhere every few seconds: shown while they are fresh, and not at all when they are
//! not. A gauge that stands still at its last value, or at 0, would say that all is well while nobody looks.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::gauge::Gauge;

/// What can be shown as gauges.
pub(crate) trait Figures: fmt::Debug + Send + 'static {
    /// The gauge that is 1 while the figures are shown, and 0 while they cannot be read.
    const SHOWN: Gauge;

    /// A reading older than this is not shown: its reader hangs. Three readings of what is read every few seconds, and
    /// a little.
    const FRESH: Duration = Duration::from_secs(20);

    /// Writes the gauges.
    fn write(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result;
}

/// The latest reading. Clones share it.
#[derive(Debug)]
pub(crate) struct Snapshot<T>(Arc<Mutex<Option<(Instant, T)>>>);

impl<T> Snapshot<T> {
    /// Keeps a reading; forgets the one before if there is none to be had.
    pub(crate) fn set(&self, reading: Option<T>) {
        *self.0.lock().expect("nobody panics while holding it") = reading.map(|figures| (Instant::now(), figures));
    }
}

impl<T: Figures> Collector for Snapshot<T> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let latest = self.0.lock().expect("nobody panics while holding it");
        let fresh = latest.as_ref().filter(|(at, _)| at.elapsed() < T::FRESH);
        T::SHOWN.write(&mut encoder, i64::from(fresh.is_some()))?;
        fresh.map_or(Ok(()), |(_, figures)| figures.write(&mut encoder))
    }
}

impl<T> Clone for Snapshot<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Snapshot<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    #[derive(Debug)]
    struct Seven;

    impl Figures for Seven {
        const SHOWN: Gauge = Gauge::of("shown", "Whether it is shown");

        fn write(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
            Gauge::of("figure", "What was read").write(encoder, 7)
        }
    }

    #[test]
    fn a_figure_is_absent_before_its_reading_when_it_failed_and_when_it_is_stale() {
        let (latest, mut registry) = (Snapshot::default(), Registry::default());
        registry.register_collector(Box::new(latest.clone()));
        let check = |shown: &str, figure: bool| {
            let mut text = String::new();
            encode(&mut text, &registry).expect("a text takes anything");
            assert!(text.contains(shown) && text.contains("figure 7") == figure, "{text}");
        };
        check("shown 0", false);
        latest.set(Some(Seven));
        check("shown 1", true);
        latest.set(None);
        check("shown 0", false);
        let stale = Instant::now().checked_sub(Seven::FRESH).map(|at| (at, Seven));
        *latest.0.lock().expect("nobody panics while holding it") = stale;
        check("shown 0", false);
    }
}
