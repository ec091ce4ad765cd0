"""Records of arrays that compiled kernels take by reference.

A kernel that takes a ``NamedTuple`` of thirty arrays takes some two hundred numbers, and so does every kernel that it
calls: compiling takes several times as long, and a call 20 microseconds instead of 3.
"""

from typing import Any

import numpy as np
from numba import njit, types
from numba.experimental import structref
from numba.extending import overload


@structref.register
class _Record(types.StructRef):  # type: ignore[misc]
    """The type of a record; its fields and their types tell one from another."""

    def preprocess_fields(self, fields: Any) -> Any:
        return tuple((name, types.unliteral(kind)) for name, kind in fields)


class _Handle(structref.StructRefProxy):  # type: ignore[misc]
    """A record as Python sees it: nothing but an argument of kernels."""


structref.define_boxing(_Record, _Handle)


def _copied(record):  # type: ignore[no-untyped-def]
    """In compiled code, a new record of the fields of a ``NamedTuple``."""
    raise NotImplementedError


@overload(_copied)
def _copied_in_compiled_code(record):  # type: ignore[no-untyped-def]
    kind = _Record(list(zip(record.fields, record.types, strict=True)))
    lines = [f"    out.{name} = record.{name}" for name in record.fields]
    names = {"new": structref.new, "kind": kind}
    exec("\n".join(["def copied(record):", "    out = new(kind)", *lines, "    return out"]), names)  # noqa: S102
    return names["copied"]


@njit(cache=True)
def _referred(record):  # type: ignore[no-untyped-def]
    return _copied(record)  # type: ignore[no-untyped-call]


def by_reference(record: Any) -> Any:
    """What kernels take in place of a ``NamedTuple`` of arrays and numbers. The arrays are shared, not copied."""
    # Arrays that cannot be written to are of another type to the compiler.
    usable = (np.array(v) if isinstance(v, np.ndarray) and not v.flags.writeable else v for v in record)
    return _referred(record._make(usable))
