"""QuantConnect's endpoints projects/*, files/*, compile/* and backtests/*."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from paper.cloud import ORGANIZATION, Cloud, Compile, File, Project, Refused
from paper.engine import Engine
from paper.qc_json import Json, integer, no_insights, page, text
from paper.smoke import Smoke

BACKTEST_ORDERS_MAX = 100
PAIR = re.compile(r"(parameters|files)\[(\d{1,4})\]\[(key|value|name|content)\]")

NAMED = re.compile(r"parameters\[([A-Za-z_][A-Za-z0-9_]*)\]")


class ProjectEndpoints:
    """What is asked of projects; `handlers` names them as the path does."""

    def __init__(self, cloud: Cloud, engine: Engine, smoke: Smoke) -> None:
        self._cloud, self._engine, self._smoke = cloud, engine, smoke
        self.handlers: Mapping[str, Callable[[Json], Json]] = {
            "projects/create": self._create,
            "projects/read": self._read,
            "projects/update": self._update,
            "projects/delete": self._delete,
            "files/create": self._file_create,
            "files/read": self._files_read,
            "files/update": self._file_update,
            "files/delete": self._file_delete,
            "compile/create": lambda it: self._compile_json(self._cloud.build(self._project(it))),
            "compile/read": self._compile_read,
            "backtests/create": self._backtest_create,
            "backtests/read": lambda it: {"backtest": self._backtest(it), "debugging": False},
            "backtests/list": self._backtests,
            "backtests/update": self._backtest_update,
            "backtests/delete": self._backtest_delete,
            "backtests/orders/read": self._backtest_orders,
            "backtests/chart/read": self._backtest_chart,
            "backtests/insights/read": self._backtest_insights,
        }

    def _project(self, fields: Json) -> Project:
        return self._cloud.project(integer(fields, "projectId", -1))

    # Projects.

    def _create(self, fields: Json) -> Json:
        project = self._cloud.create(text(fields, "name"), text(fields, "language", "Py"))
        return {"projects": [self._project_json(project)], "versions": []}

    def _read(self, fields: Json) -> Json:
        every = self._cloud.projects.values()
        found = [self._project(fields)] if "projectId" in fields else list(every)
        return {"projects": [self._project_json(it) for it in found], "versions": []}

    def _update(self, fields: Json) -> Json:
        """Change what is given, as JSON or as the form of the lean command line."""
        project = self._project(fields)
        pairs = _pairs(fields)
        project.name = text(fields, "name", project.name)
        project.description = text(fields, "description", project.description)
        given = pairs.get("parameters", fields.get("parameters"))
        if isinstance(given, list):
            project.parameters = {str(it["key"]): str(it["value"]) for it in given}
        elif given is not None:
            project.parameters = dict(given) if isinstance(given, dict) else {}
        for file in pairs.get("files", []):
            self._cloud.put_file(project, str(file.get("name")), str(file.get("content", "")))
        self._cloud.save()
        return {}

    def _delete(self, fields: Json) -> Json:
        project = self._project(fields)
        if project.project_id in self._engine.deployments:
            raise Refused("The project is deployed live; stop it first")
        self._cloud.remove(project.project_id)
        return {}

    def _project_json(self, project: Project) -> Json:
        owner = {"uid": 1, "liveControl": True, "permission": "write", "profileImage": ""}
        pairs = [{"key": name, "value": value} for name, value in project.parameters.items()]
        return {
            "projectId": project.project_id,
            "organizationId": ORGANIZATION,
            "name": project.name,
            "description": project.description,
            "modified": project.modified,
            "created": project.created,
            "language": project.language,
            "ownerId": 1,
            "collaborators": [{**owner, "name": "paper", "owner": True}],
            "leanVersionId": 0,
            "leanPinnedToMaster": True,
            "leanEnvironment": 1,
            "parameters": pairs,
            "libraries": [],
            "encrypted": False,
            "liveResults": {"eStatus": self._status_of(project.project_id)},
        }

    def _status_of(self, project_id: int) -> str:
        launches = self._engine.launches.of(project_id)
        return launches[-1].status if launches else "Undefined"

    # Files.

    def _file_create(self, fields: Json) -> Json:
        project, name = self._project(fields), text(fields, "name")
        if name in project.files:
            raise Refused(f"File {name} already exists")
        file = self._cloud.put_file(project, name, text(fields, "content", ""))
        return {"files": [_file_json(project, name, file)]}

    def _files_read(self, fields: Json) -> Json:
        project, name = self._project(fields), fields.get("name")
        found = [
            _file_json(project, key, it) for key, it in project.files.items() if name in (None, key)
        ]
        if name is not None and not found:
            raise Refused("File not found")
        return {"files": found}

    def _file_update(self, fields: Json) -> Json:
        project, name = self._project(fields), text(fields, "name")
        file = project.files.get(name)
        if file is None:
            raise Refused("File not found")
        renamed = text(fields, "newName", name)
        file = self._cloud.put_file(project, renamed, text(fields, "content", file.content))
        if renamed != name:
            self._cloud.remove_file(project, name)
        return {"files": [_file_json(project, renamed, file)]}

    def _file_delete(self, fields: Json) -> Json:
        self._cloud.remove_file(self._project(fields), text(fields, "name"))
        return {}

    # Compiles and backtests.

    def _compile_read(self, fields: Json) -> Json:
        built = self._cloud.built(self._project(fields).project_id, text(fields, "compileId"))
        built.reads += 1
        return self._compile_json(built)

    def _compile_json(self, built: Compile) -> Json:
        is_done = built.state_told == built.state
        return {
            "compileId": built.compile_id,
            "projectId": built.project_id,
            "state": built.state_told,
            "signature": built.compile_id.rpartition("-")[2],
            "signatureOrder": sorted(built.files),
            "logs": built.logs if is_done else [],
        }

    def _backtest_create(self, fields: Json) -> Json:
        project = self._project(fields)
        built = self._cloud.deployable(project.project_id, text(fields, "compileId"))
        given = fields.get("parameters") or {}
        if not isinstance(given, dict):
            raise Refused("parameters must be an object")
        # Or as one field each, as some clients write them.
        single = ((NAMED.fullmatch(key), value) for key, value in fields.items())
        given = {**given, **{match[1]: value for match, value in single if match}}
        parameters = {str(name): str(value) for name, value in given.items()}
        name = text(fields, "backtestName")
        done = self._smoke.run(project.project_id, built.files, name, parameters)
        self._cloud.keep_backtest(done)
        begun = {"completed": False, "progress": 0.0, "status": "In Queue...", "error": None}
        return {"backtest": {**done, **begun, "stacktrace": None}, "debugging": False}

    def _backtest(self, fields: Json) -> Json:
        project_id = self._project(fields).project_id
        found = self._cloud.backtests.get(text(fields, "backtestId"))
        if found is None or found["projectId"] != project_id:
            raise Refused("Backtest not found")
        return found

    def _backtests(self, fields: Json) -> Json:
        project_id = self._project(fields).project_id
        found = [it for it in self._cloud.backtests.values() if it["projectId"] == project_id]
        return {"backtests": found, "count": len(found)}

    def _backtest_update(self, fields: Json) -> Json:
        found = self._backtest(fields)
        found["name"] = text(fields, "name", found["name"])
        found["note"] = text(fields, "note", found["note"] or "")
        return {}

    def _backtest_delete(self, fields: Json) -> Json:
        del self._cloud.backtests[self._backtest(fields)["backtestId"]]
        return {}

    def _backtest_orders(self, fields: Json) -> Json:
        orders = self._smoke.orders(self._backtest(fields)["backtestId"])
        cut = page(fields, orders, start="start", end="end", size=BACKTEST_ORDERS_MAX)
        return {"orders": cut, "length": len(orders)}

    def _backtest_insights(self, fields: Json) -> Json:
        self._backtest(fields)
        return no_insights(fields)

    def _backtest_chart(self, fields: Json) -> Json:
        return self._smoke.chart(self._backtest(fields)["backtestId"]).read(fields)


def _file_json(project: Project, name: str, file: File) -> Json:
    return {
        "projectId": project.project_id,
        "name": name,
        "content": file.content,
        "modified": file.modified,
        "isLibrary": False,
        "open": False,
    }


def _pairs(fields: Json) -> dict[str, list[dict[str, Any]]]:
    """Lists as PHP's forms write them: parameters[0][key]=a, parameters[0][value]=b."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for key, value in fields.items():
        if match := PAIR.fullmatch(key):
            found.setdefault(match[1], {}).setdefault(int(match[2]), {})[match[3]] = value
    lists = {name: [rows[place] for place in sorted(rows)] for name, rows in found.items()}
    for row in lists.get("parameters", []):
        if row.keys() != {"key", "value"}:
            raise Refused("parameters need a key and a value")
    return lists
