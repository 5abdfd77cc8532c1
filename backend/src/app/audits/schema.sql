-- The audit log: one hash chain per stream, and its anchors; append-only even for their owner.
-- Run once, as audit_owner, by revision 20260109_init.
--
-- hash = sha256(prev_hash || jsonb_build_array(stream_id, seq, epoch_us, actor, db_user, action,
--                                              detail)::text), UTF-8

CREATE TABLE audit.audit_log (
    stream_id bigint NOT NULL,
    seq bigint NOT NULL,
    -- Microseconds since 1970-01-01 UTC, as hashed.
    epoch_us bigint NOT NULL,
    actor text NOT NULL,
    db_user text NOT NULL,
    action text NOT NULL,
    detail jsonb NOT NULL,
    prev_hash bytea NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (stream_id, seq)
);

-- The links that tell the way of one order.
CREATE INDEX audit_log_order_idx ON audit.audit_log (stream_id, (detail ->> 'order_id'))
WHERE detail ? 'order_id';

CREATE FUNCTION audit.refuse_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = '42501';
END
$$;

CREATE TRIGGER audit_log_append_only
BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.audit_log
FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();

ALTER TABLE audit.audit_log ENABLE ALWAYS TRIGGER audit_log_append_only;

-- Signed Merkle roots of the heads of all chains. What counts lies outside the database; this copy
-- serves proofs, and is believed for its signature alone.
CREATE TABLE audit.anchors (
    number bigint PRIMARY KEY CHECK (number > 0),
    anchored_at timestamptz NOT NULL,
    -- What is signed, byte for byte; JSON with the root and the hash of the statement before.
    statement text NOT NULL,
    -- Ed25519.
    signature bytea NOT NULL CHECK (length(signature) = 64),
    public_key bytea NOT NULL CHECK (length(public_key) = 32),
    -- The leaves in their order: [[stream, seq, hash in hex], ...].
    heads jsonb NOT NULL
);

CREATE INDEX anchors_time_idx ON audit.anchors (anchored_at);

CREATE TRIGGER anchors_append_only
BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.anchors
FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();

ALTER TABLE audit.anchors ENABLE ALWAYS TRIGGER anchors_append_only;

REVOKE UPDATE, DELETE, TRUNCATE ON audit.audit_log, audit.anchors FROM audit_owner;
GRANT INSERT, SELECT ON audit.audit_log, audit.anchors TO app_owner;
