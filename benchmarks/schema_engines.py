"""Engines of JSON Schema behind one interface, each in a process of its own.

A schema that takes too long, or brings its engine down, then costs no more than itself.
"""

import json
import multiprocessing
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final, Literal, final

from measuring import record_schema
from schema_judging import Case, Instance, Matcher, judged, our_constraint, our_matcher, reason, unjudged
from vocabularies import END_ID, tekken

import constrained_diffusion as cd
from constrained_diffusion.errors import UnsupportedConstraint

Work = Literal["judge", "compile"]

RAW: Final = {"ensure_ascii": False}
"""How MaskBench itself writes instances; escapes beyond ASCII are refused by some engines."""
BYTES: Final = [bytes([byte]) for byte in range(256)]
"""A vocabulary that spells every text, for judging."""


@final
@dataclass(frozen=True)
class Answer:
    """What came of a case.

    Attributes:
        verdicts: by id, if the case was to be judged.
        obstacle: what prevented the answer, as a verdict; empty if nothing did.
        wall: seconds on the clock.
        cpu: seconds of the processor.
    """

    verdicts: dict[str, str] = field(default_factory=dict)
    obstacle: str = ""
    wall: float = 0.0
    cpu: float = 0.0


class Engine(ABC):
    """A way from a schema to a matcher of texts, and to a mask over Tekken.

    Attributes:
        writing: how ``json.dumps`` writes instances for it, where that differs from the case.
    """

    writing: Mapping[str, Any] = {}

    @abstractmethod
    def matcher(self, case: Case) -> Matcher:
        """The matcher of whole texts."""

    @abstractmethod
    def compile(self, case: Case) -> None:
        """Does all that stands between the schema and the first mask over Tekken."""


@final
class Ours(Engine):
    """This package; compiling ends with the automaton over tokens, from which every mask is read off."""

    def __init__(self, **options: Any) -> None:
        self._options = options

    @cached_property
    def _tekken(self) -> cd.Vocabulary:
        return tekken()

    def matcher(self, case: Case) -> Matcher:
        return our_matcher(case, **self._options)

    def compile(self, case: Case) -> None:
        cd.compile(our_constraint(case, **self._options), self._tekken)


@final
class LLGuidance(Engine):
    """llguidance with its defaults. Its lexer is built as it is used, so compiling includes the first mask."""

    writing = RAW

    def __init__(self) -> None:
        self._library = import_module("llguidance")

    @cached_property
    def _bytes(self) -> Any:
        return self._tokenizer([*BYTES, b"<end>"], [256])

    @cached_property
    def _tekken(self) -> Any:
        tokens = tekken().tokens
        named = [token or f"<special {i}>".encode() for i, token in enumerate(tokens)]
        return self._tokenizer(named, [END_ID, *(i for i, token in enumerate(tokens) if not token)])

    def _tokenizer(self, tokens: list[bytes], specials: list[int]) -> Any:
        wrapped = _TokensForLLGuidance(tokens, specials)
        return self._library.LLTokenizer(self._library.TokenizerWrapper(wrapped))

    def _start(self, case: Case, tokenizer: Any) -> Any:
        grammar = self._library.LLMatcher.grammar_from_json_schema(json.dumps(case.schema))
        matcher = self._library.LLMatcher(tokenizer, grammar, log_level=0)
        if matcher.is_error():
            raise UnsupportedConstraint(matcher.get_error(), construct=matcher.get_error().partition("\n")[0][:60])
        return matcher

    def matcher(self, case: Case) -> Matcher:
        start = self._start(case, self._bytes)

        def matches(text: str) -> bool:
            matcher, tokens = start.deep_copy(), list(text.encode(errors="surrogatepass"))
            return matcher.try_consume_tokens(tokens) == len(tokens) and bool(matcher.is_accepting())

        return matches

    def compile(self, case: Case) -> None:
        self._start(case, self._tekken).compute_bitmask()


@final
class _TokensForLLGuidance:
    """What llguidance asks of a tokenizer; texts are spelled byte by byte."""

    bos_token_id = None

    def __init__(self, tokens: list[bytes], specials: list[int]) -> None:
        self.tokens = tokens
        self.special_token_ids = specials
        self.eos_token_id = specials[0]
        self._ids = {token: i for i, token in enumerate(tokens) if len(token) == 1}

    def __call__(self, text: str | bytes) -> list[int]:
        spelled = text if isinstance(text, bytes) else text.encode()
        return [self._ids[spelled[i : i + 1]] for i in range(len(spelled))]


@final
class XGrammar(Engine):
    """xgrammar on one thread, without its cache; the strict mode closes every object and array."""

    writing = RAW

    def __init__(self, *, is_strict: bool) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # its warnings would tear the progress bar
        self._library = import_module("xgrammar")
        self._is_strict = is_strict

    @cached_property
    def _bytes(self) -> Any:
        return self._compiler([*BYTES, b"<end>"], 256)

    @cached_property
    def _tekken(self) -> Any:
        return self._compiler([token or b"" for token in tekken().tokens], END_ID)

    def _compiler(self, tokens: list[bytes], end: int) -> Any:
        known = self._library.TokenizerInfo(tokens, self._library.VocabType.RAW, stop_token_ids=[end])
        return self._library.GrammarCompiler(known, max_threads=1, cache_enabled=False)

    def _start(self, case: Case, compiler: Any) -> Any:
        try:
            grammar = compiler.compile_json_schema(json.dumps(case.schema), strict_mode=self._is_strict)
        except (RuntimeError, ValueError) as error:
            raise UnsupportedConstraint(str(error), construct=str(error).strip().rpartition("\n")[2][:60]) from error
        return self._library.GrammarMatcher(grammar)

    def matcher(self, case: Case) -> Matcher:
        matcher = self._start(case, self._bytes)

        def matches(text: str) -> bool:
            matcher.reset()
            return bool(matcher.accept_string(text.encode(errors="surrogatepass")) and matcher.accept_token(256))

        return matches

    def compile(self, case: Case) -> None:
        self._start(case, self._tekken)


ENGINES: Final[dict[str, Callable[[], Engine]]] = {
    "ours": Ours,
    "ours-flexible-order": lambda: Ours(property_order="flexible"),
    "ours-any-order": lambda: Ours(property_order="any"),
    "llguidance": LLGuidance,
    "xgrammar": lambda: XGrammar(is_strict=False),
    "xgrammar-strict": lambda: XGrammar(is_strict=True),
}


def is_installed(name: str) -> bool:
    """Whether the package of an engine can be imported."""
    return name.startswith("ours") or find_spec(name.partition("-")[0]) is not None


@final
class Isolated:
    """An engine in a process of its own, which is replaced when it reaches the limit or dies.

    Args:
        name: a key of ``ENGINES``.
        limit: seconds that one answer may take.
        works: what it will be asked for; each is done once before anything is timed.
    """

    def __init__(self, name: str, limit: float, works: tuple[Work, ...]) -> None:
        self._name, self._limit, self._works = name, limit, works

    def __enter__(self) -> "Isolated":
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.join()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(self._name, self._works, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self._connection.recv()

    def ask(self, work: Work, case: Case) -> Answer:
        """The engine's answer; its obstacle is ``limit:time`` if it takes too long, ``error:Crash`` if it dies."""
        self._connection.send((work, case))
        obstacle = "limit:time"
        try:
            if self._connection.poll(self._limit):
                answer: Answer = self._connection.recv()
                return answer
        except EOFError:
            obstacle = "error:Crash"
        self._replace()
        return Answer(unjudged(case, obstacle), obstacle, self._limit, self._limit)

    def _replace(self) -> None:
        self._process.kill()
        self._process.join()
        self._start()


def _serve(name: str, works: tuple[Work, ...], connection: "Connection[Any, Any]") -> None:
    """Answers until the process is ended from outside."""
    engine = ENGINES[name]()
    for work in works:
        _answer(engine, work, Case("", "", record_schema(3), (Instance("", {}, False),)))
    connection.send("ready")
    while True:
        work, case = connection.recv()
        connection.send(_answer(engine, work, replace(case, writing={**case.writing, **engine.writing})))


def _answer(engine: Engine, work: Work, case: Case) -> Answer:
    wall, cpu = time.perf_counter(), time.process_time()
    verdicts, obstacle = {}, ""
    if work == "judge":
        verdicts = judged(case, engine.matcher)
    else:
        try:
            engine.compile(case)
        except Exception as error:  # whatever an engine raises is counted
            obstacle = reason(error)
    return Answer(verdicts, obstacle, time.perf_counter() - wall, time.process_time() - cpu)
