"""Training on a few synthetic images: resuming ends at the same weights, and the export computes the same network."""

import json

import numpy as np
import onnx
import pytest

from chipsim.datasets import Dataset
from chipsim.errors import InputError, UsageError

torch = pytest.importorskip("torch", reason="needs the extra [train]")
pytestmark = pytest.mark.slow


LAYERS = ["conv1", "conv2", "down1", "conv3", "down2", "conv4"]


@pytest.fixture
def images(monkeypatch):
    """Stand-ins for both data sets: blurred blobs, whose place is the class."""
    from models import split

    def stand_in(name, half, data_dir=None):
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 10, 250)
        pixels = rng.integers(0, 60, (250, 28, 28))
        for image, label in zip(pixels, labels, strict=True):
            y, x = 3 + 12 * (label // 5), 2 + 5 * (label % 5)
            image[y : y + 9, x : x + 5] += 190
        return Dataset(name, half, pixels.astype(np.uint8), labels)

    monkeypatch.setattr(split, "load_dataset", stand_in)
    monkeypatch.setattr(split, "VALIDATION", 60)


def train(directory, *more):
    from models.train import main

    main(["--out", str(directory), "--quiet", "--limit", "120", "--epochs", "3", "--device", "cpu", *more])
    return torch.load(directory / "k1b2.ckpt", weights_only=True)


def test_resumed_run_ends_at_the_same_weights(tmp_path, images):
    whole = train(tmp_path / "whole", "--penalty", "1e-5")
    train(tmp_path / "parts", "--penalty", "1e-5", "--stop-after", "1")
    parts = train(tmp_path / "parts", "--penalty", "1e-5", "--resume")
    for key in ("model", "average", "best"):
        for name, tensor in whole[key].items():
            assert torch.equal(tensor, parts[key][name]), name
    logs = [(tmp_path / d / "k1b2.log.jsonl").read_text().splitlines() for d in ("whole", "parts")]
    assert [json.loads(line)["loss"] for line in logs[0]] == [json.loads(line)["loss"] for line in logs[1]]
    assert not list(tmp_path.glob("*/*.tmp"))


def test_a_pruned_network_from_a_trained_one_exports(tmp_path, images):
    from models.certify import margins
    from models.export import build, load_checkpoint

    wide = ["--widths", "18", "17", "16", "33", "32", "260"]
    saved = train(tmp_path, "--precision", "full", "--name", "k1b2", *wide)
    assert saved["widths"] == [18, 17, 16, 33, 32, 260]
    (tmp_path / "k1b2.best.pt").rename(tmp_path / "teacher.best.pt")
    teacher = str(tmp_path / "teacher.best.pt")
    with pytest.raises(InputError, match="full precision, and the run ternary weights"):
        train(tmp_path, "--name", "new", "--init", teacher)
    train(tmp_path, "--teacher", teacher, teacher, "--overwrite")
    (tmp_path / "k1b2.best.pt").rename(tmp_path / "first.best.pt")
    narrow = ["--init", str(tmp_path / "first.best.pt"), "--remove-below", "0.8", "--prune", "1.0"]
    with pytest.raises(UsageError, match="--keep"):
        train(tmp_path, *narrow, *wide)
    train(tmp_path, *narrow, "--stop-after", "1", "--overwrite")
    saved = train(tmp_path, *narrow, "--resume")
    assert sum(saved["widths"]) < 368
    proto = build(load_checkpoint(str(tmp_path / "k1b2.best.pt")), {})
    shapes = {t.name: list(t.dims) for t in proto.graph.initializer}
    assert [shapes[f"{name}.weight"][0] for name in LAYERS] == saved["widths"]
    assert all(m.safety > 1 for m in margins(proto))


def test_a_run_is_neither_replaced_nor_resumed_with_another_recipe(tmp_path, images):
    train(tmp_path, "--stop-after", "1")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for option, value in (("--seed", "2"), ("--k", "0"), ("--B", "4"), ("--epochs", "4"), ("--rate", "0.001")):
        with pytest.raises(UsageError, match=f"{option}: {value} was given"):
            train(tmp_path, "--resume", "--name", "k1b2", option, value)
    with pytest.raises(InputError, match="--overwrite replaces it"):
        train(tmp_path, "--seed", "2")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    train(tmp_path, "--seed", "2", "--overwrite", "--stop-after", "1")
    command = (tmp_path / "k1b2.command").read_text()
    assert "--seed 2" in command
    assert "--overwrite" not in command


def test_accuracy_is_printed_and_logged_after_every_epoch(tmp_path, images, capsys):
    from models.train import main

    main(["--out", str(tmp_path), "--limit", "120", "--epochs", "5", "--device", "cpu", "--k", "0", "--B", "1"])
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    log = [json.loads(line) for line in (tmp_path / "k0b1.log.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in log] == [1, 2, 3, 4, 5]
    for entry, line in zip(log, printed, strict=True):
        assert set(entry) == {"epoch", "loss", "seconds", "validation"}
        late = entry["epoch"] > 3
        assert set(entry["validation"]) == ({"model", "average"} if late else {"model"})
        for found in entry["validation"].values():
            assert set(found) == {"accuracy", "digits_accuracy", "spikes_per_image", "sops_per_image"}
            assert found["spikes_per_image"] > 0
        assert f"validation accuracy {100 * entry['validation']['model']['accuracy']:.2f} %" in line
        assert ("averaged weights" in line) == late


def test_a_run_is_exported_and_evaluated_by_the_same_command(tmp_path, images, capsys):
    from models.evaluate import metadata, read_network
    from models.train import main

    with pytest.raises(InputError, match=r"best.pt: there is no such file"):
        main(["--mode", "export", "--out", str(tmp_path), "--model", str(tmp_path / "x.onnx")])
    train(tmp_path)
    export = ["--mode", "export", "--out", str(tmp_path), "--model", str(tmp_path / "x.onnx")]
    main(export)
    facts = metadata(read_network(tmp_path / "x.onnx"))
    assert (facts["k"], facts["B"], facts["qsnnc.pixels"]) == ("1", "2", "raw")
    with pytest.raises(InputError, match="exists already; --overwrite"):
        main(export)
    capsys.readouterr()
    main(["--mode", "inference", "--model", str(tmp_path / "x.onnx"), "--dataset", "digits"])
    assert json.loads(capsys.readouterr().out)["images"] == 899


def test_what_is_no_network_is_refused_by_name(tmp_path, images):
    train(tmp_path, "--stop-after", "1")
    (tmp_path / "text.best.pt").write_text("no checkpoint")
    (tmp_path / "text.onnx").write_text("no model")
    torch.save({"k": 1}, tmp_path / "other.best.pt")
    torch.save({"k": 1, "B": 2, "prune": 0.7, "best": {"x": torch.zeros(1)}}, tmp_path / "foreign.best.pt")
    said = {
        "missing.best.pt": "no such file",
        "missing.onnx": "cannot be read",
        "text.best.pt": "not a checkpoint",
        "text.onnx": "not an ONNX model",
        "other.best.pt": "no chosen weights",
        "foreign.best.pt": "not a checkpoint",
        "k1b2.best.pt": "last quarter",
        ".": "no such file",
    }
    for name, words in said.items():
        for option in ("--teacher", "--init"):
            with pytest.raises(InputError, match=words) as error:
                train(tmp_path, "--name", "new", option, str(tmp_path / name))
            assert str(error.value).startswith(str(tmp_path))
            assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("new.*"))


def test_a_damaged_checkpoint_is_not_resumed(tmp_path, images):
    train(tmp_path, "--stop-after", "1")
    path = tmp_path / "k1b2.ckpt"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="is not a checkpoint"):
        train(tmp_path, "--resume")
    torch.save({"epoch": 1}, path)
    with pytest.raises(InputError, match="does not say which options"):
        train(tmp_path, "--resume")


def test_a_device_that_is_not_here_is_refused(tmp_path, images):
    with pytest.raises(UsageError, match="'tpu' cannot be used; allowed: auto, cpu"):
        train(tmp_path, "--device", "tpu")


def test_the_channels_that_fire_most_are_kept():
    from models.network import PLAN
    from models.prune import channel_rates, remove_channels

    model = random_network(1, 2)
    images = torch.randint(0, 256, (40, 1, 28, 28)).float()
    rates = channel_rates(model, images)
    widths = (15, 16, 9, 32, 1, 224)
    small = remove_channels(model, images, 0.0, widths)
    assert small.widths == widths
    for rate, width, (name, *_) in zip(rates, widths, PLAN, strict=True):
        strongest = torch.sort(torch.argsort(rate, descending=True, stable=True)[:width]).values
        assert torch.equal(getattr(small, f"{name}_bn").bias, getattr(model, f"{name}_bn").bias[strongest])


def random_network(k, b, seed=0):
    """A network with uneven batch norms: negative, zero and tiny gammas among them."""
    from models.network import PLAN, LeNet, Quantization

    torch.manual_seed(seed)
    model = LeNet(Quantization(k, b)).eval()
    with torch.no_grad():
        sizes = (2000.0, 3.0, 3.0, 4.0, 3.0, 6.0)
        for (name, *_), size in zip(PLAN, sizes, strict=True):
            norm = getattr(model, f"{name}_bn")
            norm.weight.normal_(0.8, 0.5)
            norm.weight[0], norm.weight[1] = 0.0, 1e-4
            norm.bias.normal_(0.3, 0.4)
            norm.running_mean.normal_(0, 0.3 * size)
            norm.running_var.fill_(size**2)
    return model


@pytest.mark.parametrize(("k", "b"), [(0, 1), (0, 2), (0, 4), (1, 1), (1, 2), (1, 4)])
def test_export_is_certified_and_computes_the_network(tmp_path, k, b):
    from models.certify import margins
    from models.evaluate import evaluate, same_in_any_batch, scores
    from models.export import build

    model = random_network(k, b)
    proto = build(model, {"seed": "1"})
    path = tmp_path / "x.onnx"
    onnx.save(proto, path)
    found = margins(proto)
    assert [m.name for m in found] == LAYERS
    assert found[0].units > 0.25
    assert min(m.units for m in found[1:]) > 0.01
    assert min(m.safety for m in found) > 1
    images = np.random.default_rng(1).integers(0, 256, (41, 28, 28)).astype(np.uint8)
    assert same_in_any_batch(path, images, (1, 7, 41))
    # with the exported batch norms, whose thresholds were cleared, the network computes the same bits
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    with torch.no_grad():
        for name in LAYERS:
            norm = getattr(model, f"{name}_bn")
            tensors = norm.weight, norm.bias, norm.running_mean, norm.running_var
            for part, tensor in zip(("gamma", "beta", "mean", "var"), tensors, strict=True):
                tensor.copy_(torch.from_numpy(constants[f"{name}.bn.{part}"].copy()))
        pixels = torch.from_numpy(images[:, None].astype(np.float32))
        wanted, activations = model(pixels)
        sops, paper = (float(x.mean()) for x in model.sops(activations))
    np.testing.assert_array_equal(scores(path, images), wanted.numpy())
    counts = evaluate(path, Dataset("x", "test", images, np.zeros(41, np.int64)))
    assert counts["sops"] == pytest.approx(sops)
    assert counts["paper_sops"] == pytest.approx(paper)
    assert counts["spikes_by_layer"] == pytest.approx([float(s.mean()) for s in model.spikes(activations)])
    properties = {p.key: p.value for p in proto.metadata_props}
    assert properties["qsnnc.pixels"] == "raw"
    assert (properties["k"], properties["B"]) == (str(k), str(b))


def test_a_threshold_on_a_reachable_sum_is_found(tmp_path):
    from models.certify import margins
    from models.export import build

    proto = build(random_network(1, 2), {})
    for tensor in proto.graph.initializer:
        # conv2 computes y = x: every second sum of half-levels lies on a threshold
        values = {"gamma": np.sqrt(1 + 1e-5), "beta": 0.25, "mean": 0.0, "var": 1.0}
        part = tensor.name.removeprefix("conv2.bn.")
        if part in values:
            array = np.full(16, values[part], np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    with pytest.raises(ValueError, match="conv2: rounding could change a level"):
        margins(proto)


def test_weights_off_any_small_grid_are_found():
    from models.certify import margins
    from models.export import build

    proto = build(random_network(1, 2), {})
    for tensor in proto.graph.initializer:
        if tensor.name == "conv1.weight":
            array = onnx.numpy_helper.to_array(tensor) * np.float32(1 / 3)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    with pytest.raises(ValueError, match="conv1: a float32 sum could round"):
        margins(proto)


def test_quantizer_rounds_half_to_even_and_passes_gradients_inside():
    from models.network import MedianQuantizer

    x = torch.tensor([-1.0, 0.25, 0.75, 1.25, 1.9, 5.0], requires_grad=True)
    y = MedianQuantizer.apply(x, 1, 4)
    assert y.tolist() == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 1.0, 0.0]
