# The declarations of csrc that _native.pyx calls, a file a room; nothing here exists at run time.
