#include "transforms/resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace gluon_resnet {
namespace {

// The part of the output's [0, size), counted without mirroring, that lies inside the scaled region
// along one axis.
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

// OpenCV computes these in the same types, so the rounding is the same. At the edges the tap may
// lie outside the source by one.
Tap linear_tap(int at, int source, int scaled) {
  if (source == scaled) return {at, Tap::kOne, 0};
  const double scale = 1.0 / (static_cast<double>(scaled) / source);
  auto position = static_cast<float>((at + 0.5) * scale - 0.5);
  const int first = static_cast<int>(std::floor(position));
  position -= static_cast<float>(first);
  return {first, static_cast<int16_t>(std::lrintf((1.0f - position) * Tap::kOne)),
          static_cast<int16_t>(std::lrintf(position * Tap::kOne))};
}

// For columns, the one at the edge, with the weight of both.
Tap column_tap(int at, int source, int scaled) {
  const Tap tap = linear_tap(at, source, scaled);
  if (tap.first < 0) return {0, Tap::kOne, 0};
  if (tap.first >= source - 1) return {source - 1, Tap::kOne, 0};
  return tap;
}

// For rows, the one at the edge twice, each with its own weight: the rounding is different.
std::array<int, 2> neighbours(const Tap& tap, int source) {
  return {std::clamp(tap.first, 0, source - 1), std::clamp(tap.second(), 0, source - 1)};
}

using MakeTap = Tap (*)(int at, int source, int scaled);
void make_taps(MakeTap make_tap, Span span, int crop, int source, int scaled,
               std::vector<Tap>* taps) {
  taps->clear();
  for (int i = span.begin; i < span.end; ++i) {
    taps->push_back(make_tap(crop + i, source, scaled));
  }
}

// Calls write_row(its number, scaled row, scaled row, tap) for each of scratch->rows. The region to
// which the taps refer has its corner at (x, y) of `image`, and `height` rows.
template <typename WriteRow>
void scale_rows(const ImageView& image, int x, int y, int height, ResampleScratch* scratch,
                const WriteRow& write_row) {
  const RowLoops& loops = row_loops();
  const size_t count = scratch->columns.size();
  for (Tap& tap : scratch->columns) tap.first += x;
  for (std::vector<int16_t>& line : scratch->lines) line.resize(kScaledLanes * count);
  scratch->line_rows = {-1, -1};
  const auto line_of = [&](int row) {
    const int slot = row & 1;  // neighbours have different slots
    int16_t* const line = scratch->lines[slot].data();
    if (scratch->line_rows[slot] != row) {
      loops.scale(image.row(row), scratch->columns.data(), count, line);
      scratch->line_rows[slot] = row;
    }
    return line;
  };
  for (size_t row = 0; row < scratch->rows.size(); ++row) {
    const Tap& tap = scratch->rows[row];
    const auto [above, below] = neighbours(tap, height);
    const int16_t* const first = line_of(above + y);
    const int16_t* const second = line_of(below + y);
    write_row(static_cast<int>(row), first, second, tap);
  }
}

// `image` starts at (x, y) of the upright image.
void linear(const Geometry& geometry, const ImageView& image, int x, int y, Span columns, Span rows,
            ResampleScratch* scratch, uint8_t* planes) {
  const Region& source = geometry.source;
  make_taps(column_tap, columns, geometry.crop_x, source.width, geometry.scaled.width,
            &scratch->columns);
  make_taps(linear_tap, rows, geometry.crop_y, source.height, geometry.scaled.height,
            &scratch->rows);
  const auto count = static_cast<size_t>(columns.end - columns.begin);
  int first_column = columns.begin;
  if (geometry.flip) {
    std::reverse(scratch->columns.begin(), scratch->columns.end());
    first_column = geometry.size - columns.end;
  }
  const size_t plane = static_cast<size_t>(geometry.size) * geometry.size;
  scale_rows(image, source.x - x, source.y - y, source.height, scratch,
             [&](int row, const int16_t* first, const int16_t* second, const Tap& tap) {
               const auto to = static_cast<size_t>(rows.begin + row) * geometry.size;
               row_loops().blend(first, second, tap, count, plane, planes + to + first_column);
             });
}

// Reads `image`, whose pixel (0, 0) is (x, y) of the scaled region.
void copy(const Geometry& geometry, const ImageView& image, int x, int y, Span columns, Span rows,
          uint8_t* planes) {
  const size_t plane = static_cast<size_t>(geometry.size) * geometry.size;
  const int first_column = geometry.flip ? geometry.size - columns.end : columns.begin;
  const RowLoops& loops = row_loops();
  for (int row = rows.begin; row < rows.end; ++row) {
    const uint8_t* from = image.row(geometry.crop_y + row - y) +
                          3 * static_cast<size_t>(geometry.crop_x + columns.begin - x);
    loops.split(from, static_cast<size_t>(columns.end - columns.begin), geometry.flip, plane,
                planes + static_cast<size_t>(row) * geometry.size + first_column);
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
    *begin = neighbours(linear_tap(crop + span.begin, length, scaled), length)[0];
    *end = neighbours(linear_tap(crop + span.end - 1, length, scaled), length)[1] + 1;
  };
  int left, right, top, bottom;
  along(geometry.crop_x, source.width, geometry.scaled.width, &left, &right);
  along(geometry.crop_y, source.height, geometry.scaled.height, &top, &bottom);
  return {source.x + left, source.y + top, right - left, bottom - top};
}

void resample(const Geometry& geometry, Interpolation interpolation, const ImageView& image, int x,
              int y, const std::array<uint8_t, 3>& fill, ResampleScratch* scratch,
              uint8_t* planes) {
  const Span columns = inside(geometry.crop_x, geometry.size, geometry.scaled.width);
  const Span rows = inside(geometry.crop_y, geometry.size, geometry.scaled.height);
  const size_t plane = static_cast<size_t>(geometry.size) * geometry.size;
  if (columns.end - columns.begin < geometry.size || rows.end - rows.begin < geometry.size) {
    for (int c = 0; c < 3; ++c) std::memset(planes + c * plane, fill[c], plane);
  }
  if (columns.begin == columns.end || rows.begin == rows.end) return;  // only padding
  const Region& source = geometry.source;
  if (unscaled(geometry)) {
    copy(geometry, image, x - source.x, y - source.y, columns, rows, planes);
  } else if (interpolation == Interpolation::kLinear) {
    linear(geometry, image, x, y, columns, rows, scratch, planes);
  } else {
    scratch->scaled.reshape(geometry.scaled.width, geometry.scaled.height, 3);
    resize_region(image, {source.x - x, source.y - y, source.width, source.height}, interpolation,
                  &scratch->scaled);
    copy(geometry, scratch->scaled, 0, 0, columns, rows, planes);
  }
}

void resize_linear(const Image& source, const Region& region, ResampleScratch* scratch,
                   Image* target) {
  make_taps(column_tap, {0, target->width}, 0, region.width, target->width, &scratch->columns);
  make_taps(linear_tap, {0, target->height}, 0, region.height, target->height, &scratch->rows);
  const auto count = static_cast<size_t>(target->width);
  scale_rows(source, region.x, region.y, region.height, scratch,
             [&](int row, const int16_t* first, const int16_t* second, const Tap& tap) {
               row_loops().blend_rgb(first, second, tap, count, target->row(row));
             });
}

}  // namespace gluon_resnet
