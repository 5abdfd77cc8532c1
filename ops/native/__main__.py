"""Runs the platform on this machine: python -m native up|down|status|logs|clean."""

import signal
import sys

if __name__ == "__main__":
    # Ctrl-C while we are still importing needs no traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from native.cli import main

    sys.exit(main(sys.argv[1:]))
