// Images in memory: formats, sizes and resizing.
#ifndef GLUON_RESNET_IMAGE_H_
#define GLUON_RESNET_IMAGE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace gluon_resnet {

enum class Format { kJpeg, kPng, kOther };

// The format, judged by the first bytes. describe_format() names the kinds of kOther: "GIF",
// "WebP", "unknown, starting with the bytes 89 50 4e". A lossless JPEG is kOther, too, whether or
// not this libjpeg-turbo could decode it.
Format sniff_format(const uint8_t* bytes, size_t size);
std::string describe_format(const uint8_t* bytes, size_t size);

enum class Interpolation { kNearest, kLinear, kCubic, kArea, kLanczos };

struct ImageSize {
  int width = 0;
  int height = 0;
};

// A rectangle of pixels.
struct Region {
  int x = 0;
  int y = 0;
  int width = 0;
  int height = 0;
};

// Pixels owned by somebody else: 8 bits per channel, rows packed without padding, followed by
// Image::kSlack bytes.
struct ImageView {
  int width = 0;
  int height = 0;
  int channels = 3;
  const uint8_t* pixels = nullptr;

  size_t row_bytes() const { return static_cast<size_t>(width) * channels; }
  const uint8_t* row(int y) const { return pixels + y * row_bytes(); }
};

// The same with its own memory, which it keeps when it is reshaped.
struct Image {
  // The bytes after the last pixel that may be read but not used: SIMD loads more than it needs.
  static constexpr size_t kSlack = 16;

  int width = 0;
  int height = 0;
  int channels = 3;  // 3: RGB, 1: gray; 4: RGBA, while packing
  std::vector<uint8_t> pixels;

  void reshape(int new_width, int new_height, int new_channels) {
    width = new_width;
    height = new_height;
    channels = new_channels;
    const size_t size = static_cast<size_t>(width) * height * channels + kSlack;
    if (pixels.size() < size) pixels.resize(size);
  }
  size_t row_bytes() const { return static_cast<size_t>(width) * channels; }
  const uint8_t* row(int y) const { return pixels.data() + y * row_bytes(); }
  uint8_t* row(int y) { return pixels.data() + y * row_bytes(); }
  operator ImageView() const { return {width, height, channels, pixels.data()}; }
};

// Larger images are refused before memory is allocated: a file of a few bytes can claim any size.
// 2^28 pixels are 768 MiB of RGB.
constexpr int64_t kMaxPixels = int64_t{1} << 28;

// OpenCV's resize of a region of `source` to the size of `target`, which already has the same
// number of channels.
void resize_region(const ImageView& source, const Region& region, Interpolation interpolation,
                   Image* target);

// The size whose shorter side is `shorter`; the longer side is rounded down, as in MXNet's
// resize_short.
ImageSize resize_short(ImageSize size, int shorter);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_IMAGE_H_
