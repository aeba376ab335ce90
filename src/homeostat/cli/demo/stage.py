"""The stage: the example service in a temporary folder, with its own history and virtual environment."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from homeostat.core.errors import Unavailable

_SHIPPED = Path(__file__).parent / "orders"

_IGNORED = ".venv/\n__pycache__/\n.pytest_cache/\n*.sqlite*\n"

_SETTINGS = """
[observation]
window_s = 8       # an hour in real life
baseline_s = 30
min_requests = 100

[canary]
steps = [50]      # 10, then 50, in real life
step_s = 2        # a minute
quick_ms = 100    # no customer of this shop notices less: whatever takes longer is judged
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where the demo plays."""

    root: Path

    @property
    def repository(self) -> Path:
        return self.root / "orders"

    @property
    def python(self) -> Path:
        return self.repository / ".venv" / "bin" / "python"

    @property
    def state_dir(self) -> Path:
        return self.repository / ".homeostat"

    def patch(self, name: str) -> str:
        return (self.repository / "patches" / name).read_text(encoding="utf-8")


def set_up(root: Path) -> Stage:
    """Copy the service, make its first commit and its virtual environment (from the locked versions)."""
    stage = Stage(root=root)
    shutil.copytree(_SHIPPED, stage.repository, symlinks=False)
    (stage.repository / ".gitignore").write_text(_IGNORED, encoding="utf-8")
    git = ["git", "-C", str(stage.repository), "-c", "user.name=Shop", "-c", "user.email=shop@localhost"]
    _run([*git, "init", "--quiet", "--initial-branch=main"])
    _run([*git, "add", "--all"])
    _run([*git, "commit", "--quiet", "--no-verify", "-m", "Take orders"])
    _make_environment(stage)
    return stage


def tune(stage: Stage) -> None:
    """Shorten canary and observation window in the homeostat.toml that `homeostat init` has written."""
    path = stage.repository / "homeostat.toml"
    path.write_text(path.read_text(encoding="utf-8") + _SETTINGS, encoding="utf-8")


def _make_environment(stage: Stage) -> None:
    environment = stage.repository / ".venv"
    lock = str(stage.repository / "requirements.lock")
    uv = shutil.which("uv")
    if uv:
        _run([uv, "venv", "--quiet", "--python", sys.executable, str(environment)])
        _run([uv, "pip", "install", "--quiet", "--python", str(environment), "--require-hashes", "-r", lock])
        return
    _run([sys.executable, "-m", "venv", str(environment)])
    pip = [str(stage.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--require-hashes", "-r", lock])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unavailable("demo-not-staged", f"{' '.join(command[:4])} ... failed: {done.stderr.strip()[-500:]}")
