"""What Schemathesis is told of our API: loaded by itself, by the name in SCHEMATHESIS_HOOKS."""

import schemathesis


@schemathesis.check
def valid_data_is_valid(ctx, response, case):  # type: ignore[no-untyped-def]
    """What fits the description is never refused for its form.

    What else may be refused with 422 depends on what is in the tables: an unknown symbol, say.
    """
    meta = case.meta
    if meta is None or not meta.generation.mode.is_positive or response.status_code != 422:
        return
    body = response.json()
    assert body.get("code") != "validation_failed", body
