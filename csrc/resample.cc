#include "resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

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

// A scaled line holds four values a pixel: R, G, B and one that is not used, as is handy for SIMD.
constexpr size_t kLanes = 4;

// Interpolates between columns. As in OpenCV, the result has 4 bits less than the product of a
// value and a weight.
void scale_columns(const uint8_t* row, const std::vector<ResampleScratch::Tap>& taps,
                   int16_t* out) {
  for (const ResampleScratch::Tap& tap : taps) {
    const uint8_t* const first = row + 3 * static_cast<ptrdiff_t>(tap.first);
    const uint8_t* const second = row + 3 * static_cast<ptrdiff_t>(tap.second);
#ifdef __SSE2__
    const __m128i zero = _mm_setzero_si128();
    int32_t first_pixel, second_pixel, weights;  // four bytes: a pixel and one behind it
    std::memcpy(&first_pixel, first, 4);
    std::memcpy(&second_pixel, second, 4);
    std::memcpy(&weights, &tap.first_weight, 4);
    const __m128i pairs =
        _mm_unpacklo_epi8(_mm_cvtsi32_si128(first_pixel), _mm_cvtsi32_si128(second_pixel));
    const __m128i sums = _mm_madd_epi16(_mm_unpacklo_epi8(pairs, zero), _mm_set1_epi32(weights));
    const __m128i result = _mm_srai_epi32(sums, 4);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out), _mm_packs_epi32(result, result));
#else
    for (int c = 0; c < 3; ++c) {
      const int value = first[c] * tap.first_weight + second[c] * tap.second_weight;
      out[c] = static_cast<int16_t>(value >> 4);
    }
#endif
    out += kLanes;
  }
}

uint8_t blend(int16_t first, int16_t second, const ResampleScratch::Tap& tap) {
  const int value = ((first * tap.first_weight) >> 16) + ((second * tap.second_weight) >> 16);
  return static_cast<uint8_t>((value + 2) >> 2);
}

#ifdef __SSE2__
// Four pixels, R G B and one unused each, of two lines.
__m128i blend_4(const int16_t* first, const int16_t* second, __m128i first_weight,
                __m128i second_weight) {
  const auto half = [&](size_t offset) {
    const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(first + offset));
    const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(second + offset));
    const __m128i sum =
        _mm_add_epi16(_mm_mulhi_epi16(a, first_weight), _mm_mulhi_epi16(b, second_weight));
    return _mm_srai_epi16(_mm_add_epi16(sum, _mm_set1_epi16(2)), 2);
  };
  return _mm_packus_epi16(half(0), half(8));
}
#endif

// Interpolates between two lines, into three planes.
void blend_lines(const int16_t* first, const int16_t* second, const ResampleScratch::Tap& tap,
                 int count, size_t plane, uint8_t* out) {
  int i = 0;
#ifdef __SSE2__
  const __m128i first_weight = _mm_set1_epi16(tap.first_weight);
  const __m128i second_weight = _mm_set1_epi16(tap.second_weight);
  const __m128i byte = _mm_set1_epi32(0xff);
  for (; i + 16 <= count; i += 16) {
    __m128i pixels[4];
    for (int k = 0; k < 4; ++k) {
      const size_t at = kLanes * (i + 4 * static_cast<size_t>(k));
      pixels[k] = blend_4(first + at, second + at, first_weight, second_weight);
    }
    for (int c = 0; c < 3; ++c) {
      __m128i values[4];
      for (int k = 0; k < 4; ++k) values[k] = _mm_and_si128(_mm_srli_epi32(pixels[k], 8 * c), byte);
      const __m128i low = _mm_packs_epi32(values[0], values[1]);
      const __m128i high = _mm_packs_epi32(values[2], values[3]);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + c * plane + i),
                       _mm_packus_epi16(low, high));
    }
  }
#endif
  for (; i < count; ++i) {
    for (size_t c = 0; c < 3; ++c) {
      out[c * plane + i] = blend(first[kLanes * i + c], second[kLanes * i + c], tap);
    }
  }
}

// `image` starts at (x, y) of the upright image.
void linear(const Geometry& geometry, const ImageView& image, int x, int y, Span columns, Span rows,
            ResampleScratch* scratch, uint8_t* planes) {
  const Region& source = geometry.source;
  linear_taps(columns, geometry.crop_x, source.width, geometry.scaled.width, &scratch->columns);
  linear_taps(rows, geometry.crop_y, source.height, geometry.scaled.height, &scratch->rows);
  const auto count = columns.end - columns.begin;
  int first_column = columns.begin;
  if (geometry.flip) {
    std::reverse(scratch->columns.begin(), scratch->columns.end());
    first_column = geometry.size - columns.end;
  }
  for (ResampleScratch::Tap& tap : scratch->columns) {
    tap.first += source.x - x;
    tap.second += source.x - x;
  }
  for (std::vector<int16_t>& line : scratch->lines) line.resize(kLanes * count);
  scratch->line_rows = {-1, -1};
  const auto line_of = [&](int row) {
    const int slot = row & 1;  // neighbours have different ones
    int16_t* const line = scratch->lines[slot].data();
    if (scratch->line_rows[slot] != row) {
      scale_columns(image.row(row), scratch->columns, line);
      scratch->line_rows[slot] = row;
    }
    return line;
  };
  const size_t plane = static_cast<size_t>(geometry.size) * geometry.size;
  for (int row = rows.begin; row < rows.end; ++row) {
    const ResampleScratch::Tap& tap = scratch->rows[row - rows.begin];
    const int16_t* const first = line_of(tap.first + source.y - y);
    const int16_t* const second = line_of(tap.second + source.y - y);
    blend_lines(first, second, tap, count, plane,
                planes + static_cast<size_t>(row) * geometry.size + first_column);
  }
}

// From `image`, whose pixel (0, 0) is (x, y) of the scaled region.
void copy(const Geometry& geometry, const ImageView& image, int x, int y, Span columns, Span rows,
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

void resample(const Geometry& geometry, Interpolation interpolation, const ImageView& image, int x,
              int y, const std::array<uint8_t, 3>& fill, ResampleScratch* scratch,
              uint8_t* planes) {
  const Span columns = inside(geometry.crop_x, geometry.size, geometry.scaled.width);
  const Span rows = inside(geometry.crop_y, geometry.size, geometry.scaled.height);
  const size_t plane = static_cast<size_t>(geometry.size) * geometry.size;
  if (columns.end - columns.begin < geometry.size || rows.end - rows.begin < geometry.size) {
    for (int c = 0; c < 3; ++c) std::memset(planes + c * plane, fill[c], plane);
  }
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

}  // namespace gluon_resnet
