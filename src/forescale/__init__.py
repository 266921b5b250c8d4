"""forescale: forecast, then scale.

    import forescale
    laws = forescale.fit("runs.csv")
    forescale.forecast(laws, flops=1e21).interval
    forescale.Project("workspace").clean()

Every name is opened when it is first used: `import forescale` loads neither numpy nor torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forescale.project.project import Project
    from forescale.scaling.compare import compare
    from forescale.scaling.fit import fit
    from forescale.scaling.forecast import forecast
    from forescale.scaling.plan import plan
    from forescale.scaling.plans import plans

__version__ = "0.1.0"

__all__ = ["Project", "__version__", "compare", "fit", "forecast", "plan", "plans"]

_HOME = {
    "Project": "forescale.project.project",
    "compare": "forescale.scaling.compare",
    "fit": "forescale.scaling.fit",
    "forecast": "forescale.scaling.forecast",
    "plan": "forescale.scaling.plan",
    "plans": "forescale.scaling.plans",
}


def __getattr__(name: str) -> Any:
    """Open a public name's file when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module 'forescale' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
