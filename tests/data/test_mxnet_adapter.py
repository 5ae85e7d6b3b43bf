"""The DataIter: MXNet's own Module trains with it, and its asynchronous engine never sees memory change."""

from __future__ import annotations

import numpy as np
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.data import EvalTransform, Loader, TrainTransform, mxnet_iter
from gluon_resnet.errors import UsageError

EVAL = EvalTransform(resize=40, size=32)


def test_batches_descriptions_and_epochs(record_path: str) -> None:
    loader = Loader(record_path, 8, EVAL, shuffle=True)
    data = mxnet_iter(loader)
    (described,), (label,) = data.provide_data, data.provide_label
    assert (described.name, described.shape, described.layout) == ("data", (8, 3, 32, 32), "NCHW")
    assert described.dtype == np.float32
    assert (label.name, label.shape) == ("softmax_label", (8,))
    epochs = []
    for _ in range(2):
        data.reset()
        batches = list(data)
        assert [batch.pad for batch in batches] == [0, 0, 1]
        with pytest.raises(StopIteration):
            data.next()
        epochs.append(np.concatenate([batch.label[0].asnumpy() for batch in batches])[:23])
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(23))
    assert list(epochs[0]) != list(epochs[1])
    loader.set_epoch(0)
    for ours, theirs in zip(loader, mxnet_iter(Loader(record_path, 8, EVAL, shuffle=True))):
        np.testing.assert_array_equal(ours.data, theirs.data[0].asnumpy())
        np.testing.assert_array_equal(ours.ids, theirs.index)


def test_the_engine_reads_late_and_still_right(record_path: str) -> None:
    """Slots are dropped, and wanted again, right after use, while slow operations still have to read them."""
    loader = Loader(record_path, 23, TrainTransform(size=64), threads=2, prefetch=1)
    expected = [sum(batch.data.sum(dtype=np.float64) for batch in loader) for _ in range(12)]
    loader.set_epoch(0)
    data = mxnet_iter(loader)
    pending = []
    slow = mx.nd.ones((700, 700))
    for _ in range(12):
        data.reset()
        for batch in data:
            for _ in range(4):  # the engine is busy with this when the batch is long gone
                slow = mx.nd.dot(slow, slow) * 1e-3
            gate = slow[0, 0] * 0
            pending.append(mx.nd.broadcast_add(batch.data[0], gate).sum(axis=(1, 2, 3)))
            del batch
    found = [float(sums.asnumpy().astype(np.float64).sum()) for sums in pending]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_module_trains_with_it(record_path: str) -> None:
    network = mx.sym.FullyConnected(mx.sym.Flatten(mx.sym.var("data") / 255), num_hidden=23)
    module = mx.mod.Module(mx.sym.SoftmaxOutput(network, name="softmax"))
    data = mxnet_iter(Loader(record_path, 8, EVAL, shuffle=True))
    metric = mx.metric.Accuracy()
    module.fit(
        data,
        eval_metric=metric,
        num_epoch=60,
        optimizer_params={"learning_rate": 0.003},
        initializer=mx.init.Xavier(),
    )
    assert metric.get()[1] > 0.8  # 23 pictures learnt by heart


def test_batches_of_several_sizes_are_refused(record_path: str) -> None:
    with pytest.raises(UsageError, match="'keep'"):
        mxnet_iter(Loader(record_path, 8, EVAL, last_batch="keep"))


def test_a_batch_is_taken_apart_as_of_any_data_iter(record_path: str) -> None:
    """iter_next() goes on, and get...() give what next() would have given."""
    ours, theirs = (mxnet_iter(Loader(record_path, 8, EVAL, shuffle=True)) for _ in range(2))
    with pytest.raises(UsageError, match=r"no batch: call iter_next\(\) first"):
        ours.getdata()
    for _ in range(2):
        for expected in theirs:
            assert ours.iter_next()
            for _ in range(2):  # as often as one likes
                np.testing.assert_array_equal(ours.getdata()[0].asnumpy(), expected.data[0].asnumpy())
                np.testing.assert_array_equal(ours.getlabel()[0].asnumpy(), expected.label[0].asnumpy())
                np.testing.assert_array_equal(ours.getindex(), expected.index)
                assert ours.getpad() == expected.pad
        assert not ours.iter_next()
        with pytest.raises(UsageError, match="no batch"):
            ours.getlabel()
        with pytest.raises(StopIteration):
            ours.next()
        ours.reset(), theirs.reset()
