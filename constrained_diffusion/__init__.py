"""Exact texts from block-diffusion language models.

A constraint says what the text must be; the sampler meets it at every refinement pass::

    import constrained_diffusion as cd

    gen = cd.load()
    person = gen.json("Ada Lovelace, 36, lives in London.", Person)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from constrained_diffusion.public import *
    from constrained_diffusion.public import __all__ as __all__
else:

    def __getattr__(name: str) -> Any:
        """Loads the public names, and torch with them, when the first one is used (PEP 562)."""
        public = import_module("constrained_diffusion.public")
        if name != "__all__" and name not in public.__all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals().update({other: getattr(public, other) for other in ("__all__", *public.__all__)})
        return globals()[name]

    def __dir__() -> list[str]:
        return sorted({*globals(), *__getattr__("__all__")})
