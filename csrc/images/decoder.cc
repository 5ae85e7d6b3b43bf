#include "images/decoder.h"

#include <cstring>

#include "base/error.h"
#include "images/exif.h"
#include "images/jpeg_decoder.h"
#include "images/png_decoder.h"

namespace gluon_resnet {
namespace {

[[noreturn]] void fail(const std::string& message) { throw Error(ErrorKind::kImage, message); }

void check_size(int64_t width, int64_t height) {
  if (width * height > kMaxPixels) {
    fail(concat("the image has ", width, "x", height, " pixels; at most ", kMaxPixels,
                " are decoded"));
  }
}

}  // namespace

struct Decoder::Impl {
  explicit Impl(const DecodeOptions& options) : jpeg(options) {}

  ImageSize upright_size() const {
    return turns(orientation) ? ImageSize{stored.height, stored.width} : stored;
  }

  Format format = Format::kOther;
  ImageSize stored;  // of decode()'s result, before it is turned upright
  int orientation = 1;
  Image turned;   // as stored
  Image upright;  // the whole, if only a region is wanted
  JpegDecoder jpeg;
  PngDecoder png;
};

Decoder::Decoder(const DecodeOptions& options) : impl_(new Impl(options)) {}
Decoder::~Decoder() = default;

ImageSize Decoder::open(const uint8_t* bytes, size_t size) {
  Impl& impl = *impl_;
  impl.format = sniff_format(bytes, size);
  switch (impl.format) {
    case Format::kJpeg:
      impl.stored = impl.jpeg.open(bytes, size);
      impl.orientation = impl.jpeg.orientation();
      break;
    case Format::kPng:
      impl.stored = impl.png.open(bytes, size);
      impl.orientation = impl.png.orientation();
      break;
    case Format::kOther:
      if (size == 0) fail("expected a JPEG or PNG image, found no bytes: the file is empty");
      fail(concat("expected a JPEG or PNG image, found a format that is ",
                  describe_format(bytes, size),
                  "; convert it to one of these, as tools/im2rec.py does"));
  }
  check_size(impl.stored.width, impl.stored.height);
  return impl.upright_size();
}

ImageSize Decoder::shrink(int factor) {
  Impl& impl = *impl_;
  if (impl.format == Format::kJpeg) impl.stored = impl.jpeg.shrink(factor);
  return impl.upright_size();
}

bool Decoder::cut_short() const {
  return impl_->format == Format::kJpeg && impl_->jpeg.cut_short();
}

void Decoder::decode(Color color, Image* image) {
  const ImageSize size = impl_->upright_size();
  decode(color, {0, 0, size.width, size.height}, image);
}

void Decoder::verify() {
  if (impl_->format == Format::kJpeg) {
    impl_->jpeg.verify();
  } else {
    decode(Color::kSource, &impl_->upright);
  }
}

void Decoder::decode(Color color, const Region& region, Image* image) {
  Impl& impl = *impl_;
  const bool jpeg = impl.format == Format::kJpeg;
  const bool source_gray = jpeg ? impl.jpeg.gray() : impl.png.gray();
  const bool gray = color == Color::kGray || (color == Color::kSource && source_gray);
  const int channels = gray ? 1 : 3;
  if (jpeg && impl.orientation == 1) {
    image->reshape(region.width, region.height, channels);
    impl.jpeg.decode(region, image);
    return;
  }
  // Decoded whole and then cut: PNG, and the few images that have to be turned.
  const bool whole =
      region.width * int64_t{region.height} == impl.stored.width * int64_t{impl.stored.height};
  Image* const upright = whole ? image : &impl.upright;
  Image* const stored = impl.orientation == 1 ? upright : &impl.turned;
  stored->reshape(impl.stored.width, impl.stored.height, channels);
  if (jpeg) {
    impl.jpeg.decode({0, 0, stored->width, stored->height}, stored);
  } else {
    impl.png.decode(stored);
  }
  if (impl.orientation != 1) make_upright(impl.turned, impl.orientation, upright);
  if (whole) return;
  image->reshape(region.width, region.height, channels);
  for (int y = 0; y < region.height; ++y) {
    const size_t column = static_cast<size_t>(region.x) * channels;
    std::memcpy(image->row(y), upright->row(region.y + y) + column, image->row_bytes());
  }
}

}  // namespace gluon_resnet
