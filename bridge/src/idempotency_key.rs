//! The header `Idempotency-Key`: what the client calls its request, so that it may repeat it.

use axum::http::{HeaderMap, HeaderName};
use loyalty_common::{CommandId, MemberId};
use serde_json::json;
use uuid::Uuid;

use crate::api::endpoint::{Parameter, header_of};
use crate::problem::Problem;

/// The namespace of the command ids that are derived from idempotency keys: a random UUID, fixed for ever.
const NAMESPACE: Uuid = Uuid::from_u128(0x9d0b_4c1f_6c0a_4f27_8a55_0b6e_93d2_7e14);

/// The longest idempotency key in bytes: any id that a shop's systems make fits.
const MAX_BYTES: usize = 255;

/// The header's name, which problems say as well.
pub(crate) const HEADER: &str = "idempotency-key";

/// The answer's header that says that the same request was answered before, and that nothing was published for this
/// one.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The header as its users see it. Spaces at its ends are no part of it, as with every header.
pub(crate) fn parameter() -> Parameter {
    let inner = MAX_BYTES - 2;
    let pattern = format!("^[!-~]([ -~]{{0,{inner}}}[!-~])?$");
    header_of("Idempotency-Key", json!({"type": "string", "pattern": pattern}), DESCRIPTION)
}

const DESCRIPTION: &str = "What the client calls its request, so that it may repeat it: the same key, the same answer, \
    done once. It counts for its member; a UUID is the command's id itself.";

/// A key: 1 to 255 bytes of printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The key of a request, if it gives one.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let wrong = || Problem::invalid(HEADER, "must be given once, with 1 to 255 bytes of printable ASCII");
        let mut keys = headers.get_all(HEADER).iter();
        let Some(key) = keys.next() else { return Ok(None) };
        if keys.next().is_some() || !(1..=MAX_BYTES).contains(&key.len()) {
            return Err(wrong());
        }
        // Fails for everything but visible ASCII, spaces and tabs.
        let key = key.to_str().ok().filter(|key| !key.contains('\t')).ok_or_else(wrong)?;
        Ok(Some(Self(key.to_owned())))
    }

    /// The command that the key stands for, within its member. A UUID is the command id itself.
    pub(crate) fn command_id(&self, member_id: &MemberId) -> CommandId {
        // No member id holds a space, so that the pair cannot be read in two ways.
        let derived = || CommandId::derived(&NAMESPACE, &format!("{member_id} {}", self.0));
        CommandId::parse(&self.0).unwrap_or_else(|_| derived())
    }

    /// The command at a line of a batch that the key stands for.
    pub(crate) fn command_id_at(&self, line: usize, member_id: &MemberId) -> CommandId {
        // No key holds a line break, so that no other request's key is this text.
        CommandId::derived(&NAMESPACE, &format!("{member_id} {}\n{line}", self.0))
    }
}
