# From an image to the numbers that a network is given: csrc/transforms.
from libc.stdint cimport uint8_t
from libcpp cimport bool as cbool

from gluon_resnet.data._native cimport raise_error
from gluon_resnet.data.native.base cimport Random
from gluon_resnet.data.native.images cimport CInterpolation, Image, ImageSize, Region


cdef extern from "transforms/augment.h" namespace "gluon_resnet" nogil:
    cdef enum class CCrop "gluon_resnet::Crop":
        kCenter, kRandomResized, kScaleJitter, kPad

    cdef enum class DType:
        kUint8, kFloat16, kFloat32

    cdef enum class CLayout "gluon_resnet::Layout":
        kNchw, kNhwc

    cdef cppclass TransformPlan:
        CCrop crop
        int size
        int resize
        double[2] area
        double[2] ratio
        int[2] scale
        int padding
        uint8_t[3] fill
        cbool flip
        float brightness
        float contrast
        float saturation
        float pca_noise
        CInterpolation interpolation
        float[3] mean
        float[3] std

    cdef cppclass CGeometry "gluon_resnet::Geometry":
        Region source
        ImageSize scaled
        int crop_x, crop_y
        cbool flip

    cdef cppclass ColorDraw:
        float brightness, contrast, saturation
        float[3] offset

    CGeometry draw_geometry(const TransformPlan& plan, ImageSize size, Random* random) except +raise_error
    ColorDraw draw_color(const TransformPlan& plan, Random* random)


cdef extern from "transforms/image_pipeline.h" namespace "gluon_resnet" nogil:
    cdef cppclass ImagePipeline:
        ImagePipeline() except +raise_error
        void run(const TransformPlan& plan, const uint8_t* bytes, size_t size, Random* random, DType dtype,
                 CLayout layout, void* out) except +raise_error
        void run_decoded "run"(const TransformPlan& plan, const Image& image, Random* random, DType dtype,
                               CLayout layout, void* out) except +raise_error
