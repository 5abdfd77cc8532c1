"""Ctrl-C, a termination and a hang-up, remembered instead of raised."""

import signal


class Interrupted:
    """Remembers that somebody wants to stop while the platform starts."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Interrupted":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]

    def _on_signal(self, number: int, _: object) -> None:
        self.number = number

    def __call__(self) -> bool:
        return self.number is not None
