"""The report of a study: report.html, a single self-contained file, and report.md with its figures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from statistics import fmean, median

from gluon_resnet import __version__
from gluon_resnet.analysis.paper import TABLE_2, TABLE_3, TABLE_4
from gluon_resnet.evaluation.whole_images import SCALES
from gluon_resnet.files import whole_file
from gluon_resnet.reproduction.reporting import accounts, figures, tables
from gluon_resnet.reproduction.reporting.depth import Finding, find
from gluon_resnet.reproduction.reporting.measured import log_line, logged_validation
from gluon_resnet.reproduction.reporting.names import SUBJECTS, Subject, label
from gluon_resnet.reproduction.reporting.observations import (
    Observation,
    figure_7,
    smaller_than_plain,
    smaller_with_depth,
    stds,
)
from gluon_resnet.reproduction.reporting.page import (
    Block,
    Code,
    Commands,
    Items,
    Page,
    Paragraph,
    Section,
    Strong,
    html,
    markdown,
    sourced,
)
from gluon_resnet.reproduction.study import Study


def write_report(study: Study) -> None:
    """Write report.html, report.md and their figures into the study's folder, at any time of the study.

    Each of our figures stands beside the file, and for a log the line, that it comes from; the paper's are from
    analysis/paper.py. Without matplotlib the pages say what to install in place of the figures. EnvironmentProblem
    if Jinja2 is missing.
    """
    page = page_of(study)
    for name, text in (("report.html", html(page)), ("report.md", markdown(page))):
        with whole_file(os.path.join(study.folder, name)) as stream:
            stream.write(text)


def page_of(study: Study) -> Page:
    """The content of the report; the files of its figures are written."""
    subject = SUBJECTS[study.data_set]
    finding = find(study)
    asked = subject.small_images or any(net.responses for net in study.shown)
    sections = [
        Section("Result", _result(finding)),
        Section(f"Errors by iteration ({_as(subject)} Figure {subject.figure})", _curves(study)),
        *(_small_image_tables(study) if subject.small_images else _imagenet_tables(study)),
        *([Section(f"Layer responses ({_as(subject)} Figure 7)", _responses(study))] if asked else []),
        Section("An example", (figures.example(study),)),
        Section("What the paper's schedule would take", _full_schedule(study)),
        Section("Runs", _runs(study)),
        Section("Where this differs from the paper", _deviations(study)),
        Section("Commands", (Commands(*accounts.commands(study)),)),
        Section("Environment", _environment(study)),
    ]
    title = f"Depth in plain and residual networks: He et al. 2015, {subject.section}, on {subject.name}"
    return Page(title, _introduction(study), tuple(sections))


def _as(subject: Subject) -> str:
    return "the paper's" if subject.printed else "as the paper's"


def _introduction(study: Study) -> tuple[Block, ...]:
    subject, nets = SUBJECTS[study.data_set], study.nets
    over = sum(net.finished for net in nets)
    cited = next(
        (log_line(net, len(net.run.epochs)) for net in nets if net.run and net.run.epochs), "log.jsonl:1"
    )
    line = cited.rpartition(":")[2]
    state = (
        f"All {over} networks are trained."
        if over == len(nets)
        else f"{over} of {len(nets)} networks are trained."
    )
    return (
        Paragraph(
            f"Networks of Deep Residual Learning (arXiv:1512.03385), {subject.section}, trained and tested by "
            f"gluon-resnet {__version__} as the commands below say. {state}"
        ),
        Paragraph(
            "Errors are top-1 unless another is named. What is called the paper's is printed there. Every other "
            "figure stands beside the file that it comes from, and for a log beside the line, whose number is the "
            "epoch: ",
            Code(cited),
            f" is line {line}, epoch {line}.",
        ),
    )


def _result(finding: Finding) -> tuple[Block, ...]:
    blocks: list[Block] = [Paragraph(Strong(" ".join(finding.verdict))), Items(*finding.figures)]
    if finding.reasons:
        blocks += [Paragraph("What the figures say about why:"), Items(*finding.reasons)]
    if finding.notes:
        blocks += [Paragraph("What these figures are:"), Items(*finding.notes)]
    return tuple(blocks)


def _curves(study: Study) -> tuple[Block, ...]:
    subject = SUBJECTS[study.data_set]
    thin = "Dashed" if subject.small_images else "Thin"
    text = (
        f"{thin} lines are training errors of augmented images, while the weights changed; "
        f"bold lines are {subject.tested} errors of single crops after each epoch; dotted ones mark where the learning "
        "rate fell. Plain and residual networks of one depth have one color. The panels have the same axes, "
        "except that the axis of errors ends at 20 %, as the paper's does, where all curves are below that in the "
        "second half. In the paper's figure the deeper of the plain networks end higher, in training and in testing, "
        "and the deeper of the ResNets lower. "
    )
    if not subject.small_images:
        text += "These ResNets have no parameters that their plain counterparts do not have. "
    return (
        figures.curves(study),
        Paragraph(text, "Drawn from ", Code("*-steps.jsonl"), " and ", Code("*-log.jsonl"), "."),
    )


def _small_image_tables(study: Study) -> list[Section]:
    subject = SUBJECTS[study.data_set]
    printed = (
        "The paper has no numbers of its plain networks, only the curves of Figure 6. Of ResNet-110 it prints the best "
        "of 5 runs, and their mean and standard deviation. "
    )
    about_table = Paragraph(
        f"{printed if subject.printed else ''}Test errors are those of evaluations where there is a "
        "file, else of the log; training errors are the mean over the epoch. Intervals are Wilson's, of one run."
    )
    about_views = Paragraph(
        "At one scale, multi-scale testing is the mean over the image and its mirror image, of which a mean per "
        "channel is subtracted in place of one per pixel. Ten crops of 32 pixels would be no more: each is the whole "
        "image, or its mirror image. The paper tests on the image alone, and has no ensembles on CIFAR-10. An "
        "ensemble's probabilities are the mean of its networks'."
    )
    further = tables.further_tests(study, ("10-crop", "multi-scale"))
    return [
        Section(
            f"Test errors ({_as(subject)} Table 6)",
            (tables.table_6(study), about_table, *_sources(study), *_moved(study)),
        ),
        *([] if subject.printed else [_published()]),
        Section(
            "Mirror images and ensembles", (further, about_views) if further else (Paragraph("Not yet."),)
        ),
    ]


def _published() -> Section:
    about = Paragraph(
        "Errors of others, from the table in the data set's README, which says that its authors have not tested them. "
        "These classifiers were trained for other times and by other schedules, on images of 28x28 pixels."
    )
    return Section("Published errors on Fashion-MNIST", (tables.published_on_fashion_mnist(), about))


def _sources(study: Study) -> list[Block]:
    """The sources of converted weights."""
    sentences = [
        f"{label(net)}: weights of {net.source.project}, {os.path.basename(net.source.file)} (SHA-256 "
        f"{net.source.sha256[:16]}...), trained there and tested here."
        for net in study.converted
        if net.source
    ]
    return [Items(*sentences)] if sentences else []


def _moved(study: Study) -> list[Block]:
    """Networks whose evaluation differs from the log's last epoch."""
    sentences = []
    for net in study.nets:
        found, logged = net.evaluation("1-crop"), logged_validation(net)
        if found and logged and f"{found.top1_error:.2f}" != f"{logged.error:.2f}":
            sentences.append(
                f"{label(net)}: the evaluation has {found.top1_error:.2f} %, the last epoch of the log "
                f"{logged.error:.2f} % ({logged.source})."
            )
    return [Items(*sentences)] if sentences else []


def _imagenet_tables(study: Study) -> list[Section]:
    others = [*tables.outside(study, (TABLE_2, TABLE_3)), *study.converted]
    about_ensembles = Paragraph(
        "The paper's is of ImageNet's test set, by its test server; ours are of the validation set. An ensemble's "
        "probabilities are the mean of its networks'."
    )
    further = tables.further_tests(study, ("1-crop",))
    return [
        Section(
            "Plain and residual networks, 10-crop (the paper's Table 2)", (tables.table_of(study, TABLE_2),)
        ),
        Section("10-crop (the paper's Table 3)", (tables.table_of(study, TABLE_3, others), *_sources(study))),
        Section("Several scales (the paper's Table 4)", (tables.table_of(study, TABLE_4), *_scales(study))),
        Section("Ensembles (the paper's Table 5)", (tables.table_5(study), about_ensembles)),
        *([Section("Single crops", (further,))] if further else []),
    ]


def _scales(study: Study) -> list[Block]:
    """The shorter sides that were tested, which a study may choose."""
    found = {e.scales for net in study.nets for e in net.evaluations if e.scales}
    listed = "; ".join(", ".join(map(str, scales)) for scales in sorted(found))
    return (
        [Paragraph(f"Shorter sides of ours: {listed}; the paper's: {', '.join(map(str, SCALES))}.")]
        if found
        else []
    )


def _responses(study: Study) -> tuple[Block, ...]:
    nets = figure_7(study.shown)
    if not nets:
        return (figures.responses(study),)
    rows = tuple(
        (
            *(label(net), str(len(stds(net))), *(f"{value:.3f}" for value in _spread(stds(net)))),
            *(str(net.responses.epoch), f"{net.responses.images:,}"),
            f"{net.key}-responses.json",
        )
        for net in nets
        if net.responses
    )
    heads = ("", "3x3 layers", "mean", "median", "least", "greatest", "epoch", "images")
    return (
        figures.responses(study),
        Paragraph(
            "Standard deviations of the outputs of each 3x3 layer, behind its batch normalization and before ReLU or "
            "addition, over all images, channels and positions: above in the order of the network, below in "
            "descending order. The paper reads two things off its figure:"
        ),
        *_observed(
            "ResNets have generally smaller responses than plain networks of the same depth",
            smaller_than_plain(nets),
        ),
        *_observed("The deeper ResNet has smaller responses", smaller_with_depth(nets)),
        sourced(heads, "lrrrrrrr", rows),
    )


def _spread(values: Sequence[float]) -> tuple[float, float, float, float]:
    return fmean(values), median(values), min(values), max(values)


def _observed(claim: str, observations: Sequence[Observation]) -> list[Block]:
    if not observations:
        return [Paragraph(f"{claim}: ", Strong("not compared yet"), ".")]
    answers = {observation.holds for observation in observations}
    answer = "in part" if len(answers) > 1 else "yes" if answers.pop() else "no"
    sentences = [observation.sentence for observation in observations]
    return [Paragraph(f"{claim}: ", Strong(answer), "."), Items(*sentences)]


def _full_schedule(study: Study) -> tuple[Block, ...]:
    sentence, table = accounts.full_schedule(study)
    return Paragraph(sentence), table


def _runs(study: Study) -> tuple[Block, ...]:
    differing = accounts.settings_table(study)
    blocks: tuple[Block, ...] = (accounts.runs_table(study),)
    return (*blocks, Paragraph("The runs differ in:"), differing) if differing else blocks


def _deviations(study: Study) -> tuple[Block, ...]:
    return (Items(*study.deviations) if study.deviations else Paragraph("Nothing is known to differ."),)


def _environment(study: Study) -> tuple[Block, ...]:
    known, events = accounts.environment_table(study), accounts.events_table(study)
    blocks: list[Block] = [known or Paragraph("No run has said yet where it is.")]
    return (*blocks, Paragraph("What happened to the runs:"), events) if events else tuple(blocks)
