"""The HTTP face: parse, call one service, choose a status."""
