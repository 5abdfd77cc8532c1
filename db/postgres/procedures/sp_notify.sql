-- sp_notify(kind, account, detail) -> nothing
-- Owes a message to every channel that wants this kind of this account (null: of everyone) and
-- whose user may see it, in the transaction of what happened: told if, and only if, it counts.
-- Kinds: fill, reject, break, halt, lost. Where nobody wants it, it reads one small table.
-- Internal: sp_book_execution, sp_order_move, sp_break_opened, sp_trading_switch.
-- Test: test_sp_notify.py

CREATE OR REPLACE FUNCTION app.sp_notify(p_kind text, p_account_id bigint, p_detail jsonb)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM app.notify_channels AS c WHERE c.enabled AND p_kind = ANY (c.kinds)
    ) THEN
        RETURN;
    END IF;
    INSERT INTO app.notify_events (channel_id, account_id, kind, detail)
    SELECT c.channel_id, p_account_id, p_kind, p_detail
    FROM app.notify_channels AS c
    WHERE c.enabled
        AND p_kind = ANY (c.kinds)
        AND (
            p_account_id IS NULL OR c.account_ids IS NULL OR p_account_id = ANY (c.account_ids)
        )
        AND app.sp_notify_may(c.user_id, p_account_id);
END
$$;
