-- What the worker would have written for a handful of members.

insert into member (member_id, status, epoch, milestone, balance, lifetime, last_seq, email, updated_at) values
    ('ann', 'active', 1, 1000, 510, 1010, 5, 'ann@example.com', now()),
    ('bob', 'active', 2, 500, 700, 700, 6, null, now()),
    ('carl', 'unenrolled', 0, null, 0, 0, 0, null, now()),
    ('dan', 'exited', 1, 1000, 0, 0, 2, null, now()),
    ('eve', 'active', 1, null, 5000, 5000, 2, null, now()),
    ('fay', 'active', 1, 1000, 0, 0, 1, null, now()),
    ('gus', 'terminated', 1, 1000, 0, 300, 4, null, now()),
    ('hal', 'terminated', 1, 1000, 0, 0, 3, null, now());

insert into ledger (member_id, seq, command_id, epoch, type, outcome, code, points, delta, balance_after,
                    occurred_at, recorded_at) values
    ('ann', 1, gen_random_uuid(), 1, 'enroll', 'applied', null, null, 0, 0, now(), now()),
    ('ann', 2, gen_random_uuid(), 1, 'earn', 'applied', null, 990, 990, 990, now(), now()),
    ('ann', 3, gen_random_uuid(), 1, 'earn', 'applied', null, 20, 20, 1010, now(), now()),
    ('ann', 4, gen_random_uuid(), 1, 'spend', 'applied', null, 500, -500, 510, now(), now()),
    ('ann', 5, gen_random_uuid(), 1, 'spend', 'refused', 'insufficient_points', 9000, 0, 510, now(), now()),
    -- Two rewards of one credit, then a second membership under another milestone.
    ('bob', 1, gen_random_uuid(), 0, 'exit', 'refused', 'not_a_member', null, 0, 0, now(), now()),
    ('bob', 2, gen_random_uuid(), 1, 'enroll', 'applied', null, null, 0, 0, now(), now()),
    ('bob', 3, gen_random_uuid(), 1, 'earn', 'applied', null, 2500, 2500, 2500, now(), now()),
    ('bob', 4, gen_random_uuid(), 1, 'exit', 'applied', null, null, -2500, 0, now(), now()),
    ('bob', 5, gen_random_uuid(), 2, 'enroll', 'applied', null, null, 0, 0, now(), now()),
    ('bob', 6, gen_random_uuid(), 2, 'earn', 'applied', null, 700, 700, 700, now(), now()),
    ('dan', 1, gen_random_uuid(), 1, 'enroll', 'applied', null, null, 0, 0, now(), now()),
    ('dan', 2, gen_random_uuid(), 1, 'exit', 'applied', null, null, 0, 0, now(), now()),
    -- No milestone, no rewards.
    ('eve', 1, gen_random_uuid(), 1, 'enroll', 'applied', null, null, 0, 0, now(), now()),
    ('eve', 2, gen_random_uuid(), 1, 'earn', 'applied', null, 5000, 5000, 5000, now(), now()),
    ('fay', 1, gen_random_uuid(), 1, 'enroll', 'applied', null, null, 0, 0, now(), now()),
    -- Ended by an operator: while a member, and after having left.
    ('gus', 1, gen_random_uuid(), 1, 'enroll', 'applied', null, null, 0, 0, now(), now()),
    ('gus', 2, gen_random_uuid(), 1, 'earn', 'applied', null, 300, 300, 300, now(), now()),
    ('gus', 3, gen_random_uuid(), 1, 'terminate', 'applied', null, null, -300, 0, now(), now()),
    ('gus', 4, gen_random_uuid(), 1, 'enroll', 'refused', 'terminated', null, 0, 0, now(), now()),
    ('hal', 1, gen_random_uuid(), 1, 'enroll', 'applied', null, null, 0, 0, now(), now()),
    ('hal', 2, gen_random_uuid(), 1, 'exit', 'applied', null, null, 0, 0, now(), now()),
    ('hal', 3, gen_random_uuid(), 1, 'terminate', 'applied', null, null, 0, 0, now(), now());

insert into parked (member_id, command_id, body, parked_at) values ('carl', gen_random_uuid(), '{}', now());

insert into reward (member_id, epoch, number, seq, points, title, granted_at) values
    ('ann', 1, 1, 3, 1000, 'free coffee', now()),
    ('bob', 1, 1, 3, 1000, 'free coffee', now()),
    ('bob', 1, 2, 3, 2000, 'free coffee', now()),
    ('bob', 2, 1, 6, 500, 'free coffee', now());

insert into email (email_id, member_id, epoch, number, state, attempts, created_at, updated_at) values
    ('00000000-0000-0000-0000-000000000001', 'ann', 1, 1, 'queued', 0, now(), now()),
    (gen_random_uuid(), 'bob', 1, 1, 'sent', 1, now(), now()),
    ('00000000-0000-0000-0000-000000000003', 'bob', 1, 2, 'dead', 2, now(), now()),
    (gen_random_uuid(), 'bob', 2, 1, 'no_address', 0, now(), now());

insert into outbox (exchange, routing_key, message_id, type, body, created_at) values
    ('loyalty.emails', 'send', '00000000-0000-0000-0000-000000000001', 'loyalty.email.v1', '{}', now());

insert into dead_letter (source, reason, error, email_id, exchange, routing_key, headers, body, digest, attempts,
                         first_at, last_at) values
    ('loyalty.emails', 'mail_rejected', '550 no such user', '00000000-0000-0000-0000-000000000003', 'loyalty.emails',
     'send', '{}', '{}', '\x00', 1, now(), now());
