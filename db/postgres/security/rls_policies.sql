-- Row security: forced on every table, open to its owner, and to a reader for what his token shows.
-- Laid anew, as app_migrate, after every upgrade that changed something.
--
-- Policies believe security.token_accounts() alone, in the measured form: a comparison of the
-- indexed column with a value that is computed once per statement. A lookup per row costs 200 times
-- as much.

DO $$
DECLARE
    v_table record;
BEGIN
    FOR v_table IN
        SELECT
            c.oid::regclass AS name,
            n.nspname = 'audit' AS audit,
            pg_catalog.pg_get_userbyid(c.relowner) AS owner
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('app', 'audit', 'market', 'security')
          AND c.relkind IN ('r', 'p')
        ORDER BY 1
    LOOP
        EXECUTE format('SET LOCAL ROLE %I', v_table.owner);
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', v_table.name);
        EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', v_table.name);
        EXECUTE format('DROP POLICY IF EXISTS owner_all ON %s', v_table.name);
        IF NOT v_table.audit THEN
            EXECUTE format(
                'CREATE POLICY owner_all ON %s TO app_owner USING (TRUE) WITH CHECK (TRUE)',
                v_table.name
            );
        END IF;
    END LOOP;
END
$$;

-- The audit log and its anchors are read and appended to by the procedures, and read by their
-- owner.
SET LOCAL ROLE audit_owner;
DO $$
DECLARE
    v_table text;
BEGIN
    FOREACH v_table IN ARRAY ARRAY['audit.audit_log', 'audit.anchors'] LOOP
        EXECUTE format('DROP POLICY IF EXISTS procedures_read ON %s', v_table);
        EXECUTE format(
            'CREATE POLICY procedures_read ON %s FOR SELECT TO app_owner, audit_owner USING (TRUE)',
            v_table
        );
        EXECUTE format('DROP POLICY IF EXISTS procedures_append ON %s', v_table);
        EXECUTE format(
            'CREATE POLICY procedures_append ON %s FOR INSERT TO app_owner WITH CHECK (TRUE)',
            v_table
        );
    END LOOP;
END
$$;
SET LOCAL ROLE app_owner;

-- What belongs to an account.
DO $$
DECLARE
    v_table text;
BEGIN
    FOREACH v_table IN ARRAY ARRAY[
        'app.accounts', 'app.orders', 'app.positions', 'app.cash_balances', 'app.cash_movements',
        'app.risk_limits', 'app.strategies', 'app.day_equity', 'app.integrity_breaks',
        'app.recon_breaks'
    ] LOOP
        EXECUTE format('DROP POLICY IF EXISTS token_accounts ON %s', v_table);
        EXECUTE format(
            'CREATE POLICY token_accounts ON %s FOR SELECT TO app_read'
            ' USING (account_id = ANY ((SELECT security.token_accounts())::bigint[]))',
            v_table
        );
    END LOOP;
END
$$;

-- The same of executions, in words from which the planner concludes nothing: as a list in an index
-- condition it would hide that the rows of the one account that is asked for come in order, and as
-- a filter it is taken for one that lets few rows through. Either way all of an account's past
-- would be sorted for its last rows.
DROP POLICY IF EXISTS token_accounts ON app.executions;
DO $$
BEGIN
    EXECUTE 'CREATE POLICY token_accounts ON app.executions FOR SELECT TO app_read USING ('
        'nullif(account_id = ANY ((SELECT security.token_accounts())::bigint[]), FALSE)'
        ' IS NOT NULL)';
END
$$;

-- The same of samples, of which one answer looks for tens of thousands: the accounts are hashed, so
-- that a row costs an administrator of a thousand no more than a trader of three.
DROP POLICY IF EXISTS token_accounts ON market.equity;
DO $$
BEGIN
    EXECUTE 'CREATE POLICY token_accounts ON market.equity FOR SELECT TO app_read USING ('
        'nullif(account_id IN (SELECT unnest(security.token_accounts())), FALSE) IS NOT NULL)';
END
$$;

-- What belongs to nobody, for whoever is somebody.
DO $$
DECLARE
    v_table text;
BEGIN
    FOREACH v_table IN ARRAY ARRAY[
        'app.instruments', 'app.route_capabilities', 'market.last_prices', 'market.bars',
        'market.quotes', 'market.fx_rates', 'market.calendar'
    ] LOOP
        EXECUTE format('DROP POLICY IF EXISTS token_anyone ON %s', v_table);
        EXECUTE format(
            'CREATE POLICY token_anyone ON %s FOR SELECT TO app_read'
            ' USING ((SELECT security.token_accounts()) IS NOT NULL)',
            v_table
        );
    END LOOP;
END
$$;

-- The account's rate stands in its stream; of the chain's head a reader has no right to a column.
DROP POLICY IF EXISTS token_streams ON app.streams;
CREATE POLICY token_streams ON app.streams FOR SELECT TO app_read
USING (stream_id = ANY ((SELECT security.token_accounts())::bigint[]));

DROP POLICY IF EXISTS token_member ON app.account_members;
CREATE POLICY token_member ON app.account_members FOR SELECT TO app_read
USING (user_id = (SELECT security.token_user()));

DROP POLICY IF EXISTS token_scope ON app.trading_states;
CREATE POLICY token_scope ON app.trading_states FOR SELECT TO app_read
USING (
    (scope = 'global' AND (SELECT security.token_accounts()) IS NOT NULL)
    OR (
        scope = 'account'
        AND scope_id = ANY ((SELECT security.token_accounts())::bigint[])
    )
);

-- An event carries no account. The lookup runs per row, for the few events of the orders asked for.
DROP POLICY IF EXISTS token_orders ON app.order_events;
CREATE POLICY token_orders ON app.order_events FOR SELECT TO app_read
USING (EXISTS (SELECT FROM app.orders AS o WHERE o.order_id = order_events.order_id));
