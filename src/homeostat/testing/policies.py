"""The policies on who may do what that come with the product, read once: reading them takes longer than a test."""

from homeostat.adapters.policies import built_in_authorizer

BUILT_IN_POLICIES = built_in_authorizer()
"""Stateless, so that all may share it."""
