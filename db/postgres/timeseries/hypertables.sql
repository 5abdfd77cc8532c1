-- Bars, quotes and equity: hypertables where TimescaleDB is, range partitions elsewhere, and the
-- same functions above both. Run once, as app_owner, by revision 20260109_timeseries.
--
-- Only what TimescaleDB's Apache edition has. Of the rest, compression and continuous aggregates
-- are refused by it for tables with row security, which all of ours have, whatever the license.

-- has_timescale() -> whether this database keeps its series in hypertables.
CREATE FUNCTION market.has_timescale() RETURNS boolean
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'timescaledb') $$;

-- is_partitioned(table) -> whether it is a range-partitioned table, thus no hypertable.
CREATE FUNCTION market.is_partitioned(p_table regclass) RETURNS boolean
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT c.relkind = 'p' FROM pg_catalog.pg_class AS c WHERE c.oid = p_table $$;

-- bar_width(resolution) -> how long a bar is; null for what is no resolution.
CREATE FUNCTION market.bar_width(p_resolution text) RETURNS interval
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT CASE p_resolution
        WHEN '1m' THEN interval '1 min'
        WHEN '1h' THEN interval '1 hour'
        WHEN '1d' THEN interval '1 day'
    END
$$;

-- create_series(table, columns, time column, width) makes one series with a BRIN index on time.
CREATE FUNCTION market.create_series(
    p_table text, p_columns text, p_time_column name, p_width interval
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF market.has_timescale() THEN
        EXECUTE format('CREATE TABLE market.%I (%s)', p_table, p_columns);
        EXECUTE format(
            'SELECT timescale.create_hypertable(%L::regclass, timescale.by_range(%L, %L::interval),'
            ' create_default_indexes => FALSE)',
            'market.' || p_table, p_time_column, p_width
        );
    ELSE
        EXECUTE format(
            'CREATE TABLE market.%I (%s) PARTITION BY RANGE (%I)', p_table, p_columns, p_time_column
        );
        -- Rows outside the partitions made so far are kept here, never refused.
        EXECUTE format(
            'CREATE TABLE market.%I PARTITION OF market.%I DEFAULT', p_table || '_default', p_table
        );
    END IF;
    EXECUTE format(
        'CREATE INDEX %I ON market.%I USING brin (%I) WITH (pages_per_range = 32, autosummarize)',
        p_table || '_time_idx', p_table, p_time_column
    );
END
$$;

-- ensure_partitions(table, time column, from, to, width) -> partitions made; 0 for a hypertable.
-- A range of which rows already lie in the default partition stays there.
CREATE FUNCTION market.ensure_partitions(
    p_table regclass, p_time_column name, p_from timestamptz, p_to timestamptz, p_width interval
) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_start timestamptz := date_bin(p_width, p_from, '2000-01-01 00:00+00');
    v_name text;
    v_occupied boolean;
    v_made integer := 0;
BEGIN
    IF NOT market.is_partitioned(p_table) THEN
        RETURN 0;
    END IF;
    WHILE v_start < p_to LOOP
        v_name := p_table || '_p' || to_char(v_start AT TIME ZONE 'UTC', 'YYYYMMDD');
        EXECUTE format(
            'SELECT EXISTS (SELECT FROM %s WHERE %I >= %L AND %I < %L)',
            p_table || '_default', p_time_column, v_start, p_time_column, v_start + p_width
        ) INTO v_occupied;
        IF to_regclass(v_name) IS NULL AND NOT v_occupied THEN
            EXECUTE format(
                'CREATE TABLE %s PARTITION OF %s FOR VALUES FROM (%L) TO (%L)',
                v_name, p_table, v_start, v_start + p_width
            );
            -- Rows are reached through the parent, whose policies decide.
            EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', v_name);
            EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', v_name);
            v_made := v_made + 1;
        END IF;
        v_start := v_start + p_width;
    END LOOP;
    RETURN v_made;
END
$$;

-- drop_before(table, time column, moment) -> chunks or partitions dropped. What lies in the default
-- partition is deleted row by row.
CREATE FUNCTION market.drop_before(
    p_table regclass, p_time_column name, p_before timestamptz
) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_partition regclass;
    v_dropped integer := 0;
BEGIN
    IF NOT market.is_partitioned(p_table) THEN
        EXECUTE format(
            'SELECT count(*)'
            ' FROM timescale.drop_chunks(%L::regclass, older_than => %L::timestamptz)',
            p_table, p_before
        ) INTO v_dropped;
        RETURN v_dropped;
    END IF;
    FOR v_partition IN
        SELECT c.oid::regclass
        FROM pg_catalog.pg_inherits AS i
        JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = p_table
          AND (
              regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''([^'']+)''\)')
          )[1]::timestamptz <= p_before
    LOOP
        EXECUTE format('DROP TABLE %s', v_partition);
        v_dropped := v_dropped + 1;
    END LOOP;
    EXECUTE format('DELETE FROM %s WHERE %I < %L', p_table || '_default', p_time_column, p_before);
    RETURN v_dropped;
END
$$;

SELECT market.create_series('bars', $columns$
    instrument_id integer NOT NULL REFERENCES app.instruments,
    resolution text NOT NULL CHECK (resolution IN ('1d', '1h', '1m')),
    bar_at timestamptz NOT NULL,
    open numeric NOT NULL CHECK (open > 0),
    high numeric NOT NULL,
    low numeric NOT NULL,
    close numeric NOT NULL CHECK (close > 0),
    volume numeric NOT NULL CHECK (volume >= 0),
    source text NOT NULL,
    -- Set when the bar is shown under another date than that of its market day.
    original_date date,
    PRIMARY KEY (instrument_id, resolution, bar_at),
    CHECK (low <= least(open, close) AND high >= greatest(open, close) AND low > 0)
$columns$, 'bar_at', interval '3650 days');

SELECT market.create_series('quotes', $columns$
    instrument_id integer NOT NULL REFERENCES app.instruments,
    quote_at timestamptz NOT NULL,
    price numeric NOT NULL CHECK (price > 0),
    source text NOT NULL,
    PRIMARY KEY (instrument_id, quote_at)
$columns$, 'quote_at', interval '1 day');

SELECT market.create_series('equity', $columns$
    account_id bigint NOT NULL REFERENCES app.accounts,
    equity_at timestamptz NOT NULL,
    currency text NOT NULL,
    cash numeric NOT NULL,
    market_value numeric NOT NULL,
    PRIMARY KEY (account_id, currency, equity_at)
$columns$, 'equity_at', interval '30 days');
