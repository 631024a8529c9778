//! How deliveries are grouped into transactions, how long that may wait, and when a message has killed its worker.
//! Pure.

use std::time::Duration;

use crate::message::Message;

/// How long a busy batch processor lets commands come together before it takes the next batch. Fewer and larger
/// transactions cost the database about a sixth less for each command (measured at 15 ms), which leaves more of the
/// machine to everything else. A longer wait gains more still, and whoever waits for a receipt feels it.
pub const LINGER: Duration = Duration::from_millis(25);

/// A batch of at least so many commands tells that the batch processor is busy. One command on an idle system never
/// waits.
const BUSY_COMMANDS: usize = 64;

/// With so many commands at hand the batch is large as it is. Of a backlog, batches of twice 1,000 were a fifth faster
/// than of 1,000 (measured).
const ENOUGH_COMMANDS: usize = 2_000;

/// Deliveries before a message is taken alone. A message that kills the worker takes up the delivery counts of all that
/// the worker holds; alone, those before it are applied and acknowledged one by one, and it is known which one it is.
pub const SUSPECT_AFTER_DELIVERIES: i64 = 3;

/// How many workers may end while they apply the same message alone. A worker also ends for reasons of its own, and
/// the message that it had in flight is to blame for none of them, so once is not enough; and until the culprit is out
/// of the way nobody behind it is served. Far below the broker's own limit of 200 deliveries, which would give up
/// with the culprit all those that were delivered behind it.
pub const LONE_WORKERS_MAX: i32 = 5;

/// The transactions of a batch, in order: as few as possible, none of more than `largest` messages, a suspect in one of
/// its own.
pub fn parts(messages: Vec<Message>, largest: usize) -> Vec<Vec<Message>> {
    split(messages, largest, is_suspect)
}

/// Whether workers may have died of this message, or of one that they held together with it.
pub fn is_suspect(message: &Message) -> bool {
    message.deliveries_before() >= SUSPECT_AFTER_DELIVERIES
}

/// Whether to let more commands come, after a batch of `last` commands and with `waiting` at hand.
pub const fn lingers(last: usize, waiting: usize) -> bool {
    last >= BUSY_COMMANDS && waiting < ENOUGH_COMMANDS
}

fn split<T>(items: Vec<T>, largest: usize, alone: impl Fn(&T) -> bool) -> Vec<Vec<T>> {
    let mut parts: Vec<Vec<T>> = Vec::new();
    let mut open = false;
    for item in items {
        let suspect = alone(&item);
        match parts.last_mut() {
            Some(part) if open && !suspect && part.len() < largest => part.push(item),
            Some(_) | None => parts.push(vec![item]),
        }
        open = !suspect;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_suspect_is_taken_alone_and_in_its_place_and_no_part_is_too_large() {
        let check = |items: &[i32], parts: &[&[i32]]| assert_eq!(split(items.to_vec(), 3, |item| *item < 0), parts);
        check(&[], &[]);
        check(&[1, 2, 3], &[&[1, 2, 3]]);
        check(&[1, -2, 3, 4], &[&[1], &[-2], &[3, 4]]);
        check(&[-1, -2], &[&[-1], &[-2]]);
        check(&[1, 2, 3, 4, 5, 6, 7], &[&[1, 2, 3], &[4, 5, 6], &[7]]);
    }

    #[test]
    fn only_a_busy_lane_that_has_little_at_hand_waits_for_more() {
        let check = |last, waiting, lingered: bool| assert_eq!(lingers(last, waiting), lingered, "{last} {waiting}");
        check(0, 0, false);
        check(BUSY_COMMANDS - 1, 0, false);
        check(BUSY_COMMANDS, 0, true);
        check(2_000, ENOUGH_COMMANDS - 1, true);
        check(2_000, ENOUGH_COMMANDS, false);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_moved(items: Vec<i8>, largest in 1_usize..10) {
            let parts = split(items.clone(), largest, |item| *item < 0);
            prop_assert!(parts.iter().all(|part| (1..=largest).contains(&part.len())));
            prop_assert_eq!(parts.concat(), items);
        }
    }
}
