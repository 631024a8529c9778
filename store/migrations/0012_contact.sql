-- Address and name of a member stand in the member's row and nowhere else, and go with the membership. A mail's row
-- names the member, and its address is read when it is sent.
--
-- The rows of member are read once, as by 0003. What a dropped column held is gone from every query at once, and from
-- the files on disk when the table is written anew (`vacuum full`, or a dump that is restored).

alter table member
    -- Random, made when address or name are first written, erased with them. The ledger's hashes are keyed with it, so
    -- that without it nobody can tell by trying which address or name they were of.
    add column contact_key bytea check (octet_length(contact_key) = 16);
update member set email = null, name = null where status <> 'active' and num_nonnulls(email, name) > 0;
alter table member
    add constraint member_contact_check check
        (num_nonnulls(email, name, contact_key) = 0 or status = 'active' and num_nonnulls(email, name) > 0);

-- A hash without a key tells an address to whoever tries a list of them. What repeats of older enrolments carried can
-- no longer be compared, and passes for the same.
alter table ledger
    drop column email_sha256,
    drop column name_sha256,
    -- What a command said of the address and of the name: null, if its type says nothing of it; no bytes, if it left it
    -- out; one byte, 0, if it cleared it; one byte, 1, if it gave one of which nothing is kept; else the first four
    -- bytes of the key's own hash and the HMAC-SHA-256 of the value.
    add column email_hmac bytea check (octet_length(email_hmac) in (0, 1, 36)),
    add column name_hmac  bytea check (octet_length(name_hmac) in (0, 1, 36));

alter table email drop constraint email_check;
update email as e set state = 'no_address', due_at = null, updated_at = now()
    where state in ('queued', 'retrying')
      and not exists (select from member as m
                      where m.member_id = e.member_id and m.epoch = e.epoch and m.email is not null);
alter table email
    drop column recipient,
    drop column name;
