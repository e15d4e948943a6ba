"""`push`, against a hub that is not there."""

import pytest

from hqnn_jax.trained import hub
from hqnn_jax.trained.zoo import ZOO
from tests.cli.calls import assert_one_error

TOKEN = "hf_secretsecretsecret"


class Hub:
    """Takes down what is uploaded."""

    def __init__(self, problem=None):
        self.problem, self.calls = problem, []

    def __call__(self):
        return self

    def create_repo(self, name, **options):
        self.calls.append((name, options))
        if self.problem is not None:
            raise self.problem
        return f"https://huggingface.co/{name}"

    def upload_folder(self, **options):
        self.calls.append(options)


@pytest.fixture
def online(monkeypatch):
    """Return `online(problem)`: the hub from then on."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)

    def online(problem=None):
        found = Hub(problem)
        monkeypatch.setattr(hub, "HfApi", found)
        return found

    return online


def test_the_model_folder_is_uploaded(online, command):
    found = online()
    code, out, err = command("push", "quickstart", "user/cells", "--private")
    assert code == 0, err
    assert out == "https://huggingface.co/user/cells\n"
    (name, options), upload = found.calls
    assert (name, options) == ("user/cells", {"private": True, "exist_ok": True})
    assert upload["folder_path"] == ZOO / "quickstart"
    assert set(upload["allow_patterns"]) == {path.name for path in (ZOO / "quickstart").iterdir()}
    assert TOKEN not in out + err


def test_a_hub_that_refuses_is_told_in_one_line(online, command):
    online(OSError("401 Client Error.\nInvalid username or password."))
    result = command("push", "quickstart", "user/cells")
    assert_one_error(result, 1, "user/cells: not uploaded", "401 Client Error. Invalid", "HF_TOKEN")
    assert TOKEN not in result[1] + result[2]


def test_what_is_no_model_or_no_repository_is_told(online, command, tmp_path):
    found = online()
    assert_one_error(command("push", tmp_path, "user/cells"), 1, "neither a run nor a model")
    for name in ("cells", "user/", "a/b/c"):
        assert_one_error(command("push", "quickstart", name), 2, "USER/NAME")
    assert found.calls == []
