#include "resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace gluon_resnet {
namespace {

constexpr int kOne = 2048;  // the weight 1, as in OpenCV's resize of bytes

// The part of [0, size) of the output, counted without mirroring, that lies inside of the scaled
// region along one axis.
struct Span {
  int begin;
  int end;
};
Span inside(int crop, int size, int scaled) {
  const int begin = std::clamp(-crop, 0, size);
  return {begin, std::clamp(scaled - crop, begin, size)};
}

bool unscaled(const Geometry& geometry) {
  return geometry.source.width == geometry.scaled.width &&
         geometry.source.height == geometry.scaled.height;
}

// OpenCV computes these in just these types, and so the rounding is the same.
ResampleScratch::Tap linear_tap(int at, int source, int scaled) {
  if (source == scaled) return {at, at, kOne, 0};
  const double scale = 1.0 / (static_cast<double>(scaled) / source);
  auto position = static_cast<float>((at + 0.5) * scale - 0.5);
  int first = static_cast<int>(std::floor(position));
  position -= static_cast<float>(first);
  if (first < 0) return {0, 0, kOne, 0};
  if (first >= source - 1) return {source - 1, source - 1, kOne, 0};
  return {first, first + 1, static_cast<int16_t>(std::lrintf((1.0f - position) * kOne)),
          static_cast<int16_t>(std::lrintf(position * kOne))};
}

void linear_taps(Span span, int crop, int source, int scaled,
                 std::vector<ResampleScratch::Tap>* taps) {
  taps->clear();
  for (int i = span.begin; i < span.end; ++i) {
    taps->push_back(linear_tap(crop + i, source, scaled));
  }
}

// Interpolates between columns; the result, of three planes of `count`, has 4 bits less than the
// product of value and weight, as in OpenCV.
void scale_columns(const uint8_t* row, const ResampleScratch::Tap* taps, int count, int16_t* out) {
  for (int i = 0; i < count; ++i) {
    const ResampleScratch::Tap& tap = taps[i];
    const uint8_t* const first = row + 3 * tap.first;
    const uint8_t* const second = row + 3 * tap.second;
    for (int c = 0; c < 3; ++c) {
      const int value = first[c] * tap.first_weight + second[c] * tap.second_weight;
      out[c * count + i] = static_cast<int16_t>(value >> 4);
    }
  }
}

uint8_t blend(int16_t first, int16_t second, int16_t first_weight, int16_t second_weight) {
  const int value = ((first * first_weight) >> 16) + ((second * second_weight) >> 16);
  return static_cast<uint8_t>((value + 2) >> 2);
}

void blend_rows(const int16_t* first, const int16_t* second, const ResampleScratch::Tap& tap,
                int count, uint8_t* out) {
  for (int i = 0; i < count; ++i) {
    out[i] = blend(first[i], second[i], tap.first_weight, tap.second_weight);
  }
}

void linear(const Geometry& geometry, const Image& image, const Region& covered, Span columns,
            Span rows, ResampleScratch* scratch, uint8_t* planes) {
  const Region& source = geometry.source;
  linear_taps(columns, geometry.crop_x, source.width, geometry.scaled.width, &scratch->columns);
  linear_taps(rows, geometry.crop_y, source.height, geometry.scaled.height, &scratch->rows);
  const int count = columns.end - columns.begin;
  int first_column = columns.begin;
  if (geometry.flip) {
    std::reverse(scratch->columns.begin(), scratch->columns.end());
    first_column = geometry.size - columns.end;
  }
  for (ResampleScratch::Tap& tap : scratch->columns) {
    tap.first += source.x - covered.x;
    tap.second += source.x - covered.x;
  }
  for (std::vector<int16_t>& line : scratch->lines) line.resize(3 * static_cast<size_t>(count));
  scratch->line_rows = {-1, -1};
  const auto line_of = [&](int row) {
    const int slot = row & 1;  // neighbours have different ones
    int16_t* const line = scratch->lines[slot].data();
    if (scratch->line_rows[slot] != row) {
      scale_columns(image.row(row), scratch->columns.data(), count, line);
      scratch->line_rows[slot] = row;
    }
    return line;
  };
  const size_t plane = static_cast<size_t>(geometry.size) * geometry.size;
  for (int y = rows.begin; y < rows.end; ++y) {
    const ResampleScratch::Tap& tap = scratch->rows[y - rows.begin];
    const int16_t* const first = line_of(tap.first + source.y - covered.y);
    const int16_t* const second = line_of(tap.second + source.y - covered.y);
    uint8_t* const out = planes + static_cast<size_t>(y) * geometry.size + first_column;
    for (int c = 0; c < 3; ++c) {
      blend_rows(first + c * count, second + c * count, tap, count, out + c * plane);
    }
  }
}

// From `image`, whose pixel (0, 0) is (x, y) of the scaled region.
void copy(const Geometry& geometry, const Image& image, int x, int y, Span columns, Span rows,
          uint8_t* planes) {
  const size_t plane = static_cast<size_t>(geometry.size) * geometry.size;
  for (int row = rows.begin; row < rows.end; ++row) {
    const uint8_t* from = image.row(geometry.crop_y + row - y) +
                          3 * static_cast<size_t>(geometry.crop_x + columns.begin - x);
    uint8_t* const out = planes + static_cast<size_t>(row) * geometry.size;
    for (int column = columns.begin; column < columns.end; ++column, from += 3) {
      const int to = geometry.flip ? geometry.size - 1 - column : column;
      for (int c = 0; c < 3; ++c) out[c * plane + to] = from[c];
    }
  }
}

}  // namespace

Region footprint(const Geometry& geometry, Interpolation interpolation) {
  const Region& source = geometry.source;
  if (interpolation != Interpolation::kLinear && !unscaled(geometry)) return source;
  const auto along = [&](int crop, int length, int scaled, int* begin, int* end) {
    const Span span = inside(crop, geometry.size, scaled);
    *begin = 0;
    *end = 1;
    if (span.begin == span.end) return;
    *begin = linear_tap(crop + span.begin, length, scaled).first;
    *end = linear_tap(crop + span.end - 1, length, scaled).second + 1;
  };
  int left, right, top, bottom;
  along(geometry.crop_x, source.width, geometry.scaled.width, &left, &right);
  along(geometry.crop_y, source.height, geometry.scaled.height, &top, &bottom);
  return {source.x + left, source.y + top, right - left, bottom - top};
}

void resample(const Geometry& geometry, Interpolation interpolation, const Image& image,
              const std::array<uint8_t, 3>& fill, ResampleScratch* scratch, uint8_t* planes) {
  const Span columns = inside(geometry.crop_x, geometry.size, geometry.scaled.width);
  const Span rows = inside(geometry.crop_y, geometry.size, geometry.scaled.height);
  const size_t plane = static_cast<size_t>(geometry.size) * geometry.size;
  if (columns.end - columns.begin < geometry.size || rows.end - rows.begin < geometry.size) {
    for (int c = 0; c < 3; ++c) std::memset(planes + c * plane, fill[c], plane);
  }
  const Region covered = footprint(geometry, interpolation);
  if (unscaled(geometry)) {
    copy(geometry, image, covered.x - geometry.source.x, covered.y - geometry.source.y, columns,
         rows, planes);
  } else if (interpolation == Interpolation::kLinear) {
    linear(geometry, image, covered, columns, rows, scratch, planes);
  } else {
    scratch->scaled.reshape(geometry.scaled.width, geometry.scaled.height, 3);
    resize_region(image, {0, 0, image.width, image.height}, interpolation, &scratch->scaled);
    copy(geometry, scratch->scaled, 0, 0, columns, rows, planes);
  }
}

}  // namespace gluon_resnet
