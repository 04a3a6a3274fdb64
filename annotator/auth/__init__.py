"""Accounts, roles, sessions and tokens: who may do what in a project."""
