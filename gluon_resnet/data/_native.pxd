# What the declarations in native/ need from this module.


cdef int raise_error() except *
