"""Backups, integrity checks, and a report on the installation."""
