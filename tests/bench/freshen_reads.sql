-- What a kept desk needs to be of today: prices and quotes of the last days, links that answer.

TRUNCATE market.quotes;
SET ROLE app_owner;
SELECT market.ensure_partitions(
    'market.quotes', 'quote_at', now() - interval '2 days', now() + interval '2 days',
    interval '1 day'
);
RESET ROLE;
INSERT INTO market.quotes (instrument_id, quote_at, price, source)
SELECT i.instrument_id, now() - k * interval '1 min', 100 + k % 9, 'quantconnect'
FROM app.instruments AS i
CROSS JOIN generate_series(1, 2880) AS k;
INSERT INTO market.last_prices (instrument_id, price, source, source_at)
SELECT i.instrument_id, 101, 'quantconnect', now() FROM app.instruments AS i
ON CONFLICT (instrument_id) DO UPDATE SET source_at = now(), received_at = now();
UPDATE app.bridges SET heartbeat_at = now();
-- Twenty years of sessions, as far as anybody may lay them.
INSERT INTO market.calendar (exchange, session_date, opens_at, closes_at, early_close)
SELECT 'XNYS', d::date, d + interval '14 h 30 min', d + interval '21 h', FALSE
FROM generate_series(
    date_trunc('day', now(), 'UTC') - interval '10 years', now() + interval '10 years',
    interval '1 day'
) AS d
ON CONFLICT DO NOTHING;
ANALYZE market.quotes, market.calendar;
