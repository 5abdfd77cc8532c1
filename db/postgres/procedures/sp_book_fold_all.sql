-- sp_book_fold_all(side, quantity, price, multiplier, fee ORDER BY ...) -> app.position_fold
-- The position that executions make, one after the other in the order given; of none, a flat one.
-- Internal: sp_book_refold, sp_integrity_find. Test: test_sp_corrections.py

CREATE OR REPLACE AGGREGATE app.sp_book_fold_all(text, numeric, numeric, numeric, numeric) (
    SFUNC = app.sp_book_fold,
    STYPE = app.position_fold,
    INITCOND = '(0,0,0,0)'
);
