//! The system tests: every promise, tried from outside against real servers and the built binary.
//!
//! Each guard in the code has a test here that fails when the guard is taken out. All were taken out once:
//!
//! | guard | stands in | without it fails |
//! |---|---|---|
//! | a command is looked up before it is decided | `ledger/fold/journal.rs`, `first_content` | `outcomes::a_repeated_command_changes_nothing` |
//! | ... again, after waiting for who introduced the member | `store/batch/read.rs`, `introduce` | `redelivery::a_worker_cut_off_before_it_enrols_somebody_...` |
//! | the members of a batch are locked | `store/batch/read.rs`, `LOCK_FREE` | `redelivery::a_worker_cut_off_before_its_commit_...` |
//! | acknowledged only after the commit | `worker/batch_processor.rs`, `work` | `redelivery::a_worker_killed_before_its_commit_...` |
//! | acknowledged although the worker is stopping | `worker/batch_processor.rs`, `work` | `takeover::a_worker_that_is_told_to_stop_...` |
//! | a commit whose answer was lost counts as repeated | `worker/batch_processor.rs`, `work` | `redelivery::a_commit_whose_answer_was_lost_...` |
//! | a locked member is not waited for | `store/batch/read.rs`, `LOCK_FREE` | `locked_members::a_member_whose_row_is_locked_...` |
//! | ... nor whose row is being changed | `store/batch/read.rs`, `INTRODUCE` | `locked_members::a_member_whose_row_is_being_changed_...` |
//! | no acknowledgement covers what is deferred | `worker/batch_processor/acks.rs` | `locked_members::a_worker_killed_while_it_defers_...`, `worker/src/batch_processor/properties.rs` |
//! | what comes later waits behind what is deferred | `worker/batch_processor/deferred.rs`, `defer` | `worker/src/batch_processor/properties.rs` |
//! | what is deferred is not noted as tried | `worker/batch_processor.rs`, `attempt` | `locked_members::a_deferred_command_that_sees_many_workers_...` |
//! | a server that is away blames no command | `store/pool.rs`, `is_content_refused` | `outcomes::while_the_database_is_away_...` |
//! | a refused batch is split down to the culprit | `worker/batch_processor/bisect.rs`, `bisect` | `bad_input::a_command_that_the_database_refuses_...` |
//! | errors leave out what the server quotes | `store/pool.rs`, `without_details` | `worker/src/batch_processor/properties.rs` |
//! | a message that may kill is noted before it is taken alone | `worker/batch_processor.rs`, `suspect` | `crashes::a_command_that_kills_its_worker_...` |
//! | who is told to stop takes that note back | `worker/batch_processor.rs`, `leave` | `crashes::a_command_that_sees_many_workers_...` |
//! | one active consumer a partition | `common/topology.rs`, `command_queue` | `takeover::when_a_worker_is_killed_...` |
//! | what waits is applied in the order of its coming | `store/batch/read.rs`, `PARKED` | `outcomes::what_came_before_the_enrolment_...` |
//! | the partition is checked | `worker/message.rs`, `check_partition` | `bad_input::bad_messages_between_good_ones_...` |
//! | the body's size is bounded | `common/decode.rs` | `worker/src/batch_processor/properties.rs` |
//! | a dead letter that comes again is the same dead letter | `store/dead_letters/record.rs`, `RECORD` | `redelivery::a_worker_killed_between_commit_and_...` |
//! | dead letters are acknowledged after their commit | `worker/dead_letter_consumer.rs`, `keep` | `outcomes::while_the_database_is_away_nothing_...` |
//! | a worker holds a bounded number | `worker/queue_consumer.rs`, `prefetch` | `limits::a_worker_holds_no_more_than_its_prefetch` |
//! | who could not look takes nobody for gone or late | `worker/assignment/liveness.rs`, `look` | the unit tests there, `worker/src/assignment/simulation.rs` |
//! | a newcomer gets its share once it has settled | `worker/assignment/observer.rs`, `SETTLED_AFTER` | `worker/src/assignment/simulation.rs` |
//! | nothing is balanced while somebody is late | `worker/assignment/plan.rs`, `plan` | the unit tests there |
//! | what moves anyway moves once | `worker/assignment/plan.rs`, `balance` | the unit tests there |
//! | who has subscribed before the owner subscribes again, behind | `worker/assignment/turns.rs`, `next` | the unit tests there, `worker/src/assignment/simulation.rs` |
//! | ... and who is replaced stays until the owner has subscribed | `worker/assignment/turns.rs`, `next` | the unit tests there |
//! | somebody stands in where owner and standby are silent | `worker/assignment/turns.rs`, `stands_in` | the unit tests there, `worker/src/assignment/simulation.rs` |
//! | a queue that was out is consumed on a connection of its own | `worker/queue_consumer.rs`, `again` | `queues::queues_that_have_lost_their_leaders_...` |
//! | a queue that does not know of its consumer is consumed again | `worker/queue_states.rs`, `is_unknown_to` | `queues::a_queue_that_loses_its_leader_...` |
//! | a refused publish is no confirm | `common/publisher/publisher_task.rs`, `settle` | `limits::a_full_queue_refuses_its_publisher_...` |
//! | what was not confirmed is sent again | `common/publisher/publisher_task.rs`, `serve` | `broker::a_broker_that_restarts_and_dies_...` |
//! | nothing leaves the outbox before its confirm | `worker/email_relay.rs`, `publish` | `rewards::an_email_whose_worker_was_killed_before_...` |
//! | a claim whose answer was lost is taken back | `worker/mail/handler.rs`, `claim` | `worker/tests/mail/lost_connections.rs`, `an_email_whose_claim_...` |
//! | ... if it is that claim which stands, and not before it is decided | `store/emails/claim.rs` | `store/tests/operator/emails.rs`, `a_claim_in_doubt_...` |
//! | an email that was sent cannot be claimed | `store/emails/claim.rs`, `CLAIM` | `rewards::an_email_whose_worker_was_killed_after_...` |
//! | the ledger's triggers | `store/migrations/0001_schema.sql` | `verify::a_row_of_the_ledger_can_be_neither_...` |
//! | an email is queued again only where the operator saw it | `store/emails/requeue.rs`, `requeue` | `operators::of_two_who_retry_the_same_emails_...` |
//! | a membership that ends ends its emails | `store/batch/write.rs`, `END_EMAILS` | `contact::who_exits_...`, `contact::an_email_of_an_...` |
//! | an email goes to the address of its own membership | `store/emails/claim.rs`, `CLAIM` | `store/tests/operator/contact.rs` |
//! | a repeated request is answered from its receipt | `bridge/submit.rs`, `PriorState` | `bridge::a_repeated_request_...` |
//! | a retired retry queue is deleted only after a second count | `cli/topology/retired_retry_queues.rs`, `retire` | `topology::a_retired_retry_queue_whose_email_...` |
//! | ... and only in the broker that was asked | `cli/topology/retired_retry_queues.rs`, `queues_of_both` | `topology::a_retired_retry_queue_is_not_removed_by_...` |
//! | no email is taken while a retry queue is missing | `worker/mail/session.rs`, `retry_queues_stand` | `topology::a_worker_whose_retry_queues_are_missing_...` |
//! | an event waits for the confirm of the one before | `worker/event_relay.rs`, `publish_in_order` | `events::a_listener_who_refuses_events_...` |
//! | one worker at a time publishes events | `store/events.rs`, `takes_turn` | `events::two_workers_tell_each_event_once_...` |
//! | an event stands in its command's transaction | `store/batch/write.rs`, `insert_events` | `events::what_is_rolled_back_is_never_told` |
//! | a listener's binding is no fault | `cli/topology/compare.rs`, `extra_binding` | `events::the_topology_with_events_...` |
//! | a member is repaired under the worker's lock, and looked at again under it | `store/rebuild/repair.rs` | `store/tests/operator/rebuild.rs`, `what_a_worker_writes_in_...` |
//! | a publisher sets `mandatory` and waits for the confirm | `examples/` | `examples::the_publishers_hear_...` |
//! | a bridge that was given tokens asks for one | `bridge/auth.rs`, `authenticate` | `tokens::beyond_this_machine_...`, `bridge/tests/served/tokens.rs` |
//! | a `sslmode` that was overlooked is refused | `store/pool/security.rs`, `read` | the unit test there; `tls::servers_with_tls_...` |
//! | a pooler that shares sessions is refused | `store/pool/pooler.rs` | `pooler::behind_a_pooler_that_shares_sessions_...` |
//! | ... and looked for again, if the database was away | `store/pool/pooler.rs`, `shared_sessions_later` | `pooler::a_pooler_that_shares_sessions_...` |
//! | a transaction that finds nothing to do is ended | `store/outbox.rs` | `pooler::behind_a_pooler_with_a_session_...`, `operator/tests/replay/idle.rs` |
//! | tokens that were known long ago let nobody in | `bridge/auth.rs`, `STALE_MAX` | the unit test there |
//! | a day of points has one warning, and is told of once | `store/batch/write/warnings.rs`, `INSERT_WARNINGS` | `store/tests/points/warnings.rs`, `of_two_who_warn_...`, `two_lots_of_one_day_...` |
//! | ... and is not looked at again | `store/batch/write/warnings.rs`, `warned_at` | `store/tests/points/warnings.rs`, `a_member_is_warned_once_of_each_day` |
//! | who gave no address gets no email | `store/batch/write/warnings.rs`, `has_address` | `store/tests/points/warnings.rs`, `who_gave_no_address_...` |
//! | nobody is warned of what is gone, or was credited just now | `ledger/warning.rs`, `warns_of`; `store/due.rs`, `UNWARNED` | the unit tests there; `store/tests/points/warnings.rs`, `nobody_is_warned_of_points_that_are_gone` |
//! | a warning is not sent once its day is over | `store/emails/claim.rs`, `CLAIM`, `COMES_TOO_LATE` | `worker/tests/mail/warnings.rs`, `a_warning_whose_day_...` |
//! | what is reversed already counts | `store/batch/read/accounts.rs`, `TARGETS` | `store/tests/points/main.rs`, `a_reversal_finds_its_target_...` |
//! | what an enrolment applies sees its target | `store/batch/read/accounts.rs`, `parked_targets` | `store/tests/points/main.rs`, `what_an_enrolment_applies_...` |
//! | what has expired of a lot is read where it may come back | `store/batch/read/accounts.rs`, `lots_after` | `store/tests/points/main.rs`, `a_reversal_takes_what_has_expired_...`, `a_hold_that_runs_out_...` |
//! | the members of a batch about several partitions are locked | `store/batch/read.rs`, `LOCK_EACH`, `LOCK_FREE_EACH` | `store/tests/operator/locked_members.rs` |
//! | a rebuild leaves what no member can have | `store/rebuild/holdings.rs`, `are_possible` | `store/tests/operator/rebuild/holdings.rs`, `what_nobody_can_have_...` |
//! | ... knows when a member was warned | `store/rebuild/holdings/repair.rs`, `PUT_LOT` | `store/tests/operator/rebuild/holdings.rs`, `when_a_member_was_warned_...` |
//! | ... and passes by whom the database refuses | `operator/rebuild.rs`, `carry_out` | `operator/tests/replay/rebuild.rs` |
//! | a deep check reads on past its first page, of members and of rows | `store/verify/deep.rs`, `store/verify/deep/page.rs` | `store/tests/verify/deep.rs` |
//! | a sweep says what it leaves | `worker/sweep.rs`, `run` | `worker/tests/mail/sweep.rs` |
//! | a late hold is looked up before its time is looked at | `bridge/v1/command_request.rs`, `untimely` | `bridge/tests/served/untimely.rs` |
//! | ... and while the database is away nobody knows of it | `bridge/submit.rs`, `bridge/v1/batch.rs`, `refuse_untimely` | `bridge/tests/served/untimely.rs` |
//! | a return has an id of its own | `cli/import/csv_command.rs`, `id` | `cli/src/import/tests/history.rs`, `returns_under_the_number_...` |
//! | a dry run names what returns more than is left | `cli/import/reader.rs`, `refusal` | `cli/src/import/tests/history.rs`, `a_return_of_more_than_is_left_...` |
//! | behind the lock: the ledger's unique keys | `store/verify/guards.rs` | `store/tests/verify/main.rs` |
//! | behind errors that quote no address: it is masked | `common/email_address.rs`, `mask` | the unit test there |

mod bad_input;
mod bad_night;
mod bridge;
mod broker;
mod circles;
mod code_rules;
mod contact;
mod crashes;
mod database;
mod dev;
mod events;
mod examples;
mod history;
mod hostile_input;
mod import;
mod limits;
mod locked_members;
mod metrics;
mod operators;
mod outcomes;
mod pooler;
mod privileges;
mod queues;
mod rebuild;
mod redelivery;
mod rewards;
#[cfg(feature = "otel")]
mod spans;
mod spread;
mod takeover;
mod tls;
mod tokens;
mod topology;
mod traces;
mod trade;
mod verify;
mod warnings;
mod worked_examples;
