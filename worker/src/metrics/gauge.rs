//! Writing gauges whose values are made when somebody asks for them.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// A gauge as Prometheus is told of it.
#[derive(Debug)]
pub(crate) struct Gauge {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
}

impl Gauge {
    /// Of a number without a unit.
    pub(crate) const fn of(name: &'static str, help: &'static str) -> Self {
        Self { name, help, unit: None }
    }

    /// Of seconds; the unit is added to the name.
    pub(crate) const fn seconds(name: &'static str, help: &'static str) -> Self {
        Self { name, help, unit: Some(Unit::Seconds) }
    }

    /// Writes its one value.
    pub(crate) fn write(&self, encoder: &mut DescriptorEncoder<'_>, value: impl EncodeGaugeValue) -> fmt::Result {
        let metric = encoder.encode_descriptor(self.name, self.help, self.unit.as_ref(), MetricType::Gauge)?;
        ConstGauge::new(value).encode(metric)
    }

    /// Writes a value for each of a label's.
    pub(crate) fn write_each<'a, V: EncodeGaugeValue>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        label: &'static str,
        values: impl IntoIterator<Item = (&'a str, V)>,
    ) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(self.name, self.help, self.unit.as_ref(), MetricType::Gauge)?;
        for (of, value) in values {
            ConstGauge::new(value).encode(metric.encode_family(&[(label, of)])?)?;
        }
        Ok(())
    }
}

/// Writes counters that somebody else keeps, one for each of a label's values.
pub(crate) fn write_counters<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &'static str,
    help: &'static str,
    label: &'static str,
    values: impl IntoIterator<Item = (&'a str, u64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (of, value) in values {
        ConstCounter::new(value).encode(metric.encode_family(&[(label, of)])?)?;
    }
    Ok(())
}
