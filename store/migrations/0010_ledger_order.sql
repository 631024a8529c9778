-- The key that finds repeats begins with the command. Ids are made in the order of time where their senders follow the
-- contract's advice, so that the rows of a batch stand on a few pages of the index at its end; by member each stood on
-- a page of its own, which had to be found by comparing texts.
--
-- While the new index is built, about half a second for each million rows, the ledger can be read and not written:
-- batches are tried again until it is done. `add constraint` alone would build it with nobody reading either.

create unique index ledger_command_id_member_id_key on ledger (command_id, member_id);

alter table ledger
    add constraint ledger_command_id_member_id_key unique using index ledger_command_id_member_id_key,
    drop constraint ledger_member_id_command_id_key;
