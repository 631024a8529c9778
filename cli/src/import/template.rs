//! Texts with places to fill in from each row: `{member}@example.com`, `order {order_id}`.

use crate::exit::Usage;

/// A text with places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Place(Place),
}

/// What fills a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The member's id.
    Member,
    /// The column of this index.
    Column(usize),
}

impl Template {
    /// The template of a text, whose places are names in braces. A name that is no place is wrong usage: it would
    /// stand in every command.
    pub(super) fn compile(text: &str, place: impl Fn(&str) -> Option<Place>) -> Result<Self, Usage> {
        let wrong = |problem: String| Usage(format!("`{text}`: {problem}"));
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else {
                return Err(wrong("a `{` has no `}`".to_owned()));
            };
            let place = place(name).ok_or_else(|| wrong(format!("there is no column `{name}`")))?;
            parts.extend([Part::Text(before.to_owned()), Part::Place(place)]);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    /// The text, filled in, unless the value of a place cannot be had.
    pub(super) fn fill<'v, E>(&self, value: impl Fn(Place) -> Result<&'v str, E>) -> Result<String, E> {
        let mut filled = String::new();
        for part in &self.0 {
            filled.push_str(match part {
                Part::Text(text) => text,
                Part::Place(place) => value(*place)?,
            });
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Option<Place> {
        match name {
            "member" => Some(Place::Member),
            "order_id" => Some(Place::Column(3)),
            _ => None,
        }
    }

    fn value(place: Place) -> Result<&'static str, &'static str> {
        match place {
            Place::Member => Ok("ann"),
            Place::Column(3) => Ok("991"),
            Place::Column(_) => Err("there is no such column"),
        }
    }

    #[test]
    fn places_are_filled_in() {
        let check = |text: &str, filled: &str| {
            let template = Template::compile(text, place).expect(text);
            assert_eq!(template.fill(value).as_deref(), Ok(filled));
        };
        check("{member}@example.com", "ann@example.com");
        check("order {order_id} of {member}", "order 991 of ann");
        check("no place", "no place");
        check("", "");
    }

    #[test]
    fn a_wrong_place_is_named() {
        let problem = |text: &str| Template::compile(text, place).expect_err(text).to_string();
        insta::assert_snapshot!(problem("{membr}@example.com"), @"`{membr}@example.com`: there is no column `membr`");
        insta::assert_snapshot!(problem("{member"), @"`{member`: a `{` has no `}`");
    }
}
