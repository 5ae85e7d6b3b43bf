"""Standard deviations of layer responses, against networks that are run block by block."""

from __future__ import annotations

import pathlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from gluon_resnet._mxnet import gluon, mx
from gluon_resnet.analysis.responses import LayerResponse
from gluon_resnet.card import ModelCard
from gluon_resnet.data import RecordFile
from gluon_resnet.deploy.graph import load_graph
from gluon_resnet.errors import ImageError, ModelError, UsageError
from gluon_resnet.evaluation import Member
from gluon_resnet.evaluation.responses import measure_responses
from gluon_resnet.models import build_network
from gluon_resnet.models.moments import Moments
from tests.support import oracle
from tests.support.deployed import make_model
from tests.support.evaluated import dozen, write_dozen
from tests.support.oracle_evaluation import batch_of
from tests.support.pictures import encode, picture, write_records

SIZE, RESIZE = 32, 38


def new_member(network: str, devices: int = 1, size: int = SIZE, **options: Any) -> Member:
    """With random statistics, scales and biases, on so many contexts."""
    card = ModelCard(
        network, ("a", "b"), size, (123.0, 117.0, 104.0), (58.0, 57.0, 57.5), size * RESIZE // SIZE, **options
    )
    net = build_network(card)
    mx.random.seed(1)
    net.initialize(ctx=[mx.cpu(index) for index in range(devices)])
    random = np.random.default_rng(1)
    for name, parameter in net.collect_params().items():
        low, high = (0.5, 2) if name.endswith(("gamma", "var")) else (-0.5, 0.5)
        if name.endswith(("gamma", "beta", "mean", "var", "bias")) and "normalize" not in name:
            parameter.set_data(mx.nd.array(random.uniform(low, high, parameter.shape)))
    return Member("net-0003.params", card, net)


def contexts(count: int) -> list[Any]:
    return [mx.cpu(index) for index in range(count)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[RecordFile]:
    return write_dozen(tmp_path_factory.mktemp("records"))


def crops(member: Member) -> list[np.ndarray]:
    return [oracle.evaluate(image, member.card.resize, member.card.size) for image in dozen()]


def stds(responses: Sequence[LayerResponse]) -> list[float]:
    return [layer.std for layer in responses]


def slow_stds(member: Member) -> list[float]:
    """Of a residual or plain network: one image and one block at a time."""
    seen: dict[int, list[np.ndarray]] = defaultdict(list)
    for crop in crops(member):
        outputs: list[Any] = []
        x = member.net[0](batch_of(crop))
        features = list(member.net[1].features)
        stages = [block for block in features if isinstance(block, gluon.nn.HybridSequential)]
        x = slow_layers(features[: features.index(stages[0])], x, outputs)
        for unit in (unit for stage in stages for unit in stage):
            x = slow_unit(unit, x, outputs)
        for index, output in enumerate(outputs):
            seen[index].append(output.asnumpy().astype(np.float64))
    return [float(np.std(seen[index])) for index in range(len(seen))]


def slow_layers(layers: Sequence[Any], x: Any, outputs: list[Any]) -> Any:
    """Run them; a normalization behind a convolution puts its output in the place of the convolution's."""
    before = None
    for layer in layers:
        x = layer(x)
        if isinstance(layer, gluon.nn.Conv2D):
            outputs.append(x)
        elif isinstance(layer, gluon.nn.BatchNorm) and isinstance(before, gluon.nn.Conv2D):
            outputs[-1] = x
        before = layer
    return x


def slow_unit(unit: Any, x: Any, outputs: list[Any]) -> Any:
    activation = getattr(unit, "activation", None)
    if activation is not None:
        y = activation(x)
        result = slow_layers(list(unit.body), y, outputs)
        return result + unit.shortcut(y if unit._activated_shortcut else x)
    result = slow_layers(list(unit.body), x, outputs)
    if unit.shortcut is not None:
        result = result + unit.shortcut(x)
    return mx.nd.relu(result)


NETWORKS = {
    "plain8": {},
    "resnet8": {"shortcut": "A"},
    "resnet14": {"shortcut": "B"},
    "resnet20": {"shortcut": "C"},
    "resnet50": {},  # bottlenecks and a stem of 7x7
    "resnet8 v2": {"variant": "v2"},
    "resnet8 gluoncv_v2": {"variant": "gluoncv_v2"},
}


@pytest.mark.parametrize("network", NETWORKS)
def test_responses_are_the_slow_ones(files, network):
    member = new_member(network.split()[0], **NETWORKS[network])
    found = measure_responses(member, files, batch_size=5)
    assert stds(found) == pytest.approx(slow_stds(member), rel=1e-5)


@pytest.mark.parametrize(
    ("network", "options", "layers"),
    [
        ("resnet20", {"shortcut": "C"}, {3: 19}),
        ("plain56", {}, {3: 55}),
        ("resnet50", {}, {1: 32, 3: 16, 7: 1}),
        ("googlenet", {"size": 64}, {1: 37, 3: 10, 5: 9, 7: 1}),
    ],
)
def test_each_convolution_is_named_once_and_projections_are_not(tmp_path, network, options, layers):
    member = new_member(network, **options)
    one = RecordFile(write_records(tmp_path / "one.rec", [encode(picture(90, 80))]))
    responses = measure_responses(member, [one])
    kernels = [layer.kernel for layer in responses]
    assert {kernel: kernels.count(kernel) for kernel in kernels} == layers
    weights = [name for name, p in member.net.collect_params().items() if len(p.shape) == 4]
    expected = [name for name in weights if "shortcut" not in name]
    assert [f"{network}_{layer.name}_weight" for layer in responses] == expected


def test_a_known_normalization_has_a_known_std(files):
    member = new_member("resnet8")
    convolution, normalization = member.net[1].features[:2]
    weight = np.zeros(convolution.weight.shape, np.float32)
    weight[:, 0, 1, 1] = 1  # every channel is red
    convolution.weight.set_data(mx.nd.array(weight))
    gamma, beta, mean, var = (
        getattr(normalization, name).data().asnumpy().astype(np.float64)[:, None, None, None]
        for name in ("gamma", "beta", "running_mean", "running_var")
    )
    red = (np.stack(crops(member))[..., 0] - 123.0) / 58.0
    expected = np.std((red - mean) / np.sqrt(var + 1e-5) * gamma + beta)
    assert measure_responses(member, files)[0].std == pytest.approx(expected, rel=1e-5)

    convolution.weight.set_data(mx.nd.zeros(weight.shape))
    constant = np.std(beta - mean / np.sqrt(var + 1e-5) * gamma)
    assert measure_responses(member, files)[0].std == pytest.approx(constant, rel=1e-5)


def test_without_normalization_the_response_is_the_convolution_with_its_bias(files):
    member = new_member("googlenet", size=64)
    stem = member.net[1].features[0]
    stem.bias.set_data(mx.nd.arange(64) - 20)
    outputs = [stem(member.net[0](batch_of(crop))).asnumpy() for crop in crops(member)]
    first, *_, last = measure_responses(member, files)
    assert first.std == pytest.approx(np.std(outputs, dtype=np.float64), rel=1e-5)
    assert first.std > 18  # that of the biases
    assert np.isfinite(last.std)


@pytest.mark.parametrize(
    ("batch_size", "threads", "devices"), [(1, 1, 2), (5, 8, 1), (7, 8, 2), (12, 1, 2), (100, 8, 3)]
)
def test_batches_threads_and_contexts_change_nothing(files, batch_size, threads, devices):
    expected = measure_responses(new_member("resnet8"), files, batch_size=12, threads=1)
    found = measure_responses(
        new_member("resnet8", devices),
        files,
        batch_size=batch_size,
        threads=threads,
        contexts=contexts(devices),
    )
    assert [(layer.name, layer.kernel) for layer in found] == [
        (layer.name, layer.kernel) for layer in expected
    ]
    assert stds(found) == pytest.approx(stds(expected), rel=1e-5)


def test_an_image_counts_as_often_as_it_is_there(tmp_path):
    member = new_member("resnet8")
    payloads = [encode(picture(40, 40, seed)) for seed in range(3)]
    once, twice, uneven = (
        measure_responses(member, [RecordFile(write_records(tmp_path / f"{name}.rec", images))], batch_size=4)
        for name, images in (("a", payloads), ("b", payloads * 2), ("c", [*payloads, payloads[0]]))
    )
    assert stds(twice) == pytest.approx(stds(once), rel=1e-5)
    assert all(abs(a / b - 1) > 1e-4 for a, b in zip(stds(uneven), stds(once)))


def test_the_network_is_as_before_and_answers_again(files):
    member = new_member("resnet8")
    image = batch_of(crops(member)[0])
    before = member.net(image).asnumpy()
    statistics = {n: p.data().asnumpy() for n, p in member.net.collect_params().items()}
    first = measure_responses(member, files, batch_size=5)
    assert stds(measure_responses(member, files, batch_size=5)) == pytest.approx(stds(first), rel=1e-5)
    np.testing.assert_allclose(member.net(image).asnumpy(), before, rtol=1e-5)
    for name, parameter in member.net.collect_params().items():
        np.testing.assert_array_equal(parameter.data().asnumpy(), statistics[name], err_msg=name)


def test_a_bad_record_is_named_and_leaves_no_hook(files, tmp_path):
    member = new_member("resnet8")
    expected = measure_responses(member, files, batch_size=5)
    payloads = [encode(picture(40, 40, seed)) for seed in range(9)]
    payloads[6] = payloads[6][:300]
    bad = RecordFile(write_records(tmp_path / "bad.rec", payloads))
    with pytest.raises(ImageError, match=r"bad\.rec: record with key 6"):
        measure_responses(member, [bad], batch_size=3)
    normalization = member.net[1].features[1]
    assert not normalization._forward_hooks
    assert stds(measure_responses(member, files, batch_size=5)) == pytest.approx(stds(expected), rel=1e-5)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_responses_that_are_not_finite_are_an_error(files, value):
    member = new_member("resnet8")
    weight = member.net[1].features[3][0].body[3].weight
    weight.set_data(mx.nd.full(weight.shape, value))
    with pytest.raises(
        ModelError, match=r"net-0003\.params: the responses of resnet8_stage1_unit1_conv1 are not finite"
    ):
        measure_responses(member, files)


def test_an_exported_graph_and_an_empty_batch_are_refused(files, tmp_path: pathlib.Path):
    model = make_model(tmp_path, "resnet8", SIZE, RESIZE)
    graph = load_graph(f"{model.prefix}-symbol.json", f"{model.prefix}-0000.params", model.card, contexts(1))
    with pytest.raises(UsageError, match="an exported graph does not show its layers: name the checkpoint"):
        measure_responses(Member("graph", model.card, graph), files)
    with pytest.raises(UsageError, match="batch_size: expected at least 1, found 0"):
        measure_responses(new_member("resnet8"), files, batch_size=0)


def test_a_small_std_beside_a_large_mean_keeps_its_digits():
    random = np.random.default_rng(3)
    values = (1e4 + random.normal(0, 0.05, 30_000)).astype(np.float32)
    merged = Moments()
    for piece in np.split(values, np.sort(random.integers(1, 29_999, 17))):
        merged = merged.merged(Moments.of(piece)) if piece.size else merged
    exact = values.astype(np.float64)
    assert merged.size == 30_000
    assert merged.mean == pytest.approx(exact.mean(), rel=1e-13)
    assert merged.std == pytest.approx(exact.std(), rel=1e-9)
    assert Moments.of(values[:1]).std == 0
