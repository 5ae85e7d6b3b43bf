"""What this machine and this Python environment have, seen with the standard library alone.

So it can be asked where NumPy, MXNet or the native core is broken, which is when somebody asks.
"""
