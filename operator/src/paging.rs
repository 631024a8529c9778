//! Reading a list page by page, up to the limit that somebody named.

use loyalty_store::PAGE_MAX;

/// Reads pages until the limit is reached or nothing is left. `page` gets the last item before it and how many it may
/// have.
pub(crate) async fn pages<T, E>(
    limit: u32,
    mut page: impl AsyncFnMut(Option<&T>, u32) -> Result<Vec<T>, E>,
) -> Result<Vec<T>, E> {
    let mut items = Vec::new();
    loop {
        let next = match remaining(limit, items.len()) {
            0 => Vec::new(),
            left => page(items.last(), left.min(PAGE_MAX)).await?,
        };
        if next.is_empty() {
            return Ok(items);
        }
        items.extend(next);
    }
}

/// How many more a limit allows after so many; 0 means that there may be more than were read.
pub fn remaining(limit: u32, have: usize) -> u32 {
    limit.saturating_sub(u32::try_from(have).unwrap_or(u32::MAX))
}
