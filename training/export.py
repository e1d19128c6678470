"""Fitted estimators as ONNX: input `X` float32 [n, k], output `probabilities` float32 [n, 2]."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

OPSET = 15


def to_onnx(estimator: Any, columns: int) -> bytes:
    """The serialised graph of a boosted classifier, a forest pipeline or the piecewise logistic pipeline.

    Raises TypeError for any other estimator.
    """
    kind = type(estimator).__name__
    if kind == "XGBClassifier":
        return _boosted(estimator, columns)
    last = type(estimator[-1]).__name__
    if last == "RandomForestClassifier":
        return _forest(estimator, columns)
    if last == "LogisticRegression":
        return _piecewise_logistic(estimator, columns)
    raise TypeError(f"no export for {kind} ending in {last}")


def _boosted(estimator: Any, columns: int) -> bytes:
    from onnxmltools.convert import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    graph = convert_xgboost(estimator, initial_types=[("X", FloatTensorType([None, columns]))], target_opset=OPSET)
    _begin_with_the_log_odds(graph, estimator)
    return _only_probabilities(graph)


def _begin_with_the_log_odds(graph: Any, estimator: Any) -> None:
    """What all trees add to. Where the first tree is a single leaf of 0 (few rows), the converter takes the share of
    positives for it."""
    config = json.loads(estimator.get_booster().save_config())
    [share] = json.loads(config["learner"]["learner_model_param"]["base_score"])
    trees = next(node for node in graph.graph.node if node.op_type == "TreeEnsembleClassifier")
    for attribute in trees.attribute:
        if attribute.name == "base_values":  # not there for a share of a half, whose log odds are 0
            attribute.floats[:] = [float(np.log(share / (1 - share)))]


def _forest(pipeline: Any, columns: int) -> bytes:
    from onnx import TensorProto, helper
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from skl2onnx.helpers.onnx_helper import select_model_inputs_outputs

    # Asked for plain probabilities by its option zipmap, skl2onnx first walks through the attributes of every tree, six
    # times as long as the conversion takes.
    whole = convert_sklearn(
        pipeline,
        initial_types=[("X", FloatTensorType([None, columns]))],
        target_opset={"": OPSET, "ai.onnx.ml": 3},
    )
    graph = select_model_inputs_outputs(whole, ["probabilities"])
    graph.graph.output[0].CopyFrom(helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]))
    return bytes(graph.SerializeToString())


def _only_probabilities(graph: Any) -> bytes:
    """Drops the label output: a decision is made on the calibrated probability, never on the raw label."""
    kept = [output for output in graph.graph.output if output.name == "probabilities"]
    del graph.graph.output[:]
    graph.graph.output.extend(kept)
    return bytes(graph.SerializeToString())


def _piecewise_logistic(pipeline: Any, columns: int) -> bytes:
    """Scaling is folded into the weights, and the crossings into one (k, k) matrix: rank' A rank."""
    from onnx import TensorProto, checker, helper, numpy_helper

    terms, scale, logistic = (pipeline.named_steps[name] for name in ("terms", "scale", "logistic"))
    weights = logistic.coef_[0].astype(np.float64) / scale.scale_
    bias = float(logistic.intercept_[0] - (weights * scale.mean_).sum())
    segments = len(terms.columns_)
    crossing = np.zeros((columns, columns))
    crossing[terms.pairs_[:, 0], terms.pairs_[:, 1]] = weights[segments + columns :]

    def constant(name: str, value: npt.NDArray[Any]) -> Any:
        return numpy_helper.from_array(value, name)

    def single(name: str, value: npt.ArrayLike) -> Any:
        return constant(name, np.asarray(value, dtype=np.float32))

    constants = [
        single("lowest", terms.lowest_),
        constant("segment_columns", terms.columns_.astype(np.int64)),
        single("starts", terms.starts_),
        single("scales", terms.scales_),
        single("ranks", terms.ranks_),
        single("segment_weights", weights[:segments, None]),
        single("absent_weights", weights[segments : segments + columns, None]),
        single("crossing_weights", crossing),
        single("bias", [[bias]]),
        single("zero", 0.0),
        single("half", 0.5),
        single("one", 1.0),
        constant("last_axis", np.array([1], dtype=np.int64)),
    ]
    node = helper.make_node
    nodes = [
        node("IsNaN", ["X"], ["missing"]),
        node("Where", ["missing", "lowest", "X"], ["filled"]),
        node("Cast", ["missing"], ["absent"], to=TensorProto.FLOAT),
        node("Gather", ["filled", "segment_columns"], ["gathered"], axis=1),
        node("Sub", ["gathered", "starts"], ["shifted"]),
        node("Mul", ["shifted", "scales"], ["stretched"]),
        node("Clip", ["stretched", "zero", "one"], ["segments"]),
        node("MatMul", ["segments", "ranks"], ["ranked"]),
        node("Sub", ["ranked", "half"], ["centred"]),
        node("Sub", ["one", "absent"], ["present"]),
        node("Mul", ["centred", "present"], ["rank"]),
        node("MatMul", ["rank", "crossing_weights"], ["mixed"]),
        node("Mul", ["mixed", "rank"], ["crossed"]),
        node("ReduceSum", ["crossed", "last_axis"], ["crossing_sum"], keepdims=1),
        node("MatMul", ["segments", "segment_weights"], ["segment_sum"]),
        node("MatMul", ["absent", "absent_weights"], ["absent_sum"]),
        node("Sum", ["segment_sum", "absent_sum", "crossing_sum", "bias"], ["logit"]),
        node("Sigmoid", ["logit"], ["yes"]),
        node("Sub", ["one", "yes"], ["no"]),
        node("Concat", ["no", "yes"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "piecewise_logistic",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, columns])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    checker.check_model(model)
    return bytes(model.SerializeToString())
