-- Who may do what with the tables of loyalty: three roles, each with what it needs and no more.
--
-- Run it as the owner of the tables (who ran `loyalty migrate`), in that database, after each migration; again changes
-- nothing. The roles must be there, with whatever passwords you gave them (`create role ... login password ...`):
--
--   psql -v worker=loyalty_worker -v bridge=loyalty_bridge -v operator=loyalty_operator -f roles.sql DATABASE
--
-- Nobody but the owner can change or delete a row of the ledger, empty a table, or make one. docs/operating.md has the
-- same as a table.

begin;

revoke create on schema public from public;
revoke all on all tables in schema public from public, :"worker", :"bridge", :"operator";
grant usage on schema public to :"worker", :"bridge", :"operator";

-- The worker: applies commands, sends emails, keeps dead letters, publishes events.
grant select, insert on ledger, reward, operator_event, programme to :"worker";
grant update (redeemed_seq) on reward to :"worker";
grant select, insert, update on member, lot, email, dead_letter to :"worker";
grant select, insert, delete on hold to :"worker";
grant select, insert, update, delete on outbox, event_outbox, parked, suspect, worker to :"worker";
grant select, insert, update on assignment to :"worker";
grant select on schema_migration to :"worker";

-- The bridge: reads what became of commands, and whose token it is. It writes nothing.
grant select on member, lot, hold, ledger, reward, parked, dead_letter, token, schema_migration to :"bridge";

-- The operator's commands: look at everything, settle dead letters and emails, repair what `verify` found, make tokens.
-- `dead-letters edit` and `replay` try a command as a worker would, and take all of it back: they add to the ledger what
-- no other transaction ever sees.
grant select on member, lot, hold, ledger, reward, email, parked, outbox, event_outbox, suspect, dead_letter,
    operator_event, programme, token, worker, assignment, schema_migration to :"operator";
grant insert, update on member, lot, email, dead_letter, token to :"operator";
grant insert on hold, ledger, reward, operator_event, outbox, event_outbox, parked to :"operator";
grant update (redeemed_seq) on reward to :"operator";
grant delete on hold, lot, parked to :"operator";

commit;
