# What the declarations in native/ need of this module.


cdef int raise_error() except *
