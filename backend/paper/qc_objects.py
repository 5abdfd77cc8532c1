"""QuantConnect's endpoints object/*: the organization's object store, as the bridge uses it."""

import hashlib
import io
import secrets
import zipfile
from collections.abc import Callable, Mapping

from paper.cloud import Refused
from paper.object_store import NAME_MAX, ObjectStore
from paper.qc_json import Json, text

PREVIEW_MAX = 100
JOBS_MAX = 20


class ObjectEndpoints:
    """What is asked of stored objects; `handlers` names them as the path does."""

    def __init__(self, store: ObjectStore, address: str) -> None:
        self._store, self._address = store, address
        self._jobs: dict[str, list[str]] = {}
        self.handlers: Mapping[str, Callable[[Json], Json]] = {
            "object/set": self._set,
            "object/get": self._get,
            "object/properties": lambda it: {"metadata": self._metadata(self._known(it))},
            "object/list": self._list,
            "object/delete": self._delete,
        }

    def zipped(self, job_id: str) -> bytes | None:
        """Pack the objects of a job; None when there is no such job."""
        keys = self._jobs.get(job_id)
        if keys is None:
            return None
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for key in keys:
                if self._store.contains_key(key):
                    archive.writestr(key, self._store.read(key))
        return packed.getvalue()

    def _set(self, fields: Json) -> Json:
        key = text(fields, "key")
        if not 0 < len(key) <= NAME_MAX:
            raise Refused(f"key must have 1 to {NAME_MAX} characters")
        self._store.save(key, text(fields, "objectData"))
        self._store.commit()
        return {}

    def _get(self, fields: Json) -> Json:
        """Ask for objects, and then, with the job that makes a file of them, for its address."""
        job_id = fields.get("jobId")
        if job_id is not None:
            if job_id not in self._jobs:
                raise Refused("Job not found")
            return {"jobId": job_id, "url": f"{self._address}/objects/{job_id}.zip"}
        keys = fields.get("keys")
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise Refused("keys must be a list of texts")
        missing = [key for key in keys if not self._store.contains_key(key)]
        if missing:
            raise Refused(f"Object not found: {missing[0][:100]}")
        while len(self._jobs) >= JOBS_MAX:
            del self._jobs[next(iter(self._jobs))]
        job_id = secrets.token_hex(16)
        self._jobs[job_id] = keys
        return {"jobId": job_id, "url": ""}

    def _known(self, fields: Json) -> str:
        key = text(fields, "key")
        if not self._store.contains_key(key):
            raise Refused("Object not found")
        return key

    def _metadata(self, key: str) -> Json:
        content = self._store.read(key).encode()
        return {
            "key": key,
            "modified": None,
            "created": None,
            "md5": hashlib.md5(content, usedforsecurity=False).hexdigest(),
            "mime": "text/plain",
            "size": len(content),
            "preview": content[:PREVIEW_MAX].decode("utf-8", "replace"),
        }

    def _list(self, fields: Json) -> Json:
        """List what lies directly below a path: objects, and folders by their names."""
        path = text(fields, "path", "").strip("/")
        prefix = f"{path}/" if path else ""
        rows: dict[str, Json] = {}
        for key in self._store.keys:
            if key.startswith(prefix):
                head, slash, _ = key[len(prefix) :].partition("/")
                size = 0 if slash else len(self._store.read(key).encode())
                is_folder = bool(slash)
                rows[head] = {"key": f"/{prefix}{head}", "name": head, "folder": is_folder}
                rows[head] |= {"modified": None, "mime": "directory" if slash else "text/plain"}
                rows[head] |= {"size": size}
        used = sum(len(self._store.read(key).encode()) for key in self._store.keys)
        human = f"{used / 1024:.1f} KB"
        more = {"objectStorageUsed": used, "objectStorageUsedHuman": human}
        return {"path": f"/{path}", "objects": list(rows.values()), **more}

    def _delete(self, fields: Json) -> Json:
        self._store.delete(self._known(fields))
        self._store.commit()
        return {}
