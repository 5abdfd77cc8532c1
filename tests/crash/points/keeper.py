"""Keeps a service warm: it is imported once, and each of its lives is a fork of that.

Importing takes seconds, of which a life in a crash run is mostly made. A fork is a process like any
other: it opens its own files and connections, dies by SIGKILL, and what comes after it knows only
what was written down. The supervisor sees the keeper, and ends it in the usual way.
"""

import ctypes
import importlib
import os
import signal
import sys
import time

# By the words after `python -m`: what to import beforehand.
WARM = {
    ("worker",): ("worker.__main__",),
    ("paper",): ("paper.__main__", "uvicorn.protocols.http.httptools_impl", "uvloop"),
    ("uvicorn", "app.main:create_app"): (
        *("app.main", "uvicorn.__main__", "uvicorn.protocols.http.httptools_impl"),
        *("uvicorn.lifespan.on", "uvicorn.loops.uvloop", "uvloop"),
    ),
}
BETWEEN_LIVES_S = 0.05
PR_SET_PDEATHSIG = 1
FORWARDED = {signal.SIGTERM, signal.SIGINT}
WAITED = {*FORWARDED, signal.SIGCHLD}


def modules() -> tuple[str, ...]:
    """What this process will import, when it is one of those that are kept."""
    words = tuple(sys.orig_argv[2:]) if sys.orig_argv[1:2] == ["-m"] else ()
    return next((names for key, names in WARM.items() if words[: len(key)] == key), ())


def keep() -> None:
    """Import what the service needs; return in each life of it, never in the keeper."""
    names = modules()
    if not names:
        return
    for name in names:
        importlib.import_module(name)
        if name.endswith("__main__"):
            # It runs under another name.
            del sys.modules[name]
    usual = signal.pthread_sigmask(signal.SIG_BLOCK, WAITED)
    keeper = os.getpid()
    while True:
        life = os.fork()
        if life == 0:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != keeper:
                os._exit(1)
            signal.pthread_sigmask(signal.SIG_SETMASK, usual)
            return
        code = watch(life)
        if code != -signal.SIGKILL:
            os._exit(code if code >= 0 else 1)
        time.sleep(BETWEEN_LIVES_S)


def watch(life: int) -> int:
    """Hand signals on until a life has ended; its exit code, or the negative of its signal."""
    asked_to_stop = False
    while True:
        pid, status = os.waitpid(life, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            return 1 if asked_to_stop and code < 0 else code
        number = signal.sigwait(WAITED)
        if number in FORWARDED:
            asked_to_stop = True
            os.kill(life, number)
