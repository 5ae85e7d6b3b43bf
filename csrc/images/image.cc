#include "images/image.h"

#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstring>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

#include "images/chunks.h"

namespace gluon_resnet {
namespace {

bool starts_with(const uint8_t* bytes, size_t size, const char* prefix, size_t length) {
  return size >= length && std::memcmp(bytes, prefix, length) == 0;
}

// The format of a file with MPEG-4's structure, according to the four letters of its type.
std::string describe_brand(const uint8_t* brand) {
  const std::string name(reinterpret_cast<const char*>(brand), 4);
  if (name == "avif" || name == "avis") return "AVIF";
  for (const char* heif : {"heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1"}) {
    if (name == heif) return "HEIC";
  }
  return "a video or another kind of MPEG-4 file";
}

int opencv_flag(Interpolation interpolation) {
  switch (interpolation) {
    case Interpolation::kNearest:
      return cv::INTER_NEAREST;
    case Interpolation::kLinear:
      return cv::INTER_LINEAR;
    case Interpolation::kCubic:
      return cv::INTER_CUBIC;
    case Interpolation::kArea:
      return cv::INTER_AREA;
    case Interpolation::kLanczos:
      return cv::INTER_LANCZOS4;
  }
  return cv::INTER_LINEAR;
}

}  // namespace

Format sniff_format(const uint8_t* bytes, size_t size) {
  if (starts_with(bytes, size, "\xff\xd8\xff", 3)) {
    return is_lossless_jpeg(bytes, size) ? Format::kOther : Format::kJpeg;
  }
  if (starts_with(bytes, size, "\x89PNG\r\n\x1a\n", 8)) return Format::kPng;
  return Format::kOther;
}

std::string describe_format(const uint8_t* bytes, size_t size) {
  if (sniff_format(bytes, size) == Format::kJpeg) return "JPEG";
  if (sniff_format(bytes, size) == Format::kPng) return "PNG";
  if (starts_with(bytes, size, "GIF8", 4)) return "GIF";
  if (starts_with(bytes, size, "BM", 2)) return "BMP";
  if (starts_with(bytes, size, "II*\0", 4) || starts_with(bytes, size, "MM\0*", 4)) return "TIFF";
  if (starts_with(bytes, size, "RIFF", 4) && size >= 12 && std::memcmp(bytes + 8, "WEBP", 4) == 0) {
    return "WebP";
  }
  if (starts_with(bytes, size, "\xff\xd8\xff", 3)) return "lossless JPEG";
  if (starts_with(bytes, size, "\0\0\0\x0cjP  ", 8) ||
      starts_with(bytes, size, "\xff\x4f\xff\x51", 4)) {
    return "JPEG 2000";
  }
  if (starts_with(bytes, size, "\xff\x0a", 2) || starts_with(bytes, size, "\0\0\0\x0cJXL ", 8)) {
    return "JPEG XL";
  }
  if (size >= 12 && std::memcmp(bytes + 4, "ftyp", 4) == 0) return describe_brand(bytes + 8);
  if (starts_with(bytes, size, "\0\0\1\0", 4)) return "ICO";
  if (starts_with(bytes, size, "8BPS", 4)) return "Photoshop";
  if (starts_with(bytes, size, "%PDF", 4)) return "PDF";
  if (starts_with(bytes, size, "PK\3\4", 4)) return "zip";
  // Pages that servers send in place of pictures that they no longer have.
  if (starts_with(bytes, size, "<!", 2) || starts_with(bytes, size, "<html", 5)) return "HTML";
  if (starts_with(bytes, size, "<svg", 4) || starts_with(bytes, size, "<?xml", 5))
    return "SVG or XML";
  if (starts_with(bytes, size, "\x93NUMPY", 6)) return "NumPy array";
  std::string hex = "unknown, starting with the bytes";
  for (size_t i = 0; i < std::min<size_t>(size, 8); ++i) {
    char text[4];
    std::snprintf(text, sizeof(text), " %02x", bytes[i]);
    hex += text;
  }
  return hex;
}

ImageSize resize_short(ImageSize size, int shorter) {
  const int64_t width = size.width;
  const int64_t height = size.height;
  // A size that does not fit into an int has more pixels than any real image.
  const auto longer = [shorter](int64_t longer_side, int64_t shorter_side) {
    return static_cast<int>(std::min<int64_t>(longer_side * shorter / shorter_side, INT_MAX));
  };
  if (width < height) return {shorter, longer(height, width)};
  return {longer(width, height), shorter};
}

void resize_region(const ImageView& source, const Region& region, Interpolation interpolation,
                   Image* target) {
  // Our own workers use the cores; OpenCV's thread pool would only get in their way.
  static const bool serial = (cv::setNumThreads(1), true);
  static_cast<void>(serial);
  const int type = CV_8UC(source.channels);
  const uint8_t* const origin =
      source.row(region.y) + static_cast<size_t>(region.x) * source.channels;
  const cv::Mat from(region.height, region.width, type, const_cast<uint8_t*>(origin),
                     source.row_bytes());
  cv::Mat to(target->height, target->width, type, target->pixels.data(), target->row_bytes());
  cv::resize(from, to, to.size(), 0, 0, opencv_flag(interpolation));
}

}  // namespace gluon_resnet
