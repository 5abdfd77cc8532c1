-- sp_admin_list(user, session, kind, offset) -> up to 500 rows of master data as objects
-- What an administrator set up, whatever accounts he is a member of: users, accounts, instruments,
-- strategies, members, limits, allow_lists, cash, trading_states, tokens; and what operators look
-- after: outbox (pending and dead rows), lost_orders, recon_breaks, notifications. Writes nothing.
-- SQLSTATE IN401 as sp_authorize; IN403 role_not_allowed; IN422 kind_invalid, offset_invalid.
-- Called by app_write. Test: test_api_admin_lists.py

CREATE OR REPLACE FUNCTION app.sp_admin_list(
    p_user_id uuid, p_session text, p_kind text, p_offset integer
)
RETURNS SETOF jsonb
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF app.sp_authorize(p_user_id, p_session) <> 'admin' THEN
        RAISE EXCEPTION 'this needs the role admin'
            USING ERRCODE = 'IN403', DETAIL = 'role_not_allowed';
    END IF;
    IF (p_offset >= 0) IS NOT TRUE THEN
        RAISE EXCEPTION 'the offset is missing or below 0'
            USING ERRCODE = 'IN422', DETAIL = 'offset_invalid';
    END IF;
    CASE p_kind
        WHEN 'users' THEN
            RETURN QUERY SELECT to_jsonb(u) FROM app.users AS u
            ORDER BY u.email LIMIT 500 OFFSET p_offset;
        WHEN 'accounts' THEN
            RETURN QUERY SELECT to_jsonb(a) FROM app.accounts AS a
            ORDER BY a.account_id LIMIT 500 OFFSET p_offset;
        WHEN 'instruments' THEN
            RETURN QUERY SELECT to_jsonb(i) FROM app.instruments AS i
            ORDER BY i.symbol LIMIT 500 OFFSET p_offset;
        WHEN 'strategies' THEN
            RETURN QUERY SELECT to_jsonb(s) FROM app.strategies AS s
            ORDER BY s.account_id, s.name LIMIT 500 OFFSET p_offset;
        WHEN 'members' THEN
            RETURN QUERY
            SELECT to_jsonb(m) || jsonb_build_object('email', u.email, 'role', u.role)
            FROM app.account_members AS m
            JOIN app.users AS u ON u.user_id = m.user_id
            ORDER BY m.account_id, u.email LIMIT 500 OFFSET p_offset;
        WHEN 'limits' THEN
            RETURN QUERY SELECT to_jsonb(r) FROM app.risk_limits AS r
            ORDER BY r.account_id LIMIT 500 OFFSET p_offset;
        WHEN 'allow_lists' THEN
            RETURN QUERY
            SELECT jsonb_build_object(
                'account_id', x.account_id, 'symbols', jsonb_agg(i.symbol ORDER BY i.symbol)
            )
            FROM app.account_instruments AS x
            JOIN app.instruments AS i ON i.instrument_id = x.instrument_id
            GROUP BY x.account_id
            ORDER BY x.account_id LIMIT 500 OFFSET p_offset;
        WHEN 'cash' THEN
            RETURN QUERY SELECT to_jsonb(b) FROM app.cash_balances AS b
            ORDER BY b.account_id, b.currency LIMIT 500 OFFSET p_offset;
        WHEN 'trading_states' THEN
            RETURN QUERY SELECT to_jsonb(t) FROM app.trading_states AS t
            ORDER BY t.scope, t.scope_id LIMIT 500 OFFSET p_offset;
        WHEN 'tokens' THEN
            RETURN QUERY
            SELECT to_jsonb(k) - 'token_hash' || jsonb_build_object('email', u.email)
            FROM security.service_tokens AS k
            JOIN app.users AS u ON u.user_id = k.user_id
            ORDER BY k.token_id LIMIT 500 OFFSET p_offset;
        WHEN 'outbox' THEN
            RETURN QUERY
            SELECT to_jsonb(x) FROM (
                SELECT
                    e.event_id, e.stream_id AS account_id, e.kind::text, e.order_id, e.attempts,
                    CASE
                        WHEN e.last_outcome = 'sending' THEN 'sending'
                        WHEN p.next_attempt_at > clock_timestamp() THEN 'parked'
                        ELSE 'pending'
                    END AS state,
                    p.next_attempt_at, p.last_error, e.created_at
                FROM app.events_outbox AS e
                LEFT JOIN app.outbox_parked AS p ON p.stream_id = e.stream_id
                UNION ALL
                SELECT
                    d.event_id, d.stream_id, d.kind, d.order_id, d.attempts, 'dead', NULL, d.error,
                    d.created_at
                FROM app.events_dead AS d
            ) AS x
            ORDER BY x.event_id LIMIT 500 OFFSET p_offset;
        WHEN 'lost_orders' THEN
            RETURN QUERY
            SELECT jsonb_build_object(
                'order_id', o.order_id, 'client_order_id', o.client_order_id,
                'account_id', o.account_id, 'reason_code', o.reason_code,
                'broker_order_id', o.broker_order_id, 'cum_quantity', o.cum_quantity,
                'updated_at', o.updated_at
            )
            FROM app.orders AS o
            WHERE o.status = 'lost'
            ORDER BY o.order_id LIMIT 500 OFFSET p_offset;
        WHEN 'recon_breaks' THEN
            RETURN QUERY SELECT to_jsonb(b) FROM app.recon_breaks AS b
            ORDER BY b.break_id LIMIT 500 OFFSET p_offset;
        WHEN 'notifications' THEN
            RETURN QUERY
            SELECT app.sp_notify_shown(c) || jsonb_build_object('email', u.email)
            FROM app.notify_channels AS c
            JOIN app.users AS u ON u.user_id = c.user_id
            ORDER BY c.channel_id LIMIT 500 OFFSET p_offset;
        ELSE
            RAISE EXCEPTION 'there is no such kind'
                USING ERRCODE = 'IN422', DETAIL = 'kind_invalid';
    END CASE;
END
$$;
