"""A network behind HTTP: a page, a JSON endpoint, metrics. The guide is docs/serving.md.

One process, one event loop, which alone touches the state of requests: connections (`protocol`) parse HTTP (`parser`)
and hand each request (`exchange`) to the application (`app`). Images are decoded by pools of threads, and the network
runs in one thread more, which decodes thumbnails itself; none of these waits for another.
"""
