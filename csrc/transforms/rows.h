// The innermost loops over pixels, each over one row, in plain C++ and for AVX2 if available.
#ifndef GLUON_RESNET_ROWS_H_
#define GLUON_RESNET_ROWS_H_

#include <cstddef>
#include <cstdint>

namespace gluon_resnet {

// Linear interpolation of two neighbours, with weights that sum to kOne, as in OpenCV for bytes.
struct Tap {
  static constexpr int kOne = 2048;

  int32_t first = 0;
  int16_t first_weight = kOne;
  int16_t second_weight = 0;

  int32_t second() const { return second_weight == 0 ? first : first + 1; }
};

// A scaled row holds four values per pixel: R, G, B and an unused one, for the sake of SIMD.
constexpr size_t kScaledLanes = 4;

struct RowLoops {
  // Interpolates between the columns of an RGB row. As in OpenCV, the result has 4 bits less than
  // the product of a value and a weight. Reads up to 5 bytes past the last pixel.
  void (*scale)(const uint8_t* row, const Tap* taps, size_t count, int16_t* out);

  // Interpolates between two scaled rows, into three planes of bytes.
  void (*blend)(const int16_t* first, const int16_t* second, Tap weights, size_t count,
                size_t plane, uint8_t* out);

  // The same into a row of RGB. Writes up to 4 bytes past the last pixel.
  void (*blend_rgb)(const int16_t* first, const int16_t* second, Tap weights, size_t count,
                    uint8_t* out);

  // Splits an RGB row into three planes; if mirrored, its first pixel is written last.
  void (*split)(const uint8_t* row, size_t count, bool mirror, size_t plane, uint8_t* out);

  // out[i] = scale * in[i] + offset
  void (*normalize)(const uint8_t* in, size_t count, float scale, float offset, float* out);
};

// The fastest loops for this processor, or the plain ones with GLUON_RESNET_SIMD=none in the
// environment. All give the same bits.
const RowLoops& row_loops();

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_ROWS_H_
