"""Which folders are installed under which name; all else is in pyproject.toml.

`experiments`, `benchmarks` and `configs` lie at the top of the repository, but are installed inside
`hqnn_jax`: names as general as these would hide, or be hidden by, a user's own.
"""

from setuptools import find_packages, setup

INSIDE = ("experiments", "benchmarks", "configs")

setup(
    packages=[
        *find_packages(include=["hqnn_jax", "hqnn_jax.*"]),
        *(
            f"hqnn_jax.{name}"
            for folder in INSIDE
            for name in find_packages(include=[folder, f"{folder}.*"])
        ),
    ],
    package_dir={f"hqnn_jax.{name}": name for name in INSIDE},
)
