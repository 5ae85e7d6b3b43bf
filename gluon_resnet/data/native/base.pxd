# Errors and random numbers: csrc/base.
from libc.stdint cimport int64_t, uint64_t
from libcpp.string cimport string


cdef extern from "base/error.h" namespace "gluon_resnet" nogil:
    cdef enum class CErrorKind "gluon_resnet::ErrorKind":
        kUsage, kRecord, kImage, kModel, kSystem

    cdef struct ErrorReport:
        CErrorKind kind
        string message
        string path
        int64_t offset
        int64_t key
        int system_code

    ErrorReport current_error()


cdef extern from "base/random.h" namespace "gluon_resnet" nogil:
    cdef cppclass Random:
        Random(uint64_t seed, uint64_t epoch, uint64_t record)
