#include "images/exif.h"

#include <cstring>

namespace gluon_resnet {

int exif_orientation(const uint8_t* tiff, size_t size) {
  if (size < 14) return 1;
  const bool little = tiff[0] == 'I' && tiff[1] == 'I';
  if (!little && !(tiff[0] == 'M' && tiff[1] == 'M')) return 1;
  const auto number = [&](size_t at, size_t bytes) {
    size_t value = 0;
    for (size_t i = 0; i < bytes; ++i) {
      value |= size_t{tiff[at + i]} << 8 * (little ? i : bytes - 1 - i);
    }
    return value;
  };
  const size_t directory = number(4, 4);
  if (directory > size - 2) return 1;
  const size_t count = number(directory, 2);
  for (size_t i = 0, at = directory + 2; i < count && at + 12 <= size; ++i, at += 12) {
    if (number(at, 2) != 0x0112) continue;
    const size_t value = number(at + 8, 2);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

void make_upright(const Image& source, int orientation, Image* target) {
  const int channels = source.channels;
  target->reshape(turns(orientation) ? source.height : source.width,
                  turns(orientation) ? source.width : source.height, channels);
  const int last_x = source.width - 1;
  const int last_y = source.height - 1;
  for (int y = 0; y < target->height; ++y) {
    uint8_t* out = target->row(y);
    for (int x = 0; x < target->width; ++x, out += channels) {
      int from_x = turns(orientation) ? y : x;
      int from_y = turns(orientation) ? x : y;
      if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8) {
        from_x = last_x - from_x;
      }
      if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7) {
        from_y = last_y - from_y;
      }
      std::memcpy(out, source.row(from_y) + static_cast<size_t>(from_x) * channels, channels);
    }
  }
}

}  // namespace gluon_resnet
