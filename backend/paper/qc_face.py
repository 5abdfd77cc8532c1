"""QuantConnect's API v2 as far as we, or a foreign client, call it, with its ways of failing."""

import asyncio
import base64
import email.parser
import email.policy
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from paper.cloud import Cloud, Refused
from paper.engine import Deployment, Engine
from paper.faults import Faults
from paper.qc_json import Json, integer
from paper.qc_live import LiveEndpoints, is_organization
from paper.qc_objects import ObjectEndpoints
from paper.qc_projects import ProjectEndpoints
from paper.settings import Demo, Settings
from paper.smoke import Smoke
from paper.venue import Venue

BODY_MAX = 64 * 1024
# Requests that carry files.
CARRIERS, CARRIED_MAX = ("files/", "projects/update", "object/set"), 2 * 1024 * 1024


def create_qc_face(
    settings: Settings, demo: Demo, venue: Venue, engine: Engine, faults: Faults
) -> FastAPI:
    """Serve /api/v2/* by GET and POST, taking JSON, forms and query strings alike."""
    face = _Face(settings, demo, venue, engine, faults)
    app = FastAPI(title="Paper venue, QuantConnect's face", openapi_url=None)
    app.add_api_route("/api/v2/{path:path}", face.serve, methods=["GET", "POST"])
    app.add_api_route("/objects/{job_id}.zip", face.download, methods=["GET"])
    return app


def ok(**fields: object) -> JSONResponse:
    return JSONResponse({**fields, "success": True, "errors": []})


def _file(name: str, content: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type="application/octet-stream", headers=headers)


def refused(*errors: str, status: int = 200, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"success": False, "errors": list(errors)}, status, headers)


class _Face:
    def __init__(
        self, settings: Settings, demo: Demo, venue: Venue, engine: Engine, faults: Faults
    ) -> None:
        self._settings, self._engine, self._faults = settings, engine, faults
        cloud = Cloud(settings.paper_state_dir)
        _show_own(cloud, settings, demo)
        address = f"http://{settings.paper_host}:{settings.paper_qc_port}"
        self._objects = ObjectEndpoints(engine.store, address)
        live = LiveEndpoints(settings, venue, engine, cloud)
        self._files = live.files
        self._handlers: dict[str, Callable[[Json], Json]] = {
            "authenticate": lambda fields: {},
            "live/commands/broadcast": self._broadcast,
            **live.handlers,
            **ProjectEndpoints(cloud, engine, Smoke(settings, demo)).handlers,
            **self._objects.handlers,
        }

    async def serve(self, path: str, request: Request) -> Response:
        body = await _body(request, CARRIED_MAX if path.startswith(CARRIERS) else BODY_MAX)
        if body is None:
            return refused("The request is too large", status=413)
        denied = self._denied(request)
        if denied is not None:
            return denied
        try:
            fields = _fields(request, body)
            if path == "live/commands/create":
                return await self._command_create(fields)
            return await self._answer(path, fields)
        except Refused as refusal:
            return refused(str(refusal))

    async def _answer(self, path: str, fields: Json) -> Response:
        """Do it, unless a fault of the wire, aimed at the path, comes before or after."""
        if path not in self._handlers and path not in self._files:
            return refused(f"Unknown endpoint {path[:100]}", status=404)
        project_id = integer(fields, "projectId", -1)
        early = await self._fault_before([path], project_id)
        if early is not None:
            return early
        answer: Response
        if path in self._files:
            answer = _file(*self._files[path](fields))
        else:
            answer = ok(**self._handlers[path](fields))
        return await self._fault_after([path], project_id) or answer

    async def download(self, job_id: str) -> Response:
        """Hand out the objects of a job; its random number is the key."""
        packed = self._objects.zipped(job_id)
        if packed is None:
            return refused("Job not found", status=404)
        return Response(packed, media_type="application/zip")

    # Authentication.

    def _denied(self, request: Request) -> Response | None:
        """Check the two headers, or their link form in the query, in the two known ways."""
        given = request.headers.get("Authorization", "").removeprefix("Basic ")
        given = given or request.query_params.get("authorization", "")
        timestamp = request.headers.get("Timestamp") or request.query_params.get("timestamp", "")
        too_old = not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12
        too_old = too_old or abs(time.time() - int(timestamp)) > self._settings.qc_skew_seconds
        if not given or too_old:
            challenge = {"WWW-Authenticate": 'Basic realm="QuantConnect"'}
            text = "API key missing, invalid, or timestamp too old"
            return refused(text, status=401, headers=challenge)
        try:
            user, _, digest = base64.b64decode(given, validate=True).decode("ascii").partition(":")
        except ValueError:
            user, digest = "", ""
        if user != self._settings.qc_user_id:
            return refused("UserID not valid")
        token = self._settings.qc_token.get_secret_value().strip()
        expected = hashlib.sha256(f"{token}:{timestamp}".encode()).hexdigest()
        if not hmac.compare_digest(digest.encode(), expected.encode()):
            text = f"Hash doesn't match. UID: {user} Hash: {digest[:64]} Timestamp: '{timestamp}'"
            return refused(text)
        return None

    # Commands.

    async def _command_create(self, fields: Json) -> Response:
        """Queue a command. The answer says that it is queued, and not what becomes of it."""
        deployment = self._engine.deployments.get(integer(fields, "projectId", -1))
        command = fields.get("command")
        if deployment is None:
            raise Refused("There is no running live deployment of this project")
        if not isinstance(command, dict):
            raise Refused("command must be an object")
        ids = [str(command.get("client_order_id", command.get("$type", "")))]
        early = await self._fault_before(ids, deployment.project_id)
        if early is not None:
            return early
        payload = json.dumps(command)
        twice = self._faults.take("duplicate_command", ids, deployment.project_id) is not None
        for _ in range(2 if twice else 1):
            if not deployment.enqueue(payload):
                return refused("Too many commands wait", status=429, headers={"Retry-After": "1"})
        return await self._fault_after(ids, deployment.project_id) or ok()

    def _broadcast(self, fields: Json) -> Json:
        """Queue a command at every deployment of the organization, but for one project."""
        command = fields.get("command")
        if not is_organization(fields) or not isinstance(command, dict):
            raise Refused("Name your organization and a command")
        spared = integer(fields, "excludeProjectId", -1)
        deployments: list[Deployment] = list(self._engine.deployments.values())
        for deployment in deployments:
            if deployment.project_id != spared:
                deployment.enqueue(json.dumps(command))
        return {}

    async def _fault_before(self, ids: list[str], project_id: int) -> Response | None:
        if fault := self._faults.take("delay", ids, project_id):
            await asyncio.sleep(fault.seconds)
        if fault := self._faults.take("throttle", ids, project_id):
            retry = {"Retry-After": str(int(fault.seconds))}
            return refused("Too many requests", status=429, headers=retry)
        if self._faults.take("auth_fail", ids, project_id):
            return refused("Hash doesn't match. UID: Hash: Timestamp: ''")
        if fault := self._faults.take("refuse", ids, project_id):
            return refused(fault.reason)
        if fault := self._faults.take("timeout_before_accept", ids, project_id):
            await asyncio.sleep(fault.seconds)
            return refused("Gateway timeout", status=504)
        return None

    async def _fault_after(self, ids: list[str], project_id: int) -> Response | None:
        if fault := self._faults.take("timeout_after_accept", ids, project_id):
            await asyncio.sleep(fault.seconds)
            return refused("Gateway timeout", status=504)
        if self._faults.take("5xx_after_accept", ids, project_id):
            return refused("Service unavailable", status=503)
        if self._faults.take("reset_mid_body", ids, project_id):
            return _CutShort()
        return None


class _CutShort(Response):
    """An answer that promises more bytes than it has: the connection breaks within it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"100")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"succ', "more_body": True})
        raise ConnectionResetError("cut short by a fault")


def _show_own(cloud: Cloud, settings: Settings, demo: Demo) -> None:
    """Show the demo's accounts as projects with the files that they run."""
    files = {it.name: it.read_text() for it in settings.bridge_file.parent.glob("*.py")}
    cloud.adopt({account.project_id: account.name for account in demo.accounts}, files)


async def _body(request: Request, size_max: int) -> bytes | None:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > size_max:
            return None
    return body


def _fields(request: Request, body: bytes) -> Json:
    fields: Json = dict(request.query_params)
    kind = request.headers.get("Content-Type", "")
    if "x-www-form-urlencoded" in kind:
        pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
        return fields | dict(pairs)
    if kind.startswith("multipart/form-data"):
        return fields | _parts(kind, body)
    if body:
        try:
            parsed = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Refused("The body is not JSON") from error
        if not isinstance(parsed, dict):
            raise Refused("The body is not an object")
        fields |= parsed
    return fields


def _parts(kind: str, body: bytes) -> Json:
    """The fields of a form that carries a file."""
    head = f"Content-Type: {kind}\r\n\r\n".encode("latin-1", "replace")
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    message = parser.parsebytes(head + body)
    found: Json = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            found[name] = content.decode("utf-8", "replace")
    return found
