-- sp_trading_lock(stream, cancel open) -> nothing
-- Locks the stream of a switch; before orders of everyone are canceled, all: orders that are
-- being placed are waited for, so none is missed.
-- Internal: sp_trading_state_set, sp_trading_state_force.

CREATE OR REPLACE FUNCTION app.sp_trading_lock(p_stream_id bigint, p_cancel_open boolean)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM FROM app.streams AS s
    WHERE s.stream_id = p_stream_id OR (p_cancel_open AND p_stream_id = 0)
    ORDER BY s.stream_id
    FOR NO KEY UPDATE;
END
$$;
