# Batches, and the threads that make them: csrc/loader.
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.memory cimport shared_ptr
from libcpp.string cimport string
from libcpp.vector cimport vector

from gluon_resnet.data._native cimport raise_error
from gluon_resnet.data.native.images cimport DecodeOptions
from gluon_resnet.data.native.records cimport CRecordFile
from gluon_resnet.data.native.transforms cimport CLayout, DType, TransformPlan


cdef extern from "loader/batch.h" namespace "gluon_resnet" nogil:
    cdef cppclass BatchMemory:
        uint8_t* raw "data.get"()
        size_t label_width
        vector[float] labels
        vector[uint64_t] ids
        size_t rows
        size_t pad


cdef extern from "loader/dlpack.h" namespace "gluon_resnet" nogil:
    cdef struct DLManagedTensor:
        void (*deleter)(DLManagedTensor*) noexcept

    cdef struct DLManagedTensorVersioned:
        void (*deleter)(DLManagedTensorVersioned*) noexcept

    Managed* make_dlpack[Managed](shared_ptr[BatchMemory] batch, const vector[int64_t]& shape, DType dtype,
                                  cbool copy) except +raise_error


cdef extern from "loader/order.h" namespace "gluon_resnet" nogil:
    cdef enum class CLastBatch "gluon_resnet::LastBatch":
        kPad, kDiscard, kKeep


cdef extern from "loader/loader_options.h" namespace "gluon_resnet" nogil:
    cdef cppclass LoaderOptions:
        size_t batch_size
        TransformPlan plan
        cbool shuffle
        uint64_t seed
        size_t threads
        size_t rank
        size_t world_size
        CLastBatch last_batch
        DType dtype
        CLayout layout
        DecodeOptions decode
        cbool skip_errors
        size_t prefetch
        size_t cache_bytes


cdef extern from "loader/epoch_meter.h" namespace "gluon_resnet" nogil:
    cdef struct CBadRecord "gluon_resnet::BadRecord":
        uint64_t epoch
        string path
        int64_t key
        uint64_t offset
        string reason

    cdef cppclass CEpochStats "gluon_resnet::EpochStats":
        uint64_t images, batches
        size_t threads
        double seconds, reading, decoding, augmenting, waiting, consumer_waiting
        vector[CBadRecord] skipped, partial

    cdef cppclass CEpochMeter "gluon_resnet::EpochMeter":
        CEpochStats read() except +raise_error


cdef extern from "loader/epoch_run.h" namespace "gluon_resnet" nogil:
    cdef enum class CStatus "gluon_resnet::EpochRun::Status":
        kBatch, kEnd, kNotYet

    cdef cppclass CEpochRun "gluon_resnet::EpochRun":
        CStatus next(int milliseconds, shared_ptr[BatchMemory]* batch) except +raise_error
        void close()
        shared_ptr[const CEpochMeter] meter()
        @staticmethod
        void throw_closed() except +raise_error


cdef extern from "loader/batch_loader.h" namespace "gluon_resnet" nogil:
    cdef cppclass CBatchLoader "gluon_resnet::BatchLoader":
        CBatchLoader(vector[shared_ptr[CRecordFile]] files, const LoaderOptions& options) except +raise_error
        uint64_t num_records()
        uint64_t num_batches()
        size_t label_width()
        uint64_t num_cached()
        uint64_t fingerprint() except +raise_error
        # a unique_ptr, which becomes a shared one
        shared_ptr[CEpochRun] start(uint64_t epoch, uint64_t first_batch, uint64_t step) except +raise_error
