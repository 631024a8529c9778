//! The ids of an import's commands: the same row has the same id each time it is imported, and no two rows share one.
//!
//! An id is made from the import's name, what the row says of a purchase (member, amount, time, each in one spelling),
//! and how many rows before it said the same. So the same file again changes nothing, two equal purchases stay two, and
//! a file that grew by new rows adds just these, also when a status changed or 12.50 became 12.5. (An id from all of
//! the row would double its points then; one from the whole file, once a row is appended; one from the line's number,
//! once a row is inserted.)

use std::collections::{HashMap, HashSet};

use loyalty_common::{CommandId, MemberId};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The namespace of all imports: a random UUID, fixed for ever. Changing it doubles every point that was imported.
const NAMESPACE: Uuid = Uuid::from_u128(0x0d6f_41ae_93c2_4d0b_b7a8_52f1_9c64_e35d);

/// Gives out the ids of one import. Remembers eight bytes of each row: a million rows take some 10 MB.
#[derive(Debug)]
pub(super) struct RowIds {
    scope: Uuid,
    seen: HashSet<u64>,
    /// How often those were seen that were seen more than once.
    repeats: HashMap<u64, u64>,
}

impl RowIds {
    /// The ids of the import of this name.
    pub(super) fn new(name: &str) -> Self {
        let scope = Uuid::new_v5(&NAMESPACE, name.as_bytes());
        Self { scope, seen: HashSet::new(), repeats: HashMap::new() }
    }

    /// The id of the next purchase of which these are the values.
    pub(super) fn of_purchase<'a>(&mut self, values: impl IntoIterator<Item = &'a str>) -> CommandId {
        self.of_values("purchase", values.into_iter().map(str::as_bytes))
    }

    /// The id of the next line with this text.
    pub(super) fn of_line(&mut self, text: &[u8]) -> CommandId {
        self.of_values("row", [text])
    }

    fn of_values<'a>(&mut self, kind: &str, values: impl IntoIterator<Item = &'a [u8]>) -> CommandId {
        let mut hash = Sha256::new();
        for value in values {
            // With its length, so that ("ab", "c") is not ("a", "bc").
            hash.update((value.len() as u64).to_be_bytes());
            hash.update(value);
        }
        let digest = hash.finalize();
        let occurrence = self.occurrence(&digest);
        let digest = digest.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        CommandId::derived(&self.scope, &format!("{kind}/{digest}/{occurrence}"))
    }

    /// The id of a row that says itself what makes it unique: an order's number.
    pub(super) fn of_key(&self, member: &MemberId, key: &str) -> CommandId {
        CommandId::derived(&self.scope, &format!("key/{member}/{key}"))
    }

    /// The id of a member's enrolment.
    pub(super) fn of_enrolment(&self, member: &MemberId) -> CommandId {
        CommandId::derived(&self.scope, &format!("enroll/{member}"))
    }

    /// How many rows with this digest came before. Two different rows that share the first eight bytes of it count
    /// as equal, which is harmless: the rest of the digest is in the id as well.
    fn occurrence(&mut self, digest: &[u8]) -> u64 {
        let start = digest.iter().take(8).fold(0, |start, byte| start << 8 | u64::from(*byte));
        if self.seen.insert(start) {
            return 0;
        }
        let repeats = self.repeats.entry(start).or_default();
        *repeats += 1;
        *repeats
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn ids(name: &str, rows: &[Vec<String>]) -> Vec<CommandId> {
        let mut ids = RowIds::new(name);
        rows.iter().map(|row| ids.of_purchase(row.iter().map(String::as_str))).collect()
    }

    /// Few values, so that equal rows are common.
    fn rows() -> impl Strategy<Value = Vec<Vec<String>>> {
        vec(vec("[ab]{0,2}", 2), 0..40)
    }

    proptest! {
        #[test]
        fn the_same_file_has_the_same_ids_and_no_two_rows_share_one(rows in rows()) {
            let first = ids("june", &rows);
            prop_assert_eq!(&first, &ids("june", &rows));
            prop_assert_eq!(first.iter().collect::<HashSet<_>>().len(), rows.len());
        }

        #[test]
        fn a_file_that_grew_keeps_the_ids_of_its_old_rows(old in rows(), new in rows()) {
            let grown: Vec<_> = old.iter().chain(&new).cloned().collect();
            prop_assert_eq!(ids("june", &old), &ids("june", &grown)[..old.len()]);
        }

        #[test]
        fn the_order_of_rows_does_not_matter_as_a_whole(rows in rows(), turn in 0_usize..40) {
            let mut turned = rows.clone();
            turned.rotate_left(if rows.is_empty() { 0 } else { turn % rows.len() });
            let set = |rows: &[Vec<String>]| ids("june", rows).into_iter().collect::<HashSet<_>>();
            prop_assert_eq!(set(&rows), set(&turned));
        }

        #[test]
        fn imports_of_different_names_share_no_id(rows in rows()) {
            let june: HashSet<_> = ids("june", &rows).into_iter().collect();
            prop_assert!(ids("july", &rows).iter().all(|id| !june.contains(id)));
        }
    }

    /// Pinned: another id for the same row would double the points of every import that was ever repeated.
    #[test]
    fn ids_never_change() {
        let mut ids = RowIds::new("cdnow-sample.csv");
        let member: MemberId = "00004".parse().expect("a member id");
        let purchase = ["00004", "2933e-2", "1997-01-01T00:00:00"];
        insta::assert_snapshot!(ids.of_purchase(purchase), @"6e7058b9-11eb-52c2-ad3a-1ef00f8dba20");
        insta::assert_snapshot!(ids.of_purchase(purchase), @"749b91aa-d4ab-5141-8f84-84d823633f12");
        insta::assert_snapshot!(ids.of_line(b"{}"), @"cd3d742f-6b9e-51f6-acc0-1a80bac30040");
        insta::assert_snapshot!(ids.of_key(&member, "order 991"), @"0f6c271e-58d1-5fa4-8a3e-295a35d338c7");
        insta::assert_snapshot!(ids.of_enrolment(&member), @"1c300c5f-dae6-5284-9daf-5f867b5ac6e1");
    }
}
