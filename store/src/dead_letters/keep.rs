//! Keeping what the broker set aside.

use deadpool_postgres::Client;
use uuid::Uuid;

use super::{NewDeadLetter, record};
use crate::email_id::EmailId;
use crate::partition::grouped;
use crate::pool::{Pool, StoreError};
use crate::transaction::Transaction;

/// One that is settled stays as it is.
const END_EMAILS: &str = "
    update email set state = 'dead', reply = 'RabbitMQ set the email aside', due_at = null, updated_at = now()
    where partition = $2 and email_id = any($1) and state in ('queued', 'sending', 'retrying')";

/// Keeps dead letters that the broker set aside: all of them or none. The emails among them will not be sent any more.
pub async fn keep(pool: &Pool, dead_letters: &[NewDeadLetter]) -> Result<(), StoreError> {
    let transaction = Transaction::begin(pool).await?;
    // Emails before dead letters, as a mailer locks them.
    let emails = dead_letters.iter().filter_map(|dead_letter| dead_letter.email_id).map(EmailId::from);
    end_emails(&transaction, emails).await?;
    record(&transaction, dead_letters).await?;
    transaction.commit().await
}

async fn end_emails(client: &Client, emails: impl Iterator<Item = EmailId>) -> Result<(), StoreError> {
    for (partition, emails) in grouped(emails, |id| id.partition()) {
        let ids: Vec<Uuid> = emails.into_iter().map(EmailId::uuid).collect();
        client.execute(END_EMAILS, &[&ids, &partition]).await?;
    }
    Ok(())
}
