"""A tiny network as an ONNX file, written node by node: the exporter of PyTorch takes seconds."""

import json

import numpy as np
import onnx
from onnx import TensorProto, helper

from emodo.models import KEY

WEIGHTS = np.random.default_rng(0).normal(0, 3, (3, 3)).astype(np.float32)  # of a channel for an emotion


def expected(seen):
    """What the network answers for [B, C, H, W], in float64: means of the channels times `WEIGHTS`."""
    return np.asarray(seen, np.float64).mean(axis=(2, 3)) @ WEIGHTS[: seen.shape[1]].astype(np.float64)


def built(file, shape=("batch", 3, 16, 16), said=None, probable=False):
    """The same network as an ONNX file; its channels are last where they are not in the second place."""
    last = shape[1] not in (1, 3)
    channels = shape[-1] if last else shape[1]
    nodes = [helper.make_node("Transpose", ["pixels"], ["first"], perm=[0, 3, 1, 2])] if last else []
    nodes += [
        helper.make_node("GlobalAveragePool", ["first" if last else "pixels"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["means"]),
        helper.make_node("MatMul", ["means", "weights"], ["logits" if probable else "scores"]),
    ]
    nodes += [helper.make_node("Softmax", ["logits"], ["scores"])] if probable else []
    weights = helper.make_tensor("weights", TensorProto.FLOAT, [channels, 3], WEIGHTS[:channels].flatten())
    return saved(file, nodes, {"pixels": shape}, {"scores": [shape[0], 3]}, said, [weights])


def saved(file, nodes, inputs, outputs, said=None, weights=(), kind=TensorProto.FLOAT):
    given, made = (
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in values.items()]
        for values in (inputs, outputs)
    )
    graph = helper.make_graph(nodes, "graph", given, made, list(weights))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if said is not None:
        helper.set_model_props(model, {KEY: said if isinstance(said, str) else json.dumps(said)})
    onnx.save(model, file)
    return file
