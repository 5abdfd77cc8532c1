"""An operator at his terminal: the real command, a real paper venue, a real database."""

import asyncio
import io
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from fixtures_postgres import Database, make_account, make_instrument
from paper_world import HMAC_KEY, QC_TOKEN, QC_USER, PaperProcess, Receiver

from app.admin.__main__ import main
from app.services import qc_deployment

IB_PASSWORD = "password-at-interactive-brokers"
SECRETS = (HMAC_KEY, QC_TOKEN, IB_PASSWORD)


@dataclass
class Operator:
    """Runs commands and keeps all that they said, to look for secrets in it."""

    paper: PaperProcess
    receiver: Receiver
    root: asyncpg.Connection
    migrate: asyncpg.Connection
    secrets: Path
    capsys: pytest.CaptureFixture[str]
    said: list[str] = field(default_factory=list)

    async def run(self, *words: str) -> tuple[int, list[dict[str, Any]], str]:
        """Run `informania-admin --json quantconnect ...`; its code, its rows, its complaints."""
        out = io.StringIO()
        code = await asyncio.to_thread(main, ["--json", "quantconnect", *words], out=out)
        captured = self.capsys.readouterr()
        self.said += [out.getvalue(), captured.out, captured.err]
        rows = json.loads(out.getvalue()) if out.getvalue() else []
        return code, rows, captured.err

    async def done(self, *words: str) -> dict[str, Any]:
        """Run what must succeed; its first row."""
        code, rows, complaint = await self.run(*words)
        assert code == 0, complaint
        return rows[0]

    async def failed(self, *words: str) -> str:
        """Run what must fail; its last complaint."""
        code, rows, complaint = await self.run(*words)
        assert (code, rows) == (1, []), complaint
        return str(json.loads(complaint.splitlines()[-1])["detail"])

    async def account(self) -> str:
        """Make a project at QuantConnect and an account here that trades through it."""
        project_id = str((await self.done("create", "Desk"))["project_id"])
        await make_account(self.migrate, broker_account=project_id)
        return project_id

    async def audited(self) -> list[str]:
        """What the system's stream says of bridges."""
        rows = await self.root.fetch(
            "SELECT action FROM audit.audit_log"
            " WHERE stream_id = 0 AND action LIKE 'bridge.%' ORDER BY seq"
        )
        return [row["action"].removeprefix("bridge.") for row in rows]

    async def hear(self, project_id: str) -> None:
        """Let the database hear what the bridge last said, as the webhook does."""
        body = self.receiver.deliveries(int(project_id))[-1]
        await self.root.execute(
            "SELECT app.sp_inbox_put($1, $2, $3, '[]', $4::jsonb)",
            *(body["source"], body["deploy_id"], body["epoch"], json.dumps(body["heartbeat"])),
        )

    def launches(self, project_id: str) -> list[dict[str, Any]]:
        """All deployments of a project, as QuantConnect lists them."""
        found = self.paper.call("live/list", {"projectId": int(project_id)}).json()["live"]
        assert isinstance(found, list)
        return found

    async def assert_silent(self) -> None:
        """No secret is in anything that was printed or recorded."""
        rows = await self.root.fetch("SELECT detail::text AS detail FROM audit.audit_log")
        everything = "\n".join([*self.said, *(row["detail"] for row in rows)])
        assert [secret for secret in SECRETS if secret in everything] == []


@pytest.fixture
async def operator(
    *,
    database: Database,
    secrets_dir: Path,
    tmp_path: Path,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> AsyncIterator[Operator]:
    paper = PaperProcess(tmp_path, receiver, PAPER_LIVE_NODES="4")
    await asyncio.to_thread(paper.start)
    secrets = tmp_path / "operator"
    shutil.copytree(secrets_dir, secrets)
    (secrets / "webhook_hmac").write_text(HMAC_KEY)
    (secrets / "qc_token").write_text(QC_TOKEN)
    environment = {
        "APP_ENV": "test",
        "SECRETS_DIR": str(secrets),
        "DATABASE_HOST": database.host,
        "DATABASE_PORT": str(database.port),
        "DATABASE_NAME": database.name,
        "QC_URL": f"http://127.0.0.1:{paper.qc_port}/api/v2/",
        "QC_USER_ID": QC_USER,
        "PUBLIC_URL": receiver.url.removesuffix("/api/webhooks/quantconnect"),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(qc_deployment, "POLL_S", 0.05)
    root, migrate = await database.connect("postgres"), await database.connect("app_migrate")
    await make_instrument(migrate, "AAPL")
    operator = Operator(paper, receiver, root, migrate, secrets, capsys)
    yield operator
    await operator.assert_silent()
    await root.close()
    await migrate.close()
    await asyncio.to_thread(paper.close)
