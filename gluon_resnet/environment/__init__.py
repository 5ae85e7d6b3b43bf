"""What this machine and this Python environment have, using only the standard library.

It works even if NumPy, MXNet or the native core is broken, which is when people ask.
"""
