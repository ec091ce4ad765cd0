"""What engines of JSON Schema are judged on, and how. The benchmark of coverage and the ratchet test share it.

The verdict on an instance is ``right``, ``over`` (it is valid and rejected: the language is over-constrained) or
``under`` (it is invalid and accepted); or what kept the engine from judging it: ``refused:<construct>``,
``limit:<name>`` (a field of ``Limits``, or ``time``) or ``error:<class>``. Of MaskBench, a schema is judged as a
whole: by the worst verdict on its instances.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, final

from jsonschema_specifications import REGISTRY
from measuring import SHARED, maskbench
from referencing import Registry
from referencing.jsonschema import DRAFT202012, specification_with

import constrained_diffusion as cd

SUITE: Final = SHARED / "json-schema-test-suite"
SECTIONS: Final = ("required", "optional", "format")
"""The parts of the official suite: the folder itself, ``optional`` without its folder ``format``, and that folder."""

RANKS: Final = {"right": 0, "over": 1, "refused": 1, "limit": 1, "error": 2, "under": 3}
"""How bad each kind of verdict is: to reject too much is as good as to refuse; to accept what is invalid is worst."""

SLOW: Final = 0.3
"""Schemas that took more seconds of the processor when the expectations were written are left out of the test."""

Matcher = Callable[[str], bool]


@final
@dataclass(frozen=True)
class Instance:
    """A value, whether it is valid, and the id under which the verdict on it is kept."""

    id: str
    data: Any
    is_valid: bool


@final
@dataclass(frozen=True)
class Case:
    """A schema with its labelled instances.

    Attributes:
        section: ``maskbench``, or one of ``SECTIONS``.
        name: the id of the schema, or the file of the suite.
        writing: how ``json.dumps`` writes an instance.
        options: what ``json_schema`` is told.
        has_remotes: whether the schema may refer to the remote schemas of the suite.
    """

    section: str
    name: str
    schema: Any
    instances: tuple[Instance, ...]
    writing: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    has_remotes: bool = False


def maskbench_cases() -> list[Case]:
    """The schemas of MaskBench, their instances as ``json.dumps`` writes them; none where they are absent."""
    return [
        Case(
            "maskbench",
            row["id"],
            row["schema"],
            tuple(Instance(row["id"], test["data"], test["valid"]) for test in row["tests"]),
        )
        for row in maskbench()
    ]


def suite_cases() -> list[Case]:
    """The official suite, draft 2020-12, as it wants to be read; none where it is absent.

    Members stand in any order, remote schemas are at hand, and ``format`` is enforced in the tests of formats alone.
    """
    return list(_suite_cases())


def _suite_cases() -> Iterator[Case]:
    folder = SUITE / "tests" / "draft2020-12"
    for file in sorted(folder.rglob("*.json")):
        section = {"draft2020-12": "required"}.get(file.parent.name, file.parent.name)
        is_about_formats = section == "format" or file.stem == "format-assertion"
        options = {
            "property_order": "any",
            "formats": "enforce" if is_about_formats else "annotate",
            "whitespace": "compact",
        }
        for group in json.loads(file.read_text()):
            prefix = f"{section}/{file.stem}/{group['description']}"
            instances = tuple(
                Instance(f"{prefix}/{test['description']}", test["data"], test["valid"]) for test in group["tests"]
            )
            writing = {"separators": (",", ":"), "ensure_ascii": False}
            yield Case(section, file.stem, group["schema"], instances, writing, options, has_remotes=True)


@cache
def remotes() -> Registry[Any]:
    """The schemas that the official suite refers to, the metaschemas among them."""
    root = SUITE / "remotes"
    registry: Registry[Any] = REGISTRY
    for file in sorted(root.rglob("*.json")):
        contents = json.loads(file.read_text())
        dialect = contents.get("$schema", "") if isinstance(contents, dict) else ""
        resource = specification_with(dialect, default=DRAFT202012).create_resource(contents)
        registry = registry.with_resource(f"http://localhost:1234/{file.relative_to(root).as_posix()}", resource)
    return registry


def our_constraint(case: Case, **options: Any) -> cd.Constraint:
    """The constraint of ``json_schema``; ``options`` override those of the case."""
    registry = {"registry": remotes()} if case.has_remotes else {}
    return cd.json_schema(case.schema, **{**case.options, **registry, **options})


def our_matcher(case: Case, **options: Any) -> Matcher:
    """The matcher of ``json_schema``; ``options`` override those of the case."""
    return our_constraint(case, **options).matches


def judged(case: Case, matcher_of: Callable[[Case], Matcher]) -> dict[str, str]:
    """The verdicts on a case, by id; of several on one id, the worst."""
    verdicts = _verdicts(case, matcher_of)
    by_id: dict[str, str] = {}
    for instance, verdict in zip(case.instances, verdicts, strict=True):
        by_id[instance.id] = max(by_id.get(instance.id, verdict), verdict, key=rank)
    return by_id


def unjudged(case: Case, verdict: str) -> dict[str, str]:
    """The same verdict on every instance of a case, by id."""
    return {instance.id: verdict for instance in case.instances}


def _verdicts(case: Case, matcher_of: Callable[[Case], Matcher]) -> list[str]:
    try:
        matches = matcher_of(case)
        return [
            _verdict(instance.is_valid, matches(json.dumps(instance.data, **case.writing)))
            for instance in case.instances
        ]
    except Exception as error:  # whatever an engine raises is its verdict
        return [reason(error)] * len(case.instances)


def _verdict(is_valid: bool, is_accepted: bool) -> str:
    if is_valid == is_accepted:
        return "right"
    return "over" if is_valid else "under"


def reason(error: Exception) -> str:
    """The verdict that an error stands for."""
    if isinstance(error, cd.errors.UnsupportedConstraint):
        return f"refused:{error.construct}"
    if isinstance(error, cd.errors.LimitExceeded):
        return f"limit:{error.limit}"
    return f"error:{type(error).__name__}"


def kind(verdict: str) -> str:
    """A verdict without its details."""
    return verdict.partition(":")[0]


def rank(verdict: str) -> int:
    """How bad a verdict is."""
    return RANKS[kind(verdict)]
