"""The server's counters and timings, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

# Why a request, or an image in one, was not answered, or not as hoped.
REASONS = (
    "body",  # larger than --max-body
    "type",  # an unsupported Content-Type
    "malformed",  # HTTP, a form, JSON or a query that makes no sense
    "host",  # a Host that is not a name of the server, or an Origin whose pages may not post
    "image",  # broken, in another format, or with more pixels than are ever decoded
    "pixels",  # more than --max-pixels, or in all more than --max-request-pixels
    "slow",  # the client took longer than --timeout
    "busy",  # the queue, the memory for bodies or the connections were full
    "late",  # no answer within --deadline
    "gone",  # the client went away
    "internal",  # our fault: see standard error
)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The metrics of one server; nothing is global, so that tests can have several."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory, processor time, open files
        self.requests = Counter(
            "gluon_resnet_requests",
            "Requests that were answered.",
            ("path", "status"),
            registry=self.registry,
        )
        self.open_requests = Gauge(
            "gluon_resnet_open_requests", "Requests that have not been answered yet.", registry=self.registry
        )
        self.images = Counter("gluon_resnet_images", "Images that were classified.", registry=self.registry)
        self.errors = Counter(
            "gluon_resnet_errors",
            "Requests, and images of requests, that were refused.",
            ("reason",),
            registry=self.registry,
        )
        for reason in REASONS:
            self.errors.labels(reason)  # so that 0 is visible, too
        self.waiting = Gauge(
            "gluon_resnet_waiting_images",
            "Images that have been accepted but not answered.",
            registry=self.registry,
        )
        self.request_seconds = self._histogram(
            "request_seconds", "Time from a request's headers to its answer.", ("path",)
        )
        self.decode_seconds = self._histogram("decode_seconds", "Time for decoding and scaling an image.")
        self.queue_seconds = self._histogram(
            "queue_seconds", "Time that a decoded image waits for the network."
        )
        self.network_seconds = self._histogram("network_seconds", "Time of the network for a batch.")
        self.batch_images = self._histogram("batch_images", "Number of images in a batch.", buckets=_IMAGES)

    def _histogram(
        self,
        name: str,
        documentation: str,
        labels: tuple[str, ...] = (),
        buckets: tuple[float, ...] = _SECONDS,
    ) -> Histogram:
        return Histogram(
            f"gluon_resnet_{name}", documentation, labels, buckets=buckets, registry=self.registry
        )

    def refused(self, reason: str) -> None:
        """Count a request or an image that was not answered."""
        self.errors.labels(reason).inc()
