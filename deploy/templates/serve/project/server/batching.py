"""Requests become batches: the first one waits at most `wait_s` for others, then all run together.

A request that just misses a run waits for it and then for its own: two runs. So no batch is larger than half of the latency
bound allows by what a sample took in recent runs, the slowest counting most. In overload the queue still grows; when it is
full, requests are refused.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, List

from inference.pipeline import Bundle, Prepared, stack

_SHARE = 0.8  # of the bound; the rest is for reading and preparing requests


class Full(Exception):
    """The queue is full."""


@dataclass
class Job:
    """A prepared request and the future of its answer."""

    prepared: Prepared
    answer: "asyncio.Future[Any]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Batcher:
    """A queue in front of the model; one thread runs it, since onnxruntime uses the cores itself."""

    def __init__(self, bundle: Bundle, *, most: int, wait_s: float, queue: int, bound_s: float = 0.0) -> None:
        """Start the loop; `bound_s` is the latency that batches must not exceed, 0: none."""
        self._bundle, self._most, self._wait_s = bundle, most if bundle.batches() else 1, wait_s
        self._room_s, self._sample_s = max(0.0, _SHARE * (bound_s - wait_s) / 2), 0.0
        self._jobs: "asyncio.Queue[Job]" = asyncio.Queue(queue)
        self._thread = ThreadPoolExecutor(1, "model")
        self._left: List[Job] = []
        self.runs = self.samples = 0
        self._task = asyncio.get_running_loop().create_task(self._loop())

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return self._jobs.qsize() + len(self._left)

    @property
    def largest(self) -> int:
        """Samples that a run may have now."""
        if not self._room_s:
            return self._most
        return max(1, min(self._most, int(self._room_s / self._sample_s))) if self._sample_s else 1

    def took(self, samples: int, seconds: float) -> None:
        """Learn from a run: a slower one counts at once, a faster one little by little."""
        each = seconds / samples
        self._sample_s = max(each, 0.9 * self._sample_s + 0.1 * each)

    async def answer(self, prepared: Prepared) -> Any:
        """Return the answer for a prepared request.

        Raises:
            Full: too many requests wait already.
        """
        job = Job(prepared)
        try:
            self._jobs.put_nowait(job)
        except asyncio.QueueFull as error:
            raise Full from error
        return await job.answer

    async def close(self) -> None:
        """End the loop; requests that still wait are cancelled."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._thread.shutdown(wait=True)

    async def _loop(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            group = await self._group()
            group = [job for job in group if not job.answer.cancelled()]
            if not group:
                continue
            start = time.perf_counter()
            try:
                answers = await loop.run_in_executor(self._thread, self._bundle.finish, [job.prepared for job in group])
            except Exception as error:  # what onnxruntime raises has no common base
                for job in group:
                    if not job.answer.done():
                        job.answer.set_exception(error)
                continue
            self.took(len(group), time.perf_counter() - start)
            self.runs += 1
            self.samples += len(group)
            for job, answer in zip(group, answers):
                if not job.answer.done():
                    job.answer.set_result(answer)

    async def _group(self) -> List[Job]:
        """Return the next jobs that fit into one run."""
        group = [self._left.pop(0) if self._left else await self._jobs.get()]
        end = asyncio.get_running_loop().time() + self._wait_s
        while len(group) < self.largest:
            try:
                job = self._jobs.get_nowait()
            except asyncio.QueueEmpty:
                wait = end - asyncio.get_running_loop().time()
                if wait <= 0:
                    break
                try:
                    job = await asyncio.wait_for(self._jobs.get(), wait)
                except asyncio.TimeoutError:
                    break
            if not stack(group[0].prepared, job.prepared):
                self._left.append(job)
                break
            group.append(job)
        return group
