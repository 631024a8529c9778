//! Waiting until every published message has its outcome: a row in the ledger, a row that waits, or a dead letter.

use std::fmt::Write;

use loyalty_common::{Action, Exit, Partition};

use crate::publish::{command, member_in};
use crate::published::Messages;
use crate::world::World;
use loyalty_local::wait::{PATIENCE, within};

/// The ids of the members who mark the ends of the queues begin so. [`World`]'s counts leave them out.
pub(crate) const MARKER: &str = "~marker-";

/// A message is known by its command's id and, if it is no command any more, by its body.
const WITHOUT_OUTCOME: &str = "
    select concat_ws(' ', u.member_id, u.command_id)
    from unnest($1::text[], $2::uuid[], $3::bytea[], $4::smallint[]) as u (member_id, command_id, body, partition)
    where not exists (select from ledger as l where l.partition = u.partition and l.member_id = u.member_id
                                                and l.command_id = u.command_id)
      and not exists (select from parked as p where p.partition = u.partition and p.member_id = u.member_id
                                                and p.command_id = u.command_id)
      and not exists (select from dead_letter as d where d.member_id = u.member_id and d.command_id = u.command_id)
      and not exists (select from dead_letter as d where d.body = u.body)";

impl World {
    /// Waits until everything that was published has an outcome.
    ///
    /// A marker goes to the end of each queue first: a command that repeats another one has its outcome only when the
    /// marker behind it has, since a queue is worked off in order.
    pub async fn settled(&self) {
        // Every queue that was ever used: what was delivered before may be delivered again.
        let partitions = self.published().partitions.clone();
        for partition in partitions {
            self.publish(&command(member_in(partition, MARKER).as_str(), Action::Exit(Exit))).await;
        }
        let settled = async || self.without_outcome().await.is_empty().then_some(());
        if within(PATIENCE, settled).await.is_none() {
            let report = self.unsettled().await;
            panic!("not settled after {} seconds: {report}", PATIENCE.as_secs());
        }
    }

    /// What was published and has no outcome, in words. A database that is away knows of no outcome at all.
    async fn without_outcome(&self) -> Vec<String> {
        let Messages { members, ids, bodies } = self.published().messages.clone();
        let partition = |member: &String| member.parse().map(|id| i16::from(Partition::of(&id).number()));
        let partitions: Vec<i16> = members.iter().map(partition).collect::<Result<_, _>>().expect("ids of members");
        match self.try_query(WITHOUT_OUTCOME, &[&members, &ids, &bodies, &partitions]).await {
            Ok(rows) => rows.iter().map(|row| row.get(0)).collect(),
            Err(error) => vec![format!("the database is away: {error}")],
        }
    }

    async fn unsettled(&self) -> String {
        const SHOWN: usize = 5;
        let missing = self.without_outcome().await;
        let mut report = format!("{} messages have no outcome\n", missing.len());
        for message in missing.iter().take(SHOWN) {
            let _ = writeln!(report, "  {message}");
        }
        for partition in Partition::all() {
            let (queue, ready) = (partition.queue(), self.ready(&partition.queue()).await);
            if ready > 0 {
                let _ = writeln!(report, "  {ready} are ready in {queue}");
            }
        }
        report
    }
}
