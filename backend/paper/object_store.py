"""The object store of an organization: one file an object, on disk before `save` returns."""

import os
from pathlib import Path
from urllib.parse import quote, unquote

NAME_MAX = 200  # file systems end at 255
SUFFIX = ".object"


class ObjectStore:
    """Named texts, under LEAN's method names."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder

    @property
    def keys(self) -> list[str]:
        names = [name for name in os.listdir(self._folder) if name.endswith(SUFFIX)]
        return sorted(unquote(name.removesuffix(SUFFIX)) for name in names)

    def contains_key(self, path: str) -> bool:
        return self._file(path).exists()

    def read(self, path: str) -> str:
        return self._file(path).read_text()

    def save(self, path: str, text: str) -> bool:
        """Replace the object as a whole; False when the disk refuses."""
        file = self._file(path)
        fresh = file.with_name(file.name + ".new")
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            fresh.replace(file)
            self._sync_folder()
        except OSError:
            return False
        return True

    def delete(self, path: str) -> bool:
        self._file(path).unlink(missing_ok=True)
        return True

    def _file(self, path: str) -> Path:
        name = quote(path, safe="")
        if not 0 < len(name) <= NAME_MAX:
            raise ValueError("an object's name must have 1 to 200 characters")
        return self._folder / (name + SUFFIX)

    def _sync_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
