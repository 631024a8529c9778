//! One email with everything that is known of it.

use loyalty_common::email_address::mask;
use loyalty_store::dead_letters::{DeadLetterId, Event};
use loyalty_store::emails::{self, EmailId, ListedEmail, OpenedEmail};
use loyalty_store::{Pool, StoreError};
use serde::Serialize;

use crate::PersonalData;

/// Everything that is known of an email.
#[derive(Clone, Debug, Serialize)]
pub struct Details {
    #[serde(flatten)]
    pub email: ListedEmail,
    /// Where it goes; none, if the member has no address or has left.
    pub recipient: Option<String>,
    /// Those that are about it.
    pub dead_letters: Vec<DeadLetterId>,
    /// Who did what to it, the first event first.
    pub history: Vec<Event>,
}

impl Details {
    /// Reads them; none, if there is no such email.
    pub async fn read(pool: &Pool, id: EmailId, personal: PersonalData) -> Result<Option<Self>, StoreError> {
        let opened = emails::open(pool, id).await?;
        Ok(opened.map(|OpenedEmail { email, recipient, dead_letters, history }| {
            let recipient = recipient.map(|recipient| match personal {
                PersonalData::Revealed => recipient.expose().to_owned(),
                PersonalData::Masked => mask(recipient.expose()),
            });
            Self { email, recipient, dead_letters, history }
        }))
    }
}
