// What a decoder may leave out.
#ifndef GLUON_RESNET_DECODE_OPTIONS_H_
#define GLUON_RESNET_DECODE_OPTIONS_H_

namespace gluon_resnet {

struct DecodeOptions {
  bool fast = false;     // chroma is repeated instead of interpolated: less exact, quicker
  bool partial = false;  // a JPEG whose data ends early is decoded as far as it goes
  bool libjpeg = false;  // without jpeg_entropy.h, whose oracle this is
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_DECODE_OPTIONS_H_
