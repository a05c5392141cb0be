"""The Open Inference Protocol."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from bertie.inference.predictor import Predictor
from bertie.tasks._prediction import plain

TEXTS = ["a red cat", "北京", "the fish sat"]
Predictors = dict[str, Predictor[Any]]


def tensor(name: str = "text", **change: Any) -> dict[str, Any]:
    return {"name": name, "datatype": "BYTES", "shape": [3], "data": TEXTS, **change}


def infer(client: TestClient, model: str, *inputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    response = client.post(f"/v2/models/{model}/infer", json={"inputs": list(inputs), **more})
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["model_name"] == model
    return {one["name"]: one for one in answer["outputs"]}


def test_classes(client: TestClient, predictors: Predictors) -> None:
    outputs = infer(client, "topics", tensor())
    expected = predictors["topics"].predict(TEXTS)
    assert outputs["label"] == {
        "name": "label",
        "datatype": "BYTES",
        "shape": [3],
        "data": [one.label for one in expected],
    }
    assert outputs["score"]["data"] == pytest.approx([one.score for one in expected], abs=1e-6)
    assert (outputs["score"]["datatype"], outputs["score"]["shape"]) == ("FP32", [3])


def test_numbers_for_pairs(client: TestClient, predictors: Predictors) -> None:
    second = {"name": "pair", "datatype": "BYTES", "shape": [3, 1], "data": [["a"], ["b"], ["c"]]}
    outputs = infer(client, "pairs", second, tensor())
    expected = [one.value for one in predictors["pairs"].predict(list(zip(TEXTS, "abc", strict=True)))]
    assert outputs["value"]["data"] == pytest.approx(expected, abs=1e-6)


def test_vectors(client: TestClient, predictors: Predictors) -> None:
    output = infer(client, "vectors", tensor(shape=[3, 1]))["embedding"]
    expected = np.stack([one.vector for one in predictors["vectors"].predict(TEXTS)])
    assert (output["shape"], output["datatype"]) == ([3, 32], "FP32")
    np.testing.assert_allclose(np.array(output["data"]).reshape(3, 32), expected, atol=1e-6)


def test_other_predictions_are_json(client: TestClient, predictors: Predictors) -> None:
    texts = ["a [MASK] cat", "the [MASK] sat"]
    output = infer(client, "words", tensor(data=texts, shape=[2]))["prediction"]
    found = [json.loads(one) for one in output["data"]]
    expected = plain(predictors["words"].predict(texts))
    assert [[fill["token"] for fill in one] for one in found] == [[fill["token"] for fill in one] for one in expected]
    assert (output["shape"], output["datatype"]) == ([2], "BYTES")


def test_outputs_are_chosen_and_ids_returned(client: TestClient) -> None:
    payload = {"id": "7", "inputs": [tensor()], "outputs": [{"name": "score", "parameters": {"binary_data": False}}]}
    answer = client.post("/v2/models/topics/infer", json=payload).json()
    assert [one["name"] for one in answer["outputs"]] == ["score"]
    assert answer["id"] == "7"


def test_server_and_models_describe_themselves(client: TestClient) -> None:
    assert client.get("/v2").json()["name"] == "bertie"
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2/models/words/ready").json() == {"name": "words", "ready": True}
    response = client.get("/v2/models/none/ready")
    assert response.status_code == 404
    assert response.json()["error"].startswith("no model 'none'")
    for name in ("topics", "vectors", "pairs", "words"):
        described = client.get(f"/v2/models/{name}").json()
        text = tensor(data=["a [MASK]"], shape=[1])
        given = [{key: one[key] for key in ("name", "datatype")} for one in infer(client, name, text).values()]
        assert [{key: one[key] for key in ("name", "datatype")} for one in described["outputs"]] == given
        assert described["inputs"][0] == {"name": "text", "datatype": "BYTES", "shape": [-1]}


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "inputs: the input named 'text' is missing"),
        ([tensor(name="image")], "inputs[0].name: must be 'text' or 'pair'"),
        ([tensor(), tensor()], "inputs[1].name: must be 'text' or 'pair', each once"),
        ([tensor(name="pair")], "inputs: the input named 'text' is missing"),
        ([tensor(datatype="FP32")], "inputs[0].datatype: must be 'BYTES', for texts; got 'FP32'"),
        ([tensor(shape=[2])], "inputs[0].data: has 3 elements, but the shape is [2]"),
        ([tensor(shape=[3, 2])], "inputs[0].shape: must be [n] or [n, 1]"),
        ([tensor(shape=[])], "inputs[0].shape: must be [n] or [n, 1]"),
        ([tensor(shape=[-3])], "inputs[0].shape: must be [n] or [n, 1]"),
        ([tensor(shape=[0], data=[])], "inputs[0].shape: must be [n] or [n, 1]"),
        ([tensor(shape=[10**200])], "inputs[0].data: has 3 elements"),
        ([tensor(shape=[3.5])], "inputs[0].shape[0]: must be a valid integer"),
        ([tensor(data=["a", 1, "b"])], "inputs[0].data[1]: must be a string; got 1"),
        ([tensor(data=[["a"], "b", "c"])], "inputs[0].data[0]: must be a string; got ['a']"),
        ([tensor(data="abc")], "inputs[0].data: must be a valid list"),
        ([tensor(), tensor(name="pair", data=["a"], shape=[1])], "inputs: 'text' and 'pair' must have equally many"),
        ([tensor(parameters={"binary_data_size": 12})], "inputs[0].parameters.binary_data_size asks for binary"),
        ([tensor(parameters={"content_type": "base64"})], "inputs[0].parameters.content_type: must be 'str'"),
        ([tensor(contents=[])], "inputs[0]: unknown key 'contents'"),
        ([{"name": "text", "datatype": "BYTES", "shape": [1]}], "inputs[0].data: is missing"),
    ],
)
def test_wrong_inputs_name_the_key(refused: Callable[..., str], inputs: list[Any], message: str) -> None:
    assert refused("/v2/models/topics/infer", {"inputs": inputs}).startswith(message)


def test_binary_tensors_are_refused(client: TestClient, refused: Callable[..., str]) -> None:
    path = "/v2/models/topics/infer"
    headers = {"Inference-Header-Content-Length": "60", "content-type": "application/octet-stream"}
    response = client.post(path, content=b'{"inputs": []}\x03\x00\x00\x00cat', headers=headers)
    assert response.status_code == 415 and "send JSON" in response.json()["error"]
    everything = {"inputs": [tensor()], "parameters": {"binary_data_output": True}}
    assert refused(path, everything).startswith("parameters.binary_data_output asks")
    one = {"inputs": [tensor()], "outputs": [{"name": "label", "parameters": {"binary_data": True}}]}
    assert refused(path, one).startswith("outputs[0].parameters.binary_data asks")
    unknown = {"inputs": [tensor()], "outputs": [{"name": "embedding"}]}
    assert refused(path, unknown) == "outputs[0].name: must be one of label, score; got 'embedding'"
