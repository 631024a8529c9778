-- Who may use the bridge. A row stays when its token is revoked or has expired, so that the bridge, once it has been
-- given tokens, never takes strangers again.
create table token (
    -- Stands in the token in the clear, so that it can be looked up, named and revoked.
    token_id   text primary key collate "C" check (token_id ~ '^[0-9a-f]{16}$'),
    -- SHA-256 of the whole token, which is kept nowhere.
    digest     bytea not null check (octet_length(digest) = 32),
    -- Whose it is, as its maker said.
    name       text,
    scopes     text[] not null check (cardinality(scopes) > 0 and scopes <@ array['publish', 'read', 'operate']),
    created_at timestamptz not null default now(),
    expires_at timestamptz check (expires_at > created_at),
    revoked_at timestamptz
);
