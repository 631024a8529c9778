//! The small language of `--where`: from text to values. Nothing of the text reaches the database.

use loyalty_common::MemberId;
use loyalty_ledger::MemberStatus;
use loyalty_store::rebuild::{Comparison, Condition, Selection};

use crate::time_arg::time_arg;

/// `points >= 1000 and status = active`: conditions joined by `and`.
pub(super) fn selection(text: &str) -> Result<Selection, Wrong> {
    let mut words = Words { text, at: 0 };
    let mut conditions = vec![condition(&mut words)?];
    loop {
        let (at, word) = words.next();
        match word {
            "" => return Ok(Selection(conditions)),
            _ if word.eq_ignore_ascii_case("and") => conditions.push(condition(&mut words)?),
            _ => return Err(words.wrong(at, format!("expected `and` or the end, found `{word}`"))),
        }
        if conditions.len() > CONDITIONS_MAX {
            return Err(words.wrong(at, format!("at most {CONDITIONS_MAX} conditions are allowed")));
        }
    }
}

/// More than anybody types.
const CONDITIONS_MAX: usize = 16;

const FIELDS: &str = "member, status, points, lifetime_points, epoch, enrolled_at";

/// What is wrong with a text, and where: the first character is 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {place}: {problem}")]
pub(super) struct Wrong {
    place: usize,
    problem: String,
}

fn condition(words: &mut Words<'_>) -> Result<Condition, Wrong> {
    let (at, field) = words.next();
    match field {
        "member" => words.compared(field, MemberId::parse).map(|(how, member_id)| Condition::Member(how, member_id)),
        "status" => {
            let is = words.is_or_is_not()?;
            words.value(field, str::parse::<MemberStatus>).map(|status| Condition::Status { is, status })
        }
        "points" => words.compared(field, number).map(|(how, points)| Condition::Points(how, points)),
        "lifetime_points" => words.compared(field, number).map(|(how, points)| Condition::LifetimePoints(how, points)),
        "epoch" => words.compared(field, number).map(|(how, epoch)| Condition::Epoch(how, epoch)),
        "enrolled_at" => words.compared(field, time_arg).map(|(how, at)| Condition::EnrolledAt(how, at)),
        "" => Err(words.wrong(at, format!("expected a field: {FIELDS}"))),
        _ => Err(words.wrong(at, format!("`{field}` is not a field; they are {FIELDS}"))),
    }
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| "must be an integer".to_owned())
}

/// The words of a text, from the left to the right.
struct Words<'a> {
    text: &'a str,
    /// Where the rest begins, in bytes.
    at: usize,
}

const COMPARISON_SIGNS: &[char] = &['=', '!', '<', '>'];

impl<'a> Words<'a> {
    /// The next word and where it begins. The empty word is the end.
    fn next(&mut self) -> (usize, &'a str) {
        self.take(|rest| {
            if rest.starts_with(COMPARISON_SIGNS) {
                return rest.find(|sign| !COMPARISON_SIGNS.contains(&sign));
            }
            rest.find(|sign: char| sign.is_whitespace() || COMPARISON_SIGNS.contains(&sign))
        })
    }

    /// Skips white space and takes up to where `end` says; up to the end of the text if it says nothing.
    fn take(&mut self, end: impl FnOnce(&str) -> Option<usize>) -> (usize, &'a str) {
        let rest = &self.text[self.at..];
        let begin = self.at + (rest.len() - rest.trim_start().len());
        let rest = &self.text[begin..];
        let end = begin + end(rest).unwrap_or(rest.len());
        self.at = end;
        (begin, &self.text[begin..end])
    }

    /// A comparison and the value that it is with.
    fn compared<T, E: ToString>(
        &mut self,
        field: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<(Comparison, T), Wrong> {
        let (at, word) = self.next();
        let signs = || Comparison::ALL.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(" ");
        let missing = || self.wrong(at, format!("after `{field}` comes one of {}", signs()));
        let comparison = Comparison::parse(word).ok_or_else(missing)?;
        Ok((comparison, self.value(field, parse)?))
    }

    fn is_or_is_not(&mut self) -> Result<bool, Wrong> {
        let (at, word) = self.next();
        match Comparison::parse(word) {
            Some(Comparison::Equal) => Ok(true),
            Some(Comparison::NotEqual) => Ok(false),
            Some(Comparison::Less | Comparison::LessOrEqual | Comparison::Greater | Comparison::GreaterOrEqual)
            | None => Err(self.wrong(at, "after `status` comes = or !=".to_owned())),
        }
    }

    /// The next word as a value. It may hold any sign; in single quotes also white space, and a quote as two.
    fn value<T, E: ToString>(&mut self, field: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<T, Wrong> {
        let (at, word) = self.take(|rest| match rest.strip_prefix('\'') {
            Some(quoted) => closing_quote(quoted).map(|end| end + 2),
            None => rest.find(char::is_whitespace),
        });
        let value = match word.strip_prefix('\'') {
            None => word.to_owned(),
            Some(quoted) => match closing_quote(quoted) {
                Some(end) => quoted[..end].replace("''", "'"),
                None => return Err(self.wrong(at, "the quote is not closed".to_owned())),
            },
        };
        parse(&value).map_err(|allowed| self.wrong(at, format!("`{field}` {}", allowed.to_string())))
    }

    fn wrong(&self, at: usize, problem: String) -> Wrong {
        Wrong { place: self.text[..at].chars().count() + 1, problem }
    }
}

/// Where a quoted text ends: at the first quote that is not doubled.
fn closing_quote(text: &str) -> Option<usize> {
    let mut quotes = text.match_indices('\'').map(|(at, _)| at).peekable();
    while let Some(at) = quotes.next() {
        if quotes.next_if_eq(&(at + 1)).is_none() {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_as_people_write_them() {
        let id = |text: &str| text.parse::<MemberId>().expect("a member id");
        let check = |text: &str, expected: &[Condition]| {
            assert_eq!(selection(text), Ok(Selection(expected.to_vec())), "{text}");
        };
        let points = Condition::Points(Comparison::GreaterOrEqual, 1_000);
        let active = Condition::Status { is: true, status: MemberStatus::Active };
        check("points >= 1000 and status = active", &[points.clone(), active]);
        check("points>=1000", std::slice::from_ref(&points));
        check("  points  >=\t'1000' ", &[points]);
        check("status != terminated", &[Condition::Status { is: false, status: MemberStatus::Terminated }]);
        check(
            "member='it''s>me' AND epoch < 3",
            &[Condition::Member(Comparison::Equal, id("it's>me")), Condition::Epoch(Comparison::Less, 3)],
        );
        check("lifetime_points != -5", &[Condition::LifetimePoints(Comparison::NotEqual, -5)]);
        let day = "2026-11-22T00:00:00Z".parse().expect("a time");
        check("enrolled_at <= 2026-11-22", &[Condition::EnrolledAt(Comparison::LessOrEqual, day)]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place_and_what_is_allowed() {
        let check = |text: &str, expected: &str| {
            assert_eq!(selection(text).expect_err(text).to_string(), format!("at character {expected}"), "{text}");
        };
        check("", &format!("1: expected a field: {FIELDS}"));
        check("pionts > 5", &format!("1: `pionts` is not a field; they are {FIELDS}"));
        check("Points > 5", &format!("1: `Points` is not a field; they are {FIELDS}"));
        check("points 5", "8: after `points` comes one of = != < <= > >=");
        check("points => 5", "8: after `points` comes one of = != < <= > >=");
        check("points >", "9: `points` must be an integer");
        check("points > 1.5", "10: `points` must be an integer");
        check("points > 99999999999999999999", "10: `points` must be an integer");
        check("epoch = 4000000000", "9: `epoch` must be an integer");
        check("status > active", "8: after `status` comes = or !=");
        check("status = gone", "10: `status` must be one of unenrolled, active, exited, terminated");
        check("member = 'a b'", "10: `member` must be 1 to 64 bytes of printable ASCII without spaces");
        check("member = 'ann", "10: the quote is not closed");
        check("points > 5 or epoch = 1", "12: expected `and` or the end, found `or`");
        check("points > 5 and", &format!("15: expected a field: {FIELDS}"));
        check("points > 5; drop table member", "10: `points` must be an integer");
        check("müller = 5", &format!("1: `müller` is not a field; they are {FIELDS}"));
        check("member = ü and x = 1", "10: `member` must be 1 to 64 bytes of printable ASCII without spaces");
        let many = vec!["points > 5"; 17].join(" and ");
        assert!(selection(&many).expect_err("too many").to_string().contains("at most 16 conditions"));
    }
}
