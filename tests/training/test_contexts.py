"""A batch over several contexts: the update of one context, input without an extra copy, and no waiting."""

from __future__ import annotations

import threading
from unittest import mock

import numpy as np
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.training.distributed.engine import Engine
from gluon_resnet.training.trainer import Trainer
from tests.support.fakes import random_batch, tiny_net


def cpus(count):
    return [mx.cpu(i) for i in range(count)]


def frozen_norm(contexts):
    """A net whose batch normalization keeps its statistics, other than 0 and 1."""
    net = tiny_net(contexts, norm=True)
    net[1]._kwargs["use_global_stats"] = True
    net[1].running_mean.set_data(mx.nd.arange(8) / 8)
    net[1].running_var.set_data(mx.nd.arange(8) + 0.5)
    return net


def train(contexts, build, batches, **options):
    """The trainer after a step with each batch, the sums, and the norms of the gradients."""
    trainer = Trainer(build(cpus(contexts)), cpus(contexts), 4, **options)
    meter, norms, apply = trainer.new_meter(), [], trainer._updates.apply

    def noted(*arguments):
        norms.append(apply(*arguments))
        return norms[-1]

    with mock.patch.object(trainer._updates, "apply", noted):
        for batch in batches:
            trainer.step(batch, 0.1, meter, "a batch")
    return trainer, meter.sums(), [float(norm.asscalar()) for norm in norms]


@pytest.mark.parametrize(
    "rows",
    [[8, 8, 8], [7, 7, 7], [2, 2, 2], [1, 1, 1], [8, 8, 5, 8, 3, 1]],
    ids=["even", "uneven", "fewer rows than contexts", "one row", "uneven last batches"],
)
@pytest.mark.parametrize("contexts", [2, 3, 4])
@pytest.mark.parametrize("kvstore", ["local", "device"])
@pytest.mark.parametrize("build", [tiny_net, frozen_norm])
def test_several_contexts_equal_one_with_the_whole_batch(build, kvstore, contexts, rows):
    batches = [random_batch(count, random=np.random.default_rng(n)) for n, count in enumerate(rows)]
    one, one_sums, one_norms = train(1, build, batches)
    several, sums, norms = train(contexts, build, batches, engine=Engine(kvstore))
    assert sums.images == one_sums.images == sum(rows)
    assert sums.loss == pytest.approx(one_sums.loss, rel=1e-6)
    assert (sums.top1_right, sums.topk_right) == (one_sums.top1_right, one_sums.topk_right)
    np.testing.assert_allclose(norms, one_norms, rtol=1e-5)
    expected, found = one.state(), several.state()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-6, err_msg=name)
    for parameter in several.net.collect_params().values():
        copies = [copy.asnumpy() for copy in parameter.list_data()]
        assert all(np.array_equal(copy, copies[0]) for copy in copies)


def test_the_parts_of_a_batch_are_views_until_they_are_moved():
    trainer = Trainer(tiny_net(cpus(2)), cpus(2), 4)
    batch = random_batch(5)
    first, second = trainer._deal(batch)
    assert [first.rows, second.rows] == [3, 2]
    second.images.wait_to_read()
    before = batch.data.copy()
    batch.data += 1
    np.testing.assert_array_equal(first.images.asnumpy(), before[:3] + 1)  # the batch's own memory
    np.testing.assert_array_equal(second.images.asnumpy(), before[3:])  # moved, as to another device

    whole = Trainer(tiny_net(), cpus(1), 4)._deal(batch)[0].images
    batch.data += 1
    np.testing.assert_array_equal(whole.asnumpy(), before + 2)


class Gate(mx.operator.CustomOp):
    """Hands on what it gets, when `opened`."""

    opened = threading.Event()

    def forward(self, is_train, req, in_data, out_data, aux):
        assert self.opened.wait(600)
        self.assign(out_data[0], req[0], in_data[0])

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        self.assign(in_grad[0], req[0], out_grad[0])


@mx.operator.register("test_gate")
class GateProp(mx.operator.CustomOpProp):
    def create_operator(self, context, shapes, dtypes):
        return Gate()


class Gated(mx.gluon.HybridBlock):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def hybrid_forward(self, F, x):
        return F.Custom(self.net(x), op_type="test_gate")


def test_the_next_batch_is_on_its_devices_while_a_step_computes():
    """The first step cannot end before the second batch has been dealt out and moved."""
    trainer = Trainer(Gated(tiny_net(cpus(2))), cpus(2), 4)
    meter, dealt, deal = trainer.new_meter(), [], trainer._deal
    arrived = threading.Event()

    def noted(batch):
        dealt.append(deal(batch))
        if len(dealt) == 2:
            arrived.set()
        return dealt[-1]

    def second_step():
        trainer.step(random_batch(5), 0.1, meter, "batch 2")

    thread = threading.Thread(target=second_step)
    try:
        with mock.patch.object(trainer, "_deal", noted):
            trainer.step(random_batch(4), 0.1, meter, "batch 1")  # returns: the gate is closed
            thread.start()
            assert arrived.wait(600)
            dealt[1][1].images.wait_to_read()
            thread.join(0.2)
            assert thread.is_alive()  # it reads the first step's loss, at last
            np.testing.assert_array_equal(dealt[1][1].images.asnumpy(), random_batch(5).data[3:])
    finally:
        Gate.opened.set()
        thread.join(600)
    assert meter.sums().images == 9
