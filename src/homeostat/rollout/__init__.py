"""Rollouts: whose consent is needed, what can change live, and how the outcome is judged. Pure."""
