# Decoded and encoded images: csrc/images, and the version of libjpeg under it.
from libc.stdint cimport uint8_t
from libcpp cimport bool as cbool
from libcpp.vector cimport vector

from gluon_resnet.data._native cimport raise_error


cdef extern from *:
    """
    #include <cstdio>  // jpeglib.h needs it first
    #include <jpeglib.h>
    """
    const int LIBJPEG_TURBO_VERSION_NUMBER


cdef extern from "images/image.h" namespace "gluon_resnet" nogil:
    cdef enum class CInterpolation "gluon_resnet::Interpolation":
        kNearest, kLinear, kCubic, kArea, kLanczos

    cdef enum class CFormat "gluon_resnet::Format":
        kJpeg, kPng

    cdef struct ImageSize:
        int width
        int height

    cdef struct Region:
        int x, y, width, height

    cdef cppclass Image:
        int width
        int height
        int channels
        vector[uint8_t] pixels
        void reshape(int width, int height, int channels) except +raise_error


cdef extern from "images/decoder.h" namespace "gluon_resnet" nogil:
    cdef cppclass DecodeOptions:
        cbool fast
        cbool partial
        cbool libjpeg

    cdef enum class Color:
        kGray, kRgb, kSource

    cdef cppclass Decoder:
        Decoder(const DecodeOptions& options) except +raise_error
        ImageSize open(const uint8_t* bytes, size_t size) except +raise_error
        void decode(Color color, Image* image) except +raise_error
