# Record files written from images, and checked: csrc/packing.
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.memory cimport shared_ptr
from libcpp.string cimport string
from libcpp.vector cimport vector

from gluon_resnet.data._native cimport raise_error
from gluon_resnet.data.native.images cimport CFormat, Color, Image
from gluon_resnet.data.native.records cimport CRecordFile


cdef extern from "packing/packer.h" namespace "gluon_resnet" nogil:
    cdef cppclass CPackOptions "gluon_resnet::PackOptions":
        cbool pass_through
        cbool verify
        cbool center_crop
        int resize
        Color color
        CFormat encoding
        int quality
        size_t threads

    cdef enum class CContent "gluon_resnet::Picture::Content":
        kFile, kBytes, kPixels, kNone

    cdef cppclass CPicture "gluon_resnet::Picture":
        int64_t key
        vector[float] labels
        string name
        CContent content
        string path
        uint64_t offset
        int64_t size
        vector[uint8_t] bytes
        Image pixels
        string problem

    cdef struct CPackFailure "gluon_resnet::Packer::Failure":
        string name
        string reason

    ctypedef void (*Converter)(void* context, const uint8_t* bytes, size_t size, Image* image, string* problem) noexcept

    cdef cppclass CPacker "gluon_resnet::Packer":
        CPacker(const string& path, const string& index_path, const CPackOptions& options, Converter converter,
                void* context) except +raise_error
        cbool submit(CPicture* picture, int milliseconds) except +raise_error
        cbool finish(int milliseconds) except +raise_error
        void close() except +raise_error
        size_t done()
        uint64_t bytes()
        vector[CPackFailure] failures() except +raise_error


cdef extern from "packing/checker.h" namespace "gluon_resnet" nogil:
    cdef struct CCheckFailure "gluon_resnet::Checker::Failure":
        int64_t key
        uint64_t offset
        string reason

    cdef cppclass CChecker "gluon_resnet::Checker":
        CChecker(shared_ptr[CRecordFile] file, size_t threads) except +raise_error
        cbool wait(int milliseconds) except +raise_error
        size_t done()
        vector[CCheckFailure] failures() except +raise_error
