"""Runs the platform on this machine without containers."""
