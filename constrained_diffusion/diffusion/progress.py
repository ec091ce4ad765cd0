"""What is seen of a run: a progress bar, and the passes that callbacks are told of."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from constrained_diffusion.diffusion.generation import PassRecord
from constrained_diffusion.diffusion.loop import OnPass
from constrained_diffusion.errors import ModelError

Show = Callable[[PassRecord | None, int | None], None]


@contextmanager
def progress_bar(total: int, is_wanted: bool) -> Iterator[Show]:
    """Gives a function that shows a pass, or how many texts are done."""
    if not is_wanted:
        yield hidden
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("writing", total=total)

        def show(record: PassRecord | None, done: int | None) -> None:
            if record is not None:
                bar.update(task, description=f"pass {record.number}, {record.undetermined} open")
            if done is not None:
                bar.update(task, completed=done)

        yield show


def hidden(record: PassRecord | None, done: int | None) -> None:
    """Shows nothing."""


def notifier(
    on_pass: Callable[..., object] | None, shown: Show = hidden, first: int = 0, is_list: bool = False
) -> OnPass:
    """What the loop calls; a list's callback is also told the number of the prompt.

    Raises:
        ModelError: ``on_pass`` cannot be called.
    """

    if on_pass is not None and not callable(on_pass):
        raise ModelError(f"on_pass is {type(on_pass).__name__} {on_pass!r:.60}; expected a function")

    def notify(row: int, record: PassRecord) -> None:
        shown(record, None)
        if on_pass is not None:
            _ = on_pass(first + row, record) if is_list else on_pass(record)

    return notify
