//! The programme with its number, which every row that it decides names.

use loyalty_ledger::Programme;
use loyalty_store::{Pool, StoreError, programme};
use tokio::sync::OnceCell;

/// A programme that gets its number when it is first asked for: the database may be away when a worker starts.
#[derive(Debug)]
pub struct RegisteredProgramme {
    programme: Programme,
    registered: OnceCell<Programme>,
}

impl RegisteredProgramme {
    pub const fn new(programme: Programme) -> Self {
        Self { programme, registered: OnceCell::const_new() }
    }

    /// The programme, with its number.
    pub async fn get(&self, pool: &Pool) -> Result<&Programme, StoreError> {
        let register = async || {
            let number = programme::number(pool, &self.programme).await?;
            Ok(Programme { number, ..self.programme.clone() })
        };
        self.registered.get_or_try_init(register).await
    }
}
