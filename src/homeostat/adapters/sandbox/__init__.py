"""Running code that nobody trusts where it can do no harm: three kinds of sandbox, one shape.

`interpreter` reads what a host's Python needs, `layout` composes a `spec.SandboxSpec`, `run` has the warm
process `zygote` fork a `launcher` for it and waits. `selftest` tries to break out of each kind and says
which may be used.
"""
