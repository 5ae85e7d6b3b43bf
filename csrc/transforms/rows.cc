#include "transforms/rows.h"

#include <cstdlib>
#include <cstring>
#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace gluon_resnet {
namespace {

void scale_plain(const uint8_t* row, const Tap* taps, size_t count, int16_t* out) {
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* const pixel = row + 3 * static_cast<ptrdiff_t>(taps[i].first);
    for (size_t c = 0; c < 3; ++c) {
      const int value = pixel[c] * taps[i].first_weight + pixel[c + 3] * taps[i].second_weight;
      out[kScaledLanes * i + c] = static_cast<int16_t>(value >> 4);
    }
  }
}

uint8_t blend_value(int first, int second, Tap weights) {
  const int value =
      ((first * weights.first_weight) >> 16) + ((second * weights.second_weight) >> 16);
  return static_cast<uint8_t>((value + 2) >> 2);
}

void blend_plain(const int16_t* first, const int16_t* second, Tap weights, size_t count,
                 size_t plane, uint8_t* out) {
  for (size_t i = 0; i < count; ++i) {
    for (size_t c = 0; c < 3; ++c) {
      const size_t at = kScaledLanes * i + c;
      out[c * plane + i] = blend_value(first[at], second[at], weights);
    }
  }
}

void blend_rgb_plain(const int16_t* first, const int16_t* second, Tap weights, size_t count,
                     uint8_t* out) {
  for (size_t i = 0; i < count; ++i) {
    for (size_t c = 0; c < 3; ++c) {
      const size_t at = kScaledLanes * i + c;
      out[3 * i + c] = blend_value(first[at], second[at], weights);
    }
  }
}

void split_plain(const uint8_t* row, size_t count, bool mirror, size_t plane, uint8_t* out) {
  for (size_t i = 0; i < count; ++i, row += 3) {
    const size_t to = mirror ? count - 1 - i : i;
    for (size_t c = 0; c < 3; ++c) out[c * plane + to] = row[c];
  }
}

void normalize_plain(const uint8_t* in, size_t count, float scale, float offset, float* out) {
  for (size_t i = 0; i < count; ++i) out[i] = scale * in[i] + offset;
}

constexpr RowLoops kPlain{scale_plain, blend_plain, blend_rgb_plain, split_plain, normalize_plain};

#ifdef __x86_64__
#define AVX2 __attribute__((target("avx2")))

// The pixels at two taps, side by side.
AVX2 inline __m256i load_pixels(const uint8_t* row, int32_t low, int32_t high) {
  const auto* const first = reinterpret_cast<const __m128i*>(row + 3 * ptrdiff_t{low});
  const auto* const second = reinterpret_cast<const __m128i*>(row + 3 * ptrdiff_t{high});
  return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadl_epi64(first)),
                                 _mm_loadl_epi64(second), 1);
}

AVX2 void scale_avx2(const uint8_t* row, const Tap* taps, size_t count, int16_t* out) {
  // R G B R G B of two neighbours, to 16 bits: R R G G B B.
  const __m256i pairs = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
  // For four taps, each of two times 32 bits: the weights of the first and the third, and so on.
  const __m256i even = _mm256_setr_epi32(1, 1, 1, 1, 5, 5, 5, 5);
  const __m256i odd = _mm256_setr_epi32(3, 3, 3, 3, 7, 7, 7, 7);
  size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    const __m256i four = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(taps + i));
    const __m256i first = load_pixels(row, taps[i].first, taps[i + 2].first);
    const __m256i second = load_pixels(row, taps[i + 1].first, taps[i + 3].first);
    const __m256i first_sum = _mm256_madd_epi16(_mm256_shuffle_epi8(first, pairs),
                                                _mm256_permutevar8x32_epi32(four, even));
    const __m256i second_sum = _mm256_madd_epi16(_mm256_shuffle_epi8(second, pairs),
                                                 _mm256_permutevar8x32_epi32(four, odd));
    _mm256_storeu_si256(
        reinterpret_cast<__m256i*>(out + kScaledLanes * i),
        _mm256_packs_epi32(_mm256_srai_epi32(first_sum, 4), _mm256_srai_epi32(second_sum, 4)));
  }
  scale_plain(row, taps + i, count - i, out + kScaledLanes * i);
}

// Four pixels of a scaled row in each register.
AVX2 inline __m256i blend_4(const int16_t* first, const int16_t* second, __m256i first_weight,
                            __m256i second_weight) {
  const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(first));
  const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(second));
  const __m256i sum =
      _mm256_add_epi16(_mm256_mulhi_epi16(a, first_weight), _mm256_mulhi_epi16(b, second_weight));
  return _mm256_srai_epi16(_mm256_add_epi16(sum, _mm256_set1_epi16(2)), 2);
}

// The same for eight, as R0-3 G0-3 B0-3 and R4-7 G4-7 B4-7.
AVX2 inline __m256i blend_8(const int16_t* first, const int16_t* second, __m256i first_weight,
                            __m256i second_weight) {
  const __m256i gather = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  const __m256i low = blend_4(first, second, first_weight, second_weight);
  const __m256i high = blend_4(first + 16, second + 16, first_weight, second_weight);
  const __m256i packed = _mm256_packus_epi16(low, high);  // pixels 0 1 4 5, 2 3 6 7
  return _mm256_shuffle_epi8(_mm256_permute4x64_epi64(packed, 0xd8), gather);
}

inline void store(uint8_t* out, __m128i value) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), value);
}

AVX2 void blend_avx2(const int16_t* first, const int16_t* second, Tap weights, size_t count,
                     size_t plane, uint8_t* out) {
  const __m256i first_weight = _mm256_set1_epi16(weights.first_weight);
  const __m256i second_weight = _mm256_set1_epi16(weights.second_weight);
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const size_t at = kScaledLanes * i;
    const __m256i a = blend_8(first + at, second + at, first_weight, second_weight);
    const __m256i b = blend_8(first + at + 32, second + at + 32, first_weight, second_weight);
    const __m256i red_green =
        _mm256_unpacklo_epi32(a, b);  // R0-3 R8-11 G0-3 G8-11, R4-7 R12-15 ...
    const __m256i blue = _mm256_unpackhi_epi32(a, b);
    const __m128i low = _mm256_castsi256_si128(red_green);
    const __m128i high = _mm256_extracti128_si256(red_green, 1);
    store(out + i, _mm_unpacklo_epi32(low, high));
    store(out + plane + i, _mm_unpackhi_epi32(low, high));
    store(out + 2 * plane + i,
          _mm_unpacklo_epi32(_mm256_castsi256_si128(blue), _mm256_extracti128_si256(blue, 1)));
  }
  const size_t at = kScaledLanes * i;
  blend_plain(first + at, second + at, weights, count - i, plane, out + i);
}

AVX2 void blend_rgb_avx2(const int16_t* first, const int16_t* second, Tap weights, size_t count,
                         uint8_t* out) {
  const __m256i first_weight = _mm256_set1_epi16(weights.first_weight);
  const __m256i second_weight = _mm256_set1_epi16(weights.second_weight);
  const __m256i close_up = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const size_t at = kScaledLanes * i;
    const __m256i low = blend_4(first + at, second + at, first_weight, second_weight);
    const __m256i high = blend_4(first + at + 16, second + at + 16, first_weight, second_weight);
    const __m256i packed = _mm256_packus_epi16(low, high);  // pixels 0 1 4 5, 2 3 6 7
    const __m256i rgb = _mm256_shuffle_epi8(_mm256_permute4x64_epi64(packed, 0xd8), close_up);
    store(out + 3 * i, _mm256_castsi256_si128(rgb));
    store(out + 3 * i + 12, _mm256_extracti128_si256(rgb, 1));
  }
  const size_t at = kScaledLanes * i;
  blend_rgb_plain(first + at, second + at, weights, count - i, out + 3 * i);
}

// The bytes of one color of 16 RGB pixels, from the three registers that hold them.
struct SplitMasks {
  alignas(16) int8_t bytes[2][3][3][16];  // mirrored, color, register

  constexpr SplitMasks() : bytes() {
    for (int mirror = 0; mirror < 2; ++mirror) {
      for (int c = 0; c < 3; ++c) {
        for (int part = 0; part < 3; ++part) {
          for (int i = 0; i < 16; ++i) {
            const int from = 3 * (mirror ? 15 - i : i) + c - 16 * part;
            bytes[mirror][c][part][i] = static_cast<int8_t>(from >= 0 && from < 16 ? from : -1);
          }
        }
      }
    }
  }
};
constexpr SplitMasks kSplitMasks;

AVX2 void split_avx2(const uint8_t* row, size_t count, bool mirror, size_t plane, uint8_t* out) {
  if (count < 16) {
    split_plain(row, count, mirror, plane, out);
    return;
  }
  for (size_t done = 0; done < count; done += 16) {
    const size_t i = done + 16 <= count ? done : count - 16;  // the last ones overlap
    const auto* const parts = reinterpret_cast<const __m128i*>(row + 3 * i);
    const __m128i low = _mm_loadu_si128(parts);
    const __m128i middle = _mm_loadu_si128(parts + 1);
    const __m128i high = _mm_loadu_si128(parts + 2);
    for (int c = 0; c < 3; ++c) {
      const auto* const masks = reinterpret_cast<const __m128i*>(kSplitMasks.bytes[mirror][c]);
      const __m128i plane_of_low = _mm_shuffle_epi8(low, masks[0]);
      const __m128i plane_of_middle = _mm_shuffle_epi8(middle, masks[1]);
      const __m128i plane_of_high = _mm_shuffle_epi8(high, masks[2]);
      store(out + c * plane + (mirror ? count - 16 - i : i),
            _mm_or_si128(_mm_or_si128(plane_of_low, plane_of_middle), plane_of_high));
    }
  }
}

AVX2 void normalize_avx2(const uint8_t* in, size_t count, float scale, float offset, float* out) {
  for (size_t i = 0; i < count; ++i) out[i] = scale * in[i] + offset;
}

constexpr RowLoops kAvx2{scale_avx2, blend_avx2, blend_rgb_avx2, split_avx2, normalize_avx2};
#endif

const RowLoops& choose() {
  const char* const wish = std::getenv("GLUON_RESNET_SIMD");
  if (wish != nullptr && std::strcmp(wish, "none") == 0) return kPlain;
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2")) return kAvx2;
#endif
  return kPlain;
}

}  // namespace

const RowLoops& row_loops() {
  static const RowLoops& chosen = choose();
  return chosen;
}

}  // namespace gluon_resnet
