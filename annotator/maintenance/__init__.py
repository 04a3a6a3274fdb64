"""Backups, integrity checks, and the report on this installation."""
