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
// dropped, 16 bits are cut to 8), turned upright by EXIF orientation: what OpenCV's imdecode gives,
// in RGB. Owns the codec's memory; one per thread.
//
// Throws Error(kImage) for anything but a whole image. A JPEG whose data ends early or is corrupt
// is an error, too, although libjpeg only warns.
class Decoder {
 public:
  explicit Decoder(const DecodeOptions& options = {});
  ~Decoder();
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // Reads the header of the image in `bytes`, which must stay until decode() is done, and returns
  // the size of the upright image.
  ImageSize open(const uint8_t* bytes, size_t size);

  // Lets decode() give the image that open() looked at smaller, by a factor of 2, 4 or 8, which the
  // inverse DCT does on its way, and returns its new size. A PNG stays as it is.
  ImageSize shrink(int factor);

  // Decodes what open() looked at.
  void decode(Color color, Image* image);

  // Decodes a region of the upright image, which lies inside it: the same pixels as decode() gives
  // there. What of the data is not needed for it is not looked at, and may be corrupt.
  void decode(Color color, const Region& region, Image* image);

  // Whether the data of the last decode() ended early, which only DecodeOptions::partial allows:
  // from there on its pixels are made up.
  bool cut_short() const;

  // Throws where decode() of the whole image would; makes no pixels that anybody sees.
  void verify();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_DECODER_H_
