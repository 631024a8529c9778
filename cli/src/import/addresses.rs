//! The addresses of members whose first row has none: looked up further down the file, before anybody is enrolled.
//!
//! An export has a customer's address where they gave it, which need not be at their first order.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;

use loyalty_common::{EmailAddress, MemberId};

use super::row::MemberRef;
use super::row_ids::RowIds;
use super::rows::Rows;

/// An address for each member whose first row has none and another one has.
#[derive(Debug, Default)]
pub(super) struct Addresses(HashMap<MemberId, EmailAddress>);

impl Addresses {
    /// Reads a file for its addresses only.
    pub(super) fn read(mut rows: Rows) -> io::Result<Self> {
        // Nobody sees these ids.
        let mut ids = RowIds::new("");
        let mut seen: HashMap<MemberId, Address> = HashMap::new();
        while let Some(row) = rows.next(&mut ids)? {
            let Some(MemberRef { member_id, address, .. }) = row.member else { continue };
            let address = address.and_then(|address| EmailAddress::parse(&address).ok());
            match (seen.entry(member_id), address) {
                (Entry::Vacant(place), Some(_)) => {
                    place.insert(Address::InFirstRow);
                }
                (Entry::Vacant(place), None) => {
                    place.insert(Address::Wanted);
                }
                (Entry::Occupied(mut place), Some(address)) if matches!(place.get(), Address::Wanted) => {
                    place.insert(Address::Later(address));
                }
                (Entry::Occupied(_), _) => {}
            }
        }
        let later = |(member, address)| match address {
            Address::Later(address) => Some((member, address)),
            Address::InFirstRow | Address::Wanted => None,
        };
        Ok(Self(seen.into_iter().filter_map(later).collect()))
    }

    /// The address of a member whose first row has none.
    pub(super) fn of(&self, member: &MemberId) -> Option<EmailAddress> {
        self.0.get(member).cloned()
    }
}

/// Where a member's address stands.
enum Address {
    InFirstRow,
    Wanted,
    Later(EmailAddress),
}
