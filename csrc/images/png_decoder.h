// Decodes PNG with libpng.
#ifndef GLUON_RESNET_PNG_DECODER_H_
#define GLUON_RESNET_PNG_DECODER_H_

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <vector>
// libpng's header needs <cstdio> before it.
#include <png.h>

#include "images/image.h"

namespace gluon_resnet {

// Decodes one image at a time, always the whole of it. Throws Error(kImage).
class PngDecoder {
 public:
  PngDecoder() = default;
  ~PngDecoder() { close(); }
  PngDecoder(const PngDecoder&) = delete;
  PngDecoder& operator=(const PngDecoder&) = delete;

  // `bytes` must stay valid until decode() is done.
  ImageSize open(const uint8_t* bytes, size_t size);
  int orientation() const { return orientation_; }
  bool gray() const { return (png_get_color_type(png_, info_) & PNG_COLOR_MASK_COLOR) == 0; }

  // Decodes into an image that already has the right size, and one channel or three.
  void decode(Image* image);

 private:
  struct Input {
    const uint8_t* at;
    size_t left;
    char message[128];
  };

  static void leave(png_structp png, png_const_charp message);
  static void read(png_structp png, png_bytep out, png_size_t size);
  void close();
  void read_rows(Image* image);

  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  Input input_{};
  int orientation_ = 1;
  std::vector<png_bytep> rows_;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_PNG_DECODER_H_
