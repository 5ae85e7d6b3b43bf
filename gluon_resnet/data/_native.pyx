# cython: language_level=3, binding=True
# distutils: language = c++
"""The C++ core for Python. This module translates arguments, errors and lifetimes, and computes nothing."""

import math
import os

import numpy as np
cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_IsValid, PyCapsule_New
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy
from libcpp cimport bool as cbool
from libcpp.memory cimport shared_ptr, unique_ptr
from libcpp.string cimport string
from libcpp.vector cimport vector

from gluon_resnet.data.native.base cimport CErrorKind, ErrorReport, Random, current_error
from gluon_resnet.data.native.graph cimport (
    CGraph, check_results_of, checked_graph, mxnet_cause_of, operator_names, to_json)
from gluon_resnet.data.native.images cimport (
    CFormat, CInterpolation, Color, DecodeOptions, Decoder, Image, ImageSize, LIBJPEG_TURBO_VERSION_NUMBER)
from gluon_resnet.data.native.loader cimport (
    BatchMemory, CBadRecord, CBatchLoader, CEpochMeter, CEpochRun, CEpochStats, CLastBatch, CStatus, DLManagedTensor,
    DLManagedTensorVersioned, LoaderOptions, make_dlpack)
from gluon_resnet.data.native.packing cimport CChecker, CContent, CPacker, CPackOptions, CPicture
from gluon_resnet.data.native.records cimport CRecord, CRecordFile, RecordBuffer, write_index_of
from gluon_resnet.data.native.transforms cimport (
    CCrop, CGeometry, CLayout, ColorDraw, DType, ImagePipeline, TransformPlan, draw_color, draw_geometry)

from gluon_resnet.errors import ImageError, ModelError, RecordError, UsageError

LIBJPEG_TURBO = (
    f"{LIBJPEG_TURBO_VERSION_NUMBER // 1000000}.{LIBJPEG_TURBO_VERSION_NUMBER // 1000 % 1000}"
    f".{LIBJPEG_TURBO_VERSION_NUMBER % 1000}"
)  # the version whose headers this was compiled with


cdef int raise_error() except *:
    """Turn the C++ exception being handled into the Python exception it stands for."""
    cdef ErrorReport report = current_error()
    message = report.message.decode("utf-8", "replace")
    path = os.fsdecode(report.path) if report.path.size() else None
    if report.kind == CErrorKind.kUsage:
        raise UsageError(message)
    if report.kind == CErrorKind.kSystem:
        if report.system_code == 12:  # ENOMEM
            raise MemoryError(message)
        if report.system_code:
            raise OSError(report.system_code, os.strerror(report.system_code), path)
        raise RuntimeError(message)
    details = {
        "path": path,
        "offset": report.offset if report.offset >= 0 else None,
        "key": report.key if report.key >= 0 else None,
    }
    if report.kind == CErrorKind.kModel:
        raise ModelError(message, **details)
    raise (ImageError if report.kind == CErrorKind.kImage else RecordError)(message, **details)


cdef class NativeRecordFile:
    """An open .rec file; see gluon_resnet.data.RecordFile."""

    cdef shared_ptr[CRecordFile] file

    def __cinit__(self, path, index_path):
        cdef string c_path = os.fsencode(path)
        cdef string c_index_path = os.fsencode(index_path) if index_path is not None else b""
        with nogil:
            self.file.reset(new CRecordFile(c_path, c_index_path))

    def __len__(self):
        return self.file.get().size()

    def key(self, size_t index):
        return self.file.get().key(index)

    def offset(self, size_t index):
        return self.file.get().offset(index)

    def find(self, int64_t key):
        return self.file.get().find(key)

    def images(self):
        """The positions of the records with an image, in ascending order."""
        cdef size_t count = self.file.get().num_images()
        first, last = self.file.get().image(0), self.file.get().image(count - 1)
        if last - first == count - 1:
            return range(first, last + 1)
        return [self.file.get().image(i) for i in range(count)]

    def index_spans_file(self):
        """Whether the index begins and ends where the file does."""
        return self.file.get().index_spans_file()

    def read(self, size_t index):
        """(labels, id, id2, payload) of record `index`."""
        cdef RecordBuffer buffer
        cdef CRecord record
        with nogil:
            record = self.file.get().read(index, &buffer)
        labels = np.empty(record.num_labels, dtype=np.float32)
        cdef float[::1] view = labels
        cdef size_t i
        for i in range(record.num_labels):
            view[i] = record.labels[i]
        return labels, record.id, record.id2, record.payload[:record.payload_size]

    def find_wrong_label(self, size_t begin, size_t end, uint64_t classes):
        """The first image of a range whose label is not a single valid class; the end of the range if there is none."""
        cdef size_t found
        with nogil:
            found = self.file.get().find_wrong_label(begin, end, classes)
        return found

    def check(self):
        with nogil:
            self.file.get().check()

    def write_index(self, index_path):
        cdef string path = os.fsencode(index_path)
        with nogil:
            write_index_of(self.file.get()[0], path)


CROPS = {"center": <int>CCrop.kCenter, "random-resized": <int>CCrop.kRandomResized,
         "scale-jitter": <int>CCrop.kScaleJitter, "pad": <int>CCrop.kPad}
INTERPOLATIONS = {"nearest": <int>CInterpolation.kNearest, "linear": <int>CInterpolation.kLinear,
                  "cubic": <int>CInterpolation.kCubic, "area": <int>CInterpolation.kArea,
                  "lanczos": <int>CInterpolation.kLanczos}
DTYPES = {"uint8": <int>DType.kUint8, "float16": <int>DType.kFloat16, "float32": <int>DType.kFloat32}
LAYOUTS = {"NCHW": <int>CLayout.kNchw, "NHWC": <int>CLayout.kNhwc}


cdef class NativePlan:
    """A transform in the C++ core's form, made from a dict of TransformPlan's fields."""

    cdef TransformPlan plan

    def __cinit__(self, dict fields):
        self.plan.crop = <CCrop><int>CROPS[fields["crop"]]
        self.plan.size = fields["size"]
        self.plan.resize = fields["resize"]
        self.plan.padding = fields["padding"]
        self.plan.flip = fields["flip"]
        self.plan.brightness = fields["brightness"]
        self.plan.contrast = fields["contrast"]
        self.plan.saturation = fields["saturation"]
        self.plan.pca_noise = fields["pca_noise"]
        self.plan.interpolation = <CInterpolation><int>INTERPOLATIONS[fields["interpolation"]]
        cdef int i
        for i in range(2):
            self.plan.area[i] = fields["area"][i]
            self.plan.ratio[i] = fields["ratio"][i]
            self.plan.scale[i] = fields["scale"][i]
        for i in range(3):
            self.plan.fill[i] = fields["fill"][i]
            self.plan.mean[i] = fields["mean"][i]
            self.plan.std[i] = fields["std"][i]

    def draw(self, int width, int height, uint64_t seed, uint64_t epoch, uint64_t record):
        """What is drawn for one record, as (geometry, color) dicts; for oracles in tests."""
        cdef unique_ptr[Random] random
        random.reset(new Random(seed, epoch, record))
        cdef CGeometry g = draw_geometry(self.plan, ImageSize(width, height), random.get())
        cdef ColorDraw c = draw_color(self.plan, random.get())
        geometry = {"x": g.source.x, "y": g.source.y, "width": g.source.width, "height": g.source.height,
                    "scaled": (g.scaled.width, g.scaled.height), "crop_x": g.crop_x, "crop_y": g.crop_y,
                    "flip": g.flip}
        color = {"brightness": c.brightness, "contrast": c.contrast, "saturation": c.saturation,
                  "offset": (c.offset[0], c.offset[1], c.offset[2])}
        return geometry, color

    def transform(self, image, dtype, layout, uint64_t seed, uint64_t epoch, uint64_t record):
        """One transformed image, given encoded (bytes) or decoded (uint8 (H, W, 3)), in `dtype` and `layout`."""
        cdef DType c_dtype = <DType><int>DTYPES[dtype]
        cdef CLayout c_layout = <CLayout><int>LAYOUTS[layout]
        out = np.empty(image_shape(self.plan.size, c_layout), dtype=dtype)
        cdef uint8_t[::1] view = out.reshape(-1).view(np.uint8)
        cdef void* target = &view[0]
        cdef Image decoded
        cdef const uint8_t[::1] payload
        cdef const uint8_t* data = NULL
        cdef size_t size = 0
        cdef unique_ptr[Random] random
        cdef unique_ptr[ImagePipeline] pipeline
        random.reset(new Random(seed, epoch, record))
        pipeline.reset(new ImagePipeline())
        if isinstance(image, (bytes, bytearray, memoryview)):
            payload = encoded_bytes(image)
            size = payload.shape[0]
            if size:
                data = &payload[0]
            with nogil:
                pipeline.get().run(self.plan, data, size, random.get(), c_dtype, c_layout, target)
        else:
            copy_into(image, &decoded)
            with nogil:
                pipeline.get().run_decoded(self.plan, decoded, random.get(), c_dtype, c_layout, target)
        return out


cdef tuple image_shape(size, CLayout layout):
    if layout == CLayout.kNchw:
        return (3, size, size)
    return (size, size, 3)


cdef bytes encoded_bytes(payload):
    """An encoded image as bytes that no other thread can change while they are being read."""
    if isinstance(payload, bytes):
        return payload
    try:
        return bytes(memoryview(payload))
    except TypeError:
        raise UsageError(
            f"expected the bytes of a JPEG or PNG file, found {type(payload).__name__}; read the file first"
        ) from None


cdef int decode_into(payload, Color color, cbool libjpeg, Image* image) except -1:
    payload = encoded_bytes(payload)
    cdef const uint8_t[::1] view = payload
    cdef size_t size = view.shape[0]
    cdef const uint8_t* data = &view[0] if size else NULL
    cdef DecodeOptions options
    cdef unique_ptr[Decoder] decoder
    options.libjpeg = libjpeg
    decoder.reset(new Decoder(options))
    with nogil:
        decoder.get().open(data, size)
        decoder.get().decode(color, image)
    return 0


cdef int copy_pixels(array, Image* image) except -1:
    """Copy a uint8 array (H, W) or (H, W, channels) with 1, 3 or 4 channels."""
    array = np.ascontiguousarray(array)  # no longer a subclass, whose shape could be anything
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.ndim == 3 and array.shape[2] not in (1, 3, 4):
        raise UsageError(f"expected an image of shape (H, W), (H, W, 3) or (H, W, 4) and dtype uint8, "
                         f"found {array.shape} {array.dtype}")
    cdef const uint8_t[::1] view = array.reshape(-1)
    image.reshape(array.shape[1], array.shape[0], array.shape[2] if array.ndim == 3 else 1)
    memcpy(image.pixels.data(), &view[0], view.shape[0])
    return 0


cdef int copy_into(array, Image* image) except -1:
    array = np.asarray(array)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise UsageError(f"expected an image of shape (H, W, 3) and dtype uint8, found {array.shape} {array.dtype}")
    return copy_pixels(array, image)


def decode(payload, color="rgb", *, libjpeg=False):
    """See gluon_resnet.data.decode; `libjpeg` is for tests: decode with libjpeg alone, which ours must equal."""
    colors = {"rgb": Color.kRgb, "gray": Color.kGray, "source": Color.kSource}
    if color not in colors:
        raise UsageError(f"expected a color of {sorted(colors)}, found {color!r}")
    cdef Image image
    decode_into(payload, colors[color], libjpeg, &image)
    out = np.empty((image.height, image.width, image.channels), dtype=np.uint8)
    cdef uint8_t[::1] view = out.reshape(-1)
    memcpy(&view[0], image.pixels.data(), view.shape[0])
    return out


def image_size(payload):
    """See gluon_resnet.data.image_size."""
    payload = encoded_bytes(payload)
    cdef const uint8_t[::1] view = payload
    cdef size_t size = view.shape[0]
    cdef const uint8_t* data = &view[0] if size else NULL
    cdef DecodeOptions options
    cdef unique_ptr[Decoder] decoder
    cdef ImageSize found
    decoder.reset(new Decoder(options))
    with nogil:
        found = decoder.get().open(data, size)
    return found.width, found.height


LAST_BATCHES = {"pad": <int>CLastBatch.kPad, "discard": <int>CLastBatch.kDiscard, "keep": <int>CLastBatch.kKeep}


cdef class _Lease:
    """Part of a batch's memory as a buffer, which keeps the memory on loan while any array uses it."""

    cdef shared_ptr[BatchMemory] memory
    cdef void* start
    cdef size_t size

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.start, self.size, 0, flags)


cdef lent(const shared_ptr[BatchMemory]& memory, void* start, tuple shape, dtype):
    """An array over a part of a batch's memory."""
    cdef _Lease lease = _Lease()
    lease.memory = memory
    lease.start = start
    lease.size = math.prod(shape) * dtype().itemsize
    return np.frombuffer(lease, dtype).reshape(shape) if lease.size else np.empty(shape, dtype)


cdef void delete_capsule(object capsule) noexcept:
    # A consumed capsule has another name, and its tensor another owner.
    cdef DLManagedTensor* tensor
    cdef DLManagedTensorVersioned* versioned
    if PyCapsule_IsValid(capsule, "dltensor"):
        tensor = <DLManagedTensor*>PyCapsule_GetPointer(capsule, "dltensor")
        tensor.deleter(tensor)
    elif PyCapsule_IsValid(capsule, "dltensor_versioned"):
        versioned = <DLManagedTensorVersioned*>PyCapsule_GetPointer(capsule, "dltensor_versioned")
        versioned.deleter(versioned)


cdef class Batch:
    """Some records, ready for a network. It belongs to the consumer for as long as the consumer wants.

    Its memory is reused for a later batch once the batch, every array taken from it and every tensor made from
    it through DLPack are gone, and never earlier.

    Attributes:
        data: ``(n, 3, size, size)`` (NCHW) or ``(n, size, size, 3)`` (NHWC) in the loader's dtype, RGB,
            C-contiguous, writable; a view, not a copy.
        label: float32 ``(n,)``, or ``(n, label_width)`` for records with several labels; a view.
        ids: uint64 ``(n,)``, the ids from the records' headers; a view.
        pad: the number of rows at the end that only repeat other records, and do not count.
    """

    cdef shared_ptr[BatchMemory] memory
    cdef object dtype
    cdef tuple row_shape

    cdef shared_ptr[BatchMemory] share(self) except *:
        """The memory, for the caller to hold: any call into Python may release the batch."""
        if not self.memory:
            raise UsageError("this batch has been released")
        return self.memory

    @property
    def data(self):
        cdef shared_ptr[BatchMemory] memory = self.share()
        return lent(memory, memory.get().raw(), (memory.get().rows, *self.row_shape), self.dtype)

    @property
    def label(self):
        cdef shared_ptr[BatchMemory] memory = self.share()
        cdef tuple shape = (memory.get().rows,)
        if memory.get().label_width > 1:
            shape += (memory.get().label_width,)
        return lent(memory, memory.get().labels.data(), shape, np.float32)

    @property
    def ids(self):
        cdef shared_ptr[BatchMemory] memory = self.share()
        return lent(memory, memory.get().ids.data(), (memory.get().rows,), np.uint64)

    @property
    def pad(self):
        return self.share().get().pad

    def __len__(self):
        return self.share().get().rows

    def __repr__(self):
        if not self.memory:
            return "Batch(released)"
        data, label = self.data, self.label
        return f"Batch(data={data.dtype} {data.shape}, label={label.dtype} {label.shape}, pad={self.pad})"

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        """`data` as a DLPack capsule, without a copy: ``torch.from_dlpack(batch)``, ``jnp.from_dlpack(batch)``.

        Args:
            stream: must be None, since nothing is ever pending on the CPU's memory.
            max_version: the consumer's version of DLPack; from (1, 0) on, the capsule is a ``dltensor_versioned``,
                otherwise a ``dltensor``.
            dl_device: None or (1, 0), the CPU.
            copy: whether the tensor gets its own memory; with None or False it shares the batch's.

        Raises:
            BufferError: another device or a stream is requested.
            UsageError: the batch has been released.
        """
        if stream is not None:
            raise BufferError(f"stream: expected None, since a batch is in the CPU's memory, found {stream!r}")
        if dl_device is not None and tuple(dl_device) != self.__dlpack_device__():
            raise BufferError(f"dl_device: expected (1, 0), the CPU that holds the batch, found {tuple(dl_device)}")
        cdef shared_ptr[BatchMemory] memory = self.share()
        cdef vector[int64_t] shape
        shape.push_back(memory.get().rows)
        for side in self.row_shape:
            shape.push_back(side)
        cdef DType dtype = <DType><int>DTYPES[self.dtype.__name__]
        cdef cbool copied = bool(copy)
        if max_version is not None and max_version[0] >= 1:
            return PyCapsule_New(make_dlpack[DLManagedTensorVersioned](memory, shape, dtype, copied),
                                 "dltensor_versioned", delete_capsule)
        return PyCapsule_New(make_dlpack[DLManagedTensor](memory, shape, dtype, copied), "dltensor",
                             delete_capsule)

    def __dlpack_device__(self):
        """(1, 0): the CPU."""
        return (1, 0)

    def release(self):
        """Release the memory now; arrays and tensors already taken from it stay valid and keep it alive."""
        self.memory.reset()


cdef list bad_records(vector[CBadRecord]& records):
    return [(r.epoch, os.fsdecode(r.path), r.key, r.offset, r.reason.decode("utf-8", "replace")) for r in records]


cdef class NativeMeter:
    """The measured costs of an epoch, which outlive it."""

    cdef shared_ptr[const CEpochMeter] meter

    def read(self):
        """Those fields of gluon_resnet.data.LoaderStats that are known here."""
        cdef CEpochStats stats
        if not self.meter:
            raise UsageError("a NativeMeter can only be made by a loader")
        with nogil:
            stats = self.meter.get().read()
        return {"images": stats.images, "batches": stats.batches, "threads": stats.threads,
                "seconds": stats.seconds, "reading": stats.reading, "decoding": stats.decoding,
                "augmenting": stats.augmenting, "waiting": stats.waiting,
                "consumer_waiting": stats.consumer_waiting,
                "skipped": bad_records(stats.skipped), "partial": bad_records(stats.partial)}


cdef class NativeEpoch:
    """The batches of one epoch; see gluon_resnet.data.Loader.

    Another thread, or a signal handler, may close it while next() waits: each call holds the run that it uses.
    """

    cdef shared_ptr[CEpochRun] run
    cdef cbool ended  # there are no more batches
    cdef object dtype
    cdef tuple row_shape

    def __dealloc__(self):
        with nogil:
            self.run.reset()

    def close(self):
        """Stop the workers."""
        cdef shared_ptr[CEpochRun] run = self.run
        self.run.reset()
        with nogil:
            if run:
                run.get().close()
                run.reset()

    def meter(self):
        cdef NativeMeter result = NativeMeter.__new__(NativeMeter)
        if self.run:
            result.meter = self.run.get().meter()
        return result

    def next(self):
        """The next Batch, or None at the end. Ctrl-C interrupts the wait."""
        cdef shared_ptr[CEpochRun] run = self.run
        cdef Batch batch = Batch.__new__(Batch)
        batch.dtype = self.dtype
        batch.row_shape = self.row_shape
        cdef CStatus status
        if not run:
            if not self.ended:
                CEpochRun.throw_closed()
            return None
        while True:
            with nogil:
                status = run.get().next(100, &batch.memory)
            if status == CStatus.kBatch:
                return batch
            if status == CStatus.kEnd:
                self.ended = True
                return None
            PyErr_CheckSignals()


cdef class NativeLoader:
    """Record files and a plan; see gluon_resnet.data.Loader, which has checked the arguments."""

    cdef unique_ptr[CBatchLoader] loader
    cdef LoaderOptions options
    cdef object dtype

    def __cinit__(self, files, NativePlan plan, *, batch_size, shuffle, seed, threads, rank, world_size, last_batch,
                  dtype, layout, fast, on_error, prefetch, cache_bytes):
        self.options.batch_size = batch_size
        self.options.plan = plan.plan
        self.options.shuffle = shuffle
        self.options.seed = seed
        self.options.threads = threads
        self.options.rank = rank
        self.options.world_size = world_size
        self.options.last_batch = <CLastBatch><int>LAST_BATCHES[last_batch]
        self.options.dtype = <DType><int>DTYPES[dtype]
        self.dtype = getattr(np, dtype)
        self.options.layout = <CLayout><int>LAYOUTS[layout]
        self.options.decode.fast = fast
        self.options.decode.partial = on_error == "partial"
        self.options.skip_errors = on_error == "skip"
        self.options.prefetch = prefetch
        self.options.cache_bytes = cache_bytes
        cdef vector[shared_ptr[CRecordFile]] c_files
        for file in files:
            c_files.push_back((<NativeRecordFile?>file).file)
        with nogil:
            self.loader.reset(new CBatchLoader(c_files, self.options))

    @property
    def num_records(self):
        return self.loader.get().num_records()

    @property
    def num_batches(self):
        return self.loader.get().num_batches()

    @property
    def label_width(self):
        return self.loader.get().label_width()

    @property
    def num_cached(self):
        return self.loader.get().num_cached()

    def fingerprint(self):
        """64 bits that distinguish these records from others."""
        cdef uint64_t fingerprint
        with nogil:
            fingerprint = self.loader.get().fingerprint()
        return fingerprint

    def start(self, uint64_t epoch, uint64_t first_batch, uint64_t step=1):
        if step < 1:
            raise UsageError("step: expected at least 1, found 0")
        cdef NativeEpoch run = NativeEpoch.__new__(NativeEpoch)
        run.row_shape = image_shape(self.options.plan.size, self.options.layout)
        run.dtype = self.dtype
        run.run = self.loader.get().start(epoch, first_batch, step)  # holding the GIL, so one thread at a time
        return run


cdef void convert_in_python(void* context, const uint8_t* data, size_t size, Image* image,
                            string* problem) noexcept with gil:
    try:
        array = (<object>context)(data[:size])
        if array is not None:
            copy_pixels(array, image)
    except Exception as error:
        problem[0] = str(error).encode("utf-8", "replace")


@cython.no_gc_clear  # the threads call `convert` until __dealloc__ has joined them
cdef class NativePacker:
    """Writes a .rec and its .idx in C++ threads; see gluon_resnet.data.pack, which has checked the arguments.

    `convert` takes the bytes of an image that the C++ decoder cannot decode, and returns its pixels or None.
    """

    cdef shared_ptr[CPacker] packer
    cdef object convert

    def __cinit__(self, path, index_path, convert, *, pass_through, verify, center_crop, resize, color, png,
                  quality, threads):
        cdef CPackOptions options
        options.pass_through = pass_through
        options.verify = verify
        options.center_crop = center_crop
        options.resize = resize
        options.color = {"rgb": Color.kRgb, "gray": Color.kGray, "source": Color.kSource}[color]
        options.encoding = CFormat.kPng if png else CFormat.kJpeg
        options.quality = quality
        options.threads = threads
        cdef string c_path = os.fsencode(path)
        cdef string c_index_path = os.fsencode(index_path)
        self.convert = convert
        self.packer.reset(new CPacker(c_path, c_index_path, options, convert_in_python, <void*>convert))

    def __dealloc__(self):
        with nogil:
            self.packer.reset()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        cdef shared_ptr[CPacker] packer = self.packer
        if packer:
            with nogil:
                packer.get().close()  # joins the threads, which may be waiting for the GIL
            self.packer.reset()

    cdef shared_ptr[CPacker] share(self) except *:
        """The packer, for the caller to hold: another thread may close it."""
        if not self.packer:
            raise UsageError("this packer has been closed")
        return self.packer

    def submit(self, int64_t key, labels, name, content):
        """Submit a Picture; waits while too many are in progress. Ctrl-C interrupts the wait."""
        cdef shared_ptr[CPacker] packer = self.share()
        cdef CPicture picture
        cdef const uint8_t[::1] view
        cdef cbool taken = False
        picture.key = key
        for label in labels:
            picture.labels.push_back(label)
        picture.name = os.fsencode(name)
        if isinstance(content, tuple):
            picture.content = CContent.kFile
            path, picture.offset, picture.size = content
            picture.path = os.fsencode(path)
        elif isinstance(content, bytes):
            picture.content = CContent.kBytes
            view = content
            if view.shape[0]:
                picture.bytes.assign(&view[0], &view[0] + view.shape[0])
        elif isinstance(content, np.ndarray):
            picture.content = CContent.kPixels
            copy_pixels(content, &picture.pixels)
        else:
            picture.problem = os.fsencode(str(content))
        while not taken:
            with nogil:
                taken = packer.get().submit(&picture, 100)
            PyErr_CheckSignals()

    def finish(self, double seconds):
        """Wait up to `seconds` for everything to be written and flushed; whether it is. No submit() may follow."""
        cdef shared_ptr[CPacker] packer = self.share()
        cdef int milliseconds = <int>(1000 * seconds)
        cdef cbool done
        with nogil:
            done = packer.get().finish(milliseconds)
        return done

    def done(self):
        """The number of pictures written or failed."""
        return self.share().get().done()

    def bytes_written(self):
        """The number of bytes in the .rec so far."""
        return self.share().get().bytes()

    def failures(self):
        """The failures so far, as [(name, reason)]."""
        return [(os.fsdecode(f.name), os.fsdecode(f.reason)) for f in self.share().get().failures()]


cdef class NativeChecker:
    """Decodes every image of a record file in C++ threads; see gluon_resnet.data.packing.checking.check."""

    cdef unique_ptr[CChecker] checker

    def __cinit__(self, NativeRecordFile file not None, size_t threads):
        self.checker.reset(new CChecker(file.file, threads))

    def __dealloc__(self):
        with nogil:
            self.checker.reset()

    def wait(self, double seconds):
        """Wait up to `seconds` for the end; whether every record has been checked."""
        cdef int milliseconds = <int>(1000 * seconds)
        cdef cbool ended
        with nogil:
            ended = self.checker.get().wait(milliseconds)
        return ended

    def done(self):
        """The number of records checked."""
        return self.checker.get().done()

    def failures(self):
        """The failures so far, as [(key, offset, reason)], in the order of the index."""
        return [(f.key, f.offset, f.reason.decode("utf-8", "replace")) for f in self.checker.get().failures()]


cdef class NativeGraph:
    """The graph of a -symbol.json file, checked before MXNet sees it; see gluon_resnet.deploy.graph."""

    cdef CGraph graph

    def __cinit__(self, bytes text):
        cdef string json = text
        with nogil:
            self.graph = checked_graph(json)

    def json(self):
        """The JSON that MXNet is given instead of the text."""
        return to_json(self.graph).decode()

    def check_results(self, shapes, size_t values):
        """Raise ModelError if the shapes that MXNet infers would need an absurd amount of memory."""
        cdef vector[vector[int64_t]] lengths = shapes
        check_results_of(self.graph, lengths, values)


def mxnet_cause(str message):
    """The cause named in one of MXNet's messages, on one line."""
    return mxnet_cause_of(message.encode("utf-8", "replace")).decode()


def graph_operators():
    """The names of the operators that a graph may contain."""
    return [name.decode() for name in operator_names()]
