-- sp_audit_export(user, session, order, links max) -> everything that proves an order's history
-- For members of its account and administrators. `links` is every link of the account's chain, as
-- it is hashed, from the order's first row to its last one and on to the anchor that covers it;
-- before them is the hash `previous`. The anchor is the first that covers the whole order, else the
-- newest that covers its beginning, else null. Writes nothing.
-- SQLSTATE IN401 as sp_authorize; IN404 order_not_found, also for an account of others; IN422
-- export_too_long. Called by app_write. Test: test_api_audit.py

CREATE OR REPLACE FUNCTION app.sp_audit_export(
    p_user_id uuid, p_session text, p_order_id bigint, p_links_max bigint
)
RETURNS TABLE (
    account_id bigint, previous bytea, links text [], statement text, signature bytea,
    public_key bytea, heads jsonb
)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_role text := app.sp_authorize(p_user_id, p_session);
    v_first bigint;
    v_last bigint;
    v_anchored bigint;
    v_anchor audit.anchors;
BEGIN
    SELECT o.account_id INTO account_id
    FROM app.orders AS o
    WHERE o.order_id = p_order_id
        AND (
            v_role = 'admin'
            OR EXISTS (
                SELECT FROM app.account_members AS m
                WHERE m.account_id = o.account_id AND m.user_id = p_user_id
            )
        );
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'IN404', DETAIL = 'order_not_found', MESSAGE = 'there is no such order';
    END IF;
    SELECT min(a.seq), max(a.seq) INTO v_first, v_last
    FROM audit.audit_log AS a
    WHERE a.stream_id = sp_audit_export.account_id
        AND a.detail ? 'order_id'
        AND a.detail ->> 'order_id' = p_order_id::text;

    SELECT n.* INTO v_anchor
    FROM audit.anchors AS n
    CROSS JOIN LATERAL (
        SELECT (h.leaf ->> 1)::bigint AS seq
        FROM jsonb_array_elements(n.heads) AS h (leaf)
        WHERE (h.leaf ->> 0)::bigint = sp_audit_export.account_id
    ) AS h
    WHERE h.seq >= v_first
        -- Nothing is anchored before it was written.
        AND n.anchored_at >= (
            SELECT to_timestamp(0) + a.epoch_us * interval '1 microsecond'
            FROM audit.audit_log AS a
            WHERE a.stream_id = sp_audit_export.account_id AND a.seq = v_first
        )
    ORDER BY h.seq < v_last, CASE WHEN h.seq < v_last THEN -n.number ELSE n.number END
    LIMIT 1;
    SELECT (h.leaf ->> 1)::bigint INTO v_anchored
    FROM jsonb_array_elements(v_anchor.heads) AS h (leaf)
    WHERE (h.leaf ->> 0)::bigint = sp_audit_export.account_id;
    v_last := greatest(v_last, v_anchored);
    IF v_last - v_first >= p_links_max THEN
        RAISE EXCEPTION 'the history spans % links, more than %', v_last - v_first + 1, p_links_max
            USING ERRCODE = 'IN422', DETAIL = 'export_too_long';
    END IF;

    SELECT
        (array_agg(a.prev_hash ORDER BY a.seq))[1],
        array_agg(app.sp_audit_entry(
            a.stream_id, a.seq, a.epoch_us, app.sp_audit_names(a.actor, a.db_user, a.action),
            a.detail
        ) ORDER BY a.seq)
    INTO previous, links
    FROM audit.audit_log AS a
    WHERE a.stream_id = sp_audit_export.account_id AND a.seq BETWEEN v_first AND v_last;
    statement := v_anchor.statement;
    signature := v_anchor.signature;
    public_key := v_anchor.public_key;
    heads := v_anchor.heads;
    RETURN NEXT;
END
$$;
