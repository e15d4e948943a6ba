"""The page and its endpoint: answers, and what is refused."""

import base64
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL.Image
import pytest
import uvicorn
from fastapi.testclient import TestClient

from hqnn_jax.serving.answer import Answerer
from hqnn_jax.serving.app import create_app
from hqnn_jax.serving.server import is_loopback, listen, names_of
from tests.cli.calls import assert_one_error
from tests.command_line import call
from tests.serving.chromium import PROGRAM, open_page
from tests.small_models import small_model

NOISY = {"name": "radhi2025", "num_qubits": 2, "num_layers": 1, "noise": {"one_qubit": 0.1}}
HERE = "http://127.0.0.1"
MIB = 2**20


def png(array, **options):
    buffer = io.BytesIO()
    PIL.Image.fromarray(array).save(buffer, "PNG", **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)


@pytest.fixture(scope="module")
def answerer():
    found = Answerer(small_model())
    found.warm_up()
    return found


@pytest.fixture(scope="module")
def app(answerer):
    return create_app(answerer, "a <model>", hosts=names_of("127.0.0.1"), max_bytes=MIB)


@pytest.fixture(scope="module")
def client(app):
    return TestClient(app, base_url=HERE)


def refused(response, code, *texts):
    assert response.status_code == code, response.text
    (detail,) = response.json().values()
    assert "\n" not in detail
    for text in texts:
        assert text in detail, detail


def test_an_image_is_answered_with_what_the_model_says(client, answerer, images):
    model = answerer.model
    found = client.post("/predict", content=png(images[0])).json()
    expected = model.predict(images[:1])
    shares = {each["name"]: each["probability"] for each in found["classes"]}
    np.testing.assert_allclose(list(shares.values()), expected.probabilities[0], atol=1e-6)
    assert list(shares) == list(model.class_names)
    assert found["predicted"] == expected.names[0]
    assert found["conformal_set"] == list(expected.set_names[0])
    assert found["rejected"] == bool(expected.rejected[0])
    assert 0 <= found["entropy"] <= found["largest_entropy"]
    assert found["explanation"] is None


def test_an_explanation_shows_the_image_where_it_was_looked_at_and_every_qubit(client, images):
    found = client.post("/predict?explain=true", content=png(images[1])).json()["explanation"]
    shown = base64.b64decode(found["image"].removeprefix("data:image/png;base64,"))
    np.testing.assert_array_equal(PIL.Image.open(io.BytesIO(shown)), images[1])
    assert np.max(found["heat_map"]) == 1
    vectors = np.array(found["bloch"])
    assert vectors.shape == (2, 3)
    assert np.all(np.linalg.norm(vectors, axis=1) <= 1 + 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"middle": "none"}, {"circuit": NOISY}])
def test_models_without_a_circuit_and_with_a_noisy_one_are_explained(images, changes):
    found = Answerer(small_model(changes)).answer(images[0], (), explain=True).explanation
    assert found is not None
    if "middle" in changes:
        assert found.bloch is None
    else:
        assert np.all(np.linalg.norm(found.bloch, axis=1) < 1)


@pytest.mark.slow
def test_several_labels_are_answered_each(images):
    found = Answerer(small_model(task="multilabel")).answer(images[0], (), explain=False)
    assert found.predicted == " | ".join(each.name for each in found.classes if each.predicted)
    assert found.largest_entropy == pytest.approx(3 * np.log(2))
    assert 0 < found.entropy <= found.largest_entropy


def test_files_are_converted_as_those_trained_on_and_that_is_told(client, images):
    grey = np.full((30, 20), 90, np.uint8)
    found = client.post("/predict", content=png(grey)).json()
    assert found["notes"] == ["grey, converted to RGB"]
    assert client.post("/predict", content=png(images[0])).json()["notes"] == []


def test_of_an_image_that_is_cut_its_middle_is_answered(answerer):
    whole = np.random.default_rng(1).integers(0, 256, (40, 40, 3), np.uint8)
    cut, _ = Answerer(answerer.model, crop=0.5).decode(png(whole))
    np.testing.assert_array_equal(cut, answerer.model.stored(whole[None, 10:30, 10:30])[0])


def test_what_is_no_image_is_told_in_a_line_that_names_no_file(client, images):
    post = lambda content: client.post("/predict", content=content)  # noqa: E731
    refused(post(b"no image"), 400, "not a readable image", "expected a complete JPEG, PNG")
    refused(post(png(images[0])[:120]), 400, "not a readable image")
    refused(post(b""), 400, "empty")
    for content in (b"no image", png(images[0])[:120]):
        detail = post(content).json()["detail"]
        assert "/" not in detail
        assert "hqnn_jax_" not in detail


def test_too_many_bytes_and_too_many_pixels_are_refused(client):
    refused(client.post("/predict", content=b"0" * (MIB + 1)), 413, "larger than 1 MiB")
    # Without a length: what is too much is not read to its end.
    parts = (b"0" * 2**16 for _ in range(40))
    refused(client.post("/predict", content=parts), 413, "larger than 1 MiB")
    # A header of 30,000 × 30,000 pixels is enough.
    bomb = bytearray(png(np.zeros((1, 1), np.uint8)))
    bomb[16:24] = (30000).to_bytes(4, "big") * 2
    refused(client.post("/predict", content=bytes(bomb)), 400, "not a readable image")


def test_a_path_is_not_opened(client, tmp_path):
    (tmp_path / "image.png").write_bytes(png(np.zeros((8, 8, 3), np.uint8)))
    address = str(tmp_path / "image.png")
    refused(client.post("/predict", content=address.encode()), 400, "not a readable image")
    for asked in (f"/{address}", "/..%2f..%2fetc%2fpasswd", "/page/page.js"):
        assert client.get(asked).status_code == 404


def test_requests_at_the_same_time_are_answered_like_one_after_the_other(client, images):
    contents = [png(image) for image in images] * 2
    ask = lambda content: client.post("/predict", content=content).json()  # noqa: E731
    alone = [ask(content) for content in contents[: len(images)]]
    with ThreadPoolExecutor(6) as threads:
        together = list(threads.map(ask, contents))
    assert together == alone * 2


def test_the_page_asks_nothing_elsewhere_and_other_names_are_refused(client):
    for asked in ("/", "/page.css", "/page.js", "/model", "/openapi.json"):
        response = client.get(asked)
        assert response.status_code == 200
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "access-control-allow-origin" not in response.headers
        assert "https://" not in response.text
    assert client.get("/model", headers={"host": "elsewhere.org"}).status_code == 400
    described = client.get("/openapi.json").json()["paths"]["/predict"]["post"]
    assert set(described["responses"]) >= {"200", "400", "413"}
    assert "application/octet-stream" in described["requestBody"]["content"]


def test_hosts_of_this_machine_and_others():
    assert all(map(is_loopback, ("127.0.0.1", "localhost", "::1", "127.1.2.3")))
    assert not any(map(is_loopback, ("0.0.0.0", "192.168.1.2", "::")))
    assert names_of("0.0.0.0") == ("*",)
    assert "*" not in names_of("localhost")


def test_wrong_use_is_told_before_anything_is_compiled():
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        told = call("serve", "quickstart", "--port", port)
        assert_one_error(told, 1, f"127.0.0.1:{port}", "choose another --port")
    assert_one_error(call("serve", "quickstart", "--host", "no.such.host.invalid"), 1, "--host")
    assert_one_error(call("serve", "quickstart", "--risk", "2"), 2, "--risk")
    assert_one_error(call("serve", "quickstar", "--port", "0"), 1, "quickstart")


@pytest.fixture
def address(app):
    """Where the application is served, by a thread."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
    with listen("127.0.0.1", 0) as taken:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]})
        thread.start()
        yield f"{HERE}:{taken.getsockname()[1]}/"
        server.should_exit = True
        thread.join()


@pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")
def test_a_file_chosen_in_the_browser_is_answered_on_the_page(address, images, tmp_path):
    (tmp_path / "cell.png").write_bytes(png(images[2]))
    (tmp_path / "text.png").write_bytes(b"no image")
    with open_page(address, tmp_path / "profile") as page:
        page.wait_for("document.title.startsWith('a <model>')")
        page.choose_file("#file", tmp_path / "cell.png")
        page.wait_for("!document.getElementById('answer').hidden")
        count = json.loads(
            page.evaluate(
                "JSON.stringify({rows: document.querySelectorAll('#classes tr').length,"
                " spheres: document.querySelectorAll('#spheres svg').length,"
                " width: document.getElementById('image').naturalWidth,"
                " heat: document.getElementById('heat').width})"
            )
        )
        assert count == {"rows": 3, "spheres": 2, "width": 8, "heat": 320}
        assert "%" in page.evaluate("document.getElementById('verdict').textContent")
        page.choose_file("#file", tmp_path / "text.png")
        page.wait_for("!document.getElementById('problem').hidden")
        told = page.evaluate("document.getElementById('problem').textContent")
        assert told.startswith("text.png: not a readable image")
        assert page.evaluate("document.getElementById('answer').hidden")
        assert len(page.screenshot()) > 10_000
