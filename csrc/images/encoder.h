// From pixels to JPEG (libjpeg-turbo) and PNG (libpng) bytes.
#ifndef GLUON_RESNET_ENCODER_H_
#define GLUON_RESNET_ENCODER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "images/image.h"

namespace gluon_resnet {

// Encodes images; one per thread.
class Encoder {
 public:
  Encoder();
  ~Encoder();
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  // `quality` from 1 to 100; chroma is 4:2:0, as in OpenCV's imencode.
  void jpeg(const Image& image, int quality, std::vector<uint8_t>* bytes);
  // `level` is zlib's, from 0 to 9.
  void png(const Image& image, int level, std::vector<uint8_t>* bytes);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_ENCODER_H_
