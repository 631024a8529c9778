//! Who gets which partition. Pure: the new places follow from the old ones and from who lives.
//!
//! Shares are within one of each other. No more partitions move than that takes, and none while nobody comes or goes:
//! a plan made of a plan changes nothing.

use std::collections::BTreeMap;

use loyalty_store::workers::{Place, Places};
use uuid::Uuid;

/// A worker that is not gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) worker_id: Uuid,
    /// It has been here for long enough that a share is worth its move. One that starts and dies, again and again, must
    /// not have partitions move each time.
    pub(super) settled: bool,
    /// It has been silent for a while: what it has stays with it, and it is given nothing.
    pub(super) late: bool,
}

/// The places as they should be. `living` has no worker twice.
pub(super) fn plan(before: &Places, living: &[Candidate]) -> Places {
    let mut places = *before;
    promote(&mut places, living);
    let takers = takers(&places, living);
    give_away(&mut places, &takers);
    // Whether somebody who is late comes back or is gone is known in a moment; until then it is not known what is fair.
    if living.iter().all(|worker| !worker.late) {
        balance(&mut places, before, &takers);
    }
    appoint_standbys(&mut places, living);
    places
}

/// Where the owner is gone, its standby has the queue already.
fn promote(places: &mut Places, living: &[Candidate]) {
    let find = |id: Option<Uuid>| living.iter().find(|worker| Some(worker.worker_id) == id);
    for place in places {
        if find(place.owner).is_none() {
            let standby = find(place.standby).filter(|worker| !worker.late);
            *place = Place { owner: standby.map(|worker| worker.worker_id), standby: None };
        }
    }
}

/// Who may be given partitions. Newcomers only if there is nobody else.
fn takers(places: &Places, living: &[Candidate]) -> Vec<Uuid> {
    let owns = |id: Uuid| places.iter().any(|place| place.owner == Some(id));
    let ready = || living.iter().filter(|worker| !worker.late);
    let mut takers: Vec<Uuid> =
        ready().filter(|worker| worker.settled || owns(worker.worker_id)).map(|worker| worker.worker_id).collect();
    if takers.is_empty() {
        takers.extend(ready().map(|worker| worker.worker_id));
    }
    takers.sort_unstable();
    takers
}

/// What is nobody's goes to whoever has the least.
fn give_away(places: &mut Places, takers: &[Uuid]) {
    for at in 0..places.len() {
        if places[at].owner.is_none() {
            let least = takers.iter().min_by_key(|taker| load(places, **taker));
            places[at].owner = least.copied();
        }
    }
}

/// Moves one partition after the other from who has the most to who has the least, until that is fair.
fn balance(places: &mut Places, before: &Places, takers: &[Uuid]) {
    // Each move brings two shares closer to each other, so that it ends.
    while let (Some(from), Some(to)) = (
        takers.iter().max_by_key(|taker| load(places, **taker)),
        takers.iter().min_by_key(|taker| load(places, **taker)),
    ) && load(places, *from) > load(places, *to) + 1
    {
        let of_from = (0..places.len()).filter(|at| places[*at].owner == Some(*from));
        // What moves anyway moves once; and who stands by takes over without a pause.
        let cheapest =
            of_from.min_by_key(|at| (places[*at].owner == before[*at].owner, places[*at].standby != Some(*to)));
        let Some(at) = cheapest else { return };
        places[at].owner = Some(*to);
    }
}

/// Each owner's partitions are backed by all others in equal parts, so that shares are fair at once when it is gone.
/// Who stands by stays, as far as that allows.
fn appoint_standbys(places: &mut Places, living: &[Candidate]) {
    let mut backed: BTreeMap<(Uuid, Uuid), usize> = BTreeMap::new();
    let before = *places;
    for place in &mut *places {
        let Some(owner) = place.owner else { continue };
        let others = living.iter().filter(|worker| !worker.late && worker.worker_id != owner).count();
        let fair = load(&before, owner).div_ceil(others.max(1));
        let stays = |standby: &Uuid| {
            let lives = living.iter().any(|worker| worker.worker_id == *standby);
            lives && *standby != owner && backed.get(&(owner, *standby)).is_none_or(|count| *count < fair)
        };
        place.standby = place.standby.filter(stays);
        if let Some(standby) = place.standby {
            *backed.entry((owner, standby)).or_default() += 1;
        }
    }
    for at in 0..places.len() {
        if let Place { owner: Some(owner), standby: None } = places[at] {
            let others = living.iter().filter(|worker| !worker.late && worker.worker_id != owner);
            let count = |id: Uuid| backed.get(&(owner, id)).copied().unwrap_or_default();
            let all = |id: Uuid| places.iter().filter(|place| place.standby == Some(id)).count();
            let chosen = others.map(|worker| worker.worker_id).min_by_key(|id| (count(*id), all(*id), *id));
            places[at].standby = chosen;
            if let Some(standby) = chosen {
                *backed.entry((owner, standby)).or_default() += 1;
            }
        }
    }
}

/// How many partitions somebody has.
pub(super) fn load(places: &Places, worker: Uuid) -> usize {
    places.iter().filter(|place| place.owner == Some(worker)).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: u8) -> Uuid {
        Uuid::from_u128(u128::from(number))
    }

    fn settled(numbers: &[u8]) -> Vec<Candidate> {
        numbers.iter().map(|number| Candidate { worker_id: id(*number), settled: true, late: false }).collect()
    }

    fn shares(places: &Places, numbers: &[u8]) -> Vec<usize> {
        numbers.iter().map(|number| load(places, id(*number))).collect()
    }

    fn moved(before: &Places, after: &Places) -> usize {
        before.iter().zip(after).filter(|(before, after)| before.owner != after.owner).count()
    }

    #[test]
    fn one_worker_has_all_at_once_and_nobody_stands_by() {
        let new = [Candidate { worker_id: id(1), settled: false, late: false }];
        let places = plan(&Places::default(), &new);
        assert_eq!(places, [Place { owner: Some(id(1)), standby: None }; 16]);
    }

    #[test]
    fn a_newcomer_stands_by_at_once_and_has_its_share_once_it_has_settled() {
        let alone = plan(&Places::default(), &settled(&[1]));
        let mut both = settled(&[1, 2]);
        both[1].settled = false;
        let before = plan(&alone, &both);
        assert_eq!(before, [Place { owner: Some(id(1)), standby: Some(id(2)) }; 16]);
        let after = plan(&before, &settled(&[1, 2]));
        assert_eq!((shares(&after, &[1, 2]), moved(&before, &after)), (vec![8, 8], 8));
        assert!(after.iter().all(|place| place.standby.is_some()), "{after:?}");
    }

    #[test]
    fn a_third_worker_takes_of_both() {
        let two = plan(&Places::default(), &settled(&[1, 2]));
        let three = plan(&two, &settled(&[1, 2, 3]));
        assert_eq!((shares(&three, &[1, 2, 3]), moved(&two, &three)), (vec![6, 5, 5], 5));
    }

    #[test]
    fn who_is_gone_is_replaced_by_its_standbys_and_shares_are_fair_without_another_move() {
        for workers in 2..=5 {
            let numbers: Vec<u8> = (1..=workers).collect();
            let all = plan(&Places::default(), &settled(&numbers));
            for gone in &numbers {
                let rest: Vec<u8> = numbers.iter().copied().filter(|number| number != gone).collect();
                let after = plan(&all, &settled(&rest));
                let (least, most) = bounds(&after, &rest);
                assert!(most - least <= 1, "{rest:?}: {after:?}");
                assert_eq!(moved(&all, &after), load(&all, id(*gone)), "of {workers}, {gone} is gone");
                let by_standby = all.iter().zip(&after).filter(|(old, new)| old.standby == new.owner).count();
                // Where the shares were not equal, one may go to somebody else than its standby.
                assert!(by_standby + 1 >= load(&all, id(*gone)), "{by_standby}: {all:?}");
            }
        }
    }

    #[test]
    fn who_is_late_keeps_what_it_has_and_nothing_moves_for_a_newcomer_meanwhile() {
        let two = plan(&Places::default(), &settled(&[1, 2]));
        let mut three = settled(&[1, 2, 3]);
        three[0].late = true;
        let after = plan(&two, &three);
        assert_eq!(moved(&two, &after), 0);
        assert_eq!(plan(&after, &three), after);
        // What is nobody's is not left to wait.
        let orphaned = plan(&two, &[three[0], three[2]]);
        assert_eq!(shares(&orphaned, &[1, 3]), [8, 8]);
    }

    #[test]
    fn more_workers_than_partitions_have_one_each_or_none() {
        let numbers: Vec<u8> = (1..=20).collect();
        let places = plan(&Places::default(), &settled(&numbers));
        assert_eq!(bounds(&places, &numbers), (0, 1));
        assert_eq!(plan(&places, &settled(&numbers)), places);
    }

    fn bounds(places: &Places, numbers: &[u8]) -> (usize, usize) {
        let shares = shares(places, numbers);
        (shares.iter().copied().min().unwrap_or_default(), shares.iter().copied().max().unwrap_or_default())
    }

    fn somebody() -> impl Strategy<Value = Option<Uuid>> {
        proptest::option::weighted(0.8, (1_u8..9).prop_map(id))
    }

    prop_compose! {
        /// Whatever may stand in the table.
        fn any_places()(pairs in proptest::collection::vec((somebody(), somebody()), 16)) -> Places {
            let mut places = Places::default();
            for (place, (owner, standby)) in places.iter_mut().zip(pairs) {
                *place = Place { owner, standby };
            }
            places
        }
    }

    prop_compose! {
        /// Whoever may live; the first is who plans, and is not late.
        fn anybody()(flags in proptest::collection::btree_map(1_u8..9, any::<(bool, bool)>(), 1..8)) -> Vec<Candidate> {
            let candidate = |(number, (settled, late))| Candidate { worker_id: id(number), settled, late };
            let mut all: Vec<Candidate> = flags.into_iter().map(candidate).collect();
            all[0].late = false;
            all
        }
    }

    proptest! {
        #[test]
        fn every_partition_gets_a_living_owner_and_a_plan_of_a_plan_changes_nothing(
            before in any_places(), living in anybody()
        ) {
            let after = plan(&before, &living);
            for (old, new) in before.iter().zip(&after) {
                let candidate = |id: Option<Uuid>| living.iter().find(|worker| Some(worker.worker_id) == id);
                let owner = candidate(new.owner).expect("a living owner");
                prop_assert!(!owner.late || old.owner == new.owner, "given to who is late");
                prop_assert_ne!(new.owner, new.standby);
                if let Some(standby) = new.standby {
                    prop_assert!(candidate(Some(standby)).is_some(), "a living standby");
                } else {
                    prop_assert!(living.iter().all(|it| it.late || it.worker_id == owner.worker_id), "nobody stands by");
                }
            }
            prop_assert_eq!(plan(&after, &living), after);
        }

        #[test]
        fn shares_of_those_who_have_settled_are_within_one(before in any_places(), living in anybody()) {
            let living: Vec<_> = living.into_iter().map(|it| Candidate { settled: true, late: false, ..it }).collect();
            let after = plan(&before, &living);
            let loads: Vec<usize> = living.iter().map(|worker| load(&after, worker.worker_id)).collect();
            prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1, "{:?}", loads);
        }

        /// As few as any way to fair shares would take: what the new shares exceed the old ones by.
        #[test]
        fn no_more_moves_than_it_takes(before in any_places(), living in anybody()) {
            let living: Vec<_> = living.into_iter().map(|it| Candidate { settled: true, late: false, ..it }).collect();
            let after = plan(&before, &living);
            let gained: usize = living.iter().map(|worker| {
                load(&after, worker.worker_id).saturating_sub(load(&before, worker.worker_id))
            }).sum();
            prop_assert_eq!(moved(&before, &after), gained);
        }
    }
}
