//! Verbs that look at who has which partition.

use std::collections::BTreeMap;

use loyalty_common::Partition;

use crate::program::Program;
use crate::world::World;

impl World {
    /// Who owns each partition, by the number of the process, where owner and standby have subscribed.
    pub async fn owners(&self) -> BTreeMap<Partition, u32> {
        const OWNERS: &str = "
            select partition, split_part(o.name, '/', 2)::bigint
            from assignment join worker as o on o.worker_id = owner left join worker as s on s.worker_id = standby
            where o.subscriptions[partition + 1] > 0 and (standby is null or s.subscriptions[partition + 1] > 0)";
        let rows = self.query(OWNERS, &[]).await;
        let partition = |number: i16| Partition::all().find(|it| i16::from(it.number()) == number).expect("one of 16");
        let pid = |number: i64| u32::try_from(number).expect("a process's number");
        rows.iter().map(|row| (partition(row.get(0)), pid(row.get(1)))).collect()
    }

    /// The partitions that a worker owns.
    pub async fn owned_by(&self, worker: &Program) -> Vec<Partition> {
        let owners = self.owners().await;
        owners.into_iter().filter(|(_, owner)| *owner == worker.pid()).map(|(partition, _)| partition).collect()
    }
}
