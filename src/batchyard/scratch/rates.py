"""How fast scratch space fills: robust against bursts, pauses and removals, from samples of what is used."""

from __future__ import annotations

from collections import deque

_WINDOWS_S = (0.1, 1.0, 10.0)
_HALF_LIFE_S = 10.0
_SHORTEST_S = 0.05  # a burst between two looks is no rate
_SAMPLES = 4096
_NOISE_BYTES = 256 * 1024  # less than this in a sample is the file system's own doing


class Meter:
    """The rate of writing: the largest of the means over short and long windows, and the last peak, fading.

    Only what is added counts: a removal beside a writer does not hide it.
    """

    def __init__(self, half_life_s: float = _HALF_LIFE_S) -> None:
        """`half_life_s`: how fast a peak is forgotten."""
        self._half_life_s = half_life_s
        self._samples: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)  # (when, bytes written since the beginning)
        self._used: int | None = None
        self._written = 0
        self._peak = 0.0
        self._peak_at_s = 0.0
        self._busy_at_s: float | None = None

    def add(self, now_s: float, used_bytes: int) -> None:
        """Note what is used at `now_s`."""
        if self._used is None:
            self._busy_at_s = now_s
        elif used_bytes > self._used:
            self._written += used_bytes - self._used
            if used_bytes - self._used > _NOISE_BYTES:
                self._busy_at_s = now_s
        self._used = used_bytes
        if self._samples and now_s - self._samples[-1][0] < 0.001:
            return
        self._samples.append((now_s, self._written))
        while len(self._samples) > 2 and now_s - self._samples[1][0] > _WINDOWS_S[-1]:
            self._samples.popleft()
        rate = max(self._mean(window_s) for window_s in _WINDOWS_S)
        faded = self._faded(now_s)
        self._peak, self._peak_at_s = max(rate, faded), now_s

    def rate_bytes_s(self, now_s: float) -> float:
        """Bytes per second, as expected of the near future."""
        return self._faded(now_s)

    def burst_bytes_s(self) -> float:
        """Bytes per second between the last two samples: what a writer does who has only begun."""
        if len(self._samples) < 2:
            return 0.0
        (before_s, before), (now_s, written) = self._samples[-2], self._samples[-1]
        return (written - before) / (now_s - before_s)

    def quiet_s(self, now_s: float) -> float:
        """For how long nothing was written."""
        return 0.0 if self._busy_at_s is None else now_s - self._busy_at_s

    def _mean(self, window_s: float) -> float:
        now_s, written = self._samples[-1]
        first = self._samples[0]
        for sample in reversed(self._samples):
            if now_s - sample[0] >= window_s:
                first = sample
                break
        seconds = now_s - first[0]
        return (written - first[1]) / max(seconds, _SHORTEST_S)

    def _faded(self, now_s: float) -> float:
        rate = self._peak * 0.5 ** ((now_s - self._peak_at_s) / self._half_life_s)
        return rate if rate >= 1024 else 0.0
