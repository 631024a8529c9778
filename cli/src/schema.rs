//! `loyalty schema`: the contract as a document, for systems in other languages.

use clap::ValueEnum;
use loyalty_common::schema::Document;

use crate::Context;
use crate::exit::ExitStatus;

/// Print the contract for other systems: JSON Schema, or AsyncAPI
///
/// The schemas are JSON Schema 2020-12. AsyncAPI names the exchanges, queues, routing keys, headers and properties; it
/// is YAML, or JSON with --json.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loyalty schema command > command.json\n  loyalty schema asyncapi > asyncapi.yaml")]
pub(crate) struct Schema {
    /// The messages whose schema is printed
    #[arg(value_enum, default_value_t = DocumentName::Command)]
    document: DocumentName,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DocumentName {
    /// JSON Schema of a command, the body of a message
    Command,
    /// JSON Schema of a receipt, as the bridge and `loyalty receipt --json` show it
    Receipt,
    /// JSON Schema of an event, what is published when something happened
    Event,
    /// AsyncAPI of the exchanges, queues and messages
    Asyncapi,
}

impl Schema {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        let document = match self.document {
            DocumentName::Command => Document::Command,
            DocumentName::Receipt => Document::Receipt,
            DocumentName::Event => Document::Event,
            DocumentName::Asyncapi => Document::AsyncApi,
        };
        context.output.answer(&document.value(), |_| document.text())?;
        Ok(ExitStatus::Success)
    }
}
