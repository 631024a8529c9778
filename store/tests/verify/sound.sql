-- What the worker would have written for a handful of members. The partitions are those of their ids.

insert into member (partition, member_id, status, epoch, milestone, balance, lifetime, last_seq, as_of, email, updated_at) values
    (3, 'ann', 'active', 1, 1000, 510, 1010, 5, now(), 'ann@example.com', now()),
    (0, 'bob', 'active', 2, 500, 700, 700, 6, now(), null, now()),
    (1, 'carl', 'unenrolled', 0, null, 0, 0, 0, null, null, now()),
    (7, 'dan', 'exited', 1, 1000, 0, 0, 2, now(), null, now()),
    (14, 'eve', 'active', 1, null, 5000, 5000, 2, now(), null, now()),
    (14, 'fay', 'active', 1, 1000, 0, 0, 1, now(), null, now()),
    (2, 'gus', 'terminated', 1, 1000, 0, 300, 4, now(), null, now()),
    (15, 'hal', 'terminated', 1, 1000, 0, 0, 3, now(), null, now());

insert into ledger (partition, programme, member_id, seq, command_id, epoch, type, code, points, delta, balance_after,
                    lifetime_delta, status_after, occurred_at, recorded_at) values
    (3, 0, 'ann', 1, gen_random_uuid(), 1, 'enroll', null, null, 0, 0, 0, 'active', now(), now()),
    (3, 0, 'ann', 2, gen_random_uuid(), 1, 'earn', null, 990, 990, 990, 990, null, now(), now()),
    (3, 0, 'ann', 3, gen_random_uuid(), 1, 'earn', null, 20, 20, 1010, 20, null, now(), now()),
    (3, 0, 'ann', 4, gen_random_uuid(), 1, 'spend', null, 500, -500, 510, 0, null, now(), now()),
    (3, 0, 'ann', 5, gen_random_uuid(), 1, 'spend', 'insufficient_points', 9000, 0, 510, 0, null, now(), now()),
    -- Two rewards of one credit, then a second membership under another milestone.
    (0, 0, 'bob', 1, gen_random_uuid(), 0, 'exit', 'not_a_member', null, 0, 0, 0, null, now(), now()),
    (0, 0, 'bob', 2, gen_random_uuid(), 1, 'enroll', null, null, 0, 0, 0, 'active', now(), now()),
    (0, 0, 'bob', 3, gen_random_uuid(), 1, 'earn', null, 2500, 2500, 2500, 2500, null, now(), now()),
    (0, 0, 'bob', 4, gen_random_uuid(), 1, 'exit', null, null, -2500, 0, 0, 'exited', now(), now()),
    (0, 0, 'bob', 5, gen_random_uuid(), 2, 'enroll', null, null, 0, 0, 0, 'active', now(), now()),
    (0, 0, 'bob', 6, gen_random_uuid(), 2, 'earn', null, 700, 700, 700, 700, null, now(), now()),
    (7, 0, 'dan', 1, gen_random_uuid(), 1, 'enroll', null, null, 0, 0, 0, 'active', now(), now()),
    (7, 0, 'dan', 2, gen_random_uuid(), 1, 'exit', null, null, 0, 0, 0, 'exited', now(), now()),
    -- No milestone, no rewards.
    (14, 0, 'eve', 1, gen_random_uuid(), 1, 'enroll', null, null, 0, 0, 0, 'active', now(), now()),
    (14, 0, 'eve', 2, gen_random_uuid(), 1, 'earn', null, 5000, 5000, 5000, 5000, null, now(), now()),
    (14, 0, 'fay', 1, gen_random_uuid(), 1, 'enroll', null, null, 0, 0, 0, 'active', now(), now()),
    -- Ended by an operator: while a member, and after having left.
    (2, 0, 'gus', 1, gen_random_uuid(), 1, 'enroll', null, null, 0, 0, 0, 'active', now(), now()),
    (2, 0, 'gus', 2, gen_random_uuid(), 1, 'earn', null, 300, 300, 300, 300, null, now(), now()),
    (2, 0, 'gus', 3, gen_random_uuid(), 1, 'terminate', null, null, -300, 0, 0, 'terminated', now(), now()),
    (2, 0, 'gus', 4, gen_random_uuid(), 1, 'enroll', 'terminated', null, 0, 0, 0, null, now(), now()),
    (15, 0, 'hal', 1, gen_random_uuid(), 1, 'enroll', null, null, 0, 0, 0, 'active', now(), now()),
    (15, 0, 'hal', 2, gen_random_uuid(), 1, 'exit', null, null, 0, 0, 0, 'exited', now(), now()),
    (15, 0, 'hal', 3, gen_random_uuid(), 1, 'terminate', null, null, 0, 0, 0, 'terminated', now(), now());

insert into parked (partition, member_id, command_id, body, parked_at) values (1, 'carl', gen_random_uuid(), '{}', now());

insert into reward (partition, member_id, epoch, number, seq, points, title, granted_at) values
    (3, 'ann', 1, 1, 3, 1000, 'free coffee', now()),
    (0, 'bob', 1, 1, 3, 1000, 'free coffee', now()),
    (0, 'bob', 1, 2, 3, 2000, 'free coffee', now()),
    (0, 'bob', 2, 1, 6, 500, 'free coffee', now());

insert into email (partition, email_id, member_id, epoch, kind, number, state, attempts, created_at, updated_at) values
    (3, '30000000-0000-0000-0000-000000000001', 'ann', 1, 'reward', 1, 'queued', 0, now(), now()),
    (0, '00000000-0000-0000-0000-000000000002', 'bob', 1, 'reward', 1, 'sent', 1, now(), now()),
    (0, '00000000-0000-0000-0000-000000000003', 'bob', 1, 'reward', 2, 'dead', 2, now(), now()),
    (0, '00000000-0000-0000-0000-000000000004', 'bob', 2, 'reward', 1, 'no_address', 0, now(), now());

insert into outbox (partition, exchange, routing_key, message_id, type, body, created_at) values
    (3, 'loyalty.emails', 'send', '30000000-0000-0000-0000-000000000001', 'loyalty.email.v1', '{}', now());

insert into dead_letter (partition, source, reason, error, email_id, exchange, routing_key, headers, body, digest, attempts,
                         first_at, last_at) values
    (0, 'loyalty.emails', 'email_rejected', '550 no such user', '00000000-0000-0000-0000-000000000003', 'loyalty.emails',
     'send', '{}', '{}', '\x00', 1, now(), now()),
    -- Of a message that names nobody.
    (9, 'loyalty.commands.09', 'failed', 'too odd', null, 'loyalty.commands', '09', '{}', '{}', '\x01', 1, now(), now());
