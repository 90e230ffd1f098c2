"""Subgraphs are taken out of a model where that is possible, and the model computes the same as before."""

from __future__ import annotations

import logging

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser
from support.published import CONSTANTS, IMAGES, LEVELS, SECOND, WEIGHTS, network

import chipsim
from chipsim.datasets import Dataset
from chipsim.onnx_graphs import all_graphs
from chipsim.onnx_unrolled import MOST_NODES, unrolled
from qsnnc import ModelError, check, compile_model, verify
from qsnnc.frontend.model.reference import session

VALUES = (
    f"{CONSTANTS}, {WEIGHTS}, {SECOND}, float seven = {{7}}, bool yes = {{1}}, bool no = {{0}}, int64 none = {{0}}, "
    "int64 three = {3}, int64 one = {1}, int64 two = {2}, int64 four = {4}, float[2,3] m = {1, 2, -1, 1, 0, 2}, "
    "int64[3] tokens = {-1, 2, 2}, float[6,3] f = {1, 0, -1, 2, 1, 0, -1, 1, 1, 1, 0, 2, 3, -1, -1, 2, 1, 0}"
)
#: levels `s3` of a first layer
FIRST = "s1 = MatMul(a, w) s2 = Round(s1) s3 = Clip(s2, lowest, seven)"
THEN, ELSE = "one () => (float[N,3] t) { t = MatMul(s3, v) }", "two () => (float[N,3] t) { u = MatMul(s3, v) t = Neg(u) }"
BRANCHES = f"<then_branch = {THEN}, else_branch = {ELSE}>"
LAYER = "r = Round(p) l = Clip(r, lowest, seven) o = MatMul(l, v)"
STATE = "r = Round(p) o = Clip(r, lowest, seven) h2 = Add(h, r)"

UNROLLED = {
    "a branch by an initial value": f"y = If(yes) {BRANCHES}",
    "the other branch": f"y = If(no) {BRANCHES}",
    "a branch by what constants give": f"n = Add(one, two) c = Equal(n, three) y = If(c) {BRANCHES}",
    "a branch by the size of an axis": f"h = Shape(s3) n = Gather(h, one) c = Equal(n, three) y = If(c) {BRANCHES}",
    "a branch by the number of axes": f"h = Shape(s3) n = Size(h) c = Greater(n, two) y = If(c) {BRANCHES}",
    "a branch by the rest of the shape": f"h = Shape(s3) i = ReduceProd(h) n = Mod(i, three) c = Cast<to = 9>(n) y = If(c) {BRANCHES}",
    "a branch of a branch": f"""
        y = If(yes) <
            then_branch = one () => (float[N,3] t) {{
                i = If(no) {BRANCHES.replace("[N,3] t", "[N,3] tt").replace("t =", "tt =")}
                t = Identity(i)
            }},
            else_branch = two () => (float[N,3] e) {{ e = Neg(s3) }}
        >""",
    "a branch without nodes": """
        y = If(yes) <
            then_branch = one () => (float[N,3] t) { t = Identity(s3) },
            else_branch = two () => (float[N,3] e) { e = Neg(s3) }
        >""",
    "two layers by turns": f"""
        y = Loop(three, yes, s3) <body = b (int64 i, bool c, float[N,3] p) => (bool on, float[N,3] o) {{
            on = Identity(c) {LAYER}
        }}>""",
    "as long as a condition holds": f"""
        y, k = Loop(, yes, s3, none) <
            body = b (int64 i, bool c, float[N,3] p, int64 n) => (bool on, float[N,3] o, int64 n2) {{
                n2 = Add(n, two) on = Less(n2, four) {LAYER}
            }}
        >""",
    "no iteration": f"""
        z = Loop(none, yes, s3) <body = b (int64 i, bool c, float[N,3] p) => (bool on, float[N,3] o) {{
            on = Identity(c) {LAYER}
        }}>
        y = MatMul(z, v)""",
    "the number of an iteration": """
        z = Loop(three, yes, s3) <body = b (int64 i, bool c, float[N,3] p) => (bool on, float[N,3] o) {
            on = Identity(c) n = Cast<to = 1>(i) j = Add(p, n) o = Clip(j, lowest, seven)
        }>
        y = MatMul(z, v)""",
    "all iterations together": f"""
        k, z = Loop(two, yes, s3) <body = b (int64 i, bool c, float[N,3] p) => (bool on, float[N,3] o, float[N,3] e) {{
            on = Identity(c) {LAYER} e = Identity(o)
        }}>
        y = Gather<axis = 0>(z, one)""",
    "entries of an axis": """
        g = Reshape(a, tokens)
        z = Scan(g) <num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [1],
            body = b (float[N,2] p) => (float[N,3] o) { x1 = MatMul(p, m) r = Round(x1) o = Clip(r, lowest, seven) }>
        x2 = Flatten(z)
        y = MatMul(x2, f)""",
    "entries back to front": """
        g = Reshape(a, tokens)
        z = Scan(g) <num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [1], scan_output_directions = [1],
            body = b (float[N,2] p) => (float[N,3] o) { x1 = MatMul(p, m) r = Round(x1) o = Clip(r, lowest, seven) }>
        x2 = Flatten(z)
        y = MatMul(x2, f)""",
    "a state": """
        g = Reshape(a, tokens)
        e, z = Scan(s3, g) <num_scan_inputs = 1, scan_input_axes = [1], scan_input_directions = [1], scan_output_axes = [1],
            body = b (float[N,3] h, float[N,2] p) => (float[N,3] o, float[N,3] k) {
                x1 = MatMul(p, m) x2 = MatMul(h, v) x3 = Add(x1, x2) r = Round(x3) o = Clip(r, lowest, seven) k = Neg(o)
            }>
        y = MatMul(e, v)""",
}  # fmt: skip


def controlled(end: str, **options: str) -> onnx.ModelProto:
    """Two layers, the second inside a subgraph."""
    return network(f"{LEVELS.format(domain='')} {FIRST} {end}", VALUES, **options)


@pytest.mark.parametrize("kind", UNROLLED)
def test_a_subgraph_that_no_image_decides_on_is_compiled(kind, save) -> None:
    model = controlled(UNROLLED[kind])
    path = save(model)
    wanted = session(path.read_bytes()).run(None, {"x": IMAGES})[0]
    plain, problems = unrolled(model)
    assert not problems
    assert len(list(all_graphs(plain.graph))) == 1
    onnx.checker.check_model(plain)
    np.testing.assert_array_equal(session(plain).run(None, {"x": IMAGES})[0], wanted)
    done, data = compile_model(path), Dataset("two", "test", IMAGES)
    np.testing.assert_array_equal(chipsim.run(done.mapping, data).scores, wanted)
    assert verify(path, IMAGES).equal
    assert chipsim.compare(done.mapping, path, data).equal


REFUSED = {
    "a condition of the image": (
        f"k = ReduceMax<keepdims = 0>(s3) c = Greater(k, lowest) y = If(c) {BRANCHES}",
        "y: If takes a branch by 'c', which depends on the image ('x'); export only the branch that is meant (torch: trace the "
        "model, do not script it)",
    ),
    "a condition of the number of images": (
        f"h = Shape(x) n = Gather(h, none) c = Equal(n, one) y = If(c) {BRANCHES}",
        "y: If takes a branch by 'c', which differs with the number of images; export only the branch that is meant (torch: "
        "trace the model, do not script it)",
    ),
    "a condition that is drawn": (
        f"k = RandomNormal<shape = [1]>() c = Greater(k, lowest) y = If(c) {BRANCHES}",
        "y: If takes a branch by 'c', which is drawn at random ('k'); export only the branch that is meant (torch: trace the "
        "model, do not script it)",
    ),
    "a condition that cannot be computed": (
        f"n = Gather(tokens, four) c = Equal(n, one) y = If(c) {BRANCHES}",
        "y: If takes a branch by 'c', which cannot be computed (",
    ),
    "a condition of the image in a branch": (
        f"""k = ReduceMax<keepdims = 0>(s3) c = Greater(k, lowest)
        y = If(yes) <
            then_branch = one () => (float[N,3] i) {{ i = If(c) {BRANCHES} }},
            else_branch = two () => (float[N,3] e) {{ e = Neg(s3) }}
        >""",
        "y/i: If takes a branch by 'c', which depends on the image ('x'); ",
    ),
    "a number of iterations of the image": (
        f"""k = ReduceMax<keepdims = 0>(s3) n = Cast<to = 7>(k)
        y = Loop(n, yes, s3) <body = b (int64 i, bool c, float[N,3] p) => (bool on, float[N,3] o) {{ on = Identity(c) {LAYER} }}>""",
        "y: Loop runs its body as often as says 'n', which depends on the image ('x'); export with a fixed number of iterations "
        "(torch: trace the model, do not script it)",
    ),
    "as long as the image says": (
        f"""y = Loop(three, yes, s3) <body = b (int64 i, bool c, float[N,3] p) => (bool on, float[N,3] o) {{
            {LAYER} k = ReduceMax<keepdims = 0>(o) on = Greater(k, lowest) }}>""",
        "y: Loop goes on as long as 'y/0/on', which depends on the image ('x'); export with a fixed number of iterations (torch:",
    ),
    "iterations without end": (
        f"y = Loop(, yes, s3) <body = b (int64 i, bool c, float[N,3] p) => (bool on, float[N,3] o) {{ on = Identity(c) {LAYER} }}>",
        f"y: Loop would be more than {MOST_NODES:,} nodes, the most supported, with all iterations written out; export with",
    ),
    "no iteration, of which all results are needed": (
        f"""k, z = Loop(none, yes, s3) <body = b (int64 i, bool c, float[N,3] p) => (bool on, float[N,3] o, float[N,3] e) {{
            on = Identity(c) {LAYER} e = Identity(o) }}>
        y = Gather<axis = 0>(z, one)""",
        "k: Loop never runs its body, so that 'z' has no elements; export with a fixed number of iterations (torch: trace",
    ),
    "an entry for each image": (
        "y = Scan(s3) <num_scan_inputs = 1, body = b (float[3] p) => (float[3] o) { o = MatMul(p, v) }>",
        "y: Scan runs its body for each entry of 's3' along axis 0, whose number differs with the number of images; export with a "
        "fixed number of entries, along another axis than the batch",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_images_decide_on_is_refused(kind, save) -> None:
    end, words = REFUSED[kind]
    with pytest.raises(ModelError) as caught:
        check(save(controlled(end)))
    assert str(caught.value).startswith(words)
    assert (caught.value.code, caught.value.exit_code) == ("model-subgraph", 3)


def test_every_node_that_cannot_be_unrolled_is_listed(save) -> None:
    """What follows from one of them is not listed: nothing is known about it."""
    end = f"""k = ReduceMax<keepdims = 0>(s3) c = Greater(k, lowest)
        s4 = If(c) {BRANCHES}
        h = Shape(s4) n = Size(h) e = Equal(n, two)
        s5 = If(e) <then_branch = three () => (float[N,3] g) {{ g = Neg(s4) }}, else_branch = four () => (float[N,3] j) {{ j = Abs(s4) }}>
        y = If(c) <then_branch = five () => (float[N,3] t5) {{ t5 = Neg(s5) }}, else_branch = six () => (float[N,3] t6) {{ t6 = Abs(s3) }}>"""
    with pytest.raises(ModelError) as caught:
        check(save(controlled(end)))
    assert [problem.subject for problem in caught.value.problems] == ["s4", "y"]


def test_a_condition_of_the_number_of_images_is_known_in_a_fixed_batch(save) -> None:
    model = controlled(REFUSED["a condition of the number of images"][0], batch="1")
    path = save(model)
    wanted = np.concatenate([session(path.read_bytes()).run(None, {"x": IMAGES[i : i + 1]})[0] for i in (0, 1)])
    done = compile_model(path)
    np.testing.assert_array_equal(chipsim.run(done.mapping, Dataset("two", "test", IMAGES)).scores, wanted)


def test_a_subgraph_that_the_output_does_not_need_does_no_harm(save) -> None:
    end = f"k = ReduceMax<keepdims = 0>(s3) c = Greater(k, lowest) unread = If(c) {BRANCHES} y = MatMul(s3, v)"
    path = save(controlled(end))
    assert verify(path, IMAGES).equal


def test_names_stay_unique_and_say_which_node_they_are_of(caplog) -> None:
    """Both branches and all iterations have the same names inside, and the file has one that a new one would have."""
    end = f"""s4 = If(yes) {BRANCHES}
        s5 = If(no) {BRANCHES}
        y = Loop(two, yes, s5) <body = b (int64 i, bool c, float[N,3] p) => (bool on, float[N,3] o) {{ on = Identity(c) {LAYER} }}>"""
    model = controlled(end)
    model.graph.node.append(helper.make_node("Add", ["s4", "y"], ["y/0/r"], "y/0/r"))
    model.graph.output[0].name = "y/0/r"
    with caplog.at_level(logging.INFO, logger="chipsim"):
        found, _ = unrolled(model)
    made = [name for node in found.graph.node for name in node.output]
    assert len(set(made)) == len(made)
    named = [node.name for node in found.graph.node]
    assert len(set(named)) == len(named)
    assert {"s4", "s5/u", "s5", "y/0/r/2", "y/0/o", "y/1/r", "y/1/o", "y", "y/0/r"} <= set(made)
    assert [record.getMessage() for record in caplog.records] == [
        "s4: the condition of If is the same for every image; its then_branch stands in its place",
        "s5: the condition of If is the same for every image; its else_branch stands in its place",
        "y: Loop is unrolled, 2 iterations",
    ]


def test_float16_is_rounded_where_a_subgraph_begins_and_ends() -> None:
    """A graph of onnxruntime's has no rounding inside, and a subgraph is one of its own."""
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float16[N, 64] x) => (float16[N, 64] y) <bool yes = {1}, int64 two = {2}> {
        p = Mul(x, x)
        s = If(yes) <
            then_branch = one () => (float16[N, 64] t) { u = Add(p, x) t = Mul(u, x) },
            else_branch = two () => (float16[N, 64] e) { e = Neg(p) }
        >
        r = Add(s, x)
        l = Loop(two, yes, r) <body = b (int64 i, bool c, float16[N, 64] h) => (bool on, float16[N, 64] o) {
            on = Identity(c) f = Mul(h, x) o = Add(f, x)
        }>
        y = Mul(l, x)
    }"""
    model = parser.parse_model(text)
    x = {"x": np.random.default_rng(0).normal(0, 1, (50, 64)).astype(np.float16)}
    wanted = session(model).run(None, x)[0]
    found, _ = unrolled(model)
    np.testing.assert_array_equal(session(found).run(None, x)[0], wanted)
    seamless = _without_identities(found)
    assert (session(seamless).run(None, x)[0] != wanted).any()


def _without_identities(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same nodes, without what only hands a tensor on."""
    out, names = onnx.ModelProto(), {}
    out.CopyFrom(model)
    del out.graph.node[:]
    for node in model.graph.node:
        if node.op_type == "Identity":
            names[node.output[0]] = names.get(node.input[0], node.input[0])
        else:
            out.graph.node.append(node)
            out.graph.node[-1].input[:] = [names.get(name, name) for name in node.input]
    return out


def with_branch(then: onnx.GraphProto) -> onnx.ModelProto:
    model = controlled("y = MatMul(s3, v)")
    other = helper.make_graph([helper.make_node("Neg", ["s3"], ["e"])], "other", [], [_float("e")])
    model.graph.node[-1].CopyFrom(helper.make_node("If", ["yes"], ["y"], "y", then_branch=then, else_branch=other))
    return model


def _float(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


WEIGHT = np.array([[1, 0, -1], [2, 1, 0], [-1, 1, 1]], np.float32)


def _dense() -> onnx.GraphProto:
    weights = numpy_helper.from_array(WEIGHT, "inside")
    return helper.make_graph([helper.make_node("MatMul", ["s3", "inside"], ["t"])], "then", [], [_float("t")], [weights])


def _sparse() -> onnx.GraphProto:
    where = np.flatnonzero(WEIGHT)
    values = helper.make_tensor("inside", TensorProto.FLOAT, [len(where)], WEIGHT[WEIGHT != 0])
    indices = helper.make_tensor("where", TensorProto.INT64, where.shape, where)
    graph = _dense()
    del graph.initializer[:]
    graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, WEIGHT.shape))
    return graph


def _spelt_out() -> onnx.GraphProto:
    graph = _dense()
    graph.node[0].domain = "ai.onnx"
    return graph


def _constant() -> onnx.GraphProto:
    graph = _dense()
    del graph.initializer[:]
    graph.node.insert(0, helper.make_node("Constant", [], ["inside"], value=numpy_helper.from_array(WEIGHT)))
    return graph


@pytest.mark.parametrize("make", [_dense, _sparse, _spelt_out, _constant])
def test_weights_inside_a_branch(make, save) -> None:
    wanted = session(controlled("y = MatMul(s3, v)")).run(None, {"x": IMAGES})[0]
    path = save(with_branch(make()))
    done = compile_model(path)
    data = Dataset("two", "test", IMAGES)
    np.testing.assert_array_equal(chipsim.run(done.mapping, data).scores, wanted)
    assert chipsim.compare(done.mapping, path, data).equal


def test_weights_inside_a_branch_and_outside_the_file(tmp_path) -> None:
    graph = _dense()
    (weights,) = graph.initializer
    (tmp_path / "w.data").write_bytes(weights.raw_data)
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "w.data"), ("length", str(WEIGHT.nbytes))):
        weights.external_data.add(key=key, value=value)
    path = tmp_path / "net.onnx"
    path.write_bytes(with_branch(graph).SerializeToString())
    assert verify(path, IMAGES).equal
    (tmp_path / "w.data").write_bytes(b"")
    with pytest.raises(ModelError, match=r"'w\.data' is truncated: tensor 'inside'"):
        check(path)


def test_a_qonnx_operator_and_a_function_inside_a_branch(save) -> None:
    """Also where a shape behind such an operator decides on the branch."""
    quant = 'qonnx.custom_op.general.Quant<signed = 0, narrow = 0, rounding_mode = "ROUND">'
    body = f"""
        s1 = MatMul(a, w)
        h = Shape(s1)
        n = Gather(h, one)
        c = Equal(n, three)
        b = If(c) <
            then_branch = one () => (float[N,3] t) {{ t = {quant}(s1, step, nil, bits) }},
            else_branch = two () => (float[N,3] e) {{ e = Neg(s1) }}
        >
        g = Shape(b)
        k = Gather(g, one)
        f1 = Equal(k, three)
        y = If(f1) <
            then_branch = three () => (float[N,3] t3) {{ t3 = mine.Last(b, v) }},
            else_branch = four () => (float[N,3] t4) {{ t4 = Neg(b) }}
        >"""
    imports = '"" : 13, "qonnx.custom_op.general" : 1, "mine" : 1'
    model = network(f"{LEVELS.format(domain='')} {body}", f"{VALUES}, float nil = {{0}}, float bits = {{4}}", imports)
    last = helper.make_node("MatMul", ["p", "q"], ["r"])
    model.functions.append(helper.make_function("mine", "Last", ["p", "q"], ["r"], [last], [helper.make_opsetid("", 13)]))
    path = save(model)
    done = compile_model(path)
    levels = np.clip(np.round(IMAGES * 4), 0, 15) / 4
    first = levels @ np.array([[1, -2, 3], [0, 1, -1], [2, 2, -3], [-1, 0, 1]])
    wanted = np.clip(np.round(first / 0.25), 0, 15) * 0.25 @ WEIGHT
    data = Dataset("two", "test", IMAGES)
    np.testing.assert_array_equal(chipsim.run(done.mapping, data).scores, wanted)
    assert chipsim.compare(done.mapping, path, data).equal
