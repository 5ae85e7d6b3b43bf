"""A network behind HTTP: a page, a JSON endpoint, metrics. The guide is docs/serving.md.

One process, one event loop, which alone touches the state of requests. Images are decoded by a pool of threads, and
the network runs in one thread more; none of the three waits for another.
"""
