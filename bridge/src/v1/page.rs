//! One page of a list, and where the next one is.

use serde::Serialize;

use crate::extract::percent_encoded;

/// Rows of a page unless the client says otherwise: a screen or two.
pub(crate) const LIMIT: u32 = 100;

#[derive(Debug, Serialize)]
pub(crate) struct Page<T> {
    items: Vec<T>,
    /// The path of the next page; none at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl<T> Page<T> {
    /// The page of these rows. A full one may be followed by another, which begins after its last row; `path` is the
    /// list's, with the filters that hold for all its pages.
    pub(crate) fn new(items: Vec<T>, limit: u32, path: &Path, after: impl FnOnce(&T) -> String) -> Self {
        let is_full = u32::try_from(items.len()).is_ok_and(|count| count >= limit);
        let last = items.last().filter(|_| is_full);
        let next = last.map(|last| path.with("limit", &limit.to_string()).with("after", &after(last)).0);
        Self { items, next }
    }
}

/// A path with parameters.
#[derive(Clone, Debug)]
pub(crate) struct Path(String);

impl Path {
    /// A path without parameters yet.
    pub(crate) const fn new(path: String) -> Self {
        Self(path)
    }

    /// The path with one parameter more.
    #[must_use]
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mark = if self.0.contains('?') { '&' } else { '?' };
        Self(format!("{}{mark}{name}={}", self.0, percent_encoded(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_page_says_where_the_next_one_is() {
        let path = Path::new("/v1/members".to_owned()).with("status", "active");
        let page = |items: Vec<&'static str>| Page::new(items, 2, &path, |last| (*last).to_owned()).next;
        assert_eq!(page(vec!["a"]), None);
        assert_eq!(page(vec![]), None);
        assert_eq!(page(vec!["a", "b&c"]).as_deref(), Some("/v1/members?status=active&limit=2&after=b%26c"));
    }
}
