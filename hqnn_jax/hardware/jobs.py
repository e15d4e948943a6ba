"""Jobs that outlive the process: their ids, states and results in a folder.

Every request has an entry under the hash of what is sent (`JobRequest.digest`). An entry is written
before the job is sent and again with the job's id right after; a process stopped in between finds
the job by its tag. So a request is sent a second time only once its job is known to have failed, or
never to have been made. Results are one .npz file per request.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel

from hqnn_jax.errors import HardwareError
from hqnn_jax.files import read_arrays, read_json, write_arrays, write_json
from hqnn_jax.hardware.execution import Estimates, JobRequest, gathered

State = Literal["sending", "sent", "collected", "failed"]
_FAILED = {"ERROR", "CANCELLED", "FAILED"}
_ARRAYS = {
    "values": Float[np.ndarray, "samples outputs"],
    "standard_errors": Float[np.ndarray, "samples outputs"],
}


class _Entry(BaseModel):
    """What an entry must be; see `JobStore`."""

    state: State
    job_id: str | None
    sent_at: float
    tag: str
    attempts: int
    failures: list[dict[str, Any]]
    seconds: float | None = None


@runtime_checkable
class Service(Protocol):
    """What is needed of `QiskitRuntimeService`."""

    def job(self, job_id: str) -> Any:
        """Return a job; raises where there is none."""

    def jobs(self, *, limit: int, job_tags: list[str]) -> Sequence[Any]:
        """Return the jobs with a tag."""


class JobStore:
    """Jobs of one run, in a folder.

    Each entry `<hash>.json` holds `state`, `job_id`, `backend`, `sent_at` (seconds since 1970),
    `attempts`, and the ids of failed jobs with their reason. No credential is in it.
    """

    def __init__(self, folder: Path, service: Service | None = None):
        """Open or make the folder.

        Args:
            folder: where entries and results are; made if missing.
            service: finds the jobs of earlier processes; by default that of the user's account,
                which is opened only when one is needed.

        Raises:
            HardwareError: the folder cannot be made.
        """
        self.folder = folder
        self._service = service
        # Simulations end with the process; jobs of a device are found by their ids.
        self._running: dict[str, Any] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HardwareError(
                f"{folder}: cannot make the folder for jobs: {error.strerror or error}"
            ) from error

    def entry(self, request: JobRequest) -> dict[str, Any] | None:
        """What is known of a request; None if it was never sent.

        Raises:
            HardwareError: the entry is damaged.
        """
        path = self.folder / f"{request.digest}.json"
        if not path.exists():
            return None
        advice = (
            "the job's entry is damaged: find the job's id on the service's page, or delete the "
            "file to send the request again"
        )
        entry = read_json(path, HardwareError, advice, _Entry)
        needed = {"sending": (), "failed": (), "sent": ("job_id",)}.get(
            entry["state"], ("job_id", "seconds")
        )
        missing = [name for name in needed if entry.get(name) is None]
        if missing:
            raise HardwareError(f"{path}: lacks {', '.join(missing)}; {advice}")
        return entry

    def submit(self, requests: Sequence[JobRequest], within: Any = None) -> list[str]:
        """Send the requests that were not sent before, and return the ids of all jobs.

        Args:
            requests: what to send.
            within: a batch or session, see `execution.sending`.

        Raises:
            HardwareError: a job is refused; those sent before it are kept. Or a process was
                stopped while it sent a job, and the service cannot be asked for it.
        """
        return [self._submit(request, within) for request in requests]

    def collect(self, requests: Sequence[JobRequest], within: Any = None) -> Estimates:
        """Wait for all jobs and return the values; failed jobs are sent again, once for a call.

        Requests that were never sent are sent first. What is collected is kept, whatever happens
        to the rest: call again to go on.

        Raises:
            HardwareError: a job failed twice, or the service cannot be reached.
        """
        self.submit(requests, within)
        decoded = [self._result(request, within) for request in requests]
        entries = [self.entry(request) or {} for request in requests]
        return gathered(
            requests,
            decoded,
            [entry["job_id"] for entry in entries],
            max(entry["seconds"] for entry in entries),
        )

    def states(self, requests: Sequence[JobRequest]) -> list[State | None]:
        """The state of each request as last seen; None if it was never sent."""
        return [(self.entry(request) or {}).get("state") for request in requests]

    def _submit(self, request: JobRequest, within: Any) -> str:
        entry = self.entry(request)
        if entry is not None and entry["state"] in {"sent", "collected"}:
            return entry["job_id"]
        if entry is not None and entry["state"] == "sending":
            job = self._job_of(request, entry)
            if job is not None:
                return self._sent(request, entry, job)
        previous = (entry or {}).get("failures", [])
        sending = {
            "state": "sending",
            "job_id": None,
            "backend": request.compiled.backend.name,
            "sent_at": time.time(),
            # Another attempt needs another tag.
            "tag": f"hqnn_jax-{request.digest[:32]}-{len(previous) + 1}",
            "attempts": len(previous) + 1,
            "failures": previous,
        }
        self._write(request, sending)
        try:
            job = request.submit(within, tag=sending["tag"])
        except HardwareError:
            # A refused job does not exist.
            self._write(request, sending | {"state": "failed"})
            raise
        return self._sent(request, sending, job)

    def _sent(self, request: JobRequest, entry: dict[str, Any], job: Any) -> str:
        self._write(request, entry | {"state": "sent", "job_id": job.job_id()})
        self._running[job.job_id()] = job
        return job.job_id()

    def _job_of(self, request: JobRequest, entry: dict[str, Any]) -> Any | None:
        """The job a process sent without noting its id; None if it was not sent."""
        if request.compiled.backend.is_local:
            return None
        try:
            found = self._opened_service().jobs(limit=1, job_tags=[entry["tag"]])
        except HardwareError:
            raise
        except Exception as error:
            reason = type(error).__name__
        else:
            return next(iter(found), None)
        raise HardwareError(
            f"{self.folder / request.digest}.json: a process was stopped while it sent this job, "
            f"and the service cannot be asked whether it exists ({reason}); resume when it can be "
            "reached"
        )

    def _result(self, request: JobRequest, within: Any) -> dict[str, np.ndarray]:
        """Collect one request, sending it again once if its job has failed."""
        for attempt in range(2):
            entry = self.entry(request)
            assert entry is not None
            if entry["state"] == "collected":
                return self._load(request)
            decoded, reason = self._fetch(request, entry["job_id"])
            if decoded is not None:
                write_arrays(self._arrays(request), decoded)
                seconds = time.time() - entry["sent_at"]
                self._write(request, entry | {"state": "collected", "seconds": seconds})
                self._running.pop(entry["job_id"], None)
                return decoded
            failure = {"job_id": entry["job_id"], "reason": reason}
            self._write(
                request, entry | {"state": "failed", "failures": [*entry["failures"], failure]}
            )
            if attempt == 0:
                self._submit(request, within)
        backend = request.compiled.backend.name
        raise HardwareError(
            f"job {failure['job_id']} on {backend} failed ({reason}), and so did the one before "
            "it; what was collected is kept, see the job's page before you resume"
        )

    def _fetch(
        self, request: JobRequest, job_id: str
    ) -> tuple[dict[str, np.ndarray] | None, str | None]:
        """The decoded result, or why the job has failed for good.

        Raises:
            HardwareError: the service cannot be reached, which says nothing about the job.
        """
        job = self._running.get(job_id)
        local = request.compiled.backend.is_local
        if job is None and local:
            return None, "the process that simulated it has ended"
        try:
            job = self._opened_service().job(job_id) if job is None else job
            if not local:
                # Unlike `result`, this tells a failed job from a failed connection.
                job.wait_for_final_state()
                state = str(job.status())
                if state in _FAILED:
                    return None, state.lower()
            return request.decode(job.result()), None
        except HardwareError:
            raise
        except Exception as error:
            kind = type(error).__name__
            if local:
                raise HardwareError(
                    f"simulation on {request.compiled.backend.name} failed ({kind}: "
                    f"{str(error).splitlines()[0] if str(error) else 'no reason given'})"
                ) from error
            if kind == "RuntimeJobNotFound":
                return None, "expired: the service does not have it any more"
            reason = f"cannot fetch job {job_id} ({kind})"
        raise HardwareError(
            f"{reason}; the connection or the account failed, not the job: what was collected is "
            "kept in the run's folder, resume to go on"
        )

    def _opened_service(self) -> Service:
        if self._service is None:
            from hqnn_jax.hardware.backends import open_service

            self._service = open_service()
        return self._service

    def _arrays(self, request: JobRequest) -> Path:
        return self.folder / f"{request.digest}.npz"

    def _load(self, request: JobRequest) -> dict[str, np.ndarray]:
        path = self._arrays(request)
        advice = (
            "the collected values are damaged: delete it and the .json file of the same name to "
            "send the request again"
        )
        arrays = read_arrays(path, HardwareError, advice, _ARRAYS)
        expected = (len(request.features), request.compiled.source.num_outputs)
        if arrays["values"].shape != expected:
            raise HardwareError(
                f"{path}: has {arrays['values'].shape} values, expected {expected}; {advice}"
            )
        return arrays

    def _write(self, request: JobRequest, entry: dict[str, Any]) -> None:
        write_json(self.folder / f"{request.digest}.json", entry)
