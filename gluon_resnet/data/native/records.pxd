# Record files: csrc/records.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.string cimport string

from gluon_resnet.data._native cimport raise_error


cdef extern from "records/record_file.h" namespace "gluon_resnet" nogil:
    cdef struct CRecord "gluon_resnet::Record":
        uint32_t flag
        const float* labels
        size_t num_labels
        uint64_t id
        uint64_t id2
        const uint8_t* payload
        size_t payload_size

    cdef cppclass RecordBuffer:
        pass

    cdef cppclass CRecordFile "gluon_resnet::RecordFile":
        CRecordFile(const string& path, const string& index_path) except +raise_error
        size_t size() const
        int64_t key(size_t index) except +raise_error
        uint64_t offset(size_t index) except +raise_error
        size_t find(int64_t key) except +raise_error
        size_t num_images()
        size_t image(size_t i) except +raise_error
        CRecord read(size_t index, RecordBuffer* buffer) except +raise_error
        void check() except +raise_error
        cbool index_spans_file() except +raise_error
        size_t find_wrong_label(size_t begin, size_t end, uint64_t classes) except +raise_error


cdef extern from "records/record_writer.h" namespace "gluon_resnet" nogil:
    void write_index_of "gluon_resnet::write_index"(
        const CRecordFile& file, const string& index_path) except +raise_error
