"""A network behind HTTP: a page, a JSON endpoint, metrics. The guide is docs/serving.md.

There is one process with one event loop, and only the loop touches the state of requests: connections (`protocol`)
parse HTTP (`parser`) and hand each request (`exchange`) to the application (`app`). Pools of threads decode images, and
one more thread runs the network and decodes thumbnails itself; none of these waits for another.
"""
