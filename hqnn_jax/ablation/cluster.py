"""Pieces of work done on a Ray cluster (Moritz et al., 2018, arXiv 1712.05889), one task each.

hqnn_jax must be installed on every node, and its version, Python's and JAX's are the driver's.
Workers see their own node's files and environment, with its $HQNN_DATA_DIR and $HQNN_CACHE_DIR;
only on a local cluster they are the driver's. Threads are left alone: `num_cpus` decides how many
tasks run at once, not how a task computes, so that results do not depend on it.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import platform
import queue
import signal
import socket
import threading
import traceback
import urllib.parse
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import hqnn_jax
from hqnn_jax.errors import ConfigurationError, HqnnError, TrainingError
from hqnn_jax.text import one_line

Work = TypeVar("Work")

_CONNECT_SECONDS = 5.0
_RETRIES = 2
"""How often work is begun again whose worker process or node has died."""
_LOCAL_OBJECT_STORE_BYTES = 256 * 2**20
"""Results are small; Ray would set aside 30 % of the memory."""
_PACKAGES = ("jax", "jaxlib", "flax", "optax")


@dataclass(frozen=True)
class Resources:
    """What one piece of work needs.

    Attributes:
        num_cpus: CPU cores.
        num_gpus: GPUs; a fraction shares one, and JAX then takes its memory only as needed.
        memory: bytes; None asks for none in particular. Ray plans with it but enforces nothing.
    """

    num_cpus: float | int = 1
    num_gpus: float | int = 0
    memory: int | None = None


@dataclass(frozen=True)
class _Outcome:
    """What came of one piece of work: its result, or one line about its failure."""

    content: bytes | None = None
    failure: str | None = None
    other_versions: bool = False


def run_on_ray(
    address: str,
    work: Sequence[Work],
    perform: Callable[[Work], bytes],
    resources: Resources,
    on_result: Callable[[Work, bytes], None],
) -> None:
    """Perform every piece of work in a Ray task of its own.

    A failure does not keep the others from finishing. Work whose worker dies is begun again,
    twice at most. When this process stops early (Ctrl-C, an error in `on_result`), tasks that have
    not finished are cancelled; results that were handed over stay.

    Args:
        address: `auto` (the cluster this machine is part of, or $RAY_ADDRESS), `host:port` (the
            same, by its head's address), `ray://host:port` (from outside; it takes `ray[client]`),
            or `local`: a cluster of this machine alone, for as long as this call takes.
        work: what can be pickled, its `str` fit for a message. Paths in it must mean the same on
            every node.
        perform: a module's function; its result depends on the work only.
        resources: of each piece.
        on_result: called in this process with each piece and its result, as they finish.

    Raises:
        ConfigurationError: if Ray is not installed, the address is wrong or nobody answers there,
            or no node has the resources.
        TrainingError: if work has failed, or a worker has other versions than this process. Each is
            one line.
    """
    if not work:
        return
    ray = _import_ray()
    with _connected(ray, address):
        _require_resources(ray, address, resources)
        failures = _perform_all(ray, work, perform, resources, on_result)
    if failures:
        first, reason = next(iter(failures.items()))
        others = f"{len(failures)} of {len(work)} tasks failed, the first: " * (len(failures) > 1)
        raise TrainingError(
            f"{others}{work[first]}: {reason}; finished results are kept: start again to go on"
        )


def _perform_all(
    ray: Any,
    work: Sequence[Work],
    perform: Callable[[Work], bytes],
    resources: Resources,
    on_result: Callable[[Work, bytes], None],
) -> dict[int, str]:
    """Return the failures: position of the work -> one line."""
    task = ray.remote(_perform_remotely).options(
        num_cpus=resources.num_cpus,
        num_gpus=resources.num_gpus,
        memory=resources.memory,
        max_retries=_RETRIES,
    )
    versions, shared = _versions(), 0 < resources.num_gpus < 1
    pending = {
        task.remote(ray.cloudpickle.dumps((perform, piece)), versions, shared): position
        for position, piece in enumerate(work)
    }
    failures: dict[int, str] = {}
    try:
        while pending:
            (reference,), _ = ray.wait(list(pending), num_returns=1)
            position = pending.pop(reference)
            outcome = _outcome(ray, reference)
            if outcome.other_versions:
                raise TrainingError(f"Ray: {outcome.failure}")
            if outcome.content is None:
                failures[position] = outcome.failure or "no result"
            else:
                on_result(work[position], outcome.content)
    finally:
        for reference in pending:
            ray.cancel(reference, force=True)
    return dict(sorted(failures.items()))


def _outcome(ray: Any, reference: Any) -> _Outcome:
    try:
        outcome: _Outcome = ray.get(reference)
        return outcome
    except ray.exceptions.RayTaskError as error:
        # The task itself raises nothing: it could not even be loaded.
        reason = one_line(str(error).strip().splitlines()[-1], 300)
        return _Outcome(
            failure=f"a Ray worker cannot load hqnn_jax {hqnn_jax.__version__} ({reason}); install "
            "the same version on every node",
            other_versions=True,
        )
    except ray.exceptions.RayError as error:
        return _Outcome(
            failure=f"its Ray worker died, {_RETRIES + 1} times ({one_line(error, 300)})"
        )


def _perform_remotely(pickled: bytes, versions: Mapping[str, str], share_gpu: bool) -> _Outcome:
    """Do one piece of work; this runs in a worker."""
    difference = _difference(versions, _versions())
    if difference is not None:
        return _Outcome(failure=difference, other_versions=True)
    if share_gpu:
        # By default JAX takes three quarters of a GPU's memory at its first computation.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    from ray import cloudpickle

    try:
        perform, piece = cloudpickle.loads(pickled)
        return _Outcome(content=perform(piece))
    except HqnnError as error:
        return _Outcome(failure=one_line(error, 300))
    except Exception as error:  # A bug; its traceback ends in the worker.
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{os.path.basename(frame.filename)}:{frame.lineno}"
        return _Outcome(failure=f"{type(error).__name__} at {place}: {one_line(error, 300)}")


def _versions() -> dict[str, str]:
    """Return what results depend on, of this process."""
    return {
        "hqnn_jax": hqnn_jax.__version__,
        "python": platform.python_version().rpartition(".")[0],
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def _difference(driver: Mapping[str, str], worker: Mapping[str, str]) -> str | None:
    for name, here in driver.items():
        there = worker.get(name)
        if there != here:
            return (
                f"{name} is {there} on {platform.node()}, {here} here; install the same version "
                "on every node"
            )
    return None


def _import_ray() -> Any:
    try:
        import grpc  # noqa: F401 - comes with ray[client]
        import ray
    except ImportError as error:
        raise ConfigurationError(
            "--ray: Ray is not installed; install it with `pip install hqnn-jax[ray]`"
        ) from error
    return ray


@contextlib.contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    """Be connected to a cluster within the block; a local one lives no longer."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or address
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address == "local":
        options |= {"include_dashboard": False, "object_store_memory": _LOCAL_OBJECT_STORE_BYTES}
        # For anything that imports Ray later; a released Ray sends nothing from here anyway.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    elif address != "auto":
        _require_ray(address)
    with _sigterm_kept():
        _init(ray, address, options)
        try:
            yield
        finally:
            ray.shutdown()


def _init(ray: Any, address: str, options: Mapping[str, Any]) -> None:
    local = address == "local"
    advice = (
        "free memory and CPUs, or name a running cluster"
        if local
        else "expected host:6379 of the head, or ray://host:10001 from outside; a cluster with "
        "token authentication takes RAY_AUTH_MODE=token and its token (~/.ray/auth_token)"
    )
    # On a busy machine the first start of a cluster can miss Ray's own limit of 15 seconds; the
    # second finds everything in memory.
    for last in (False, True) if local else (True,):
        try:
            with warnings.catch_warnings():
                # JAX warns that Ray forks a process of several threads (it becomes another program
                # at once), Ray Client of what it raises next.
                warnings.simplefilter("ignore")
                ray.init(address=address, **options)
            return
        except Exception as error:  # Ray raises many kinds.
            ray.shutdown()
            if last:
                reason = one_line(error, 300) or type(error).__name__
                raise ConfigurationError(
                    f"--ray {address}: cannot connect to Ray: {reason}; {advice}"
                ) from error


def _require_ray(address: str) -> None:
    """Fail at once where no cluster listens; Ray itself would try for minutes."""
    scheme, separator, rest = address.rpartition("://")
    try:
        parts = urllib.parse.urlsplit(f"//{rest}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port or (separator and scheme != "ray"):
        raise ConfigurationError(
            f"--ray {address}: not an address; expected auto, local, host:port or ray://host:port"
        )
    try:
        socket.create_connection((host, port), _CONNECT_SECONDS).close()
    except OSError as error:
        raise ConfigurationError(
            f"--ray {address}: nobody answers there ({one_line(error.strerror or error, 300)}); "
            "start the cluster with `ray start --head`, or correct the address"
        ) from error
    encrypted = os.environ.get("RAY_USE_TLS", "0") != "0"
    if not encrypted and not _speaks_grpc(rest):
        raise ConfigurationError(
            f"--ray {address}: what answers there is not Ray; correct the address, or start a "
            "cluster with `ray start --head`"
        )


def _speaks_grpc(address: str) -> bool:
    """Return whether the other side of `host:port` speaks gRPC, as Ray does."""
    import grpc

    states: queue.SimpleQueue[Any] = queue.SimpleQueue()
    ready, failed = grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.TRANSIENT_FAILURE
    # Ray, too, goes past a proxy.
    with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        channel.subscribe(states.put, try_to_connect=True)
        try:
            while (state := states.get(timeout=_CONNECT_SECONDS)) not in (ready, failed):
                pass
        except queue.Empty:
            return False
    return bool(state is ready)


@contextlib.contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Put back the handler of SIGTERM, which Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _require_resources(ray: Any, address: str, resources: Resources) -> None:
    """Raise where a task would wait for ever: it has to fit on one node."""
    wanted = {"CPU": resources.num_cpus, "GPU": resources.num_gpus, "memory": resources.memory or 0}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(all(node.get(k, 0) >= v for k, v in wanted.items()) for node in nodes):
        return
    largest = {kind: max((node.get(kind, 0) for node in nodes), default=0) for kind in wanted}
    raise ConfigurationError(
        f"--ray {address}: no node has {_describe(wanted)} for one task; {len(nodes)} nodes, the "
        f"largest with {_describe(largest)}; ask for less, or add a node"
    )


def _describe(amounts: Mapping[str, float | int]) -> str:
    memory = f"{amounts['memory'] / 2**30:.3g} GiB of memory"
    return f"{amounts['CPU']:g} CPUs, {amounts['GPU']:g} GPUs" + f", {memory}" * bool(
        amounts["memory"]
    )
