-- The trace of the command that a message of the outbox came of (W3C Trace Context), to be sent on with it.
alter table outbox
    add column traceparent text,
    add column tracestate  text;
