"""Every path of the layout is there, and holds something."""

import pytest

from native.installation import ROOT

LAYOUT = """
README.md .gitignore .env.example Makefile docker-compose.yml
ops/reverse-proxy/caddy: Caddyfile Dockerfile
ops/reverse-proxy/nginx: app.conf Dockerfile
ops/k8s: streamlit-deploy.yaml api-deploy.yaml proxy-deploy.yaml supertokens-deploy.yaml
ops/k8s: postgres-statefulset.yaml secrets-store/ ingress.yaml
ops/pgbouncer: pgbouncer.ini userlist.txt
ops/ci/github-actions: build_ui.yml build_api.yml deploy.yml
ui/streamlit: app.py peg_login.py config.toml requirements.in requirements.txt
ui/streamlit/pages: 01_Dashboard.py 02_Reports.py 03_Trades.py
ui/streamlit/components: auth_gate.py tables.py charts.py
ui/streamlit/services: ro_db.py api_client.py models.py
ui/streamlit/assets: styles.css logo.png
ui/streamlit/tests: ui_smoke_test.py
backend: pyproject.toml Dockerfile
backend/src/app: main.py
backend/src/app/core: settings.py logging.py security.py
backend/src/app/auth: supertokens_middleware.py rbac.py
backend/src/app/api: __init__.py
backend/src/app/api/routes: health.py orders.py lmdb.py data.py
backend/src/app/services: db.py sp.py lmdb_actor.py qc_client.py ibkr_adapter.py
backend/src/app/models: dto.py orm.py
backend/src/app/outbox: schema.sql repo.py
backend/src/app/audits: schema.sql repo.py
backend/alembic: env.py script.py.mako
backend/alembic/versions: 20260109_init.py 20260109_timeseries.py
backend/worker: __main__.py consumer.py reconcilers.py pyproject.toml
backend/zig-lmdb: build.zig
backend/zig-lmdb/src: lmdb_ffi.zig hashtable.zig bridge.zig
backend/zig-lmdb/include: lmdb.h
backend/zig-lmdb/tests: hashtable_test.zig
backend/tests: unit/ integration/
auth/supertokens: core-config/config.yaml docker/Dockerfile README.md
db/postgres/schemas: 00_base.sql 10_orders.sql 20_reporting.sql
db/postgres/security: roles.sql rls_policies.sql grants.sql
db/postgres/procedures: sp_place_order.sql sp_outbox_enqueue.sql sp_audit_append.sql
db/postgres/timeseries: enable_timescaledb.sql hypertables.sql
db/postgres/config: postgresql.conf pg_hba.conf
db: migrations/
scripts: init_dev.sh build_zig_lmdb.sh migrate.sh seed_db.sh run_all.sh
secrets/templates: streamlit.env.example api.env.example proxy.env.example
secrets/sops: README.md
tests/e2e: e2e_place_order.py
tests/load: locustfile.py
docs: architecture.md auth.md data_model.md lmdb.md proxy.md secrets.md
"""


def paths() -> list[str]:
    """Write the layout out, one path each."""
    found = []
    for line in LAYOUT.strip().splitlines():
        folder, colon, names = line.partition(": ")
        found += [f"{folder}/{it}" for it in names.split()] if colon else line.split()
    return found


@pytest.mark.parametrize("path", paths())
def test_a_path_of_the_layout_is_alive(path: str) -> None:
    there = ROOT / path
    if path.endswith("/"):
        assert any(there.iterdir())
    else:
        assert there.stat().st_size > 0
