"""A share of the calls on new code: which arm each unit of work is on, and what both arms counted.

A *unit* is a request; outside of requests an asyncio task, and elsewhere the outermost call. All calls of
a unit run one arm. How a call gets to its arm is the business of `homeostat_agent.reload`.
"""
