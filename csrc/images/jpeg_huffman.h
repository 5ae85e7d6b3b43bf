// A JPEG's Huffman codes as tables that are indexed by the next bits.
#ifndef GLUON_RESNET_JPEG_HUFFMAN_H_
#define GLUON_RESNET_JPEG_HUFFMAN_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
// libjpeg's header needs <cstdio> before it.
#include <jpeglib.h>

namespace gluon_resnet {

// The coefficient of `size` bits at the start of `bits` (ITU T.81, F.2.2.1: EXTEND).
inline int32_t jpeg_coefficient(uint64_t bits, uint32_t size) {
  const auto value = static_cast<int32_t>(bits >> 1 >> (63 - size));
  const auto negative = static_cast<int32_t>(~static_cast<int64_t>(bits) >> 63);
  return value + (negative & (1 - (1 << size)));
}

// A table of Huffman codes as in ITU T.81 (JPEG), C.2, for the symbols of DC or AC
// coefficients.
class JpegHuffmanTable {
 public:
  // What the first bits mean: a code with the bits that follow it, or a longer code.
  static constexpr int kLookahead = 10;
  struct Symbol {
    uint32_t bits;

    static constexpr uint32_t kEndOfBlock = 128;        // a skip() that leads out of any block
    uint32_t total() const { return bits & 63; }        // length and size; 0: unknown
    uint32_t length() const { return bits >> 8 & 63; }  // of the code
    uint32_t size() const { return bits >> 16 & 63; }   // of the coefficient after it
    uint32_t skip() const { return bits >> 24; }        // zeros before it
  };
  // One or two coefficients with their values, if the first bits contain them completely.
  struct Pair {
    uint64_t bits;

    uint32_t total() const { return bits & 63; }  // 0: take a symbol
    uint32_t first_place() const { return bits >> 8 & 255; }
    uint32_t second_place() const { return bits >> 16 & 255; }
    uint32_t advance() const { return bits >> 24 & 255; }
    uint32_t first_value() const { return bits >> 32 & 0xffff; }
    uint32_t second_value() const { return static_cast<uint32_t>(bits >> 48); }
  };
  // The furthest that a pair can lead without ending the block.
  static constexpr uint32_t kPairReach = 8;
  // Several symbols at once, for coefficients that are not needed.
  struct Stride {
    uint16_t total = 0;    // 0: take a symbol
    uint16_t advance = 0;  // coefficients, and kEndOfBlock
  };

  // Whether it equals the table that was assigned last.
  bool assign(const JHUFF_TBL& table, bool dc);

  // Prepares what the functions below need, if that has not been done. False if the table is not
  // one that a baseline JPEG of 8 bits can have.
  bool make();

  Symbol symbol(uint64_t next_bits) const { return symbols_[next_bits >> (64 - kLookahead)]; }
  Pair pair(uint64_t next_bits) const { return pairs_[next_bits >> (64 - kLookahead)]; }
  Stride stride(uint64_t next_bits) const { return strides_[next_bits >> (64 - kLookahead)]; }
  // For a code longer than kLookahead; total() is 0 if there is none.
  Symbol long_symbol(uint64_t next_bits) const;

 private:
  static Symbol make_symbol(int length, uint8_t value, bool dc);
  bool make_symbols();
  void make_pairs();
  void make_strides();

  std::array<uint8_t, 17> counts_{};   // the number of codes of each length
  std::array<uint8_t, 256> values_{};  // in the order of the codes
  bool dc_ = false;
  bool made_ = false;                      // whether the members below are set
  std::array<uint32_t, 17> first_code_{};  // of each length
  std::array<uint32_t, 17> first_value_{};
  std::array<Symbol, 1 << kLookahead> symbols_{};
  std::array<Pair, 1 << kLookahead> pairs_{};
  std::array<Stride, 1 << kLookahead> strides_{};
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_JPEG_HUFFMAN_H_
