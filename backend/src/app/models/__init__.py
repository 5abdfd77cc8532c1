"""Shapes: what is on the wire (dto) and what is in the tables (orm)."""
