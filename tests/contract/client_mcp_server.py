"""Starts quantconnect-mcp as it is, but for the address that it has no setting for.

usage: QC_URL=http://127.0.0.1:5612/api/v2/ .cache/contract-mcp/bin/python client_mcp_server.py
"""

from __future__ import annotations

import os
from typing import Any

from quantconnect_mcp.main import main
from quantconnect_mcp.src.auth.quantconnect_auth import QuantConnectAuth

_init = QuantConnectAuth.__init__


def _local(self: Any, *arguments: Any, **named: Any) -> None:
    _init(self, *arguments, **named)
    self.base_url = os.environ["QC_URL"]


QuantConnectAuth.__init__ = _local
main()
