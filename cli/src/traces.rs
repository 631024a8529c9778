//! Traces to a collector: whether OpenTelemetry's own variables ask for them, and whether this binary can.
//!
//! Only services send them; a command that ends by itself has nothing to tell that its answer does not. A collector
//! that is away costs its traces and nothing else.

#[cfg(feature = "otel")]
mod export;
#[cfg(not(feature = "otel"))]
mod missing;

use loyalty_common::error_chain::chain;
use tracing::{info, warn};

use crate::http_client::HttpUrl;
use crate::settings::{Settings, SettingsError};
#[cfg(feature = "otel")]
use export::Export;
#[cfg(not(feature = "otel"))]
use missing::Export;

/// Where the collector is. The first is the address itself, the second its root.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// The sending of this process's traces, until it is closed.
pub(crate) struct Traces(Option<Export>);

/// What the variables ask for.
struct CollectorSetting {
    /// The variable that says where to.
    variable: &'static str,
    endpoint: String,
}

impl Traces {
    /// Starts to send the traces of a service, if the environment asks for it. An address that is none is an error;
    /// whatever else keeps them from being sent is told, and keeps nobody from working.
    pub(crate) fn start(service: Option<&'static str>, settings: &Settings) -> Result<Self, SettingsError> {
        let setting = collector_setting(crate::environment::text);
        let (Some(service), Some(CollectorSetting { variable, endpoint })) = (service, setting) else {
            return Ok(Self(None));
        };
        let collector: HttpUrl = settings.read(&endpoint, variable)?;
        match Export::start(service, &collector) {
            Ok(export) => {
                info!(%collector, "Sending traces");
                Ok(Self(Some(export)))
            }
            Err(error) => {
                warn!(variable, %collector, error = chain(&error), "No traces are sent");
                Ok(Self(None))
            }
        }
    }

    /// Sends what is left, for some seconds at most.
    pub(crate) async fn close(self) {
        if let Some(export) = self.0 {
            export.close().await;
        }
    }
}

/// What the environment asks for. Without an address none are sent: most machines have no collector, and nobody
/// should have to say so.
fn collector_setting(variable: impl Fn(&str) -> Option<String>) -> Option<CollectorSetting> {
    let is = |name: &str, value: &str| variable(name).is_some_and(|given| given.trim().eq_ignore_ascii_case(value));
    if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
        return None;
    }
    ENDPOINTS.into_iter().find_map(|name| {
        let endpoint = variable(name).filter(|endpoint| !endpoint.is_empty())?;
        Some(CollectorSetting { variable: name, endpoint })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_asked_for_by_an_address_and_can_be_switched_off() {
        let check = |set: &[(&str, &str)], expected: Option<&str>| {
            let variable = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            assert_eq!(collector_setting(variable).map(|setting| setting.endpoint).as_deref(), expected, "{set:?}");
        };
        let [traces, root] = ENDPOINTS;
        check(&[], None);
        check(&[(root, "")], None);
        check(&[(root, "http://root")], Some("http://root"));
        check(&[(root, "http://root"), (traces, "http://traces")], Some("http://traces"));
        check(&[(root, "http://root"), ("OTEL_SDK_DISABLED", "TRUE")], None);
        check(&[(root, "http://root"), ("OTEL_TRACES_EXPORTER", "none")], None);
        check(&[(root, "http://root"), ("OTEL_TRACES_EXPORTER", "otlp")], Some("http://root"));
    }
}
