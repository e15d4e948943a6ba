"""What the package itself has names for."""

import subprocess
import sys

import pytest

import hqnn_jax
import hqnn_jax.circuits


def test_names_are_imported_when_asked_for():
    assert hqnn_jax.Circuit is hqnn_jax.circuits.Circuit
    assert set(hqnn_jax.__all__) <= set(dir(hqnn_jax))
    assert all(hasattr(hqnn_jax, name) for name in hqnn_jax.__all__)
    with pytest.raises(AttributeError, match="module 'hqnn_jax' has no attribute 'Circus'"):
        _ = hqnn_jax.Circus


def test_the_package_alone_imports_nothing_heavy():
    code = "import sys, hqnn_jax; dir(hqnn_jax); print({'jax', 'numpy'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
