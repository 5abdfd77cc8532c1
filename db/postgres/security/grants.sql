-- Who may do what, named one by one; what is not named here is not allowed.
-- Laid anew, as app_owner, after every upgrade that changed something.

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA app, market, security, reporting
FROM PUBLIC, app_migrate, app_write, app_worker, app_read;
REVOKE ALL ON ALL TABLES IN SCHEMA app, market, security, reporting
FROM PUBLIC, app_migrate, app_write, app_worker, app_read;

GRANT USAGE ON SCHEMA app TO app_migrate, app_write, app_worker;
GRANT USAGE ON SCHEMA reporting TO app_read;

-- The API.
GRANT EXECUTE ON FUNCTION
    app.sp_place_order,
    app.sp_preview_order,
    app.sp_place_orders,
    app.sp_place_batch,
    app.sp_replace_order,
    app.sp_cancel_order,
    app.sp_cancel_all,
    app.sp_order_status,
    app.sp_admin_list,
    app.sp_trading_state_set,
    app.sp_session_check,
    app.sp_sessions_check,
    app.sp_session_revoked,
    app.sp_user_upsert,
    app.sp_inbox_put,
    app.sp_record_quotes,
    app.sp_quotes_load,
    app.sp_bars_load,
    app.sp_bars_read,
    app.sp_bars_report,
    app.sp_last_prices,
    app.sp_schema_revision,
    app.sp_admin_account,
    app.sp_admin_instrument,
    app.sp_admin_strategy,
    app.sp_admin_member,
    app.sp_admin_limits,
    app.sp_admin_allow_list,
    app.sp_admin_cash,
    app.sp_admin_user_rate,
    app.sp_admin_audit_heads,
    app.sp_admin_audit_verify,
    app.sp_admin_token_create,
    app.sp_admin_token_revoke,
    app.sp_admin_requeue,
    app.sp_admin_resolve_order,
    app.sp_admin_resolve_break,
    app.sp_admin_notify,
    app.sp_notify_set,
    app.sp_notify_remove,
    app.sp_notify_test,
    app.sp_notify_list,
    app.sp_service_token_find,
    app.sp_audit_export
TO app_write;

-- The worker.
GRANT EXECUTE ON FUNCTION
    app.sp_acquire_shards,
    app.sp_renew_shards,
    app.sp_release_shards,
    app.sp_begin_sends,
    app.sp_finish_sends,
    app.sp_inbox_report,
    app.sp_inbox_pending,
    app.sp_apply_broker_events,
    app.sp_query_inflight,
    app.sp_outbox_age,
    app.sp_query_open,
    app.sp_reconcile,
    app.sp_executions_listed,
    app.sp_notify_claim,
    app.sp_notify_finish,
    app.sp_notify_backlog,
    app.sp_bridges,
    app.sp_audit_verify,
    app.sp_audit_heads,
    app.sp_audit_anchors,
    app.sp_audit_anchor_put,
    app.sp_equity_sample,
    app.sp_integrity_check,
    app.sp_housekeep,
    app.sp_rollup,
    app.sp_quotes_heard,
    app.sp_quotes_wanted,
    app.sp_calendar_put,
    app.sp_schema_revision
TO app_worker;

-- Seed, first administrator and operators: master data and checks.
GRANT EXECUTE ON FUNCTION
    app.sp_user_upsert,
    app.sp_instrument_upsert,
    app.sp_account_upsert,
    app.sp_member_set,
    app.sp_risk_limits_set,
    app.sp_allow_list_set,
    app.sp_user_rate_set,
    app.sp_cash_book,
    app.sp_strategy_upsert,
    app.sp_trading_state_force,
    app.sp_outbox_quarantine,
    app.sp_outbox_release,
    app.sp_outbox_unanswered,
    app.sp_bridges,
    app.sp_bridge_deploy,
    app.sp_bridge_note,
    app.sp_bars_put,
    app.sp_bars_span,
    app.sp_fx_rates_put,
    app.sp_fx_rates_span,
    app.sp_fx_rate,
    app.sp_calendar_put,
    app.sp_record_quotes,
    app.sp_audit_verify,
    app.sp_audit_heads,
    app.sp_audit_hashes,
    app.sp_audit_anchors,
    app.sp_audit_anchor_put,
    app.sp_token_key_set,
    app.sp_token_keys_retire,
    app.sp_integrity_check,
    app.sp_housekeep,
    app.sp_rollup
TO app_migrate;

-- The reader: the views by name, and below them exactly the columns which they read. Without USAGE
-- on the schemas of the tables no statement of his can name them.
GRANT SELECT ON
    reporting.accounts,
    reporting.instruments,
    reporting.positions,
    reporting.orders,
    reporting.executions,
    reporting.order_events,
    reporting.fx_rates,
    reporting.cash,
    reporting.cash_movements,
    reporting.equity,
    reporting.equity_by_currency,
    reporting.account_summary,
    reporting.equity_history,
    reporting.bars,
    reporting.quotes,
    reporting.route_capabilities,
    reporting.strategies,
    reporting.books,
    reporting.exposure,
    reporting.limit_usage,
    reporting.alerts,
    reporting.market_calendar,
    reporting.pnl_attribution,
    reporting.execution_quality
TO app_read;
GRANT EXECUTE ON FUNCTION
    reporting.equity_curve,
    reporting.daily_pnl,
    reporting.bars_between,
    reporting.newest_orders,
    reporting.order_timeline,
    reporting.health,
    reporting.market_clock,
    reporting.fifo_lots,
    reporting.fifo_realized,
    reporting.product,
    reporting.daily_returns,
    reporting.pnl_monthly,
    reporting.execution_costs,
    reporting.attribution_since,
    reporting.outbox_health,
    reporting.audit_extract
TO app_read;

-- Called by the policies and views, in the reader's name.
GRANT EXECUTE ON FUNCTION
    security.token_user(),
    security.token_accounts(),
    app.sp_fx_rate,
    app.sp_book_fold_all,
    app.sp_quote_stale_after
TO app_read;

GRANT SELECT (account_id, name, currency, route, paper, created_at)
ON app.accounts TO app_read;
GRANT SELECT (account_id, user_id, can_trade)
ON app.account_members TO app_read;
GRANT SELECT (scope, scope_id, state, reason)
ON app.trading_states TO app_read;
GRANT SELECT (
    account_id, order_quantity_max, order_notional_max, price_collar, position_quantity_max,
    open_orders_max, orders_per_minute_max, daily_loss_max, leverage_max
) ON app.risk_limits TO app_read;
GRANT SELECT (account_id, equity)
ON app.day_equity TO app_read;
GRANT SELECT (account_id, figure, subject, ours, expected, found_at)
ON app.integrity_breaks TO app_read;
GRANT SELECT (break_id, account_id, figure, subject, ours, theirs, state, found_at)
ON app.recon_breaks TO app_read;
GRANT SELECT (stream_id, rate_at)
ON app.streams TO app_read;
GRANT SELECT (strategy_id, account_id, name)
ON app.strategies TO app_read;
GRANT SELECT (route, order_type, time_in_force)
ON app.route_capabilities TO app_read;
GRANT SELECT (instrument_id, symbol, name, currency, tick_size, lot_size, multiplier, tradable)
ON app.instruments TO app_read;
GRANT SELECT (instrument_id, price, source, source_at, received_at)
ON market.last_prices TO app_read;
GRANT SELECT (
    account_id, instrument_id, quantity, cost, realized_pnl, fees, updated_at
) ON app.positions TO app_read;
GRANT SELECT (
    order_id, client_order_id, account_id, strategy_id, instrument_id, side, order_type,
    time_in_force, expires_at, quantity, limit_price, stop_price, status, reason_code,
    quantity_max, arrival_price, cum_quantity, average_price, late_fill, overfill, corrected,
    origin, pending_quantity, pending_limit_price, pending_stop_price, created_by, created_at,
    updated_at
) ON app.orders TO app_read;
GRANT SELECT (
    execution_id, order_id, account_id, instrument_id, source, exec_base, kind, corrects, side,
    quantity, price, currency, fee, fee_currency, executed_at, recorded_at
) ON app.executions TO app_read;
GRANT SELECT (
    order_event_id, order_id, kind, source, status_before, status_after, applied, reason,
    event_at, recorded_at
) ON app.order_events TO app_read;
GRANT SELECT (account_id, currency, amount, fees)
ON app.cash_balances TO app_read;
GRANT SELECT (base, quote, rate_date, rate, source, original_date)
ON market.fx_rates TO app_read;
GRANT SELECT (exchange, session_date, opens_at, closes_at, early_close)
ON market.calendar TO app_read;
GRANT SELECT (account_id, currency, amount, kind, created_at)
ON app.cash_movements TO app_read;
GRANT SELECT (account_id, equity_at, currency, cash, market_value)
ON market.equity TO app_read;
GRANT SELECT (
    instrument_id, resolution, bar_at, open, high, low, close, volume, source, original_date
) ON market.bars TO app_read;
GRANT SELECT (instrument_id, quote_at, price, source)
ON market.quotes TO app_read;
