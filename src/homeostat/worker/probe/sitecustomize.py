"""First code in every Python process of a sandboxed run: starts the probe, then the host's own sitecustomize."""

import importlib.machinery
import importlib.util
import os
import sys

import homeostat_probe  # type: ignore[import-not-found]


def _hosts_own() -> None:
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    others = [path for path in sys.path if path and os.path.abspath(path) != here]  # noqa: PTH100
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


homeostat_probe.start()
_hosts_own()
