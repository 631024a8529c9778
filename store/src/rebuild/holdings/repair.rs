//! Repairing holdings: what the ledger says is written over what differs.

use deadpool_postgres::Client;
use jiff::Timestamp;
use loyalty_common::MemberId;
use loyalty_ledger::{Hold, HoldRow, Lot, LotRow, Redemption};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{Compared, Holdings};
use crate::partition::partition;
use crate::pool::StoreError;

/// Whoever was warned of the day has an email that says when, and is not warned again.
const PUT_LOT: &str = "
    insert into lot (partition, member_id, epoch, expires_at, expires_on, opened_at, remaining, expired, warned_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8,
            (select min(created_at) from email
             where partition = $1 and member_id = $2 and epoch = $3 and expires_on = $5))
    on conflict (partition, member_id, epoch, expires_at)
        do update set expires_on = excluded.expires_on, opened_at = excluded.opened_at,
                      remaining = excluded.remaining, expired = excluded.expired";

const DELETE_LOT: &str = "delete from lot where partition = $1 and member_id = $2 and epoch = $3 and expires_at = $4";

const PUT_HOLD: &str = "
    insert into hold (partition, member_id, command_id, epoch, seq, points, expires_at, lot_expires_at, lot_points)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

const DELETE_HOLD: &str = "delete from hold where partition = $1 and member_id = $2 and command_id = $3";

const REOPEN_REWARD: &str = "
    update reward set redeemed_seq = null where partition = $1 and member_id = $2 and epoch = $3 and number = $4";

impl Holdings {
    /// Writes what the ledger says over what differs, but for the rewards that were used: see [`Self::redeemed`].
    pub(in crate::rebuild) async fn repair(&self, client: &Client, member_id: &MemberId) -> Result<(), StoreError> {
        let of = (partition(member_id), member_id.as_str());
        for lot in self.lots.iter().filter(|it| it.differs()) {
            repair_lot(client, of, lot).await?;
        }
        for hold in self.holds.iter().filter(|it| it.differs()) {
            repair_hold(client, of, hold).await?;
        }
        let unused = self.redeemed.iter().filter(|it| it.computed.is_none()).filter_map(|it| it.stored.as_ref());
        for Redemption { epoch, number, .. } in unused {
            client.execute(REOPEN_REWARD, &[&of.0, &of.1, epoch, number]).await?;
        }
        Ok(())
    }
}

async fn repair_lot(
    client: &Client,
    (partition, member_id): (i16, &str),
    Compared { stored, computed }: &Compared<LotRow>,
) -> Result<(), StoreError> {
    if let Some(LotRow { epoch, lot, .. }) = computed {
        let Lot { expires_at, expires_on, opened_at, remaining, expired } = lot;
        let values: [&(dyn ToSql + Sync); 8] =
            [&partition, &member_id, epoch, expires_at, expires_on, opened_at, remaining, expired];
        client.execute(PUT_LOT, &values).await?;
    } else if let Some(LotRow { epoch, lot, .. }) = stored {
        client.execute(DELETE_LOT, &[&partition, &member_id, epoch, &lot.expires_at]).await?;
    }
    Ok(())
}

async fn repair_hold(
    client: &Client,
    (partition, member_id): (i16, &str),
    Compared { stored, computed }: &Compared<HoldRow>,
) -> Result<(), StoreError> {
    if let Some(HoldRow { hold, .. }) = stored {
        client.execute(DELETE_HOLD, &[&partition, &member_id, &hold.command_id.uuid()]).await?;
    }
    if let Some(HoldRow { epoch, hold, .. }) = computed {
        let Hold { command_id, seq, points, expires_at, lots } = hold;
        let (command_id, (days, of_lots)): (Uuid, (Vec<Timestamp>, Vec<i64>)) =
            (command_id.uuid(), lots.iter().copied().unzip());
        let values: [&(dyn ToSql + Sync); 9] =
            [&partition, &member_id, &command_id, epoch, seq, points, expires_at, &days, &of_lots];
        client.execute(PUT_HOLD, &values).await?;
    }
    Ok(())
}
