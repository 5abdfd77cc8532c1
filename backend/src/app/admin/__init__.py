"""The command line of administrators: a thin face of the API, and the kill switch without it."""
