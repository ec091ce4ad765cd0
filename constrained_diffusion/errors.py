"""The errors of the package, one tree.

::

    ConstrainedDiffusionError
    ├── ConstraintError            the constraint itself is at fault
    │   ├── InvalidConstraint      it is malformed
    │   └── UnsupportedConstraint  it is well-formed, but a part of it cannot be enforced
    ├── InfeasibleError            no text can meet the request
    ├── LimitExceeded              a limit of ``Limits`` was reached
    └── ModelError                 the model, its tokenizer or its logits are at fault
"""


class ConstrainedDiffusionError(Exception):
    """The base of every error that this package raises on purpose."""


class ConstraintError(ConstrainedDiffusionError):
    """A constraint is at fault; ``path`` is the JSON pointer to the place in a schema, where there is one."""

    def __init__(self, message: str, *, path: str | None = None) -> None:
        super().__init__(message if path is None else f"{message} (at {path or 'the root'})")
        self.path = path


class InvalidConstraint(ConstraintError):
    """The constraint is malformed."""


class UnsupportedConstraint(ConstraintError):
    """A part of the constraint cannot be enforced; ``construct`` names it."""

    def __init__(self, message: str, *, construct: str, path: str | None = None) -> None:
        super().__init__(message, path=path)
        self.construct = construct


class InfeasibleError(ConstrainedDiffusionError):
    """No text can meet the request; the message names the reason."""


class LimitExceeded(ConstrainedDiffusionError):
    """A limit was reached; ``limit`` is the name of the field of ``Limits``."""

    def __init__(self, limit: str, value: int, what: str) -> None:
        super().__init__(
            f"{what} exceeds Limits.{limit} = {value:,}. Simplify the constraint, or pass "
            f"limits=cd.Limits({limit}=...) with a higher value"
        )
        self.limit = limit


class ModelError(ConstrainedDiffusionError):
    """The model, its tokenizer or its logits are at fault."""
