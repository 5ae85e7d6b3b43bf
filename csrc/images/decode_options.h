// Shortcuts that a decoder may take.
#ifndef GLUON_RESNET_DECODE_OPTIONS_H_
#define GLUON_RESNET_DECODE_OPTIONS_H_

namespace gluon_resnet {

struct DecodeOptions {
  bool fast = false;     // repeat chroma instead of interpolating it: less exact, faster
  bool partial = false;  // decode a JPEG whose data ends early as far as it goes
  bool libjpeg = false;  // do without jpeg_entropy.h, as an oracle for it
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_DECODE_OPTIONS_H_
