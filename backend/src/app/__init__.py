"""Informania's backend: the owner of every write."""
