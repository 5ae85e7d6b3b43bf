// From JPEG (libjpeg-turbo) and PNG (libpng) bytes to pixels.
#ifndef GLUON_RESNET_DECODER_H_
#define GLUON_RESNET_DECODER_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "images/decode_options.h"
#include "images/image.h"

namespace gluon_resnet {

enum class Color { kGray, kRgb, kSource };  // kSource: gray for a gray file, RGB for any other

// Decodes JPEG (baseline, progressive; gray, YCbCr, RGB, CMYK, YCCK) and PNG (all kinds; alpha is
// dropped, 16 bits are cut to 8), turned upright by EXIF orientation: the pixels of OpenCV's
// imdecode, in RGB. Owns the codec's memory; one per thread.
//
// Throws Error(kImage) unless the image is complete. A JPEG whose data ends early or is corrupt is
// an error, too, although libjpeg only warns.
class Decoder {
 public:
  explicit Decoder(const DecodeOptions& options = {});
  ~Decoder();
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // Reads the header of the image in `bytes`, which must stay valid until decode() is done, and
  // returns the size of the upright image.
  ImageSize open(const uint8_t* bytes, size_t size);

  // Makes decode() shrink the open image by a factor of 2, 4 or 8, which the inverse DCT does as it
  // goes, and returns the new size. A PNG stays as it is.
  ImageSize shrink(int factor);

  // Decodes the open image.
  void decode(Color color, Image* image);

  // Decodes a region inside the upright image, with the same pixels as decode() has there. Data
  // that it does not need are not read, and may be corrupt.
  void decode(Color color, const Region& region, Image* image);

  // Whether the data of the last decode() ended early, which only DecodeOptions::partial allows:
  // from there on its pixels are filled in.
  bool cut_short() const;

  // Throws if decode() of the whole image would, without returning any pixels.
  void verify();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_DECODER_H_
