//! Random programmes and histories in which much happens: few members, small numbers, ids that come again, targets that
//! exist, and times that go to and fro over the days on which lots and holds end.

use jiff::tz::TimeZoneDatabase;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::sample::select;

use crate::model::{After, Expiry, Programme, RoundUp, Said, What, WhenShort};

/// Who may appear in a history.
pub(crate) const MEMBERS: [&str; 2] = ["ann", "bob"];

/// What a shop had set, and all that was said.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) programmes: Vec<Programme>,
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// `programme` is an index of the history's.
    Said { programme: usize, now: Timestamp, said: Said },
    /// What is due by then happens.
    Sweep { member: String, until: Timestamp },
}

/// A history of fewer scenes than that: now and then one in which somebody says far too much before they enrol.
pub(crate) fn histories(scenes_below: usize) -> impl Strategy<Value = History> {
    let steps = prop_oneof![
        30 => prop::collection::vec(scenes(), 1..scenes_below).prop_map(|scenes| scenes.concat()),
        1 => prop::collection::vec(drawn_points(), 101..110),
    ];
    (prop::collection::vec(programmes(), 1..=2), prop::bool::weighted(0.8), steps).prop_map(
        |(programmes, enrol, drawn)| {
            let steps = written(&drawn, programmes.len(), enrol && drawn.len() < 100);
            History { programmes, steps }
        },
    )
}

/// As a rule points expire, and soon.
fn programmes() -> impl Strategy<Value = Programme> {
    let after = prop_oneof![3 => (1..=40_i64).prop_map(After::Days), 1 => (1..=3_i64).prop_map(After::Months)];
    let round_up = prop_oneof![
        4 => Just(RoundUp::None),
        2 => Just(RoundUp::Month),
        1 => Just(RoundUp::Quarter),
        1 => Just(RoundUp::Year),
    ];
    let zone = select(vec!["UTC", "Europe/Berlin", "America/Havana", "Pacific/Auckland"])
        .prop_map(|zone| TimeZoneDatabase::bundled().get(zone).expect("a zone that exists"));
    let expiry = (after, round_up, zone).prop_map(|(after, round_up, zone)| Expiry { after, round_up, zone });
    (
        select(vec![0, 1, 7, 10, 10, 50, 100]),
        prop::option::weighted(0.8, expiry),
        select(vec![0, 0, 1, 3, 30]),
        prop_oneof![2 => Just(WhenShort::Debt), 1 => Just(WhenShort::Refuse)],
    )
        .prop_map(|(milestone, expiry, grace_days, when_short)| Programme {
            milestone,
            expiry,
            grace_days,
            when_short,
        })
}

/// A step before its time, id and targets are known, which depend on the steps before it.
#[derive(Clone, Debug)]
struct Drawn {
    member: &'static str,
    kind: Kind,
    /// How far the clock of the history goes on, or back.
    gap: SignedDuration,
    /// Whether it is midnight then, at which lots and holds end together.
    at_midnight: bool,
    points: i64,
    /// Whether the command names as many as that, where it need not.
    names_points: bool,
    /// Which of the earlier commands that fit: 0 for the last.
    pick: usize,
    /// From 0 to 99, each deciding one thing that is rare.
    rare: [u8; 4],
    hold_hours: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Enroll,
    Update,
    Earn,
    Spend,
    Credit { counts: bool },
    Debit,
    Reverse(Side),
    Hold,
    Capture,
    Release,
    Redeem,
    Exit,
    Terminate,
    Sweep,
}

/// What a reversal is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Credit,
    Debit,
}

/// A step, or several that lead somewhere.
fn scenes() -> impl Strategy<Value = Vec<Drawn>> {
    let side = || prop_oneof![Just(Side::Credit), Just(Side::Debit)];
    let hold_ends = || prop_oneof![2 => Just(Kind::Release), 2 => Just(Kind::Capture), 1 => Just(Kind::Sweep)];
    // Points are used, and what gave them is taken back: a debt, and a way for points to come back to it.
    let debt_ends = prop_oneof![3 => hold_ends(), 2 => Just(Kind::Reverse(Side::Debit)), 1 => Just(Kind::Exit)];
    let used = prop_oneof![Just(Kind::Spend), Just(Kind::Hold)];
    let debt = (used, debt_ends)
        .prop_map(|(used, end)| [Kind::Earn, used, Kind::Reverse(Side::Credit), end].map(Beat::from).to_vec());
    let hold =
        hold_ends().prop_map(|end| [Kind::Earn, Kind::Hold, end, Kind::Reverse(Side::Debit)].map(Beat::from).to_vec());
    prop_oneof![
        12 => drawn().prop_map(|drawn| vec![drawn]),
        1 => played(debt),
        1 => played(side().prop_map(late)),
        1 => played(hold),
        1 => played(Just(shared())),
        1 => played(Just(stranger())),
    ]
}

/// Some points are used and some expire, before one of the two is undone.
fn late(side: Side) -> Vec<Beat> {
    let spend = Beat { half: true, ..Kind::Spend.into() };
    // The credit before the sweep, not the one after it.
    let reversal = Beat { pick: usize::from(side == Side::Credit), ..Kind::Reverse(side).into() };
    vec![Kind::Earn.into(), spend, Kind::Sweep.into(), Kind::Earn.into(), reversal]
}

/// A credit pays a debt with one half, and the other expires with what somebody else put into its lot, before the
/// credit is undone.
fn shared() -> Vec<Beat> {
    let spend = Beat { half: true, ..Kind::Spend.into() };
    let reversal = || Beat::from(Kind::Reverse(Side::Credit));
    let paying = Beat { pick: 1, ..reversal() };
    vec![Kind::Earn.into(), spend, reversal(), Kind::Earn.into(), Kind::Earn.into(), Kind::Sweep.into(), paying]
}

/// Somebody who may not be a member yet undoes what was refused, and then enrols.
fn stranger() -> Vec<Beat> {
    let of_stranger = |kind: Kind| Beat { member: "bob", ..kind.into() };
    let reversal = Beat { any_target: true, ..of_stranger(Kind::Reverse(Side::Debit)) };
    vec![of_stranger(Kind::Update), reversal, of_stranger(Kind::Enroll)]
}

/// A step of a scene.
#[derive(Clone, Copy, Debug)]
struct Beat {
    member: &'static str,
    kind: Kind,
    /// Whether it is about half of the scene's points.
    half: bool,
    pick: usize,
    /// Whether its target is what was said last, whatever that was.
    any_target: bool,
}

impl From<Kind> for Beat {
    fn from(kind: Kind) -> Self {
        Self { member: "ann", kind, half: false, pick: 0, any_target: false }
    }
}

/// The steps one after the other, about the same points. A sweep comes when much has become due.
fn played(beats: impl Strategy<Value = Vec<Beat>>) -> impl Strategy<Value = Vec<Drawn>> {
    (beats, prop::collection::vec(drawn(), 7)).prop_map(|(beats, drawn)| {
        let points = drawn[0].points;
        let step = |(beat, drawn): (Beat, Drawn)| Drawn {
            member: beat.member,
            kind: beat.kind,
            gap: if beat.kind == Kind::Sweep { SignedDuration::from_hours(25 * 24) } else { drawn.gap },
            points: if beat.half { (points + 1) / 2 } else { points },
            pick: beat.pick,
            rare: if beat.any_target { ANY_TARGET } else { drawn.rare },
            ..drawn
        };
        beats.into_iter().zip(drawn).map(step).collect()
    })
}

/// Nothing rare but what is undone.
const ANY_TARGET: [u8; 4] = [99, 4, 99, 99];

fn drawn() -> impl Strategy<Value = Drawn> {
    drawn_of(prop_oneof![
        8 => Just(Kind::Enroll),
        2 => Just(Kind::Update),
        28 => Just(Kind::Earn),
        18 => Just(Kind::Spend),
        6 => any::<bool>().prop_map(|counts| Kind::Credit { counts }),
        4 => Just(Kind::Debit),
        22 => prop_oneof![Just(Side::Credit), Just(Side::Debit)].prop_map(Kind::Reverse),
        14 => Just(Kind::Hold),
        10 => Just(Kind::Capture),
        6 => Just(Kind::Release),
        7 => Just(Kind::Redeem),
        3 => Just(Kind::Exit),
        1 => Just(Kind::Terminate),
        4 => Just(Kind::Sweep),
    ])
}

/// Nothing but what waits for an enrolment.
fn drawn_points() -> impl Strategy<Value = Drawn> {
    let kinds = prop_oneof![10 => Just(Kind::Earn), 3 => Just(Kind::Spend), 1 => Just(Kind::Hold)];
    drawn_of(kinds).prop_map(|drawn| Drawn { member: "ann", rare: [99; 4], ..drawn })
}

fn drawn_of(kinds: impl Strategy<Value = Kind>) -> impl Strategy<Value = Drawn> {
    let members = prop_oneof![6 => Just(MEMBERS[0]), 1 => Just(MEMBERS[1])];
    // Sums of these often meet: a spend of all that is there, a part that is exactly what is left.
    let points = prop_oneof![4 => select(vec![5_i64, 10, 10, 20, 50, 100]), 2 => 1..=12_i64, 1 => Just(1_200)];
    let hold_hours = prop_oneof![1 => 1..=48_i64, 3 => 49..=31 * 24_i64];
    let picks = prop_oneof![2 => Just(0_usize), 1 => 0..6_usize];
    let rare = [0..100_u8, 0..100, 0..100, 0..100];
    (members, kinds, gaps(), any::<bool>(), points, any::<bool>(), picks, rare, hold_hours).prop_map(
        |(member, kind, gap, at_midnight, points, names_points, pick, rare, hold_hours)| Drawn {
            member,
            kind,
            gap,
            at_midnight,
            points,
            names_points,
            pick,
            rare,
            hold_hours,
        },
    )
}

fn gaps() -> impl Strategy<Value = SignedDuration> {
    let hours = prop_oneof![
        8 => Just(0),
        6 => 1..=20_i64,
        4 => 24..=12 * 24_i64,
        1 => 20 * 24..=45 * 24_i64,
        1 => -30..=-1_i64,
        1 => -20 * 24..=-24_i64,
    ];
    hours.prop_map(SignedDuration::from_hours)
}

/// Gives each step its time, its id and what it is about.
fn written(drawn: &[Drawn], programmes: usize, enrol: bool) -> Vec<Step> {
    let mut writer = Writer { clock: "2025-01-20T22:00:00Z".parse().expect("a time"), said: Vec::new() };
    let mut steps = Vec::new();
    if enrol {
        let said = writer.remember("ann", writer.clock, What::Enroll);
        steps.push(Step::Said { programme: 0, now: writer.clock, said });
    }
    // The programme changes once, if there are two.
    let change = drawn.len() / 2;
    for (place, drawn) in drawn.iter().enumerate() {
        steps.push(writer.step(drawn, if place < change { 0 } else { programmes - 1 }));
    }
    steps
}

struct Writer {
    clock: Timestamp,
    said: Vec<Said>,
}

impl Writer {
    fn step(&mut self, drawn: &Drawn, programme: usize) -> Step {
        self.clock += drawn.gap;
        if drawn.at_midnight {
            self.clock = midnight(self.clock);
        }
        if drawn.kind == Kind::Sweep {
            return Step::Sweep { member: drawn.member.to_owned(), until: self.clock };
        }
        let said = self.command(drawn);
        Step::Said { programme, now: now(drawn, said.occurred_at), said }
    }

    fn command(&mut self, drawn: &Drawn) -> Said {
        let earlier = self.earlier(drawn, |_| true);
        match (earlier, drawn.rare[0]) {
            // Said again, stamped afresh unless a hold would end before it begins.
            (Some(earlier), 0..=5) => Said { occurred_at: self.stamp(earlier.what, &earlier), ..earlier },
            // Another thing under an id that is taken.
            (Some(earlier), 6..=8) => {
                let what = self.what(drawn);
                Said { command_id: earlier.command_id, ..self.at_the_clock(drawn.member, what) }
            }
            _ => {
                let what = self.what(drawn);
                self.remember(drawn.member, self.clock, what)
            }
        }
    }

    fn stamp(&self, what: What, earlier: &Said) -> Timestamp {
        if matches!(what, What::Hold { .. }) { earlier.occurred_at } else { self.clock }
    }

    fn at_the_clock(&self, member: &str, what: What) -> Said {
        let command_id = self.said.len() as u128 + 1;
        Said { command_id, member: member.to_owned(), occurred_at: self.clock, what }
    }

    fn remember(&mut self, member: &str, at: Timestamp, what: What) -> Said {
        let said = Said { occurred_at: at, ..self.at_the_clock(member, what) };
        self.said.push(said.clone());
        said
    }

    fn what(&self, drawn: &Drawn) -> What {
        let Drawn { points, .. } = *drawn;
        let part = drawn.names_points.then_some(points);
        match drawn.kind {
            Kind::Enroll => What::Enroll,
            Kind::Update => What::Update,
            Kind::Earn => What::Earn { points },
            Kind::Spend => What::Spend { points },
            Kind::Credit { counts } => What::Adjust { points, counts },
            Kind::Debit => What::Adjust { points: -points, counts: false },
            Kind::Reverse(Side::Credit) => What::Reverse { target: self.target(drawn, is_credit), points: part },
            Kind::Reverse(Side::Debit) => What::Reverse { target: self.target(drawn, is_debit), points: part },
            Kind::Hold => What::Hold { points, expires_at: self.hold_end(drawn) },
            Kind::Capture => What::Capture { target: self.target(drawn, is_hold), points: part },
            Kind::Release => What::Release { target: self.target(drawn, is_hold) },
            Kind::Redeem => What::Redeem { number: 1 + i64::from(drawn.rare[2]) % 3 },
            Kind::Exit => What::Exit,
            Kind::Terminate => What::Terminate,
            Kind::Sweep => unreachable!("a sweep is no command"),
        }
    }

    /// After the clock by at most 31 days; mostly a midnight, when there is one between.
    fn hold_end(&self, drawn: &Drawn) -> Timestamp {
        let end = self.clock + SignedDuration::from_hours(drawn.hold_hours);
        let night = midnight(end);
        if drawn.names_points && night > self.clock { night } else { end }
    }

    /// As a rule something fit of the same member; now and then any id, or one of nobody.
    fn target(&self, drawn: &Drawn, fit: fn(&Said) -> bool) -> u128 {
        let target = match drawn.rare[1] {
            0..=3 => None,
            4..=11 => self.earlier(drawn, |_| true),
            _ => self.earlier(drawn, fit),
        };
        target.map_or(999, |said| said.command_id)
    }

    /// One of the last that fit: what is long gone is seldom of interest.
    fn earlier(&self, drawn: &Drawn, fit: impl Fn(&Said) -> bool) -> Option<Said> {
        let fits = |said: &&Said| said.member == drawn.member && fit(said);
        let last: Vec<&Said> = self.said.iter().rev().filter(fits).take(6).collect();
        last.get(drawn.pick % last.len().max(1)).map(|said| (*said).clone())
    }
}

fn is_credit(said: &Said) -> bool {
    matches!(said.what, What::Earn { .. } | What::Adjust { points: 1.., .. })
}

fn is_debit(said: &Said) -> bool {
    matches!(said.what, What::Spend { .. } | What::Adjust { points: ..0, .. } | What::Capture { .. })
}

fn is_hold(said: &Said) -> bool {
    matches!(said.what, What::Hold { .. })
}

/// The database's clock: later than the command as a rule, at times the last instant at which that is no longer ahead,
/// at times the first.
fn now(drawn: &Drawn, occurred_at: Timestamp) -> Timestamp {
    let five_minutes = SignedDuration::from_mins(5);
    match drawn.rare[3] {
        0..=2 => occurred_at - five_minutes,
        3..=4 => occurred_at - five_minutes - SignedDuration::from_micros(1),
        _ => occurred_at + SignedDuration::from_hours(1),
    }
}

/// The last one in UTC.
fn midnight(at: Timestamp) -> Timestamp {
    at - SignedDuration::from_secs(at.as_second().rem_euclid(24 * 60 * 60))
}
