INSERT INTO public.audit_plain (
    stream_id, seq, epoch_us, actor, db_user, action, detail, prev_hash, hash
)
VALUES (
    1, (random() * 9e18)::bigint, extract(EPOCH FROM clock_timestamp()) * 1000000, 'bench',
    session_user, 'order.place',
    '{"order_id": 1, "client_order_id": "bench", "symbol": "AAPL", "side": "buy"}',
    sha256('before'), sha256('after')
);
