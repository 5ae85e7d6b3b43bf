"""A self-contained page about one run: PREFIX-report.html."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gluon_resnet.errors import EnvironmentProblem
from gluon_resnet.files import whole_file
from gluon_resnet.runs.files.curves import curves_svg
from gluon_resnet.runs.files.page import percent, render
from gluon_resnet.runs.files.run import Run
from gluon_resnet.training.epoch_record import EpochRecord


def write_report(path: str, run: Run) -> None:
    """Write the page: curves, time, epochs, worst classes, events, configuration, environment.

    Without matplotlib it says what to install in place of the curves. EnvironmentProblem if Jinja2 is missing.
    """
    curves, no_curves = None, ""
    try:
        curves = curves_svg(run)
    except EnvironmentProblem as problem:
        no_curves = str(problem)
    best = run.best
    validated = best is not None and best.val_top1_error is not None
    columns = _columns(run)
    page = render(
        Path(__file__).with_name("report.html"),
        title=run.name,
        run=run,
        card=run.card,
        curves=curves,
        no_curves=no_curves,
        validated=validated,
        best_error=best and (best.val_top1_error if validated else best.train_top1_error),
        heads=[name for name, _ in columns],
        rows=[(record, [cell(record) for _, cell in columns]) for record in run.epochs],
        skipped=sum(record.skipped_steps or 0 for record in run.epochs),
    )
    with whole_file(path) as stream:
        stream.write(page)


def _columns(run: Run) -> list[tuple[str, Any]]:
    """The columns of the table of epochs that any of them has a value for."""

    def top_k(record: EpochRecord) -> str:
        return (
            f"{percent(record.val_topk_error)} ({record.top_k})" if record.val_topk_error is not None else ""
        )

    columns: list[tuple[str, str, Any]] = [
        ("epoch", "epoch", lambda r: r.epoch),
        ("iteration", "iteration", lambda r: f"{r.iteration:,}"),
        ("learning rate", "lr", lambda r: f"{r.lr:g}"),
        ("training loss", "train_loss", lambda r: f"{r.train_loss:.4f}"),
        ("error", "train_top1_error", lambda r: percent(r.train_top1_error)),
        ("validation loss", "val_loss", lambda r: "" if r.val_loss is None else f"{r.val_loss:.4f}"),
        ("error", "val_top1_error", lambda r: percent(r.val_top1_error)),
        ("top-k error", "val_topk_error", top_k),
        (
            "gradient norm",
            "gradient_norm",
            lambda r: "" if r.gradient_norm is None else f"{r.gradient_norm:.3g}",
        ),
        ("loss scale", "loss_scale", lambda r: "" if r.loss_scale is None else f"{r.loss_scale:g}"),
        ("skipped", "skipped_steps", lambda r: "" if r.skipped_steps is None else r.skipped_steps),
        ("images/s", "images_per_second", lambda r: f"{r.images_per_second:,.0f}"),
        ("loading", "data_wait", lambda r: percent(r.data_wait and 100 * r.data_wait, 1)),
        ("communication", "communication", lambda r: percent(r.communication and 100 * r.communication, 1)),
    ]
    return [
        (name, cell)
        for name, field, cell in columns
        if any(getattr(r, field) is not None for r in run.epochs)
        # Nothing can be wrong within the top k of k classes.
        and not (field == "val_topk_error" and run.settings.get("classes") == run.epochs[-1].top_k)
    ]
