"""When a process was started: together with its number that tells it from a later process of that number."""

from pathlib import Path


def process_started(pid: int) -> str | None:
    """Return the start time of a process in the kernel's words; None when there is none. `exec` keeps it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] != "Z" else None
