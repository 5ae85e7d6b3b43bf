"""The workers of tools/train.py read disjoint parts of each epoch, in equally many batches."""

from __future__ import annotations

import pytest

from gluon_resnet.cli.train.options import parser, settings_of
from gluon_resnet.runs.job import _training_loader
from gluon_resnet.runs.plan import Plan
from gluon_resnet.runs.records import open_records
from tests.support.small_training import training_options


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_workers_read_disjoint_records_in_equally_many_batches(tmp_path, count):
    args = parser().parse_args([*training_options(tmp_path), "--batch-size", "7"])
    plan = Plan.of(settings_of(args))
    records, _ = open_records(plan.settings.data_train, plan.settings.data_val, 0)
    orders = []
    for epoch in range(2):
        parts = []
        for rank in range(count):
            loader = _training_loader(plan, plan.recipe, records, rank, count)
            loader.set_epoch(epoch)
            parts.append([batch.ids.tolist() for batch in loader])
            assert len(parts[-1]) == len(loader) == 132 // (7 * count)
        assert all(len(ids) == 7 for part in parts for ids in part)
        read = [record for part in parts for ids in part for record in ids]
        assert len(read) == len(set(read)) == 132 // (7 * count) * 7 * count
        orders.append(read)
    assert orders[0] != orders[1]
